"""Tests which fields follow a recording: `follow`, with p-values corrected for the number of fields.

Of field and recording the ranks are taken; a line over time is taken out of both; and of both what the field's own
memory would have foretold (`_news`). What is left of a trend, a counter or load that wanders by itself is new in each
bin, and agrees with the recording no better than with any shuffling of it. The statistic of a field is its best
correlation (Fisher's z) over the features of the recording and the lags allowed, in units of its own spread under the
shufflings. Its p-value is the share of shufflings in which *any* field does as well (Westfall and Young's maximum), and
at least ten times what Gumbel's law gives for it: so many starts and recordings may be tried until one fits. The
shufflings move blocks of neighbouring bins, so that what memory is left stays in them.

A field that follows must do so at the time stated: if it agrees better with the recording at any other, it does not
follow, whatever its p-value would be. (So what is played must not be a loop.)
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil, lgamma, log
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mutewatch.discover.behaviour import ranked
from mutewatch.discover.panel import MIN_READINGS, Array, Panel
from mutewatch.discover.reference import MOMENT, SECOND, WINDOWS, Recording

SHUFFLINGS: Final = 1_000  # the least p-value is 1/1,001
_TRIES: Final = 10  # an operator tries several starts and recordings until one fits: a p-value allows for so many
SIGNIFICANT: Final = 0.01
CLOSE: Final = 5.0  # seconds: clocks, and what a client lets pass before it tells
_SEED: Final = 52  # any
_MEMORIES: Final = (0.0, 0.25, 0.5, 0.75, 0.95)
_MOST_LAGS: Final = 61
_OVERLAP: Final = 8  # lags in the time that a level is of: in less it hardly changes
_LEAST_STEP: Final = 0.25  # seconds, between two lags of a bin
_MOMENT_STEP: Final = MOMENT / 2  # between two lags of a moment; further apart they would miss what is between
_NUMBERS: Final = 60_000  # levels of one feature, at all lags; more would cost minutes
_WIDTHS: Final = 6  # a bin is at least this part of the slack: seconds, compared at sixty lags, would cost minutes
_AT_ONCE: Final = 1 << 21  # numbers of the fields in one product: 16 MB
_WORTH_A_LOOK: Final = 0.05


Orders = npt.NDArray[np.int32]


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
    """Fields of a panel with about the same memory, made ready; `reference` has as much taken out.

    Shapes: fields and known (fields, bins), reference (rows, bins). Standardised; 0 where nothing is known.
    """

    panel: int
    columns: npt.NDArray[np.int_]
    fields: Array
    known: Array  # 1.0 where there is a value
    reference: Array
    rows: tuple[tuple[str, float], ...]  # of the reference: feature and lag
    period: float
    slack: float

    @property
    def bins(self) -> int:
        return int(self.known.any(axis=0).sum())


def follow(
    panels: Sequence[Panel], recording: Recording, slack: float, seed: int = _SEED, shufflings: int = SHUFFLINGS
) -> Tested:
    """Return how every field follows `recording`, which may be late or early by `slack` seconds."""
    trials = [trial for i, panel in enumerate(panels) for trial in _trials(i, panel, recording, slack)]
    random = np.random.default_rng(seed)
    orders: dict[int, Orders] = {}  # by panel: its fields share them
    highest = np.zeros(shufflings)
    observed: list[tuple[Array, Array]] = []
    for trial in trials:
        if trial.panel not in orders:
            orders = {trial.panel: _orders(trial.reference.shape[1], shufflings, random)}
        measured = _correlations(trial.fields, trial.known, trial.reference)
        null = _shuffled(trial, orders[trial.panel])
        null = _stretched(null)
        spread = np.sqrt((null**2).mean(axis=1))
        spread[spread == 0] = np.inf
        highest = np.maximum(highest, (null / spread[:, None]).max(axis=0))
        observed.append((measured, _stretched(np.abs(measured).max(axis=1)) / spread))
    highest.sort()
    results: list[list[Followed | None]] = [[None] * len(panel.columns) for panel in panels]
    for trial, (measured, statistic) in zip(trials, observed, strict=True):
        for column, followed in zip(trial.columns, _results(trial, measured, statistic, highest), strict=True):
            results[trial.panel][column] = followed
    if slack > CLOSE:
        _look_closely(panels, recording, results)
    bins = max((trial.bins for trial in trials), default=0)
    return Tested(tuple(map(tuple, results)), _least_p(bins, shufflings), bins)


def _look_closely(panels: Sequence[Panel], recording: Recording, results: list[list[Followed | None]]) -> None:
    """Compare what follows once more, with the recording where the closest of them has it: only that is finer now."""
    followed = [one for row in results for one in row if one and one.p < SIGNIFICANT]
    if not followed:
        return
    lag = max(followed, key=lambda one: abs(one.correlation)).lag
    recording = replace(recording, starts_at=recording.starts_at + lag)
    for number, panel in enumerate(panels):
        for trial in _trials(number, panel, recording, CLOSE):
            measured = _correlations(trial.fields, trial.known, trial.reference)
            for i, column in enumerate(trial.columns):
                one, row = results[number][column], int(np.abs(measured[i]).argmax())
                if one and one.p < SIGNIFICANT and abs(measured[i, row]) > abs(one.correlation):
                    feature, more = trial.rows[row]
                    found = float(measured[i, row])
                    results[number][column] = replace(one, correlation=found, feature=feature, lag=lag + more)


def _trials(number: int, panel: Panel, recording: Recording, slack: float) -> Iterator[_Trial]:
    """Yield the fields of a panel that can be compared with the recording, those of one memory together."""
    panel = _widened(panel, ceil(slack / _WIDTHS / panel.period))
    rows, levels = _rows(panel, recording, slack)
    heard = np.asarray(np.isfinite(levels).all(axis=0))
    if heard.sum() < MIN_READINGS or not panel.columns:
        return
    span = slice(int(np.argmax(heard)), len(heard) - int(np.argmax(heard[::-1])))
    reference = _prepared(levels[:, span])
    fields = _prepared(np.array([column.values[span] for column in panel.columns]))
    memories = np.array([_memory(field) for field in fields])
    for memory in np.unique(memories):
        news = _news(fields[memories == memory], memory)
        is_enough = np.isfinite(news).sum(axis=1) >= MIN_READINGS
        if is_enough.any():
            news = news[is_enough]
            yield _Trial(
                panel=number,
                columns=np.flatnonzero(memories == memory)[is_enough],
                fields=np.nan_to_num(_standardised(news)),
                known=np.isfinite(news).astype(float),
                reference=np.nan_to_num(_standardised(_news(reference, memory))),
                rows=rows,
                period=panel.period,
                slack=slack,
            )


def _rows(panel: Panel, recording: Recording, slack: float) -> tuple[tuple[tuple[str, float], ...], Array]:
    """Return what a field may have been computed of: features and lags, and their levels, shape (rows, bins).

    What is of a whole bin changes little from second to second; what is of a moment is another a moment later.
    """
    rows: list[tuple[str, float]] = []
    levels: list[Array] = []
    least = max(2 * slack / (_MOST_LAGS - 1), 2 * slack * len(panel.ends) / _NUMBERS)
    for lag in _lags(slack, max(least, panel.period / _OVERLAP, _LEAST_STEP)):
        rows += [(feature, lag) for feature in WINDOWS]
        levels += [*recording.windows(panel.ends - lag, panel.period)]
    for lag in _lags(slack, max(least, SECOND / 2)) if panel.period >= 2 * SECOND else ():
        rows.append(("level of the last second", lag))
        levels.append(recording.level(panel.ends - lag, SECOND))
    if 2 * slack * len(panel.ends) <= _MOMENT_STEP * _NUMBERS:
        for lag in _lags(slack, _MOMENT_STEP):
            rows.append(("level of that moment", lag))
            levels.append(recording.level(panel.ends - lag, MOMENT))
    return tuple(rows), np.array(levels)


def _lags(slack: float, step: float) -> list[float]:
    return [step * i for i in range(-int(slack / step + 1e-9), int(slack / step + 1e-9) + 1)]


def _widened(panel: Panel, times: int) -> Panel:
    """Return the panel with bins so many times as wide: what is not known to a second is not compared by seconds."""
    if times <= 1 or len(panel.ends) < times:
        return panel
    whole = len(panel.ends) // times * times
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a wide bin without any value is NaN, as a narrow one
        columns = tuple(
            replace(column, values=np.nanmean(column.values[:whole].reshape(-1, times), axis=1))
            for column in panel.columns
        )
    return replace(panel, period=panel.period * times, ends=panel.ends[times - 1 : whole : times], columns=columns)


def _least_p(bins: int, shufflings: int) -> float:
    """Return the least p-value that so many bins can give, by the number of orders in which their blocks can be."""
    orders = lgamma(bins / _block(max(bins, 1)) + 1)
    return float(np.exp(-orders)) if orders < log(shufflings) else 0.0


def _prepared(rows: Array) -> Array:
    """Return the ranks of each row, less their line over time."""
    prepared = np.array([ranked(row) for row in rows])
    time = np.linspace(-1, 1, rows.shape[1])
    for row in prepared:
        known = np.isfinite(row)
        if known.sum() > 2:
            row[known] -= np.polyval(np.polyfit(time[known], row[known], 1), time[known])
    return prepared


def _memory(row: Array) -> float:
    """Return how much of a value is carried over to the next, as the nearest of `_MEMORIES`."""
    both = np.isfinite(row[1:]) & np.isfinite(row[:-1])
    before, after = row[:-1][both], row[1:][both]
    size = float((before * before).sum())
    carried = float((before * after).sum()) / size if size else 0.0
    return min(_MEMORIES, key=lambda memory: abs(memory - carried))


def _news(rows: Array, memory: float) -> Array:
    """Return what each value but the first has beyond what the one before it let expect; NaN where one is missing."""
    news: Array = rows[:, 1:] - memory * rows[:, :-1]
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


def _stretched(agree: Array) -> Array:
    """Return Fisher's z of correlations, in which 0.98 is much more than 0.7."""
    stretched: Array = np.arctanh(np.minimum(agree, 0.9999))
    return stretched


def _shuffled(trial: _Trial, orders: Orders) -> Array:
    """Return shape (fields, orders): the best correlation of each field, in each order, with the recording."""
    # Half the precision is twice as fast.
    single: list[Any] = [rows.astype(np.float32) for rows in (trial.fields, trial.known, trial.reference)]
    count, bins = trial.fields.shape
    found = np.empty((count, len(orders)))
    at_once = max(1, _AT_ONCE // (max(count, len(trial.rows)) * bins))
    for start in range(0, len(orders), at_once):
        some = orders[start : start + at_once]
        fields, known = (rows[:, some].reshape(-1, bins) for rows in single[:2])
        agree = np.abs(_correlations(fields, known, single[2])).max(axis=1)
        found[:, start : start + len(some)] = agree.reshape(count, len(some))
    return found


def _block(bins: int) -> int:
    return max(1, round(float(np.cbrt(bins))))


def _orders(bins: int, shufflings: int, random: np.random.Generator) -> Orders:
    """Return shape (shufflings, bins): the bins cut into blocks from a random one on, and the blocks mixed."""
    length = _block(bins)
    orders = np.empty((shufflings, bins), dtype=np.int32)
    for order in orders:
        turned = np.roll(np.arange(bins), random.integers(bins))
        whole = bins // length * length
        blocks = random.permutation(turned[:whole].reshape(-1, length))
        order[:] = np.concatenate((blocks.ravel(), turned[whole:]))
    return orders


def _results(trial: _Trial, measured: Array, statistic: Array, highest: Array) -> Iterator[Followed]:
    above = len(highest) - np.searchsorted(highest, statistic - 1e-12)
    shares = np.maximum((1 + above) / (1 + len(highest)), _TRIES * _tail(highest, statistic))
    corrected = np.clip(shares, _least_p(trial.bins, len(highest)), 1.0)
    best = np.abs(measured).max(axis=1)
    for i, row in enumerate(np.abs(measured).argmax(axis=1)):
        is_elsewhere = bool(corrected[i] < _WORTH_A_LOOK and _best_elsewhere(trial, i) > best[i])
        feature, lag = trial.rows[row]
        yield Followed(
            correlation=float(measured[i, row]),
            feature=feature,
            lag=lag,
            p=1.0 if is_elsewhere else float(corrected[i]),
            is_elsewhere=is_elsewhere and bool(corrected[i] < SIGNIFICANT),
        )


def _tail(highest: Array, statistic: Array) -> Array:
    """Return how likely it is that the highest of one shuffling is as high: Gumbel's law, fitted by its moments."""
    scale = float(highest.std()) * np.sqrt(6) / np.pi
    reduced = (statistic - (highest.mean() - np.euler_gamma * scale)) / max(scale, 1e-9)
    tail: Array = -np.expm1(-np.exp(-np.clip(reduced, -10, 700)))
    return tail


def _best_elsewhere(trial: _Trial, field: int) -> float:
    """Return how well a field agrees, at best, with the recording at any time but the one stated.

    The correlations at all shifts are sums over products, and come from Fourier transforms.
    """

    def at_all_shifts(values: Array, rows: Array) -> Array:
        product = np.fft.rfft(values) * np.conj(np.fft.rfft(rows))
        return np.fft.irfft(product, rows.shape[1])

    reference, known, values = trial.reference, trial.known[field], trial.fields[field]
    bins = reference.shape[1]
    sums, squares = (at_all_shifts(known, rows) for rows in (reference, reference**2))
    size = np.sqrt(np.maximum(squares - sums**2 / known.sum(), 1e-9) * (values**2).sum())
    agree = np.abs(at_all_shifts(values, reference) / size)
    shifts = (np.arange(bins) + bins // 2) % bins - bins // 2
    lags = np.array([lag for _, lag in trial.rows])[:, None] + trial.period * shifts
    return float(agree[np.abs(lags) > trial.slack + trial.period / 2].max(initial=0.0))
