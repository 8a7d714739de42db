"""A set of times as runs: what lies no further apart than `gap` is one run, in whatever order it came."""

from bisect import bisect_left, bisect_right
from datetime import datetime, timedelta


class Runs:
    """Holds at most `limit` runs; the oldest is forgotten."""

    __slots__ = ("_gap", "_limit", "_runs")

    def __init__(self, gap: timedelta, limit: int) -> None:
        self._gap, self._limit = gap, limit
        self._runs: list[tuple[datetime, datetime]] = []  # first and last of each, in order

    @property
    def first(self) -> datetime:
        return self._runs[0][0]

    @property
    def last(self) -> datetime:
        return self._runs[-1][1]

    def __bool__(self) -> bool:
        return bool(self._runs)

    def __contains__(self, time: datetime) -> bool:
        position = bisect_right(self._runs, time, key=_first)
        return position > 0 and time <= self._runs[position - 1][1]

    def add(self, time: datetime) -> None:
        if time in self:
            return
        runs, position = self._runs, bisect_right(self._runs, time, key=_first)
        joins_before = position > 0 and time - runs[position - 1][1] <= self._gap
        joins_after = position < len(runs) and runs[position][0] - time <= self._gap
        first = runs[position - 1][0] if joins_before else time
        last = runs[position][1] if joins_after else time
        runs[position - joins_before : position + joins_after] = [(first, last)]
        del runs[: max(0, len(runs) - self._limit)]

    def meet(self, since: datetime, until: datetime) -> bool:
        """Does a run reach into [since, until)?"""
        position = bisect_left(self._runs, since, key=_last)
        return position < len(self._runs) and self._runs[position][0] < until


def _first(run: tuple[datetime, datetime]) -> datetime:
    return run[0]


def _last(run: tuple[datetime, datetime]) -> datetime:
    return run[1]
