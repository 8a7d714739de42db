"""How guesses compare with labels: recall, precision, intervals, calibration, coverage. NumPy only.

Rules:

- recall and precision are per window, their macro means over the classes, so that no long recording
  counts for more than its class; windows of one recording overlap and are no independent samples;
- so intervals resample recordings, not windows; where a class has one recording only, half hours of it;
- with five classes, cooking and keyboard are one: quiet hand work near the microphone;
- which recordings and videos stand behind each class is always told: it says more than any count of windows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from classifier.model import CLASSES, Int64
from classifier.recordings import Windows
from classifier.window import Float32

MERGED: Final = {"cooking": "keyboard"}  # the five classes: the first is told as the second
BLOCK_MINUTES: Final = 30  # resampled together where a class has a single recording
DRAWS: Final = 2_000
INTERVAL: Final = (2.5, 97.5)  # percentiles
BINS: Final = 15  # of confidence, for the expected calibration error; Guo et al., 2017
CONFIDENCES: Final = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One class: shares from 0 to 1. None: no window of this class (recall), or never guessed (precision)."""

    name: str
    recordings: int
    videos: tuple[str, ...]
    windows: int
    recall: float | None
    precision: float | None


@dataclass(frozen=True, slots=True)
class Scores:
    """`macro_recall` is the mean over the classes that have windows, `macro_precision` likewise, where a
    class that was never guessed counts as 0. `confusion`: windows, row = true class, column = guess."""

    macro_recall: float
    macro_precision: float
    classes: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Spread:
    """Something measured once per seed. `sd` is the sample's, 0 for a single value."""

    mean: float
    sd: float
    min: float
    max: float
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Calibration:
    """Expected calibration error, and accuracy against confidence in bins that hold windows."""

    ece: float
    bins: tuple[tuple[float, float, int], ...]  # mean confidence, accuracy, windows


@dataclass(frozen=True, slots=True)
class Coverage:
    """Which share of windows has at least this confidence, and how many of those are right (None: no window)."""

    confidence: float
    coverage: float
    accuracy: float | None


def tally(windows: Windows, guessed: Int64, *, merged: bool = False) -> Scores:
    """Return the scores of `guessed`, (n,) indices into CLASSES, n >= 1; with `merged`, for five classes."""
    names = [name for name in CLASSES if not merged or name not in MERGED]
    index = _class_index(merged)
    labels, guesses = index[windows.labels], index[guessed]
    confusion = np.zeros((len(names), len(names)), dtype=np.int64)
    np.add.at(confusion, (labels, guesses), 1)
    hits, per_label, per_guess = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    classes = []
    for i, name in enumerate(names):
        behind = [windows.recordings[owner] for owner in np.unique(windows.owners[labels == i])]
        recall, precision = _share(hits[i], per_label[i]), _share(hits[i], per_guess[i])
        videos = tuple(sorted({recording.video for recording in behind}))
        classes.append(ClassScore(name, len(behind), videos, int(per_label[i]), recall, precision))
    present = [c for c in classes if c.windows]
    return Scores(
        macro_recall=_mean([c.recall for c in present]),
        macro_precision=_mean([c.precision for c in present]),
        classes=tuple(classes),
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
    )


def macro_recall(windows: Windows, guessed: Int64, *, merged: bool = False) -> float:
    return tally(windows, guessed, merged=merged).macro_recall


def spread(values: Sequence[float]) -> Spread:
    """Return mean, standard deviation and range of `values`, at least one."""
    array = np.array(values, dtype=np.float64)
    sd = float(array.std(ddof=1)) if len(array) > 1 else 0.0
    return Spread(float(array.mean()), sd, float(array.min()), float(array.max()), tuple(map(float, array)))


def interval(windows: Windows, guessed: Int64, *, merged: bool = False, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of macro recall: recordings (or half hours) drawn anew in each class."""
    index = _class_index(merged)
    labels, is_hit = index[windows.labels], index[windows.labels] == index[guessed]
    chance = np.random.default_rng(seed)
    recalls = []
    for label in np.unique(labels):
        groups = _groups(windows.owners[labels == label])
        hits = np.bincount(groups, weights=is_hit[labels == label])  # (groups,)
        sizes = np.bincount(groups)
        drawn = chance.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), size=DRAWS)  # (draws, groups)
        recalls.append(drawn @ hits / (drawn @ sizes))
    low, high = np.percentile(np.mean(recalls, axis=0), INTERVAL)
    return float(low), float(high)


def calibration(labels: Int64, shares: Float32) -> Calibration:
    """Return how confidence and accuracy agree; `shares`: (n, classes), rows that sum to 1, n >= 1."""
    confidence, is_right = shares.max(axis=1), shares.argmax(axis=1) == labels
    number = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    bins = []
    for i in np.unique(number):
        chosen = number == i
        bins.append((float(confidence[chosen].mean()), float(is_right[chosen].mean()), int(chosen.sum())))
    ece = sum(abs(told - right) * count for told, right, count in bins) / len(labels)
    return Calibration(ece, tuple(bins))


def coverage(labels: Int64, shares: Float32) -> tuple[Coverage, ...]:
    """Return coverage against accuracy at each of CONFIDENCES."""
    confidence, is_right = shares.max(axis=1), shares.argmax(axis=1) == labels
    kept = [confidence >= least for least in CONFIDENCES]
    return tuple(
        Coverage(least, float(chosen.mean()), float(is_right[chosen].mean()) if chosen.any() else None)
        for least, chosen in zip(CONFIDENCES, kept, strict=True)
    )


def runs(owners: Int64) -> Iterator[slice]:
    """Yield the windows of each recording, which stand side by side, as slices."""
    starts = [int(start) for start in np.flatnonzero(np.diff(owners, prepend=-1))]
    return map(slice, starts, [*starts[1:], len(owners)])


def _class_index(merged: bool) -> Int64:
    """Return class index to index told."""
    names = [name for name in CLASSES if not merged or name not in MERGED]
    return np.array([names.index(MERGED.get(name, name) if merged else name) for name in CLASSES], dtype=np.int64)


def _groups(owners: Int64) -> Int64:
    """Return what is drawn together, numbered from 0: recordings, or blocks of the only one."""
    if len(np.unique(owners)) > 1:
        return np.unique(owners, return_inverse=True)[1].astype(np.int64)
    return np.arange(len(owners), dtype=np.int64) // BLOCK_MINUTES


def _share(part: np.int64, whole: np.int64) -> float | None:
    return float(part / whole) if whole else None


def _mean(shares: list[float | None]) -> float:
    return sum(share or 0.0 for share in shares) / len(shares)
