"""The minutes of one call, in order, with those that are missing: the streaming buffer behind every judgement.

Reports come in any order and more than once; `CallMinutes.minutes` depends only on which ones came. Its rules:

- two reports with the same interval number, at most `clock_disagreement_seconds` apart, are one minute (a
  resend): the earlier stands; further apart they are two (the client began to count anew);
- numbers skipped between two reports are minutes that were not seen, placed evenly between them;
- what lies before the first and after the last report of a call is not known, so nothing is missing there.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from math import ceil

from mutewatch.limits import DEFAULT_LIMITS, Limits
from mutewatch.records import AudioReport, SignatureRef


@dataclass(frozen=True, slots=True)
class Slot:
    """One minute of a call: with its report, or with None where the count shows that one was not seen."""

    minute: str
    starts_at: datetime
    ends_at: datetime
    report: AudioReport | None
    constant_minutes: int  # this one and those directly before it that carried the same values


class CallMinutes:
    """What one client reported in one call under one signature."""

    def __init__(self, client: str, call: str, signature: SignatureRef, limits: Limits = DEFAULT_LIMITS) -> None:
        self.client, self.call, self.signature = client, call, signature
        self.addresses: set[str] = set()
        self.unlisted = 0  # missing minutes beyond the limit of one gap
        self._limits = limits
        self._reports: list[AudioReport] = []
        self._by_number: dict[int, list[AudioReport]] = {}

    @property
    def first_starts_at(self) -> datetime:
        return self._reports[0].starts_at

    def add(self, report: AudioReport) -> datetime | None:
        """Take in a report; return the time after which minutes may have changed, None for a repeat."""
        if report.source.address:
            self.addresses.add(report.source.address)
        known = self._same_minute(report)
        if known is not None:
            if _rank(known) <= _rank(report):
                return None
            self._remove(known)
        insort(self._reports, report, key=_rank)
        if report.number is not None:
            insort(self._by_number.setdefault(report.number, []), report, key=_rank)
        if len(self._reports) > self._limits.minutes_per_call:
            self._remove(self._reports[0])
        # The minutes missing before it have changed too, back to the report before it.
        position = bisect_left(self._reports, _rank(report), key=_rank)
        before = self._reports[position - 1].ends_at if position > 0 else report.starts_at
        return min(before, known.starts_at) if known else before

    def slots(self) -> Iterator[Slot]:
        """All minutes, oldest first."""
        self.unlisted = 0
        before: AudioReport | None = None
        constant = 0
        for report in self._reports:
            missing = list(self._missing_between(before, report)) if before else []
            yield from missing
            same = before is not None and not missing and before.values == report.values
            constant = constant + 1 if same else 1
            yield Slot(self._identity(report), report.starts_at, report.ends_at, report, constant)
            before = report

    def keep_last(self, count: int) -> None:
        """Let go of all but the `count` newest reports."""
        for report in self._reports[: max(0, len(self._reports) - count)]:
            self._remove(report)

    def _same_minute(self, report: AudioReport) -> AudioReport | None:
        if report.number is None:
            return next((known for known in self._reports if _rank(known) == _rank(report)), None)
        tolerance = self._limits.clock_disagreement_seconds
        for known in self._by_number.get(report.number, ()):
            if abs((known.ends_at - report.ends_at).total_seconds()) <= tolerance:
                return known
        return None

    def _missing_between(self, before: AudioReport, after: AudioReport) -> Iterator[Slot]:
        if before.number is None or after.number is None or after.number <= before.number + 1:
            return
        step = (after.ends_at - before.ends_at) / (after.number - before.number)
        length = after.ends_at - after.starts_at
        # The count is the client's word; no more minutes can be missing than there was time for.
        most = min(ceil((after.ends_at - before.ends_at) / length) + 1, self._limits.minutes_per_gap)
        skipped = after.number - before.number - 1
        self.unlisted += max(0, skipped - most)
        for position in range(1, min(skipped, most) + 1):
            ends_at = _to_millisecond(before.ends_at + step * position)
            number = before.number + position
            minute = _numbered(number, len(self._by_number.get(number, ())))
            yield Slot(minute, ends_at - length, ends_at, None, 0)

    def _identity(self, report: AudioReport) -> str:
        if report.number is None:
            return report.ends_at.isoformat(timespec="milliseconds")
        same_number = self._by_number[report.number]
        return _numbered(report.number, same_number.index(report))

    def _remove(self, report: AudioReport) -> None:
        self._reports.remove(report)
        if report.number is not None:
            same_number = self._by_number[report.number]
            same_number.remove(report)
            if not same_number:
                del self._by_number[report.number]


def _rank(report: AudioReport) -> tuple[datetime, int, str]:
    return (report.ends_at, -1 if report.number is None else report.number, report.source.body_sha256)


def _to_millisecond(time: datetime) -> datetime:
    """No finer than the client's own stamps."""
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


def _numbered(number: int, repeat: int) -> str:
    """A count that began anew within one call tells its minutes apart by a suffix."""
    return str(number) if repeat == 0 else f"{number}.{repeat}"
