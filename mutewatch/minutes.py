"""The minutes of one call, in order, with those that are missing: the streaming buffer behind every judgement.

Reports come in any order and more than once; `CallMinutes.minutes` depends only on which ones came. Its rules:

- two reports with the same interval number, at most `resend_seconds` apart, are one minute (a
  resend): the earlier stands; further apart they are two (the client began to count anew);
- numbers skipped between two reports are minutes that were not seen, placed evenly between them;
- what lies before the first and after the last report of a call is not known, so nothing is missing there;
- of the reports let go their numbers are kept, as runs: what comes again is still a repeat, and a minute keeps
  its name.
"""

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from math import ceil
from typing import Protocol

from mutewatch.evidence import CONSTANT_MINUTES, of_reports
from mutewatch.limits import DEFAULT_LIMITS, Limits
from mutewatch.mute import Stretch, summed
from mutewatch.records import AudioReport, AudioValue, ClientMinute, SignatureRef

MuteDuring = Callable[[datetime, datetime], Sequence[Stretch]]  # how a span of time divides, by the client's clock
Judgeable = tuple[ClientMinute, Sequence[AudioReport]]  # and the reports to guess from, if anything is to be guessed


class Minutes(Protocol):
    """The minutes of one call, whatever they are made of: what the pipeline needs of them."""

    @property
    def client(self) -> str: ...
    @property
    def call(self) -> str: ...
    @property
    def signature(self) -> SignatureRef: ...
    @property
    def addresses(self) -> set[str]: ...
    @property
    def is_full(self) -> bool: ...  # would one report more cost the oldest?
    @property
    def first_starts_at(self) -> datetime: ...
    @property
    def unlisted(self) -> int: ...  # minutes missing beyond what is listed
    @property
    def excess(self) -> int: ...  # reports beyond what one minute holds
    def add(self, report: AudioReport) -> datetime | None: ...
    def open_since(self, now: datetime) -> datetime | None: ...
    def judgeable(
        self, since: datetime, until: datetime | None, mute: MuteDuring, horizon: int
    ) -> Iterator[Judgeable]: ...
    def needed_before(self, horizon: int) -> int: ...
    def keep_last(self, count: int) -> None: ...
    def halve(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Slot:
    """One minute of a call: with its report, or with None where the count shows that one was not seen."""

    minute: str
    starts_at: datetime
    ends_at: datetime
    report: AudioReport | None
    constant_minutes: int  # this one and those directly before it that carried the same values


@dataclass(slots=True)
class _Run:
    """Consecutive numbers that were let go: seen, or missing."""

    first: int
    last: int
    until: datetime
    is_seen: bool


class _LetGo:
    """The numbers of reports that are no longer held: what comes again is a repeat, and a minute keeps its name."""

    def __init__(self, limit: int) -> None:
        self.until: datetime | None = None  # end of the newest report let go
        self._limit = limit
        self._runs: list[_Run] = []

    def add(self, report: AudioReport) -> None:
        """Remember the number of `report`, and those missing before it. In order of time."""
        if self.until and report.ends_at <= self.until:
            return
        self.until = report.ends_at
        self.add_missing_before(report)
        if report.number is None:
            return
        last = self._runs[-1] if self._runs else None
        if last and last.is_seen and report.number == last.last + 1:
            last.last, last.until = report.number, report.ends_at
        else:
            self._runs.append(_Run(report.number, report.number, report.ends_at, is_seen=True))
            del self._runs[: max(0, len(self._runs) - self._limit)]

    def add_missing_before(self, report: AudioReport) -> None:
        last = self._runs[-1] if self._runs else None
        if last and report.number is not None and report.number > last.last + 1:
            self._runs.append(_Run(last.last + 1, report.number - 1, report.starts_at, is_seen=False))

    def holds(self, report: AudioReport) -> bool:
        """Was this minute seen, and let go since?"""
        if self.until is None or report.ends_at > self.until:
            return False
        number, seen = report.number, (run for run in self._runs if run.is_seen)
        return number is None or any(run.first <= number <= run.last and report.ends_at <= run.until for run in seen)

    def count(self, number: int, before: datetime) -> int:
        """How many minutes of this number, before that time, were let go."""
        return sum(run.first <= number <= run.last and run.until < before for run in self._runs)


class CallMinutes:
    """What one client reported in one call under one signature, minute by minute."""

    excess = 0  # one report is one minute

    def __init__(self, client: str, call: str, signature: SignatureRef, limits: Limits = DEFAULT_LIMITS) -> None:
        self.client, self.call, self.signature = client, call, signature
        self.addresses: set[str] = set()
        self._limits = limits
        self._reports: list[AudioReport] = []
        self._began_anew = False
        self._gone = _LetGo(limits.runs_per_call)
        self._first_kept: Slot | None = None  # the report after it, with its constant minutes
        self._before: list[tuple[AudioValue, ...]] = []  # of the reports directly before those that are held

    @property
    def is_full(self) -> bool:
        """Would one report more cost the oldest?"""
        return len(self._reports) >= self._limits.minutes_per_call

    @property
    def first_starts_at(self) -> datetime:
        return self._reports[0].starts_at

    def add(self, report: AudioReport) -> datetime | None:
        """Take in a report; return the time after which minutes may have changed, None for a repeat."""
        if report.source.address and len(self.addresses) < self._limits.neighbours:
            self.addresses.add(report.source.address)
        known = self._same_minute(report)
        if known is None and self._gone.holds(report):
            return None
        if known is not None:
            if _rank(known) <= _rank(report):
                return None
            self._reports.remove(known)
        insort(self._reports, report, key=_rank)
        self.keep_last(self._limits.minutes_per_call)
        # The minutes missing before it have changed too, back to the report before it.
        position = bisect_left(self._reports, _rank(report), key=_rank)
        before = self._reports[position - 1].ends_at if position > 0 else report.starts_at
        numbers = [
            near.number for near in self._reports[max(0, position - 1) : position + 2] if near.number is not None
        ]
        self._began_anew |= any(later <= earlier for earlier, later in pairwise(numbers))
        if self._began_anew:  # one number more may move the suffixes of any minute
            before = min(before, self.first_starts_at)
        return min(before, known.starts_at) if known else before

    @property
    def unlisted(self) -> int:
        """Minutes missing beyond what one gap lists."""
        return sum(self._gap(before, after)[1] for before, after in pairwise(self._reports))

    def slots(self, since: datetime | None = None) -> Iterator[Slot]:
        """All minutes, oldest first; with `since` at least those that end after it."""
        start = self._walk_from(since) if since else 0
        before = self._reports[start - 1] if start else None
        constant = 0
        named: Counter[int] = Counter()
        for report in self._reports[start:]:
            missing = list(self._missing_between(before, report, named)) if before else []
            yield from missing
            same = before is not None and not missing and before.values == report.values
            constant = constant + 1 if same else 1
            if self._first_kept and self._first_kept.report is report:
                constant = self._first_kept.constant_minutes
            yield Slot(self._identity(report, named), report.starts_at, report.ends_at, report, constant)
            before = report

    def open_since(self, _now: datetime) -> None:
        """A minute is over when its report comes."""
        return

    def judgeable(
        self, since: datetime, _until: datetime | None, mute: MuteDuring, horizon: int
    ) -> Iterator[Judgeable]:
        """Yield the minutes that end after `since`, each with the last `horizon` reports up to its own."""
        for slot in self.slots(since):
            if slot.ends_at > since:
                window = self.reports_until(slot.report, horizon) if slot.report else ()
                yield self._minute(slot, mute), window

    def _minute(self, slot: Slot, mute: MuteDuring) -> ClientMinute:
        return ClientMinute(
            self.client,
            self.call,
            self.signature,
            slot.minute,
            slot.starts_at,
            slot.ends_at,
            slot.report,
            summed(mute(slot.starts_at, slot.ends_at), slot.starts_at, slot.ends_at),
            slot.constant_minutes,
            of_reports(self._values_until(slot.report, CONSTANT_MINUTES)) if slot.report else (),
        )

    def _values_until(self, report: AudioReport, count: int) -> list[tuple[AudioValue, ...]]:
        """The values of the last `count` reports up to and with `report`, of those let go too."""
        held = [one.values for one in self.reports_until(report, count)]
        return [*self._before[max(0, len(self._before) + len(held) - count) :], *held]

    def reports_until(self, report: AudioReport, count: int) -> list[AudioReport]:
        """Return the last `count` reports up to and with `report`, oldest first."""
        end = bisect_right(self._reports, _rank(report), key=_rank)
        return self._reports[max(0, end - count) : end]

    def _walk_from(self, since: datetime) -> int:
        """The latest report from which a walk names and counts the minutes after `since` as one from the first does."""
        if self._began_anew:  # minutes are named by those of the same number before them
            return 0
        start = bisect_right(self._reports, since, key=_ends_at)
        while 0 < start < len(self._reports) and self._reports[start - 1].values == self._reports[start].values:
            start -= 1
        return start

    def keep_last(self, count: int) -> None:
        """Let go of all but the `count` newest reports."""
        goes = self._reports[: max(0, len(self._reports) - count)]
        if goes:
            kept = self._reports[len(goes)] if len(goes) < len(self._reports) else None
            self._first_kept = next((slot for slot in self.slots() if kept and slot.report is kept), None)
            values = [report.values for report in goes[1 - CONSTANT_MINUTES :]]
            self._before = [*self._before, *values][1 - CONSTANT_MINUTES :]
        del self._reports[: len(goes)]
        for report in goes:
            self._gone.add(report)
        if goes and self._reports:
            self._gone.add_missing_before(self._reports[0])

    def needed_before(self, horizon: int) -> int:
        """How many minutes it may take to guess from the next; what else it takes to judge it is kept beside."""
        return horizon

    def halve(self) -> None:
        """Let go of the older half of what can be held."""
        self.keep_last(self._limits.minutes_per_call // 2)

    def _same_minute(self, report: AudioReport) -> AudioReport | None:
        if report.number is None:
            return next((known for known in self._reports if _rank(known) == _rank(report)), None)
        tolerance = timedelta(seconds=self._limits.resend_seconds)
        first = bisect_left(self._reports, report.ends_at - tolerance, key=_ends_at)
        last = bisect_right(self._reports, report.ends_at + tolerance, key=_ends_at)
        return next((known for known in self._reports[first:last] if known.number == report.number), None)

    def _missing_between(self, before: AudioReport, after: AudioReport, named: "Counter[int]") -> Iterator[Slot]:
        listed, _ = self._gap(before, after)
        if not listed or before.number is None or after.number is None:
            return
        step = (after.ends_at - before.ends_at) / (after.number - before.number)
        length = after.ends_at - after.starts_at
        for position in range(1, listed + 1):
            ends_at = _to_millisecond(before.ends_at + step * position)
            number = before.number + position
            yield Slot(self._name(number, ends_at, named), ends_at - length, ends_at, None, 0)

    def _gap(self, before: AudioReport, after: AudioReport) -> tuple[int, int]:
        """How many minutes are missing between two reports: those that are listed, and those beyond the limit."""
        if before.number is None or after.number is None or after.number <= before.number + 1:
            return 0, 0
        if self._gone.until and before.ends_at <= self._gone.until:
            return 0, 0  # it came late: what lay after it was judged, and let go
        length = after.ends_at - after.starts_at
        # The count is the client's word; no more minutes can be missing than there was time for.
        most = min(ceil((after.ends_at - before.ends_at) / length) + 1, self._limits.minutes_per_gap)
        skipped = after.number - before.number - 1
        return min(skipped, most), max(0, skipped - most)

    def _identity(self, report: AudioReport, named: "Counter[int]") -> str:
        if report.number is None:
            return report.ends_at.isoformat(timespec="milliseconds")
        return self._name(report.number, report.ends_at, named)

    def _name(self, number: int, ends_at: datetime, named: "Counter[int]") -> str:
        """The number; a suffix tells minutes of one number, seen or missing, apart in order of time."""
        repeat = named[number] + self._gone.count(number, ends_at)
        named[number] += 1
        return _numbered(number, repeat)


def _rank(report: AudioReport) -> tuple[datetime, int, str]:
    return (report.ends_at, -1 if report.number is None else report.number, report.source.body_sha256)


def _ends_at(report: AudioReport) -> datetime:
    return report.ends_at


def _to_millisecond(time: datetime) -> datetime:
    """No finer than the client's own stamps."""
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


def _numbered(number: int, repeat: int) -> str:
    """A count that began anew within one call tells its minutes apart by a suffix."""
    return str(number) if repeat == 0 else f"{number}.{repeat}"
