"""Tests which fields follow a recording: `follow`, with p-values corrected for the number of fields.

Of field and recording the ranks are taken; a line over time is taken out of both; and of both what the recording's
memory would have foretold (`_news`): what is left of the recording is new in each bin, so that a trend, a counter or
load that wanders by itself agrees with it no better than with any shuffling of it. The statistic of a field is its best
correlation over the features of the recording and the lags allowed, in units of its own spread under the shufflings. Its
p-value is the share of shufflings in which *any* field does as well (Westfall and Young's maximum). The shufflings move
blocks of neighbouring bins, so that what little memory is left stays in them.

A field that follows must do so at the time stated: if it agrees as well with the recording at other times, its p-value
is at least the share of those times.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import lgamma, log
from typing import Final

import numpy as np
import numpy.typing as npt

from mutewatch.discover.behaviour import ranked
from mutewatch.discover.panel import MIN_READINGS, Array, Panel
from mutewatch.discover.reference import FEATURES, Recording

SHUFFLINGS: Final = 1_000  # the least p-value is 1/1,001
SIGNIFICANT: Final = 0.01
_SEED: Final = 52  # any
_MOST_LAGS: Final = 61
_AT_ONCE: Final = 1 << 21  # numbers of the recording in one product: 16 MB
_WORTH_A_LOOK: Final = 0.05
_MOST_TIMES: Final = 500  # other times at which a field is tried, to either side


@dataclass(frozen=True, slots=True)
class Followed:
    """How well one field follows the recording. `correlation`: its sign is that of loudness."""

    correlation: float
    feature: str
    lag: float  # seconds by which it comes after the recording
    p: float  # corrected
    is_elsewhere: bool = False  # it agrees better with another time


@dataclass(frozen=True, slots=True)
class Tested:
    """What was tested: of each panel, its columns' results, None where too few bins were heard."""

    results: tuple[tuple[Followed | None, ...], ...]
    least_p: float  # no field could have had less, of what there was
    bins: int  # of the longest panel that were heard


@dataclass(frozen=True, slots=True)
class _Trial:
    """One panel made ready. Shapes: fields (fields, bins), reference (features * lags, bins); standardised, 0: none."""

    fields: Array
    known: Array  # (fields, bins): 1.0 where there is a value
    reference: Array
    lags: Array
    heard: int
    least_p: float


def follow(
    panels: Sequence[Panel], recording: Recording, slack: float, seed: int = _SEED, shufflings: int = SHUFFLINGS
) -> Tested:
    """Return how every field follows `recording`, which may be late or early by `slack` seconds."""
    trials = [_trial(panel, recording, slack, shufflings) for panel in panels]
    random = np.random.default_rng(seed)
    highest = np.zeros(shufflings)
    observed: list[tuple[Array, Array] | None] = []
    for trial in trials:
        if trial is None:
            observed.append(None)
            continue
        measured = _correlations(trial.fields, trial.known, trial.reference)
        best = np.abs(measured).max(axis=1)
        null = _shuffled(trial, random, shufflings)
        spread = np.sqrt((null**2).mean(axis=1))
        spread[spread == 0] = np.inf
        highest = np.maximum(highest, (null / spread[:, None]).max(axis=0))
        observed.append((measured, best / spread))
    highest.sort()
    results = tuple(
        (None,) * len(panel.columns) if trial is None or seen is None else _results(panel, trial, seen, highest)
        for panel, trial, seen in zip(panels, trials, observed, strict=True)
    )
    known = [trial for trial in trials if trial is not None]
    return Tested(
        results,
        min((trial.least_p for trial in known), default=1.0),
        max((trial.heard for trial in known), default=0),
    )


def _trial(panel: Panel, recording: Recording, slack: float, shufflings: int) -> _Trial | None:
    step = max(panel.period / 2, 1.0, 2 * slack / (_MOST_LAGS - 1))
    lags = np.arange(-int(slack / step), int(slack / step) + 1) * step
    rows = np.concatenate([recording.features(panel.ends - lag, panel.period) for lag in lags])
    heard = np.isfinite(rows).all(axis=0)
    if heard.sum() < MIN_READINGS or not panel.columns:
        return None
    span = slice(int(np.argmax(heard)), len(heard) - int(np.argmax(heard[::-1])))
    rows = rows[:, span]
    middle = len(lags) // 2 * len(FEATURES)
    carried = _carried(_prepared(rows[middle : middle + 1])[0])
    reference = _standardised(_news(_prepared(rows), carried))
    fields = _news(_prepared(np.array([column.values[span] for column in panel.columns])), carried)
    known = np.isfinite(fields)
    known[known.sum(axis=1) < MIN_READINGS] = False
    fields = np.where(known, _standardised(fields), 0.0)
    bins = int(known.any(axis=0).sum())
    orders = lgamma(bins / _block(bins) + 1)  # log of how many orders of the blocks there are
    least = 1 / (1 + shufflings) if orders > log(shufflings) else float(np.exp(-orders))
    return _Trial(fields, known.astype(float), np.nan_to_num(reference), lags, bins, least)


def _prepared(rows: Array) -> Array:
    """Return the ranks of each row, less their line over time."""
    prepared = np.array([ranked(row) for row in rows])
    time = np.linspace(-1, 1, rows.shape[1])
    for row in prepared:
        known = np.isfinite(row)
        if known.sum() > 2:
            row[known] -= np.polyval(np.polyfit(time[known], row[known], 1), time[known])
    return prepared


def _carried(row: Array) -> float:
    """Return how much of a value is carried over to the next: the correlation of neighbours."""
    both = np.isfinite(row[1:]) & np.isfinite(row[:-1])
    before, after = row[:-1][both], row[1:][both]
    size = float((before * before).sum())
    return float(np.clip((before * after).sum() / size, 0, 0.95)) if size else 0.0


def _news(rows: Array, carried: float) -> Array:
    """Return what each value has beyond what the one before it let expect; NaN where either is missing."""
    news = np.full_like(rows, np.nan)
    news[:, 1:] = rows[:, 1:] - carried * rows[:, :-1]
    return news


def _standardised(rows: Array) -> Array:
    """Return the rows with mean 0 and deviation 1 of what is known in them; zeros for a constant one."""
    known = np.isfinite(rows)
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)
    centred = rows - np.where(known, rows, 0).sum(axis=1, keepdims=True) / count
    deviation = np.sqrt((np.where(known, centred, 0) ** 2).sum(axis=1, keepdims=True) / count)
    standardised: Array = np.divide(centred, deviation, out=np.zeros_like(rows), where=deviation > 1e-9)
    return standardised


def _correlations(fields: Array, known: Array, reference: Array) -> Array:
    """Return shape (fields, rows of reference): each correlation over the bins in which the field is known."""
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)
    if known.all():
        sums, squares = reference.sum(axis=1), (reference**2).sum(axis=1)
    else:
        sums, squares = known @ reference.T, known @ (reference**2).T
    squares = squares - sums**2 / count
    products = fields @ reference.T  # the fields' means are 0
    size = np.sqrt(np.maximum(squares, 1e-9) * (fields**2).sum(axis=1, keepdims=True))
    found: Array = np.divide(products, size, out=np.zeros_like(products), where=size > 1e-9)
    return found


def _shuffled(trial: _Trial, random: np.random.Generator, shufflings: int) -> Array:
    """Return shape (fields, shufflings): the best correlation of each field with the recording in another order."""
    rows, bins = trial.reference.shape
    found = np.empty((len(trial.fields), shufflings))
    at_once = max(1, _AT_ONCE // (rows * bins))
    for start in range(0, shufflings, at_once):
        number = min(at_once, shufflings - start)
        orders = np.array([_order(bins, random) for _ in range(number)])
        shuffled = trial.reference[:, orders].transpose(1, 0, 2).reshape(number * rows, bins)
        agree = np.abs(_correlations(trial.fields, trial.known, shuffled))
        found[:, start : start + number] = agree.reshape(len(agree), number, rows).max(axis=2)
    return found


def _block(bins: int) -> int:
    return max(1, round(bins ** (1 / 3)))


def _order(bins: int, random: np.random.Generator) -> Array:
    """Return the bins in a new order: cut into blocks at a random place, the blocks mixed."""
    length = _block(bins)
    turned = np.roll(np.arange(bins), random.integers(bins))
    blocks = np.array_split(turned, np.arange(length, bins, length))
    return np.concatenate([blocks[i] for i in random.permutation(len(blocks))])


def _results(
    panel: Panel, trial: _Trial, seen: tuple[Array, Array], highest: Array
) -> tuple[Followed | None, ...]:
    measured, statistic = seen
    above = len(highest) - np.searchsorted(highest, statistic - 1e-12)
    corrected = np.maximum((1 + above) / (1 + len(highest)), trial.least_p)
    best = np.abs(measured).max(axis=1)
    elsewhere = np.zeros(len(best))
    chosen = np.flatnonzero(corrected < _WORTH_A_LOOK)
    elsewhere[chosen] = _share_elsewhere(trial, chosen, best[chosen], panel.period)
    found: list[Followed | None] = []
    for i, row in enumerate(np.abs(measured).argmax(axis=1)):
        followed = Followed(
            correlation=float(measured[i, row]),
            feature=FEATURES[row % len(FEATURES)],
            lag=float(trial.lags[row // len(FEATURES)]),
            p=float(max(corrected[i], elsewhere[i])),
            is_elsewhere=bool(elsewhere[i] >= SIGNIFICANT > corrected[i]),
        )
        found.append(followed if trial.known[i].any() else None)
    return tuple(found)


def _share_elsewhere(trial: _Trial, chosen: npt.NDArray[np.int_], best: Array, period: float) -> Array:
    """Return for each chosen field the share of times, beyond the lags allowed, at which it agrees as well."""
    middle = len(trial.lags) // 2 * len(FEATURES)
    reference = trial.reference[middle : middle + len(FEATURES)]
    near = int(np.ceil(trial.lags[-1] / period)) + 1
    far = min(reference.shape[1] // 2, near + _MOST_TIMES)
    shifts = [shift for shift in range(-far, far + 1) if abs(shift) > near]
    as_well = np.zeros(len(chosen))
    for shift in shifts if len(chosen) else ():
        moved = np.roll(reference, shift, axis=1)
        agree = np.abs(_correlations(trial.fields[chosen], trial.known[chosen], moved)).max(axis=1)
        as_well += agree >= best
    return as_well / max(len(shifts), 1)
