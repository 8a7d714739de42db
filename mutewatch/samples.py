"""The minutes of one call that are made of samples: readings every few seconds, gathered by the minute they end in.

The other kind of `CallMinutes`, with the same face to the pipeline. Its rules:

- a minute is one of the UTC clock by the client's own stamps, named by its start; a sample is of that in which it ends;
- two samples of one moment with the same numbers are one, whichever messages bring them;
- a running total becomes what it grew by in a second since the sample before it of the same name; where it shrank
  it began anew, and nothing was read;
- nobody counts samples, so nothing is missing between them;
- a single reading is looked at together with the few around it, so that a minute may have to be judged again when the
  next one comes; until then, or for two minutes, it is open;
- a minute that was let go stays let go: what still comes for it is a repeat. The few samples before the first
  minute that is held are kept: growth begins with them, and a single reading is looked at together with them.
"""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from mutewatch.evidence import CONSTANT_READINGS, Evidence, Field, Number, Reading, weigh
from mutewatch.limits import DEFAULT_LIMITS, Limits
from mutewatch.minutes import Judgeable, MuteDuring
from mutewatch.mute import is_muted, summed
from mutewatch.records import AudioReport, AudioValue, ClientMinute, Samples, SignatureRef, Source
from mutewatch.runs import Runs

MINUTE: Final = timedelta(minutes=1)
AHEAD: Final = timedelta(minutes=2)  # of readings after a minute; clients that send one each half minute need one
LOOK_BACK: Final = (
    CONSTANT_READINGS  # samples of each field: two readings that make three with one, and a total to grow from
)
DIGITS: Final = 6  # of growth: the difference of two totals has no more, and its last bits would pass for a change


class _Sample(Struct, gc=False):
    """One `AudioReport`, without what it shares with its neighbours."""

    starts_at: datetime
    ends_at: datetime
    fields: tuple[Field, ...]
    numbers: tuple[Number, ...]
    source: Source
    client_version: str | None

    @property
    def rank(self) -> tuple[datetime, tuple[str, ...], tuple[Number, ...]]:
        return (self.ends_at, tuple(field.name for field in self.fields), self.numbers)


class CallSamples:
    """What one client reported in one call under one signature, sample by sample."""

    unlisted = 0  # nothing is missing

    def __init__(self, client: str, call: str, signature: SignatureRef, limits: Limits = DEFAULT_LIMITS) -> None:
        self.client, self.call, self.signature = client, call, signature
        self.addresses: set[str] = set()
        self.excess = 0  # samples beyond the limit of a minute
        self._limits = limits
        self._samples: list[_Sample] = []
        self._gone = Runs(MINUTE, limits.runs_per_call)  # minutes that were let go, by their starts
        self._looking: dict[datetime, ClientMinute] = {}  # by start: those that were judged with what comes after

    @property
    def is_full(self) -> bool:
        return len(self._samples) >= self._limits.samples_per_call

    @property
    def first_starts_at(self) -> datetime:
        """From when on the mute state is asked for."""
        first = self._samples[0]
        return min(first.starts_at, minute_of(first.ends_at))

    def add(self, report: AudioReport) -> datetime | None:
        """Take in a sample; return the time after which minutes may have changed, None for a repeat."""
        if report.source.address and len(self.addresses) < self._limits.neighbours:
            self.addresses.add(report.source.address)
        start = minute_of(report.ends_at)
        if start in self._gone:
            return None
        sample = self._sample_of(report)
        is_newest = bool(self._samples) and self._samples[-1].ends_at < sample.ends_at  # as it mostly is
        position = len(self._samples) if is_newest else bisect_left(self._samples, sample.rank, key=_rank)
        if position < len(self._samples) and self._samples[position].rank == sample.rank:
            return start if _merge(self._samples[position], sample) else None
        self._samples.insert(position, sample)
        first = bisect_left(self._samples, start, key=_ends_at)
        if self._end_of(start, first) - first > self._limits.samples_per_minute:
            del self._samples[first]
            self.excess += 1
        return start

    def open_since(self, now: datetime) -> datetime | None:
        """The start of the minute that is still going on at `now`, in the client's clock; None if none is."""
        newest = minute_of(self._samples[-1].ends_at) if self._samples else None
        return newest if newest is not None and now < newest + MINUTE else None

    def judgeable(
        self, since: datetime, until: datetime | None, mute: MuteDuring, _horizon: int
    ) -> Iterator[Judgeable]:
        """Yield the minutes that end after `since` and begin before `until`. Nothing is guessed from them.

        And of those before them, that were judged with what comes after, what has changed or may still.
        """
        looking = dict(self._looking)
        asked, earliest = minute_of(since), min((one for one in looking if one + MINUTE + AHEAD > since), default=since)
        for start, first, end in self._held(min(asked, earliest)):
            if until is not None and start >= until:
                return
            if start < asked and start not in looking:
                continue
            minute = self._minute(start, first, end, mute)
            if start >= asked or minute.is_open or minute != looking[start]:
                yield minute, ()

    def keep_last(self, count: int) -> None:
        """Let go of all but the `count` newest minutes, and of the samples that these do not need."""
        held = [(start, position) for start, position, _ in self._held()]
        goes = held[: max(0, len(held) - count)]
        for start, _ in goes:
            self._gone.add(start)
            self._looking.pop(start, None)
        first = held[len(goes)][1] if len(goes) < len(held) else len(self._samples)
        seen: Counter[str] = Counter()
        needed = []
        for sample in reversed(self._samples[:first]):
            if any(seen[field.name] < LOOK_BACK for field in sample.fields):
                needed.append(sample)
            seen.update(field.name for field in sample.fields)
        self._samples[:first] = needed[::-1]

    def needed_before(self, _horizon: int) -> int:
        """None: the samples that a minute needs of those before it are kept beside."""
        return 0

    def halve(self) -> None:
        """Let go of the older half of the samples, by whole minutes."""
        middle = minute_of(self._samples[len(self._samples) // 2].ends_at)
        self.keep_last(sum(1 for _ in self._held(middle)))

    def _minute(self, start: datetime, first: int, end: int, mute: MuteDuring) -> ClientMinute:
        """The minute whose samples are those from position `first` to before `end`."""
        before, own, _ = self._readings(first, end)
        samples = self._samples[first:end]
        since = min((start, *(one.starts_at for one in (*before, *own))))
        stretches = ahead = mute(since, start + MINUTE)  # what is heard later must not change what was said of it

        def was_muted(starts_at: datetime, ends_at: datetime) -> bool:
            return is_muted(stretches if ends_at < start + MINUTE else ahead, starts_at, ends_at)

        evidence = weigh(own, before, (), was_muted)
        if evidence.looks_ahead:  # few minutes do
            before, own, after = self._readings(first, end, start + MINUTE + AHEAD)
            ahead = mute(since, start + MINUTE + AHEAD)
            evidence = weigh(own, before, after, was_muted)
        counted = [sample for sample in samples if sample.ends_at in evidence.counted_at]
        minute = ClientMinute(
            self.client,
            self.call,
            self.signature,
            start.isoformat(timespec="milliseconds"),
            start,
            start + MINUTE,
            self._report(start, (counted or samples)[-1], evidence),
            summed(stretches, start, start + MINUTE),
            0,
            evidence.information,
            Samples(
                len(samples),
                len(counted) if evidence.is_of_muted else 0,
                len({sample.source.body_sha256 for sample in samples}),
            ),
            evidence.is_open,
        )
        self._looking.pop(start, None)
        if evidence.looks_ahead:
            self._looking[start] = minute
        return minute

    def _report(self, start: datetime, last: _Sample, evidence: Evidence) -> AudioReport:
        """The summary of what counts; its source leads to the message with the last of it."""
        return AudioReport(
            last.source,
            self.client,
            self.call,
            start,
            start + MINUTE,
            None,
            evidence.values,
            last.client_version,
            is_sample=True,
        )

    def _readings(
        self, first: int, end: int, until: datetime | None = None
    ) -> tuple[list[Reading], list[Reading], list[Reading]]:
        """The readings before the samples from `first` on that they may need, their own, and some after, to `until`."""
        before: list[Reading] = []
        own: list[Reading] = []
        after: list[Reading] = []
        totals: dict[str, tuple[datetime, Number]] = {}
        names = {field.name for sample in self._samples[first:end] for field in sample.fields}
        last = self._look_ahead(end, names, until) if until else end
        for position in range(self._look_back(first, names), last):
            sample = self._samples[position]
            for field, number in zip(sample.fields, sample.numbers, strict=True):
                reading = _reading(sample, field, number, totals)
                if reading is not None:
                    (before if position < first else own if position < end else after).append(reading)
        return before, own, after

    def _look_back(self, first: int, names: set[str]) -> int:
        """The position from which on each of `names` has been read LOOK_BACK times before `first`."""
        wanted = dict.fromkeys(names, LOOK_BACK)
        position = first
        while position > 0 and wanted:
            position -= 1
            for field in self._samples[position].fields:
                if field.name in wanted:
                    wanted[field.name] -= 1
                    if not wanted[field.name]:
                        del wanted[field.name]
        return position

    def _look_ahead(self, end: int, names: set[str], until: datetime) -> int:
        """The position before which, at latest at `until`, each of `names` has been read as often as one may need."""
        wanted = dict.fromkeys(names, CONSTANT_READINGS - 1)
        position = end
        while position < len(self._samples) and wanted and self._samples[position].ends_at < until:
            for field in self._samples[position].fields:
                if field.name in wanted:
                    wanted[field.name] -= 1
                    if not wanted[field.name]:
                        del wanted[field.name]
            position += 1
        return position

    def _held(self, since: datetime | None = None) -> Iterator[tuple[datetime, int, int]]:
        """Yield the minutes that were not let go: start, position of the first sample, and of the first behind it."""
        end = bisect_left(self._samples, since, key=_ends_at) if since is not None else 0
        while end < len(self._samples):
            start, first = minute_of(self._samples[end].ends_at), end
            end = self._end_of(start, first)
            if start not in self._gone:
                yield start, first, end

    def _end_of(self, start: datetime, first: int) -> int:
        return bisect_left(self._samples, start + MINUTE, lo=first, key=_ends_at)

    def _sample_of(self, report: AudioReport) -> _Sample:
        fields = tuple(_field(value) for value in report.values)
        if self._samples and self._samples[-1].fields == fields:
            fields = self._samples[-1].fields  # one object for all that are alike
        numbers = tuple(value.value for value in report.values)
        return _Sample(report.starts_at, report.ends_at, fields, numbers, report.source, report.client_version)


def minute_of(time: datetime) -> datetime:
    """The start of the clock minute that holds `time`."""
    return time.replace(second=0, microsecond=0)


def _reading(
    sample: _Sample, field: Field, number: Number, totals: dict[str, tuple[datetime, Number]]
) -> Reading | None:
    """What `number` says: of a running total, what it grew by since the one in `totals`; None: nothing yet."""
    if not field.is_cumulative:
        return Reading(field, number, sample.starts_at, sample.ends_at)
    before, totals[field.name] = totals.get(field.name), (sample.ends_at, number)
    if before is None or number < before[1] or sample.ends_at <= before[0]:
        return None
    growth = (number - before[1]) / (sample.ends_at - before[0]).total_seconds()
    if not math.isfinite(growth):
        return None
    return Reading(field, float(f"{growth:.{DIGITS}g}"), min(before[0], sample.starts_at), sample.ends_at)


def _field(value: AudioValue) -> Field:
    """What `value` is a reading of. The unit of growth: seconds of full level in a second are a share of it."""
    unit = value.unit
    if value.is_cumulative:
        unit = "1" if unit == "s" else f"{unit}/s"
    return Field(value.name, unit, value.floor, value.is_cumulative)


def _merge(known: _Sample, again: _Sample) -> bool:
    """Let `known` stand for both; return whether that changes it. Which came first does not matter."""
    before = (known.starts_at, known.source)
    known.starts_at = min(known.starts_at, again.starts_at)
    known.source = min(known.source, again.source, key=lambda source: (source.body_sha256, source.address or ""))
    return before != (known.starts_at, known.source)


def _rank(sample: _Sample) -> tuple[datetime, tuple[str, ...], tuple[Number, ...]]:
    return sample.rank


def _ends_at(sample: _Sample) -> datetime:
    return sample.ends_at
