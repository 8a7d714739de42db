"""Fit the network to recordings, hold whole recordings out, and write weights and manifest.

The only module here that needs torch, and imports it late. Rules:

- about a fifth of the recordings of each class is held out and chooses the epoch; nothing else is tuned;
- the recordings of different classes differ in length: the loss weighs classes equally;
- the same CSV, seed and versions give the same bytes on the same kind of CPU: one thread, fixed order.
"""

import hashlib
import platform
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from classifier.evaluate import Scores, score, tally
from classifier.manifest import WINDOW_LENGTHS, Manifest, Training, pack_tensors, write_model
from classifier.model import CLASSES, PaperCNN, Tensors
from classifier.recordings import Recording, Windows, left_out, read_recordings, windows_of
from classifier.window import GAP_POLICY, Float32
from mutewatch.errors import InputError, OperatorError

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from classifier.paper_cnn_torch import PaperCNNTorch

ARCHITECTURE = "paper_cnn"
HELD_OUT_SHARE = 0.2  # of the recordings of each class; the paper held out a fifth of the windows
EPOCHS = 700  # this, batch size and learning rate: the authors' training script
BATCH_SIZE = 500
LEARNING_RATE = 1e-3


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch gave. Shares from 0 to 1; losses are weighted cross-entropy in nats."""

    number: int  # 1-based
    of: int
    loss: float
    validation_loss: float
    validation_recall: float  # macro
    is_best: bool  # so far


@dataclass(frozen=True, slots=True)
class TrainResult:
    """The files written and what is known of the model in them."""

    weights: Path
    manifest: Path
    model: str
    best: Epoch
    validation: Scores  # of the kept epoch on the recordings held out
    held_out: tuple[str, ...]
    left_out: dict[str, str]  # recordings not used, and why


@dataclass(frozen=True, slots=True)
class Split:
    """Recordings to fit to and recordings held out, in the order of the file."""

    fit: tuple[Recording, ...]
    held_out: tuple[Recording, ...]


def train(
    csv_path: Path,
    out_dir: Path,
    *,
    seed: int = 0,
    epochs: int = EPOCHS,
    window_length: int = GAP_POLICY.length,
    on_epoch: Callable[[Epoch], None] = lambda _epoch: None,
) -> TrainResult:
    """Train on the CSV at `csv_path`; write `paper_cnn_n<length>.safetensors` and `.json` to `out_dir`.

    `InputError` or `OperatorError` say what is wrong with the CSV, the options or the installation.
    """
    if epochs < 1 or seed < 0 or window_length not in WINDOW_LENGTHS:
        raise OperatorError("training needs epochs >= 1, seed >= 0 and a window of 3 to 60 minutes")
    _need_torch()
    file = read_recordings(csv_path)
    unused = {r.name: why for r in file.recordings if (why := left_out(r)) is not None}
    split = split_recordings(csv_path, file.recordings, seed, window_length)
    with _deterministic(seed):
        best, tensors = _fit(split, seed, epochs, window_length, on_epoch)
    validation = score(PaperCNN.from_tensors(tensors), split.held_out, window_length)
    weights = pack_tensors(tensors)
    training = Training(
        csv_sha256=file.sha256,
        seed=seed,
        epochs=epochs,
        best_epoch=best.number,
        held_out=tuple(r.name for r in split.held_out),
        left_out=unused,
        versions=_versions(),
    )
    manifest = Manifest(
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        architecture=ARCHITECTURE,
        window_length=window_length,
        classes=CLASSES,
        gap_policy_version=GAP_POLICY.version,
        training=training,
        validation=asdict(validation),
    )
    path = out_dir / f"{ARCHITECTURE}_n{window_length}.safetensors"
    write_model(path, weights, manifest)
    return TrainResult(
        weights=path,
        manifest=path.with_suffix(".json"),
        model=manifest.model_id,
        best=best,
        validation=validation,
        held_out=training.held_out,
        left_out=unused,
    )


def split_recordings(path: Path, recordings: tuple[Recording, ...], seed: int, length: int) -> Split:
    """Hold out about a fifth of the recordings of each class, at least one, drawn by `seed`.

    Recordings that `left_out` names, or shorter than a window, are in neither part.
    """
    usable = [r for r in recordings if left_out(r) is None and len(windows_of((r,), length).labels)]
    held: set[str] = set()
    for activity in CLASSES:
        names = sorted(r.name for r in usable if r.activity == activity)
        if len(names) < 2:
            raise InputError(path, f"needs 2 usable recordings of each activity; {activity}: {len(names)}")
        count = max(1, round(HELD_OUT_SHARE * len(names)))
        held.update(random.Random(f"{seed}:{activity}").sample(names, count))  # noqa: S311 (not a secret)
    return Split(
        fit=tuple(r for r in usable if r.name not in held),
        held_out=tuple(r for r in usable if r.name in held),
    )


def class_weights(windows: Windows) -> Float32:
    """Return one weight per class, float32 (6,), inverse to its windows; the mean over windows is 1."""
    counts = np.bincount(windows.labels, minlength=len(CLASSES))  # (6,)
    return np.asarray(counts.sum() / (len(CLASSES) * counts), dtype=np.float32)


def _fit(split: Split, seed: int, epochs: int, length: int, on_epoch: Callable[[Epoch], None]) -> tuple[Epoch, Tensors]:
    """Return the epoch with the highest macro recall on the recordings held out (of equals the one with
    the lower validation loss), and its tensors."""
    import torch

    from classifier.paper_cnn_torch import PaperCNNTorch

    fit, held = windows_of(split.fit, length), windows_of(split.held_out, length)
    counts = {name: sum(r.activity == name for r in split.held_out) for name in CLASSES}
    data = torch.from_numpy(fit.values), torch.from_numpy(fit.labels)  # (n, length, 3), (n,)
    held_x, held_y = torch.from_numpy(held.values), torch.from_numpy(held.labels)
    network = PaperCNNTorch(length)
    cross_entropy = torch.nn.CrossEntropyLoss(weight=torch.from_numpy(class_weights(fit)))
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    shuffle = torch.Generator().manual_seed(seed)
    best: tuple[Epoch, Tensors] | None = None
    for number in range(1, epochs + 1):
        order = torch.randperm(len(fit.labels), generator=shuffle)  # (n,)
        loss = _descend(network, optimizer, cross_entropy, data, order)
        with torch.no_grad():
            scores = network(held_x)  # (m, 6)
            held_loss = cross_entropy(scores, held_y).item()
        recall = tally(held.labels, scores.argmax(dim=1).numpy(), counts).macro_recall
        is_best = best is None or (recall, -held_loss) > (best[0].validation_recall, -best[0].validation_loss)
        epoch = Epoch(number, epochs, loss, held_loss, recall, is_best)
        if is_best:
            best = epoch, _tensors(network)
        on_epoch(epoch)
    if best is None:
        raise AssertionError("at least one epoch was asked for")
    return best


def _descend(
    network: "nn.Module",
    optimizer: "Optimizer",
    criterion: "nn.Module",
    data: "tuple[Tensor, Tensor]",
    order: "Tensor",
) -> float:
    """Take one step per batch through `data` in `order` (n,); return the mean loss over the epoch."""
    x, y = data  # (n, length, 3), (n,)
    total = 0.0
    for start in range(0, len(order), BATCH_SIZE):
        batch = order[start : start + BATCH_SIZE]  # (<= BATCH_SIZE,)
        optimizer.zero_grad()
        loss: Tensor = criterion(network(x[batch]), y[batch])
        loss.backward()
        optimizer.step()
        total += loss.item() * len(batch)
    return total / len(order)


def _tensors(network: "PaperCNNTorch") -> Tensors:
    return {name: tensor.numpy().copy() for name, tensor in network.state_dict().items()}


@contextmanager
def _deterministic(seed: int) -> Iterator[None]:
    """Seed torch, run it on one thread with deterministic kernels, and leave it as it was."""
    import torch

    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            torch.set_num_threads(1)
            torch.use_deterministic_algorithms(True)
            yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(strict)


def _need_torch() -> None:
    try:
        import torch  # noqa: F401 (an extra)
    except ImportError as error:
        raise OperatorError("training needs torch: pip install 'mutewatch[train]'") from error


def _versions() -> dict[str, str]:
    packages = {name: version(name) for name in ("numpy", "safetensors", "torch")}
    return {"python": platform.python_version(), **packages, "machine": platform.machine()}
