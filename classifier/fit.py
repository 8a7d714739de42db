"""Fit an architecture to windows, several members side by side. Needs torch, imported late.

Rules:

- each seed has its own beginning, order of windows, noise and, if asked, its own windows; nothing else differs;
- no epoch is chosen here: the last one stands. Whoever holds windows out gets the best epoch beside it;
- one thread and a fixed order: the same windows, seeds and versions give the same bytes on the same kind of CPU.
"""

import math
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from classifier.configuration import Recipe
from classifier.features import statistics
from classifier.model import CLASSES, Int64, Tensors
from classifier.recordings import Windows
from classifier.window import Float32
from mutewatch.errors import OperatorError

if TYPE_CHECKING:
    from torch import Tensor

    from classifier.networks_torch import Stack


@dataclass(frozen=True, slots=True)
class Fitted:
    """The members' tensors after the last epoch and, where windows were held out, after each member's best."""

    last: Tensors
    best: Tensors | None = None


def fit(recipe: Recipe, windows: Windows, seeds: Sequence[int], held_out: Sequence[NDArray[np.bool_]] = ()) -> Fitted:
    """Return one member per seed, fitted to `windows`; `held_out`: one mask (n,) per seed, not fitted to."""
    need_torch()
    everything = np.arange(len(windows.labels))
    chosen = [np.flatnonzero(~mask) for mask in held_out] or [everything] * len(seeds)
    with deterministic():
        if recipe.is_solved:
            members = [_fit_logistic(recipe, windows.values[part], windows.labels[part]) for part in chosen]
            return Fitted({name: np.stack([m[name] for m in members]) for name in members[0]})
        return _fit_network(recipe, windows, seeds, chosen, held_out)


def need_torch() -> None:
    try:
        import torch  # noqa: F401 (an extra)
    except ImportError as error:
        raise OperatorError("training needs torch: pip install 'mutewatch[train]'") from error


def versions() -> dict[str, str]:
    """Return the versions of what computes, which the last digits depend on."""
    packages = {name: version(name) for name in ("numpy", "safetensors", "torch")}
    return {"python": platform.python_version(), **packages, "machine": platform.machine()}


@contextmanager
def deterministic() -> Iterator[None]:
    """Run torch on one thread with deterministic kernels, and leave it as it was."""
    import torch

    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    try:
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True)
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(strict)


def class_weights(labels: Int64) -> Float32:
    """Return one weight per class, float32 (6,), inverse to its windows; the mean over windows is 1.
    A class without windows gets 0."""
    counts = np.bincount(labels, minlength=len(CLASSES))  # (6,)
    present = np.count_nonzero(counts)
    return np.asarray(np.where(counts, len(labels) / (present * np.maximum(counts, 1)), 0), dtype=np.float32)


def _fit_network(
    recipe: Recipe,
    windows: Windows,
    seeds: Sequence[int],
    chosen: Sequence[Int64],
    held_out: Sequence[NDArray[np.bool_]],
) -> Fitted:
    """Descend on the members' summed losses; `chosen`: for each member as many indices of windows to fit to."""
    import torch

    from classifier.networks_torch import STACKS

    kind = STACKS[recipe.architecture]
    inputs = kind.inputs(windows.values)
    stack = kind(seeds, [inputs[part] for part in chosen])
    optimizer = torch.optim.AdamW(stack.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    count = len(chosen[0])
    steps = math.ceil(count / recipe.batch_size) * recipe.epochs
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, steps) if recipe.one_cycle else None
    weights = (
        torch.from_numpy(class_weights(windows.labels[chosen[0]])) if recipe.balanced else torch.ones(len(CLASSES))
    )
    cross_entropy = torch.nn.CrossEntropyLoss(weights, label_smoothing=recipe.label_smoothing, reduction="none")
    chances = [np.random.default_rng(seed) for seed in seeds]
    best = [(-1.0, _tensors(stack))] * len(seeds)
    for _ in range(recipe.epochs):
        orders = [chance.permutation(part) for part, chance in zip(chosen, chances, strict=True)]
        jittered = [_jittered(recipe, windows.values[o], c) for o, c in zip(orders, chances, strict=True)]
        x = torch.from_numpy(np.stack([kind.inputs(values) for values in jittered]))  # (members, n, …)
        y = torch.from_numpy(windows.labels[np.stack(orders)])  # (members, n)
        for start in range(0, count, recipe.batch_size):
            scores = stack(x[:, start : start + recipe.batch_size])  # (members, batch, 6)
            wanted = y[:, start : start + recipe.batch_size]
            losses = cross_entropy(scores.flatten(0, 1), wanted.flatten()).reshape(wanted.shape)  # (members, batch)
            loss = (losses.sum(dim=1) / weights[wanted].sum(dim=1)).sum()  # of each member alone, then together
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if rate is not None:
                rate.step()
        if held_out and recipe.keeps_best:
            best = _best(best, stack, windows, held_out)
    last = _tensors(stack)
    if not (held_out and recipe.keeps_best):
        return Fitted(last)
    return Fitted(last, {name: np.stack([b[name][i] for i, (_, b) in enumerate(best)]) for name in last})


def _jittered(recipe: Recipe, values: Float32, chance: np.random.Generator) -> Float32:
    """Return `values` (n, length, 3), each window shifted as a whole and every value on its own."""
    shift = chance.normal(0, recipe.offset_sd, (len(values), 1, 1)) if recipe.offset_sd else 0.0
    noise = chance.normal(0, recipe.noise_sd, values.shape) if recipe.noise_sd else 0.0
    return np.asarray(values + shift + noise, dtype=np.float32)


Kept = list[tuple[float, Tensors]]  # of each member: the best macro recall yet, and all members' tensors then


def _best(best: Kept, stack: "Stack", windows: Windows, held_out: Sequence[NDArray[np.bool_]]) -> Kept:
    """Return `best` with the members replaced whose macro recall on their own held-out windows has risen."""
    import torch

    values = np.stack([windows.values[mask] for mask in held_out])  # (members, m, length, 3)
    labels = np.stack([windows.labels[mask] for mask in held_out])  # (members, m)
    with torch.no_grad():
        guessed = stack(torch.from_numpy(np.stack([stack.inputs(v) for v in values]))).argmax(dim=2).numpy()
    recalls = [_recall(labels[i], guessed[i]) for i in range(len(held_out))]
    if all(found <= recall for found, (recall, _) in zip(recalls, best, strict=True)):
        return best
    now = _tensors(stack)
    return [(found, now) if found > kept[0] else kept for found, kept in zip(recalls, best, strict=True)]


def _recall(labels: Int64, guessed: Int64) -> float:
    """Return the mean recall over the classes that occur."""
    return float(np.mean([(guessed[labels == label] == label).mean() for label in np.unique(labels)]))


def _tensors(stack: "Stack") -> Tensors:
    return {name: tensor.numpy().copy() for name, tensor in stack.state_dict().items()}


def _fit_logistic(recipe: Recipe, values: Float32, labels: Int64) -> Tensors:
    """Return the one solution: weighted cross-entropy and `ridge` times half the squared weights, in float64."""
    import torch

    x = statistics(values).astype(np.float64)  # (n, 30)
    center, scale = x.mean(axis=0), x.std(axis=0) + 1e-6
    inputs, wanted = torch.from_numpy((x - center) / scale), torch.from_numpy(labels)
    weights = torch.from_numpy(class_weights(labels).astype(np.float64))[wanted]  # (n,)
    weight = torch.zeros(x.shape[1], len(CLASSES), dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(len(CLASSES), dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS(
        [weight, bias], max_iter=1000, tolerance_grad=1e-8, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )

    def objective() -> "Tensor":
        solver.zero_grad()
        losses = torch.nn.functional.cross_entropy(inputs @ weight + bias, wanted, reduction="none")
        loss = (losses * weights).mean() + recipe.ridge / 2 * (weight * weight).sum()
        loss.backward()
        return loss

    solver.step(objective)
    found = {"center": center, "scale": scale, "weight": weight.detach().numpy(), "bias": bias.detach().numpy()}
    return {name: tensor.astype(np.float32) for name, tensor in found.items()}
