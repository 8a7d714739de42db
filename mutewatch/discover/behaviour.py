"""Scores how much a field behaves like sound, without hearing any: `behaviours`.

Five parts, each from 0 to 1, each told with the result:

- `news`: how much a reading says that the one before did not: entropy of its steps, two bits being plenty. Settings,
  thread counts and states that seldom change have none.
- `steady`: it comes back. What a trend, clock or counter moves is all in one direction.
- `memory`: a room that was loud is likely to be loud still. CPU load, jitter and bit rates, read once a minute, forget.
- `family`: siblings that move with it and keep an order without being far apart, as maximum, mean and minimum do; or
  a companion: one that also has the span of sound, or a total that grows by its square, as energy does by level.
- `span`: between soft and loud lie powers of ten (or it is negative and above -160, as decibels of full scale are).

`news` and `steady` are conditions, so they multiply; a segment test or autocorrelation alone would put first what does
not move at all. The weights were chosen on the first half of the real Webex log and on synthetic getStats reports; what
else they were tried on is in docs/discover.md.
"""

import re
from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations, permutations, product
from typing import Final

import numpy as np

from mutewatch.discover.panel import MIN_READINGS, Array, Column, Panel

_BITS: Final = 2.0
_MEMORY, _FAMILY, _SPAN, _ALONE = 0.2, 0.45, 0.25, 0.1
_SPAN_FROM, _SPAN_OVER = 20.0, 30.0  # decibels: jitter and round-trip times have up to 20, real levels 50
_LOWEST_DB: Final = -160.0
_LEAP: Final = 3.0  # times the usual step: what is beyond is not counted as a part of a trend
_CHANCE: Final = 2.5  # standard deviations, beyond which one pair of siblings does not agree by chance
_ORDERED, _PARTED = 0.995, 0.8  # share of readings in order, and of those that are not equal
_FAR: Final = 3.0  # times the spread, or the size: two that lie further apart are in order without a reason
_MOST_SIBLINGS = 40
_CREDIT: Final = 0.4  # of a family that has a shape; the rest is how well it moves together
_SQUARES: Final = 0.3, 30.0  # of mean squares: peaks are up to 15 dB above them
_SLOPES: Final = 0.6, 1.5  # between none and twice as steep
_LOUDER: Final = 0.15  # powers of ten: with less between fast and slow nobody can tell how steep
_NOTHING: Final = 1e-9  # -90 dB: below what 16 bits hold
_WORDS: Final = frozenset(
    (
        *("audio", "dbfs", "dbov", "energy", "gain", "level", "levels", "loud", "loudness", "mic", "microphone"),
        *("noise", "rms", "sound", "speech", "vad", "vocal", "voice", "volume"),
    )
)
_TOKEN: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


Three = tuple[int, int, int]  # positions of columns, each above the next


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What speaks for a field, each part from 0 to 1, and in words."""

    news: float
    steady: float
    memory: float
    family: float
    span: float
    is_ordered: bool = False  # its family is three, one above the other
    named: bool = False

    @property
    def score(self) -> float:
        rest = _ALONE + _MEMORY * self.memory + _FAMILY * self.family + _SPAN * self.span
        return self.news * self.steady * rest

    @property
    def why(self) -> str:
        if self.steady < 0.3:
            return "trend or counter"
        if self.news < 0.3:
            return "seldom changes"
        parts = (
            (self.family, "max, mean, min" if self.is_ordered else "moves with siblings"),
            (self.span, "span of sound"),
            (self.memory, "memory"),
        )
        return ", ".join(words for part, words in parts if part >= 0.25) or "noise"


def behaviours(panel: Panel) -> list[Behaviour]:
    """Return the behaviour of each column of `panel`, in their order."""
    spans = [span(column.values) for column in panel.columns]
    families, threes = _families(panel, spans)
    said, steadies = ([part(one.values) for one in panel.columns] for part in (news, steady))
    return [
        Behaviour(
            news=_shared(said, i, threes),
            steady=_shared(steadies, i, threes),
            memory=memory(one.values),
            family=families[i],
            span=spans[i],
            is_ordered=i in threes,
            named=is_named(one),
        )
        for i, one in enumerate(panel.columns)
    ]


def _shared(parts: list[float], i: int, threes: dict[int, Three]) -> float:
    """Return a part of one field, or that of the middle of its three: a mean moves less than what it lies between."""
    return max(parts[i], sorted(parts[j] for j in threes[i])[1]) if i in threes else parts[i]


def is_named(column: Column) -> bool:
    """Does the field's own name speak of sound?"""
    return bool(_WORDS & {token.lower() for token in _TOKEN.findall(column.place[-1])})


def news(values: Array) -> float:
    """Return the entropy of the steps between neighbouring readings, of `_BITS` bits."""
    steps = np.diff(values)
    steps = steps[np.isfinite(steps)]
    if not steps.size:
        return 0.0
    _, counts = np.unique(np.round(steps, 9), return_counts=True)
    shares = counts / counts.sum()
    return float(min(1.0, max(0.0, -(shares * np.log2(shares)).sum()) / _BITS))


def steady(values: Array) -> float:
    """Return 0 if half of the way that the values went, or more, led away from where they began; 1 if none did.

    A trend goes by many steps. One that is much larger than others, as when something begins to sound, is none.
    """
    known = values[np.isfinite(values)]
    steps = np.diff(known)
    if not steps.any():
        return 0.0
    most = _LEAP * np.median(np.abs(steps[steps != 0]))
    steps = np.clip(steps, -most, most)
    path = np.concatenate(([0.0], np.cumsum(steps)))
    net = abs(float(np.median(path[-5:]) - np.median(path[:5])))
    return float(max(0.0, 1 - 2 * net / np.abs(steps).sum()))


def memory(values: Array) -> float:
    """Return the rank correlation of neighbouring readings, if it is positive."""
    ranks = ranked(values)
    return max(0.0, correlation(ranks[1:], ranks[:-1]))


def span(values: Array) -> float:
    """Return how far soft and loud lie apart: 0 below 20 dB, 1 from 50 dB on."""
    known = values[np.isfinite(values)]
    low, high = np.percentile(known, (5, 95))
    if _LOWEST_DB <= low < high <= 0 and high - low >= 6 and low < -6:  # 6 dB: twice as loud
        return 0.7
    if (known < 0).any() or not (known > 0).sum() > known.size / 4:
        return 0.0
    low, high = np.percentile(known[known > 0], (5, 95))
    return float(np.clip((20 * (np.log10(high) - np.log10(low)) - _SPAN_FROM) / _SPAN_OVER, 0, 1))


def _families(panel: Panel, spans: list[float]) -> tuple[list[float], dict[int, Three]]:
    """Return for each column how well its siblings and companions speak for it, and the three in order it is one of."""
    columns = panel.columns
    found = [0.0] * len(columns)
    threes: dict[int, Three] = {}
    siblings: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for i, column in enumerate(columns):
        siblings[column.place[:-1]].append(i)
    for group in siblings.values():
        levels = [i for i in group if not columns[i].is_growth and _is_lively(columns[i].values)]
        threes |= _add_orders(found, columns, levels[:_MOST_SIBLINGS])
        wide = [i for i in group if spans[i] >= 0.5]
        for a, b in combinations(wide[:_MOST_SIBLINGS], 2):
            moves = _moves_with(columns[a].values, columns[b].values, _CHANCE)
            found[a], found[b] = max(found[a], moves), max(found[b], moves)
        totals = [i for i in group if columns[i].is_growth]
        for a, b in product(levels[:_MOST_SIBLINGS], totals[:_MOST_SIBLINGS]):
            if _is_square(columns[b].values / panel.period, columns[a].values):
                moves = _moves_with(columns[a].values, columns[b].values, _CHANCE)
                credit = _CREDIT + (1 - _CREDIT) * moves if moves else 0.0
                found[a], found[b] = max(found[a], credit), max(found[b], credit)
    return found, threes


def _is_square(growth: Array, level: Array) -> bool:
    """Does a total grow in a second by about the square of a level, from 0 to 1, as energy does?

    Compared are the thirds in which it grows fast and slowly: what grows in proportion to the level differs by half as
    many decibels. Source: W3C webrtc-stats, RTCAudioSourceStats, a sum of squared levels over time.
    """
    both = np.isfinite(growth) & np.isfinite(level)
    if both.sum() < 3 or level[both].min() < 0 or level[both].max() > 1:
        return False
    order = np.argsort(growth[both])
    third = len(order) // 3
    grown, squared = growth[both][order] + _NOTHING, level[both][order] ** 2 + _NOTHING
    if not _SQUARES[0] < squared.mean() / grown.mean() < _SQUARES[1]:
        return False
    by, by_square = (float(np.log10(one[-third:].mean() / one[:third].mean())) for one in (grown, squared))
    return by > _LOUDER and _SLOPES[0] < by_square / by < _SLOPES[1]


def _is_lively(values: Array) -> bool:
    return news(values) > 0.3 and steady(values) > 0.3


def _add_orders(found: list[float], columns: tuple[Column, ...], levels: list[int]) -> dict[int, Three]:
    """Credit fields that are in order and move together: up to half for a pair, more for three, which are returned."""
    threes: dict[int, Three] = {}
    above = {(a, b) for a, b in permutations(levels, 2) if _is_above(columns[a].values, columns[b].values)}
    chance = max(_CHANCE, float(np.sqrt(2 * np.log(max(1, len(levels) * (len(levels) - 1) / 2)))))  # the highest of all
    moves = {(a, b): _moves_with(columns[a].values, columns[b].values, chance) for a, b in above}
    for (high, low), agree in moves.items():
        found[high], found[low] = max(found[high], agree / 2), max(found[low], agree / 2)
    for high, middle in above:
        for low in levels:
            if (middle, low) not in above or (high, low) not in above:
                continue
            first, second, third = moves[high, middle], moves[middle, low], moves[high, low]
            # How well each moves with one of the others. Not all must: when it grows louder, both ends may part.
            best = (max(first, third), max(first, second), max(second, third))
            credit = _CREDIT + (1 - _CREDIT) * sum(best) / 3 if max(best) > 0 else 0.0
            for i in (high, middle, low):
                if credit > found[i]:
                    found[i], threes[i] = credit, (high, middle, low)
    return threes


def _is_above(high: Array, low: Array) -> bool:
    """Is one hardly ever below the other, and mostly above it, though they are of one size?"""
    both = np.isfinite(high) & np.isfinite(low)
    a, b = high[both], low[both]
    if (a >= b).mean() < _ORDERED or (a > b).mean() < _PARTED:
        return False
    if _free_readings(high, low) < MIN_READINGS:  # what drifts slowly stays in order by itself
        return False
    spread = max(float(np.ptp(np.percentile(one, (5, 95)))) for one in (a, b))
    return float(np.median(a - b)) <= _FAR * spread or 0 < float(np.median(a)) <= _FAR * float(np.median(b))


def _free_readings(a: Array, b: Array) -> float:
    """Return as how many independent readings those of two fields count: the fewer, the more memory they have.

    Source: M. S. Bartlett, 1935, on the correlation of two series of which each is correlated in itself.
    """
    kept = memory(a) * memory(b)
    return float((np.isfinite(a) & np.isfinite(b)).sum()) * (1 - kept) / (1 + kept)


def _moves_with(a: Array, b: Array, chance: float) -> float:
    """Return how well two fields, or their steps, agree or oppose each other; 0 if it may be chance."""
    found = 0.0
    for x, y in ((a, b), (np.diff(a), np.diff(b))):
        agree = abs(correlation(ranked(x), ranked(y)))
        readings = _free_readings(x, y)
        if readings > 4 and np.arctanh(min(agree, 0.999)) * np.sqrt(readings - 3) >= chance:
            found = max(found, agree)
    return found


def ranked(values: Array) -> Array:
    """Return the ranks of the values, ties by their mean; NaN stays."""
    ranks = np.full(values.shape, np.nan)
    known = np.isfinite(values)
    _, inverse, counts = np.unique(values[known], return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks[known] = (ends - (counts - 1) / 2)[inverse]
    return ranks


def correlation(a: Array, b: Array) -> float:
    """Return Pearson's correlation where both are known; 0 with fewer than four pairs or without variation."""
    both = np.isfinite(a) & np.isfinite(b)
    if both.sum() < 4:
        return 0.0
    x, y = a[both] - a[both].mean(), b[both] - b[both].mean()
    size = float(np.sqrt((x * x).sum() * (y * y).sum()))
    return float((x * y).sum() / size) if size else 0.0
