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


LABEL: Final = Said(Answer.LABEL, None)
DECLINED: Final = (  # in the order in which they are asked
    Said(Answer.INVALID, "the model's scores are not finite"),
    Said(Answer.QUIET, "quiet: near silence, or soft typing or eating"),
    Said(Answer.STILL, "still: the values hardly moved, as no sound in a room"),
    Said(Answer.UNFAMILIAR, "unfamiliar: unlike every recording that the model was trained on"),
)


def answers(windows: Float32, shares: Float32, familiarity: Familiarity) -> list[Said]:
    """Return what may be said of each of `windows`, (n, length, 3); `shares`: (n, classes), rows that sum to 1."""
    spread = (windows[:, :, 0] - windows[:, :, 2]).mean(axis=1)  # (n,)
    against = (
        ~np.isfinite(shares).all(axis=1),  # weights can be finite and still overflow
        (spread <= QUIET_SPREAD) & (windows[:, :, 1].mean(axis=1) >= QUIET_LEVEL),
        windows.std(axis=1).sum(axis=1) < STILL,
        familiarity.distance(windows) > 1,
        np.ones(len(windows), dtype=np.bool_),
    )
    which = np.argmax(against, axis=0).tolist()  # the first that holds
    highest = np.argsort(-shares, axis=1, kind="stable")[:, :2]
    tops = zip(which, highest.tolist(), np.take_along_axis(shares, highest, axis=1).tolist(), strict=True)
    return [DECLINED[i] if i < len(DECLINED) else _told(names, parts) for i, names, parts in tops]


def _told(highest: list[int], shares: list[float]) -> Said:
    """`highest`: the two most probable classes; `shares`: their probabilities."""
    if shares[0] >= CERTAIN:
        return LABEL
    both = ", ".join(f"{CLASSES[i]} {share:.0%}" for i, share in zip(highest, shares, strict=True))
    return Said(Answer.UNCERTAIN, f"uncertain: {both}")
