"""What was not inspected, with its time: connections and messages that nobody could look into, or that were let pass,
and signatures that the operator left out.

- Kept is the host pattern of a signature: the name on the wire may name a customer. The address is a pseudonym.
- One row is one address, host, reason and hour of one input, however often; beyond `MOST` rows of an hour the rest is
  counted without an address. So a hostile client fills no disk: what is left are hosts times reasons.
- An input that is read again replaces its rows; the live proxy adds to its own.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, case, delete, select

from mutewatch.flow_records import Flow, FlowOutcome, Unidentified
from mutewatch.tables import HOUR_US, microseconds, uninspected
from mutewatch.upsert import Insert, upsert

MOST: Final = 10_000  # rows of one hour that name an address: every client of a large site, once
INSPECTED: Final = frozenset({FlowOutcome.DECRYPTED, FlowOutcome.CLEARTEXT, FlowOutcome.EMPTY})


class Reason(StrEnum):
    """Why the live proxy did not look into something. Of captures it is the flow's outcome."""

    PINNED = "pinned"  # let through, as this client had refused our certificate
    REFUSED = "certificate refused"  # by the client, which then ended the connection
    NO_LEAF = "no certificate"  # of ours for this host: let through, or refused (strict)
    NO_NAME = "no server name"  # in the ClientHello, though the address was asked for by a telemetry host's name
    ECH = "ECH"  # as before, and the ClientHello has an encrypted one in it
    TOO_LARGE = "too large"
    STREAMED = "streamed"  # it left while it came in
    OVERLOAD = "overload"  # the queue was full
    NOT_RECORDED = "not recorded"  # the store was away for too long
    WEBSOCKET = "websocket"
    NOT_HTTP = "not HTTP"
    LEFT_OUT = "left out by the operator"  # nothing is counted; it says when. Its host is the signature's id


@dataclass(frozen=True, slots=True)
class Passed:
    """Connections or messages that were not inspected."""

    started_at: datetime | None
    ended_at: datetime | None
    address: str | None  # as on the wire
    host: str  # a signature's pattern
    reason: str
    number: int = 1


@dataclass(slots=True)
class Tally:
    """Adds up what was not inspected, until it is written. `pseudonym`: of an address."""

    pseudonym: Callable[[str], str]
    most: int = MOST
    rows: dict[tuple[int, str, str, str], dict[str, Any]] = field(default_factory=dict)
    _named: dict[int, set[tuple[str, str, str]]] = field(default_factory=dict)  # rows of an hour that name an address

    def add(self, one: Passed) -> None:
        started, ended = microseconds(one.started_at), microseconds(one.ended_at)
        hour = started // HOUR_US
        address = self.pseudonym(one.address) if one.address else ""
        named = self._named.setdefault(hour, set())
        if (address, one.host, one.reason) not in named:
            if len(named) < self.most:
                named.add((address, one.host, one.reason))
            else:
                address = ""
        key = (hour, address, one.host, one.reason)
        row = self.rows.get(key)
        if row is None:
            names = dict(zip(("hour", "address", "host", "reason"), key, strict=True))
            self.rows[key] = {**names, "started_at_us": started, "ended_at_us": ended, "number": one.number}
        else:
            row["started_at_us"] = min(row["started_at_us"], started)
            row["ended_at_us"] = max(row["ended_at_us"], ended)
            row["number"] += one.number

    def clear(self) -> None:
        """What there was is written. Which rows of the newest hour those were is kept in mind."""
        self.rows = {}
        self._named = {hour: named for hour, named in self._named.items() if hour == max(self._named)}


def of_capture(
    flows: Iterable[Flow], unidentified: dict[Unidentified, int], pattern: Callable[[str], str | None]
) -> Iterable[Passed]:
    """Yield what of a capture was not inspected, or not wholly; `pattern`: of a host that a signature knows."""
    for flow in flows:
        if flow.outcome not in INSPECTED:
            host = (pattern(flow.host) if flow.host else None) or ""
            yield Passed(flow.started_at, flow.ended_at or flow.started_at, flow.client, host, flow.outcome.value)
    for reason, number in unidentified.items():
        yield Passed(None, None, None, "", reason.value, number)


def left_out(ids: Iterable[str], at: datetime | None) -> list[Passed]:
    """Return what says that the signatures with these `ids` were left out at this time."""
    return [Passed(at, at, None, signature, Reason.LEFT_OUT) for signature in ids]


def ids_left_out(connection: Connection) -> tuple[str, ...]:
    """Return the ids of the signatures that were left out of something that is still in the store."""
    told = select(uninspected.c.host).where(uninspected.c.reason == Reason.LEFT_OUT).distinct()
    return tuple(sorted(connection.execute(told).scalars()))


def replace_all(connection: Connection, name: str, tally: Tally) -> None:
    """Write what the input `name` has not inspected, in the place of what an earlier run knew of it."""
    connection.execute(delete(uninspected).where(uninspected.c.input == name))
    upsert(connection, uninspected, _rows(name, tally))


def add_to(connection: Connection, name: str, tally: Tally) -> None:
    """Write what the input `name` has not inspected since the last time."""
    upsert(connection, uninspected, _rows(name, tally), _added)


def _rows(name: str, tally: Tally) -> list[dict[str, Any]]:
    return [{"input": name, **tally.rows[key]} for key in sorted(tally.rows)]


def _added(statement: Insert) -> dict[str, ColumnElement[int]]:
    now, more = uninspected.c, statement.excluded
    return {
        "number": now.number + more.number,
        "started_at_us": case((more.started_at_us < now.started_at_us, more.started_at_us), else_=now.started_at_us),
        "ended_at_us": case((more.ended_at_us > now.ended_at_us, more.ended_at_us), else_=now.ended_at_us),
    }
