"""How often a model is right about recordings whose activity is known. NumPy only.

Rules:

- recall and precision are per window, their macro means over the classes, so that no long recording
  counts for more than its class; windows of one recording overlap and are no independent samples;
- how many recordings stand behind each class is always told: it says more than the number of windows;
- a recording the model was trained on is counted as such where the CSV is the one it was trained on.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classifier.manifest import Model, load_weights
from classifier.model import CLASSES, Network
from classifier.recordings import Recording, left_out, read_recordings, windows_of
from mutewatch.errors import InputError, OperatorError


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One class: shares from 0 to 1. None: no window of this class (recall), or never guessed (precision)."""

    name: str
    recordings: int
    windows: int
    recall: float | None
    precision: float | None


@dataclass(frozen=True, slots=True)
class Scores:
    """How guesses compare with labels.

    `macro_recall` is the mean over the classes that have windows, `macro_precision` likewise, where a
    class that was never guessed counts as 0. `confusion`: windows, row = true class, column = guess.
    """

    recordings: int
    windows: int
    macro_recall: float
    macro_precision: float
    classes: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The scores of one model on one CSV."""

    model: str
    csv_sha256: str
    held_out_only: bool
    trained_on: int | None  # of the scored recordings, how many the weights were fitted to; None: another CSV
    scores: Scores

    def to_dict(self) -> dict[str, Any]:
        """Return the evaluation as plain dicts and lists, for JSON."""
        return asdict(self)


def evaluate(csv_path: Path, weights: Path | None = None, *, held_out_only: bool = False) -> Evaluation:
    """Score the model in `weights` (None: the shipped one) on the recordings of the CSV at `csv_path`.

    With `held_out_only`, on the recordings that its training held out; they chose the epoch, so the
    figure is friendly. `ModelError`, `InputError` or `OperatorError` say what cannot be done.
    """
    model = load_weights(weights)
    file = read_recordings(csv_path)
    is_training_csv = file.sha256 == model.manifest.training.csv_sha256
    recordings = file.recordings
    if held_out_only:
        if not is_training_csv:
            raise OperatorError(f"{csv_path}: not the CSV this model was trained on; score all recordings")
        recordings = tuple(r for r in recordings if r.name in model.manifest.training.held_out)
    fitted = sum(_was_fitted(model, r) for r in recordings) if is_training_csv else None
    length = model.manifest.window_length
    if not len(windows_of(recordings, length).labels):
        raise InputError(csv_path, f"no recording of {length} successive minutes to score")
    scores = score(model.network, recordings, length)
    return Evaluation(model.manifest.model_id, file.sha256, held_out_only, fitted, scores)


def score(network: Network, recordings: tuple[Recording, ...], length: int) -> Scores:
    """Return how `network` does on all windows of `recordings`, which hold at least one."""
    windows = windows_of(recordings, length)
    guessed = network.logits(windows.values).argmax(axis=1)  # (n,)
    counts = {name: sum(r.activity == name for r in recordings) for name in CLASSES}
    return tally(windows.labels, guessed, counts)


def tally(labels: NDArray[np.int64], guessed: NDArray[np.int64], recordings: dict[str, int]) -> Scores:
    """Return the scores of `guessed` against `labels`, both (n,) indices into CLASSES, n >= 1."""
    confusion = np.zeros((len(CLASSES), len(CLASSES)), dtype=np.int64)
    np.add.at(confusion, (labels, guessed), 1)
    hits, per_label, per_guess = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    classes = tuple(
        ClassScore(
            name=name,
            recordings=recordings[name],
            windows=int(per_label[i]),
            recall=_share(hits[i], per_label[i]),
            precision=_share(hits[i], per_guess[i]),
        )
        for i, name in enumerate(CLASSES)
    )
    present = [c for c in classes if c.windows]
    return Scores(
        recordings=sum(recordings.values()),
        windows=len(labels),
        macro_recall=_mean([c.recall for c in present]),
        macro_precision=_mean([c.precision for c in present]),
        classes=classes,
        confusion=tuple(tuple(int(n) for n in row) for row in confusion),
    )


def render_evaluation(evaluation: Evaluation) -> str:
    """Return `evaluation` as plain text of at most 80 columns."""
    scores = evaluation.scores
    lines = [
        f"model      {evaluation.model}",
        f"data       {scores.recordings} recordings, {scores.windows:,} windows, "
        f"CSV SHA-256 {evaluation.csv_sha256[:12]}",
        f"scored     {_what_was_scored(evaluation)}",
        f"macro      recall {_percent(scores.macro_recall)}, precision {_percent(scores.macro_precision)}"
        f"  (%; one class in six by chance: 16.7)",
        "",
        "class     recordings  windows  recall  precision",
    ]
    lines += [
        f"{c.name:<9}{c.recordings:>11}{c.windows:>9}{_percent(c.recall):>8}{_percent(c.precision):>11}"
        for c in scores.classes
    ]
    lines += ["", "windows by true class (row) and guess (column)"]
    lines += [" " * 9 + "".join(f"{name:>10}" for name in CLASSES)]
    lines += [
        f"{name:<9}" + "".join(f"{count:>10}" for count in row)
        for name, row in zip(CLASSES, scores.confusion, strict=True)
    ]
    return "\n".join(lines)


def _was_fitted(model: Model, recording: Recording) -> bool:
    return recording.name not in model.manifest.training.held_out and left_out(recording) is None


def _what_was_scored(evaluation: Evaluation) -> str:
    if evaluation.held_out_only:
        return "recordings held out of training; they chose the epoch"
    if evaluation.trained_on is None:
        return "all recordings; not the CSV this model was trained on"
    return f"all recordings; {evaluation.trained_on} of them the model was trained on"


def _share(part: np.int64, whole: np.int64) -> float | None:
    return float(part / whole) if whole else None


def _mean(shares: list[float | None]) -> float:
    return sum(share or 0.0 for share in shares) / len(shares)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"
