"""Puts fields that come together on one grid of time: `panels`.

A panel is what one client sent on one route in one rhythm. Its rows are bins as wide as the rhythm, so that a message
falls at the end of its bin and tells of the time in it. A running total becomes what it grew by from bin to bin, beside
the total itself. In a report that leaves out what has not changed (`_is_delta`), what is left out has not changed.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mutewatch.discover.gather import Gatherer, Route, Series, Stream, report_of
from mutewatch.discover.limits import DEFAULT_DISCOVER_LIMITS, DiscoverLimits
from mutewatch.discover.place import Place

Array = npt.NDArray[np.float64]

MIN_READINGS = 8  # of a field; with fewer nothing can be said
_SAME_RHYTHM = 1.5  # periods that differ by less are one
_SHORTEST_BIN = 1.0  # seconds
_LATE = 0.05  # by how much of it the usual gap may be off
_LONGEST_PAUSE = 10  # bins; what is longer, a night or a clock that was wrong, must not make all bins wide
_DELTA_REPEATS, _DELTA_ABSENCES = 0.01, 0.1


@dataclass(frozen=True, slots=True)
class Column:
    """One field on the grid of its panel. `values`: NaN where there is none."""

    place: Place
    values: Array
    readings: int
    is_growth: bool  # of a running total: what it grew by


@dataclass(frozen=True, slots=True)
class Panel:
    client: str
    route: Route
    period: float  # seconds
    ends: Array  # of each bin, in seconds since 1970
    columns: tuple[Column, ...]


def panels(gatherer: Gatherer, limits: DiscoverLimits = DEFAULT_DISCOVER_LIMITS) -> Iterator[Panel]:
    """Yield the panels of all streams; fields that do not vary, or came too seldom, are in none."""
    found = 0
    for (client, route), stream in sorted(gatherer.streams.items()):
        varying = {
            place: series
            for place, series in stream.fields.items()
            if len(series.values) >= MIN_READINGS and min(series.values) < max(series.values)
        }
        for period, places in _rhythms(varying):
            found += 1
            if found > limits.panels:
                gatherer.left.panels += 1
                continue
            yield _panel(client, route, period, stream, places, limits)


def _rhythms(fields: dict[Place, Series]) -> Iterator[tuple[float, list[Place]]]:
    """Yield each rhythm with the fields that have it, the fastest first."""
    by_report: dict[Place, list[Place]] = {}
    for place in fields:
        by_report.setdefault(report_of(place), []).append(place)
    rhythms = [(_period(fields[place].times for place in places), places) for places in by_report.values()]
    group: list[Place] = []
    shortest = 0.0
    for period, places in sorted(rhythms):
        if group and period > shortest * _SAME_RHYTHM:
            yield shortest, group
            group = []
        if not group:
            shortest = period
        group = group + places
    if group:
        yield shortest, group


def _period(times: Iterable[Iterable[float]]) -> float:
    """Return the usual time from one moment to the next, at least a second."""
    moments = np.unique(np.concatenate([np.asarray(one) for one in times]))
    gaps = np.diff(moments)
    gaps = gaps[gaps > _SHORTEST_BIN / 4]
    return max(float(np.median(gaps)), _SHORTEST_BIN) if gaps.size else _SHORTEST_BIN


def _panel(
    client: str, route: Route, period: float, stream: Stream, places: list[Place], limits: DiscoverLimits
) -> Panel:
    moments = np.unique(np.concatenate([np.asarray(stream.fields[place].times) for place in places]))
    left_out = _left_out(moments, period)
    closed = moments - left_out
    period = max(_beat(closed, period), (closed[-1] - closed[0]) / limits.bins)
    phase = _phase(closed, period)
    first = round((closed[0] - phase) / period)
    count = round((closed[-1] - phase) / period) - first + 1
    ends = phase + (first + np.arange(count)) * period
    ends += left_out[np.maximum(np.searchsorted(closed, ends + period / 2) - 1, 0)]
    came = _binned(np.rint((closed - phase) / period).astype(int) - first, moments - moments[0], count)
    ends = np.where(np.isfinite(came), moments[0] + came, ends)  # a client's beat is not quite regular
    grids: dict[Place, tuple[Array, int]] = {}
    for place in places:
        series = stream.fields[place]
        times = np.asarray(series.times)
        times = times - left_out[np.searchsorted(moments, times)]
        bins = np.rint((times - phase) / period).astype(int) - first
        grids[place] = (_binned(bins, np.asarray(series.values), count), len(series.values))
    filled = _carried(grids)
    columns = [column for place, (grid, number) in filled.items() for column in _columns(place, grid, number)]
    return Panel(client, route, period, ends, tuple(columns))


def _beat(moments: Array, period: float) -> float:
    """Return the period more exactly: so many beats in so much time. A usual gap is off by what messages are late."""
    beats = np.concatenate(([0.0], np.cumsum(np.rint(np.diff(moments) / period))))
    if period <= _SHORTEST_BIN or beats[-1] < MIN_READINGS:
        return period
    beat = round(float(np.polyfit(beats, moments - moments[0], 1)[0]), 6)
    return beat if abs(beat / period - 1) < _LATE else period


def _left_out(moments: Array, period: float) -> Array:
    """Return for each moment how much of the time before it is left out: what a pause has beyond `_LONGEST_PAUSE`."""
    beyond = np.maximum(np.diff(moments) - _LONGEST_PAUSE * period, 0)
    return np.concatenate(([0.0], np.cumsum(np.floor(beyond / period) * period)))


def _phase(moments: Array, period: float) -> float:
    """Return the moment of the rhythm's beat after which messages come, as an offset of a multiple of the period."""
    angles = np.exp(2j * np.pi * moments / period)
    return float(np.angle(angles.mean()) / (2 * np.pi) * period)


def _binned(bins: npt.NDArray[np.int_], values: Array, count: int) -> Array:
    """Return the mean of the values in each bin, NaN in an empty one."""
    numbers = np.bincount(bins, minlength=count)
    with np.errstate(invalid="ignore", over="ignore"):
        binned: Array = np.bincount(bins, weights=values, minlength=count) / numbers
    return binned


def _carried(grids: dict[Place, tuple[Array, int]]) -> dict[Place, tuple[Array, int]]:
    """Return the grids with what delta-compressed reports leave out."""
    by_report: dict[Place, list[Place]] = {}
    for place in grids:
        by_report.setdefault(report_of(place), []).append(place)
    filled: dict[Place, tuple[Array, int]] = {}
    for places in by_report.values():
        rows = np.array([grids[place][0] for place in places])
        if _is_delta(rows):
            rows = _forward(rows)
        filled |= {place: (row, grids[place][1]) for place, row in zip(places, rows, strict=True)}
    return filled


def _is_delta(rows: Array) -> bool:
    """Does a report leave out what has not changed? Then values are missing, and what is there is never a repeat."""
    is_sent = np.isfinite(rows)
    reports = is_sent.any(axis=0)
    absences = 1 - is_sent[:, reports].mean()
    repeats = present = 0
    for row in rows:
        values = row[np.isfinite(row)]
        repeats += int((np.diff(values) == 0).sum())
        present += max(values.size - 1, 0)
    return bool(absences > _DELTA_ABSENCES and repeats <= _DELTA_REPEATS * present)


def _forward(rows: Array) -> Array:
    """Return the rows with the last value in the place of a missing one, where there was a report at all."""
    is_sent = np.isfinite(rows)
    last = np.maximum.accumulate(np.where(is_sent, np.arange(rows.shape[1]), -1), axis=1)
    filled = np.where(last >= 0, np.take_along_axis(rows, np.maximum(last, 0), axis=1), np.nan)
    filled[:, ~is_sent.any(axis=0)] = np.nan
    return filled


def _columns(place: Place, grid: Array, readings: int) -> Iterator[Column]:
    """Yield a field as it is, and of a running total also its growth."""
    yield Column(place, grid, readings, is_growth=False)
    if _is_total(grid):
        growth = np.full_like(grid, np.nan)
        growth[1:] = np.diff(grid)
        growth[growth < 0] = np.nan  # it began anew
        if np.isfinite(growth).sum() >= MIN_READINGS and np.nanmin(growth) < np.nanmax(growth):
            yield Column(place, growth, readings, is_growth=True)


def _is_total(grid: Array) -> bool:
    """Does it only ever grow, but for beginning anew (each time it falls, to less than a tenth)?"""
    values = grid[np.isfinite(grid)]
    steps = np.diff(values)
    falls = steps < 0
    restarts = falls & (values[1:] < 0.1 * values[:-1])
    if np.unique(values).size < MIN_READINGS:  # a state that has changed, not a count
        return False
    return bool(values[0] >= 0 and (falls == restarts).all() and falls.sum() * 10 <= len(steps))
