"""From the time-stamped minutes of one call to the window a model reads, or the reason why there is none.

NumPy only. What a window sounds like is the model's business; which minutes there are is the pipeline's: it
keeps the minutes of each call and passes the last of them, so nothing is buffered here. Rules:

- a reading is a minute whose report carries all three gains; anything else is a missing minute;
- a window holds real readings only: a missing minute is skipped, never filled with an invented value.
  The paper's windows were cut from such sequences of records too, gaps and all;
- gaps are measured on the clock, between the starts of neighbouring readings;
- a reading outside what was ever measured, or out of order in itself, is no material for a guess;
- the order and the repetition of the minutes change nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from mutewatch.records import ClientMinute, Role

Float32 = NDArray[np.float32]
Gains = tuple[float, float, float]  # max, mean, min

MINUTE_SECONDS = 60  # observed: 59.99 to 60.03 s from one Webex interval to the next, 617 pairs
ROLES = (Role.MAX_GAIN, Role.MEAN_GAIN, Role.MIN_GAIN)  # the order of the columns
# Gains seen in the 12,130 minutes of the paper's recordings (its development set alone: 6 to 55).
GAIN_RANGE = (4.0, 55.0)
OUTSIDE = "values outside what the model was trained on (4 to 55, max >= mean >= min)"


@dataclass(frozen=True, slots=True)
class GapPolicy:
    """Which minutes may stand side by side in one window. A changed value raises `version`.

    Origin of the defaults: `length` PETS'22, 5.3.2 (n = 7). In a real muted log of 1,241 minutes a
    strict rule without gaps loses 36 % of the windows, so one missing minute is let pass; a longer
    silence than 3 minutes between two readings is taken for a new situation (chosen, not measured).
    """

    version: int = 1
    length: int = 7  # readings in a window
    missing_tolerated: int = 1  # minutes missing between the first and the last reading of a window
    reset_after_minutes: int = 3  # from one reading to the next; more than this, and counting starts again

    @property
    def horizon(self) -> int:
        """How many minutes back a window can reach, the missing ones included."""
        return self.length + self.missing_tolerated


GAP_POLICY = GapPolicy()


@dataclass(frozen=True, slots=True)
class Reading:
    """One minute that carried the three gains, as the client reported them."""

    starts_at: datetime
    ends_at: datetime
    gains: Gains


@dataclass(frozen=True, slots=True)
class Window:
    """The last readings of one call, at most `length`, oldest first, and whether a model may read them.

    `values` is float32, shape (length, 3): max, mean, min gain as reported (dB-like, high means quiet;
    4 to 55 where trained). It is None if `reason` says why there is no window yet.
    """

    readings: tuple[Reading, ...]
    minutes_missing: int  # between the first and the last reading
    values: Float32 | None
    reason: str | None


def gains_of(minute: ClientMinute) -> Gains | None:
    """Return max, mean, min gain of `minute` by role; None if it was not seen or lacks one of them."""
    if minute.report is None:
        return None
    by_role = {value.role: value.value for value in minute.report.values}
    found = tuple(by_role[role] for role in ROLES if role in by_role)
    return (found[0], found[1], found[2]) if len(found) == len(ROLES) else None


def is_plausible(gains: Gains) -> bool:
    """Are these gains finite, within `GAIN_RANGE` and max >= mean >= min, as all measured ones were?"""
    highest, mean, lowest = gains
    return GAIN_RANGE[0] <= lowest <= mean <= highest <= GAIN_RANGE[1]  # false for NaN and infinity


def window_of(minutes: Sequence[ClientMinute], policy: GapPolicy = GAP_POLICY) -> Window:
    """Return the window that ends with the last of `minutes`, or why there is none.

    `minutes` are of one client, call and signature; those not seen (`report` None) may be left out,
    except the last: a minute that was not seen has no window.
    """
    ordered = _in_order(minutes)
    if not ordered or gains_of(ordered[-1]) is None:
        return Window((), 0, None, "this minute was not seen")
    readings, missing, after_gap = _last_readings(ordered, policy)
    if not all(is_plausible(reading.gains) for reading in readings):
        return Window(readings, missing, None, OUTSIDE)
    if missing > policy.missing_tolerated:
        reason = f"gap: {missing} minutes missing between the last {len(readings)} readings"
        return Window(readings, missing, None, f"{reason}, at most {policy.missing_tolerated} tolerated")
    if len(readings) < policy.length:
        reason = f"warming up: {len(readings)} of {policy.length} minutes"
        return Window(
            readings, missing, None, reason + (f" after a gap of {after_gap} minutes" if after_gap else "")
        )
    return Window(readings, missing, np.array([r.gains for r in readings], dtype=np.float32), None)  # (n, 3)


def _in_order(minutes: Sequence[ClientMinute]) -> list[ClientMinute]:
    """Return `minutes` oldest first, one for each start; a minute that was seen wins over its absence."""
    known: dict[datetime, ClientMinute] = {}
    for minute in minutes:
        if minute.starts_at not in known or gains_of(minute) is not None:
            known[minute.starts_at] = minute
    return [known[start] for start in sorted(known)]


def _last_readings(ordered: list[ClientMinute], policy: GapPolicy) -> tuple[tuple[Reading, ...], int, int]:
    """Return the last readings up to the window's length or a reset, the minutes missing between them,
    and the length in minutes of the gap that caused the reset (0: none)."""
    newest_first: list[Reading] = []
    missing = 0
    for minute in reversed(ordered):
        gains = gains_of(minute)
        if gains is None:
            continue
        if newest_first:
            step = _minutes_between(minute.starts_at, newest_first[-1].starts_at)
            if step > policy.reset_after_minutes:
                return tuple(reversed(newest_first)), missing, step
            missing += max(step - 1, 0)
        newest_first.append(Reading(minute.starts_at, minute.ends_at, gains))
        if len(newest_first) == policy.length:
            break
    return tuple(reversed(newest_first)), missing, 0


def _minutes_between(earlier: datetime, later: datetime) -> int:
    return round((later - earlier).total_seconds() / MINUTE_SECONDS)
