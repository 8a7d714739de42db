"""What a store holds, for looking at: clients, their minutes, counts by hour, and what was not inspected.

Reads only; any number of readers may look while the gateway writes. Times are UTC; a span [since, until) goes by
the end of the minute, in the client's clock. The canary's findings are nobody's and in none of this.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import Struct
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Integer,
    Subquery,
    Text,
    and_,
    case,
    cast,
    func,
    literal,
    literal_column,
    or_,
    select,
    union,
    union_all,
)

from mutewatch.identity import CANARY
from mutewatch.judge import MUTED_PART
from mutewatch.records import Finding, Verdict
from mutewatch.rollup import KEYS
from mutewatch.sinks.record import Record
from mutewatch.stored import DRAWN, STORED, Columns, read, read_columns
from mutewatch.tables import HOUR_US, daily, findings, hourly, inputs, kinds, microseconds, open_hours, uninspected

DAY_HOURS: Final = 24
_VERDICTS: Final = {verdict.value: verdict for verdict in Verdict}
_IN_TIME: Final = (findings.c.ends_at_us, findings.c.call, findings.c.minute)
_IN_INDEX: Final = tuple(findings.c[name] for name in ("ends_at_us", "signature", "verdict", "version"))


@dataclass(frozen=True, slots=True)
class ClientTotals:
    """One client over a span of time."""

    client: str  # as the store names it: a pseudonym, unless the operator chose names
    first_at: datetime  # from the beginning of the first hour with a minute to the end of the last
    last_at: datetime
    minutes: dict[Verdict, int]  # only those above zero


class HourCount(Struct, frozen=True, gc=False):
    """How many minutes of one client had a verdict in one hour."""

    hour: datetime  # its start
    client: str
    signature: str
    verdict: Verdict
    number: int


class DayCount(Struct, frozen=True, gc=False):
    """How many minutes of one client and version had a verdict in one day."""

    day: datetime  # its start, UTC
    client: str
    signature: str
    version: str | None  # of the client; None: not reported
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
        known = select(ends).where(ends > 0, findings.c.client != CANARY).limit(1)
        first = self._connection.execute(known.order_by(ends)).scalar()
        last = self._connection.execute(known.order_by(ends.desc())).scalar()
        return None if first is None or last is None else (_time(first), _time(last))

    def around(self, since: datetime, until: datetime) -> tuple[datetime | None, datetime | None]:
        """Return the ends of the last minute before the span and the first one after it; None where there is none."""
        ends = findings.c.ends_at_us
        known = select(ends).where(findings.c.client != CANARY).limit(1)
        before = known.where(ends > 0, ends < microseconds(since)).order_by(ends.desc())
        after = known.where(ends >= max(1, microseconds(until))).order_by(ends)
        found = [self._connection.execute(query).scalar() for query in (before, after)]
        return (found[0] and _time(found[0])), (found[1] and _time(found[1]))

    def clients(self, since: datetime, until: datetime, limit: int | None = None) -> list[ClientTotals]:
        """Return the clients of the span, those with most flagged minutes first, then by name."""
        hours = _hours(since, until)
        keys = (hours.c.client, hours.c.verdict)
        totals = select(*keys, func.min(hours.c.hour), func.max(hours.c.hour), func.sum(hours.c.number)).group_by(*keys)
        found: dict[str, ClientTotals] = {}
        for client, verdict, first, last, number in self._connection.execute(totals):
            first_at, last_at = _time(first * HOUR_US), _time((last + 1) * HOUR_US)
            known = found.get(client)
            minutes = {**(known.minutes if known else {}), Verdict(verdict): int(number)}
            first_at, last_at = (
                (min(first_at, known.first_at), max(last_at, known.last_at)) if known else (first_at, last_at)
            )
            found[client] = ClientTotals(client, first_at, last_at, minutes)
        ranked = sorted(found.values(), key=lambda one: (-one.minutes.get(Verdict.FLAGGED, 0), one.client))
        return ranked[:limit]

    def hours(self, since: datetime, until: datetime, client: str | None = None) -> list[HourCount]:
        """Return the counts of the span by hour, client, signature and verdict, in this order."""
        hours = _hours(since, until, client)
        keys = (hours.c.hour, hours.c.client, hours.c.signature, hours.c.verdict)
        query = select(*keys, func.sum(hours.c.number)).group_by(*keys).order_by(*keys)
        rows = self._connection.execute(query).all()
        times = {hour: _time(hour * HOUR_US) for hour in {row[0] for row in rows}}
        return [HourCount(times[hour], who, what, _VERDICTS[verdict], int(n)) for hour, who, what, verdict, n in rows]

    def days(self, since: datetime, until: datetime) -> list[DayCount]:
        """Return the counts of the span by day, client, signature, version and verdict, in this order."""
        hours = _hours(since, until)
        day = hours.c.hour // literal_column(str(DAY_HOURS), Integer)
        keys = (day, hours.c.client, hours.c.signature, hours.c.version, hours.c.verdict)
        query = select(*keys, func.sum(hours.c.number)).group_by(*keys).order_by(*keys)
        rows = self._connection.execute(query).all()
        times = {day: _time(day * DAY_HOURS * HOUR_US) for day in {row[0] for row in rows}}
        return [
            DayCount(times[day], who, what, version or None, _VERDICTS[verdict], int(n))
            for day, who, what, version, verdict, n in rows
        ]

    def minutes(self, client: str, since: datetime, until: datetime) -> Iterator[Finding]:
        """Yield the findings of one client, in order of time; those without a time are not in any span."""
        query = select(*STORED).where(findings.c.client == client, *_within(since, until)).order_by(*_IN_TIME)
        return read(self._connection, self._connection.execute(query))

    def columns(self, client: str, since: datetime, until: datetime) -> Columns:
        """Return the same as columns, in a fraction of the time; of one moment in the index's order, not by call."""
        query = select(*DRAWN).where(findings.c.client == client, *_within(since, until)).order_by(*_IN_INDEX)
        return read_columns(self._connection, self._connection.execute(query).all())

    def findings(
        self, since: datetime | None, until: datetime | None, verdicts: Sequence[Verdict]
    ) -> Iterator[Finding]:
        """Yield the findings of everybody with these verdicts, in order of time; without limits also the undated."""
        ends = findings.c.ends_at_us
        query = select(*STORED).where(findings.c.client != CANARY, findings.c.verdict.in_(verdicts))
        if since is not None or until is not None:
            query = query.where(ends >= max(1, microseconds(since)))
        if until is not None:
            query = query.where(ends < microseconds(until))
        rows = query.order_by(ends, findings.c.client, findings.c.call, findings.c.minute)
        yield from read(self._connection, self._connection.execute(rows, execution_options={"yield_per": 1000}))

    def undated(self) -> dict[str, int]:
        """Return how many findings have no time, by verdict: they are in no span."""
        query = select(findings.c.verdict, func.count()).where(findings.c.ends_at_us == 0, findings.c.client != CANARY)
        return dict(tuple(row) for row in self._connection.execute(query.group_by(findings.c.verdict)))

    def bounds(self, verdict: Verdict, since: datetime, until: datetime) -> tuple[datetime, datetime] | None:
        """Return when the first minute with this verdict began and the last ended; None if there is none."""
        ends = findings.c.ends_at_us
        of_verdict = (findings.c.verdict == verdict.value, *_within(since, until))
        query = select(*STORED).where(*of_verdict).order_by(ends).limit(1)
        known = next(read(self._connection, self._connection.execute(query)), None)
        if known is None:
            return None
        last = self._connection.execute(select(func.max(ends)).where(*of_verdict)).scalar_one()
        return known.starts_at or known.ends_at or _time(last), _time(last)

    def muted_parts(self, since: datetime, until: datetime) -> tuple[int, int]:
        """Return how many flagged minutes were muted for a part only, and the seconds that missing ones were muted."""
        partly = select(kinds.c.number).where(kinds.c.shared[0].as_string() == MUTED_PART)
        # In the text: PostgreSQL reads no field of JSON that has NUL or half of a surrogate pair in any other.
        # In a string of JSON these quotes would be escaped; older stores wrote a space.
        text = cast(findings.c.record, Text)
        is_told = or_(*(text.contains(f'"rule":{space}"{MUTED_PART}"') for space in ("", " ")))
        is_part = case((findings.c.kind.is_(None), is_told), else_=findings.c.kind.in_(partly))
        flagged, missing = (findings.c.verdict == one.value for one in (Verdict.FLAGGED, Verdict.MISSING))
        query = select(
            func.coalesce(func.sum(case((flagged, 1), else_=0)), 0),
            func.coalesce(func.sum(case((missing, findings.c.muted_seconds))), 0),
        ).where(or_(missing, and_(flagged, is_part)), *_within(since, until))
        parts, seconds = self._connection.execute(query).one()
        return int(parts), int(seconds)

    def expired(self, since: datetime, until: datetime) -> dict[str, int]:
        """Return how many findings of these days were deleted for their age, by verdict."""
        days = daily.c.day.between(since.date().isoformat(), (until - timedelta(microseconds=1)).date().isoformat())
        query = select(daily.c.verdict, func.sum(daily.c.number)).where(days).group_by(daily.c.verdict)
        return {verdict: int(n) for verdict, n in self._connection.execute(query)}

    def inputs(self) -> list[Record]:
        """Return what was read into the store, by name: `name`, `counts`, `error`."""
        return [dict(row) for row in self._connection.execute(select(inputs).order_by(inputs.c.name)).mappings()]

    def uninspected(
        self, since: datetime, until: datetime, addresses: Collection[str] | None = None
    ) -> list[Uninspected]:
        """Return what was not inspected in the span, in order of time; what has no time comes first."""
        columns = uninspected.c
        dated = and_(columns.started_at_us < microseconds(until), columns.ended_at_us >= max(1, microseconds(since)))
        query = select(uninspected).where(or_(dated, columns.ended_at_us == 0))
        if addresses is not None:
            query = query.where(columns.address.in_(addresses))
        order = (columns.started_at_us, columns.input, columns.address, columns.host, columns.reason)
        return [
            Uninspected(
                row["address"] or None,
                row["host"],
                row["reason"],
                _time(row["started_at_us"]) if row["ended_at_us"] else None,
                _time(row["ended_at_us"]) if row["ended_at_us"] else None,
                row["number"],
                row["input"],
            )
            for row in self._connection.execute(query.order_by(*order)).mappings()
        ]


def _hours(since: datetime, until: datetime, client: str | None = None) -> Subquery:
    """Count by hour, client, signature, verdict and version, in one statement: it sees one state of the store.

    Hours that are open, and those that the span cuts, are counted anew; of all others `hourly` has the number.
    """
    first, end = max(1, microseconds(since)), max(1, microseconds(until))
    hour, last = first // HOUR_US, (end - 1) // HOUR_US
    edges = {cut // HOUR_US for cut in (first, end) if cut % HOUR_US}
    raw = union(
        select(open_hours.c.hour).where(open_hours.c.hour.between(hour, last)),
        *(select(literal(edge, BigInteger)) for edge in sorted(edges)),
    ).cte("raw")
    of_hour = findings.c.ends_at_us.between(raw.c.hour * HOUR_US, raw.c.hour * HOUR_US + (HOUR_US - 1))
    anew = select(raw.c.hour, *KEYS, func.count().label("number")).select_from(raw.join(findings, of_hour))
    anew = anew.where(*_within(since, until)).group_by(raw.c.hour, *KEYS)
    known = select(hourly).where(hourly.c.hour.between(hour, last), hourly.c.hour.not_in(select(raw.c.hour)))
    if client is not None:
        anew, known = anew.where(findings.c.client == client), known.where(hourly.c.client == client)
    return union_all(anew, known).subquery()


def _within(since: datetime, until: datetime) -> tuple[ColumnElement[bool], ...]:
    ends = findings.c.ends_at_us
    return (ends >= max(1, microseconds(since)), ends < microseconds(until), findings.c.client != CANARY)


def _time(us: int) -> datetime:
    return datetime.fromtimestamp(us / 1_000_000, UTC)
