"""What may be said of a window, in this order: quiet, unfamiliar, uncertain, or a label. NumPy only.

What comes before (no gains, values out of range, too few minutes) is `window.py`'s business. Rules:

- quiet: the three gains are close together and high, as they are when the microphone hears next to nothing.
  A person typing softly or eating is quiet too, so it is told as what it is: no activity;
- still: hardly anything moved over the whole window; sound in a room never is like that for long;
- unfamiliar: farther from every activity than the training windows are;
- uncertain: the highest probability is below `CERTAIN`; the two highest are shown;
- a probability never overrules a gate.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from classifier.familiarity import Familiarity
from classifier.model import CLASSES
from classifier.window import Float32

# Observed: all windows of seven minutes of punk_music2, near silence, have a spread of at most 8.0 and a mean gain
# of 33 and more; so have 2.9 % of all other windows, nearly all of them of soft typing.
QUIET_SPREAD: Final = 8.0  # dB-like: mean over the window of max gain - min gain
QUIET_LEVEL: Final = 32.0  # dB-like: mean gain
# Observed: the three standard deviations of a window add up to less in 0.5 % of the windows of seven minutes, and in
# 5 % of those of three.
STILL: Final = 1.0  # dB-like
CERTAIN: Final = 0.7  # highest probability from which a label is told alone


class Answer(StrEnum):
    """What is said of a window whose values can be read."""

    INVALID = "invalid"
    QUIET = "quiet"
    STILL = "still"
    UNFAMILIAR = "unfamiliar"
    UNCERTAIN = "uncertain"
    LABEL = "label"


@dataclass(frozen=True, slots=True)
class Said:
    """The answer to one window, and its sentence; none for a label."""

    answer: Answer
    reason: str | None


def answers(windows: Float32, shares: Float32, familiarity: Familiarity) -> list[Said]:
    """Return what may be said of each of `windows`, (n, length, 3); `shares`: (n, classes), rows that sum to 1."""
    spread = (windows[:, :, 0] - windows[:, :, 2]).mean(axis=1)  # (n,)
    is_quiet = (spread <= QUIET_SPREAD) & (windows[:, :, 1].mean(axis=1) >= QUIET_LEVEL)
    is_still = windows.std(axis=1).sum(axis=1) < STILL
    distances = familiarity.distance(windows)
    rows = zip(is_quiet, is_still, distances, shares, strict=True)
    return [_answer(bool(quiet), bool(still), float(distance), row) for quiet, still, distance, row in rows]


def _answer(is_quiet: bool, is_still: bool, distance: float, shares: Float32) -> Said:
    if not np.isfinite(shares).all():  # weights can be finite and still overflow
        return Said(Answer.INVALID, "the model's scores are not finite")
    if is_quiet:
        return Said(Answer.QUIET, "quiet: near silence, or soft typing or eating")
    if is_still:
        return Said(Answer.STILL, "still: the values hardly moved, as no sound in a room")
    if distance > 1:
        return Said(Answer.UNFAMILIAR, "unfamiliar: unlike every recording that the model was trained on")
    first, second = (int(i) for i in np.argsort(-shares, kind="stable")[:2])
    if shares[first] < CERTAIN:
        both = f"{CLASSES[first]} {shares[first]:.0%}, {CLASSES[second]} {shares[second]:.0%}"
        return Said(Answer.UNCERTAIN, f"uncertain: {both}")
    return Said(Answer.LABEL, None)
