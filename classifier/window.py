"""From the time-stamped minutes of one call to the window a model reads, or the reason why there is none.

NumPy only. What a window sounds like is the model's business; which minutes there are is the pipeline's: it
keeps the minutes of each call and passes the last of them, so nothing is buffered here. Rules:

- a reading is a minute whose report carries all three gains; anything else is a missing minute;
- a window holds real readings only: a missing minute is skipped, never filled with an invented value.
  The paper's windows were cut from such sequences of records too, gaps and all;
- gaps are measured on the clock, between the starts of neighbouring readings;
- the longest window is taken that has its readings and not too many gaps: seven minutes, else the last three;
- a reading outside what was ever measured, or out of order in itself, is no material for a guess;
- the order and the repetition of the minutes change nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mutewatch.records import AudioReport, Role

Float32 = NDArray[np.float32]
Gains = tuple[float, float, float]  # max, mean, min

_MAX, _MEAN, _MIN = (
    Role.MAX_GAIN,
    Role.MEAN_GAIN,
    Role.MIN_GAIN,
)  # looked up here: this runs for every minute of a guess

NEXT_MINUTE = timedelta(seconds=90)  # rounded to whole minutes, less than this is the minute after
MINUTE_SECONDS = 60  # observed: 59.99 to 60.03 s from one Webex interval to the next, 617 pairs
# Gains seen in the 12,130 minutes of the paper's recordings (its development set alone: 6 to 55).
GAIN_RANGE = (4.0, 55.0)
OUTSIDE = "values outside what the model was trained on (4 to 55, max >= mean >= min)"


@dataclass(frozen=True, slots=True)
class GapPolicy:
    """Which minutes may stand side by side in one window. A changed value raises `version`.

    Origin of the defaults: `lengths` PETS'22, 5.3.2 (3 and 7 of its four). In a real muted log of 1,241
    minutes a strict rule without gaps loses 36 % of the windows of seven, so one missing minute is let pass;
    a longer silence than 3 minutes between two readings is taken for a new situation. Measured with that
    log's gaps: docs/classifier.md.
    """

    version: int = 2
    lengths: tuple[int, ...] = (7, 3)  # readings in a window, the preferred first
    missing_tolerated: int = 1  # minutes missing between the first and the last reading of a window
    reset_after_minutes: int = 3  # from one reading to the next; more than this, and counting starts again

    @property
    def horizon(self) -> int:
        """How many minutes back a window can reach, the missing ones included."""
        return max(self.lengths) + self.missing_tolerated


GAP_POLICY = GapPolicy()


class Reading(NamedTuple):
    """One minute that carried the three gains, as the client reported them."""

    starts_at: datetime
    ends_at: datetime
    gains: Gains


class Window(NamedTuple):
    """The last readings of one call, oldest first, and whether a model may read them.

    `values` is float32, shape (length, 3): max, mean, min gain as reported (dB-like, high means quiet;
    4 to 55 where trained), the length one of the policy's. It is None if `reason` says why there is no window.
    """

    readings: tuple[Reading, ...]
    minutes_missing: int  # between the first and the last reading
    values: Float32 | None
    reason: str | None


def gains_of(report: AudioReport) -> Gains | None:
    """Return max, mean, min gain of `report` by role; None if it lacks one of them."""
    highest = mean = lowest = None
    for value in report.values:
        role = value.role
        if role is _MAX:
            highest = value.value
        elif role is _MEAN:
            mean = value.value
        elif role is _MIN:
            lowest = value.value
    return None if highest is None or mean is None or lowest is None else (highest, mean, lowest)


def is_plausible(gains: Gains) -> bool:
    """Are these gains finite, within `GAIN_RANGE` and max >= mean >= min, as all measured ones were?"""
    highest, mean, lowest = gains
    return GAIN_RANGE[0] <= lowest <= mean <= highest <= GAIN_RANGE[1]  # false for NaN and infinity


def is_readable(windows: Float32) -> NDArray[np.bool_]:
    """Return which of `windows`, (n, length, 3), hold plausible gains only: (n,)."""
    falling = (windows[:, :, :-1] >= windows[:, :, 1:]).all(axis=(1, 2))
    return np.asarray(
        falling & (windows[:, :, 0] <= GAIN_RANGE[1]).all(axis=1) & (windows[:, :, 2] >= GAIN_RANGE[0]).all(axis=1)
    )


def window_of(reports: Sequence[AudioReport], policy: GapPolicy = GAP_POLICY) -> Window:
    """Return the window that ends with the last of `reports`, those of one call, or why there is none."""
    return last_windows(reports, 1, policy)[-1]


def last_windows(reports: Sequence[AudioReport], count: int, policy: GapPolicy = GAP_POLICY) -> list[Window]:
    """Return the windows that end with the last readings of `reports`, at most `count`, oldest first; at least one.

    None but the last reaches back over a reset. The last is that of `window_of`.
    """
    readings = _readings(reports)
    if not readings:
        return [Window((), 0, None, "no minute carries the three gains")]
    run = _last_run(readings[-(max(policy.lengths) + count - 1) :], policy)
    return [run.window(end, policy) for end in range(max(1, len(run.readings) - count + 1), len(run.readings) + 1)]


@dataclass(frozen=True, slots=True)
class _Run:
    """Readings with no reset between them, oldest first, and how many minutes are missing right before each."""

    readings: tuple[Reading, ...]
    missing: list[int]
    after_gap: int  # minutes from the reading before the first, where that gap caused a reset; else 0
    plausible: list[bool]
    values: Float32  # (readings, 3)

    def window(self, end: int, policy: GapPolicy) -> Window:
        """Return the longest window that ends before the reading `end`, or why there is none."""
        reach = max(0, end - max(policy.lengths))
        if not all(self.plausible[reach:end]):
            return self._refused(reach, end, OUTSIDE)
        for length in policy.lengths:
            start = end - length
            if start >= 0 and sum(self.missing[start + 1 : end]) <= policy.missing_tolerated:
                missing = sum(self.missing[start + 1 : end])
                return Window(self.readings[start:end], missing, self.values[start:end], None)
        shortest = min(policy.lengths)
        if end < shortest:
            after = f" after a gap of {self.after_gap} minutes" if self.after_gap else ""
            return self._refused(0, end, f"warming up: {end} of {shortest} minutes{after}")
        missing = sum(self.missing[end - shortest + 1 : end])
        reason = f"gap: {missing} minutes missing between the last {shortest} readings"
        return self._refused(end - shortest, end, f"{reason}, at most {policy.missing_tolerated} tolerated")

    def _refused(self, start: int, end: int, reason: str) -> Window:
        return Window(self.readings[start:end], sum(self.missing[start + 1 : end]), None, reason)


def _readings(reports: Sequence[AudioReport]) -> list[Reading]:
    """Return the readings, oldest first, one for each start."""
    readings = [Reading(one.starts_at, one.ends_at, gains) for one in reports if (gains := gains_of(one)) is not None]
    if all(earlier.starts_at < later.starts_at for earlier, later in pairwise(readings)):
        return readings
    return [one for _, one in sorted({reading.starts_at: reading for reading in readings}.items())]


def _last_run(readings: Sequence[Reading], policy: GapPolicy) -> _Run:
    """Return those of `readings` that come after the last reset."""
    start, after_gap, missing = 0, 0, [0]
    for i, (earlier, later) in enumerate(pairwise(readings), start=1):
        between = later.starts_at - earlier.starts_at
        if between < NEXT_MINUTE:
            missing.append(0)
            continue
        step = round(between.total_seconds() / MINUTE_SECONDS)
        if step > policy.reset_after_minutes:
            start, after_gap, missing = i, step, [0]
        else:
            missing.append(step - 1)
    kept = tuple(readings[start:])
    plausible = [is_plausible(reading.gains) for reading in kept]
    unreadable = (0.0, 0.0, 0.0)  # any number may be reported; only plausible ones are sure to fit
    rows = [reading.gains if fits else unreadable for reading, fits in zip(kept, plausible, strict=True)]
    return _Run(kept, missing, after_gap, plausible, values=np.array(rows, dtype=np.float32))
