"""What a store holds, for looking at: clients, their minutes, counts by hour, and what was not inspected.

Reads only; any number of readers may look while the gateway writes. Times are UTC; a span [since, until) goes by
the end of the minute, in the client's clock. The canary's findings are nobody's and in none of this.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, Connection, func, select

from mutewatch.identity import CANARY
from mutewatch.records import Finding, Verdict
from mutewatch.sinks.record import Record, finding_from_record
from mutewatch.tables import HOUR_US, daily, findings, inputs, microseconds


@dataclass(frozen=True, slots=True)
class ClientTotals:
    """One client over a span of time."""

    client: str  # as the store names it: a pseudonym, unless the operator chose names
    first_at: datetime  # ends of the first and the last minute
    last_at: datetime
    minutes: dict[Verdict, int]  # only those above zero


@dataclass(frozen=True, slots=True)
class HourCount:
    """How many minutes of one client had a verdict in one hour."""

    hour: datetime  # its start
    client: str
    signature: str
    verdict: Verdict
    number: int


@dataclass(frozen=True, slots=True)
class Uninspected:
    """Traffic to a telemetry host that nobody could look into, or that was let pass, over a span of time."""

    address: str | None  # pseudonym of the client's network address, as in `Source.address`
    host: str  # the host pattern of the signature, not the name on the wire, which may name a customer
    reason: str  # no key in log, QUIC, ECH, pinned, streamed, too large, ...
    started_at: datetime | None
    ended_at: datetime | None
    number: int  # of connections or messages
    input: str  # whose: a file, or "live"


class History:
    """Reads one store over an open connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def span(self) -> tuple[datetime, datetime] | None:
        """Return the ends of the first and the last minute; None for a store without any."""
        ends = findings.c.ends_at_us
        query = select(func.min(ends), func.max(ends)).where(ends > 0, findings.c.client != CANARY)
        first, last = self._connection.execute(query).one()
        return None if first is None else (_time(first), _time(last))

    def clients(self, since: datetime, until: datetime, limit: int | None = None) -> list[ClientTotals]:
        """Return the clients of the span, those with most flagged minutes first, then by name."""
        found: dict[str, ClientTotals] = {}
        for one in self.hours(since, until):
            ends_at = one.hour + timedelta(hours=1)
            known = found.setdefault(one.client, ClientTotals(one.client, one.hour, ends_at, {}))
            known.minutes[one.verdict] = known.minutes.get(one.verdict, 0) + one.number
        ranked = sorted(found.values(), key=lambda one: (-one.minutes.get(Verdict.FLAGGED, 0), one.client))
        return ranked[:limit]

    def hours(self, since: datetime, until: datetime, client: str | None = None) -> list[HourCount]:
        """Return the counts of the span by hour, client, signature and verdict, in this order."""
        hour = (findings.c.ends_at_us // HOUR_US).label("hour")
        keys = (hour, findings.c.client, findings.c.signature, findings.c.verdict)
        query = select(*keys, func.count()).where(*_within(since, until)).group_by(*keys).order_by(*keys)
        if client is not None:
            query = query.where(findings.c.client == client)
        rows = self._connection.execute(query)
        return [HourCount(_time(h * HOUR_US), who, what, Verdict(verdict), n) for h, who, what, verdict, n in rows]

    def minutes(self, client: str, since: datetime, until: datetime) -> Iterator[Finding]:
        """Yield the findings of one client, in order of time; those without a time are not in any span."""
        order = (findings.c.ends_at_us, findings.c.call, findings.c.minute)
        query = select(findings.c.record).where(findings.c.client == client, *_within(since, until)).order_by(*order)
        for (record,) in self._connection.execute(query):
            yield finding_from_record(record)

    def undated(self) -> dict[str, int]:
        """Return how many findings have no time, by verdict: they are in no span."""
        query = select(findings.c.verdict, func.count()).where(findings.c.ends_at_us == 0, findings.c.client != CANARY)
        return dict(tuple(row) for row in self._connection.execute(query.group_by(findings.c.verdict)))

    def bounds(self, verdict: Verdict, since: datetime, until: datetime) -> tuple[datetime, datetime] | None:
        """Return when the first minute with this verdict began and the last ended; None if there is none."""
        ends = findings.c.ends_at_us
        of_verdict = (findings.c.verdict == verdict.value, *_within(since, until))
        first = self._connection.execute(select(findings.c.record).where(*of_verdict).order_by(ends).limit(1)).scalar()
        if first is None:
            return None
        last = self._connection.execute(select(func.max(ends)).where(*of_verdict)).scalar_one()
        known = finding_from_record(first)
        return known.starts_at or known.ends_at or _time(last), _time(last)

    def versions(self, since: datetime, until: datetime) -> list[tuple[str, str | None, Verdict, int]]:
        """Return the counts of the span by signature, version of the client (None: not reported) and verdict."""
        version = findings.c.record["client_version"].as_string().label("version")
        told = select(findings.c.signature, version, findings.c.verdict).where(*_within(since, until)).subquery()
        keys = (told.c.signature, told.c.version, told.c.verdict)
        rows = self._connection.execute(select(*keys, func.count()).group_by(*keys).order_by(*keys))
        return [(signature, version, Verdict(verdict), n) for signature, version, verdict, n in rows]

    def expired(self, since: datetime, until: datetime) -> dict[str, int]:
        """Return how many findings of these days were deleted for their age, by verdict."""
        days = daily.c.day.between(since.date().isoformat(), (until - timedelta(microseconds=1)).date().isoformat())
        query = select(daily.c.verdict, func.sum(daily.c.number)).where(days).group_by(daily.c.verdict)
        return {verdict: int(n) for verdict, n in self._connection.execute(query)}

    def inputs(self) -> list[Record]:
        """Return what was read into the store, by name: `name`, `counts`, `error`."""
        return [dict(row) for row in self._connection.execute(select(inputs).order_by(inputs.c.name)).mappings()]

    def uninspected(self, since: datetime, until: datetime) -> list[Uninspected]:
        """Return what was not inspected in the span, in order of time; what has no time comes first."""
        raise NotImplementedError  # comes with the table


def _within(since: datetime, until: datetime) -> tuple[ColumnElement[bool], ...]:
    ends = findings.c.ends_at_us
    return (ends >= max(1, microseconds(since)), ends < microseconds(until), findings.c.client != CANARY)


def _time(us: int) -> datetime:
    return datetime.fromtimestamp(us / 1_000_000, UTC)
