"""What a store holds, for looking at: clients, their minutes, counts by hour, and what was not inspected.

Reads only; any number of readers may look while the gateway writes. Times are UTC; a span [since, until) goes by
the end of the minute, in the client's clock. The canary's findings are nobody's and in none of this.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import Connection, func, select

from mutewatch.identity import CANARY
from mutewatch.records import Finding, Verdict
from mutewatch.sinks.record import finding_from_record
from mutewatch.store import findings, microseconds

HOUR_US: Final = 3_600_000_000


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

    def findings(
        self, since: datetime | None, until: datetime | None, verdicts: Sequence[Verdict]
    ) -> Iterator[Finding]:
        """Yield the findings of everybody with these verdicts, in order of time; without limits also the undated."""
        ends = findings.c.ends_at_us
        query = select(findings.c.record).where(findings.c.client != CANARY, findings.c.verdict.in_(verdicts))
        if since is not None or until is not None:
            query = query.where(ends >= max(1, microseconds(since)))
        if until is not None:
            query = query.where(ends < microseconds(until))
        rows = query.order_by(ends, findings.c.client, findings.c.call, findings.c.minute)
        for (record,) in self._connection.execute(rows, execution_options={"yield_per": 1000}):
            yield finding_from_record(record)

    def undated(self) -> dict[str, int]:
        """Return how many findings have no time, by verdict: they are in no span."""
        query = select(findings.c.verdict, func.count()).where(findings.c.ends_at_us == 0, findings.c.client != CANARY)
        return dict(tuple(row) for row in self._connection.execute(query.group_by(findings.c.verdict)))

    def uninspected(self, since: datetime, until: datetime) -> list[Uninspected]:
        """Return what was not inspected in the span, in order of time; what has no time comes first."""
        raise NotImplementedError  # comes with the table


def _within(since: datetime, until: datetime) -> tuple[object, ...]:
    ends = findings.c.ends_at_us
    return (ends >= max(1, microseconds(since)), ends < microseconds(until), findings.c.client != CANARY)


def _time(us: int) -> datetime:
    return datetime.fromtimestamp(us / 1_000_000, UTC)
