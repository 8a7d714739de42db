"""Rows of the store that are too old: found, counted by day, deleted. The SQL behind `retention.py`."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, func, or_, select, tuple_

from mutewatch.identity import CANARY
from mutewatch.rollup import KEYS, take_away, take_turn
from mutewatch.tables import daily, findings, messages, meta, microseconds, uninspected
from mutewatch.upsert import Insert, upsert

COUNTED: Final = (findings.c.seen_at_us, findings.c.ends_at_us, *KEYS)


def expire(connection: Connection, before: datetime, counts_before: datetime, limit: int, *, waits: bool = True) -> int:
    """Delete at most `limit` rows of each table from before `before`; return how many went.

    Counts of days before that of `counts_before` go too. Nothing is written where nothing is due, or where somebody
    else counts or deletes and this one does not wait.
    """
    stale = daily.c.day < _day(microseconds(counts_before))
    unseen = uninspected.c.ended_at_us.between(1, microseconds(before) - 1)
    due = [
        *((messages, _old_messages(before)), (findings, _old_findings(before))),
        *((uninspected, unseen), (daily, stale)),
    ]
    is_due = any(connection.execute(select(1).select_from(table).where(old).limit(1)).first() for table, old in due)
    if not is_due or not take_turn(connection, waits=waits):
        return 0
    rows = len(_delete_some(connection, messages, _old_messages(before), limit, (messages.c.seen_at_us,)))
    rows += len(_delete_some(connection, uninspected, unseen, limit, (uninspected.c.hour,)))
    gone = _delete_some(connection, findings, _old_findings(before), limit, COUNTED)
    take_away(connection, ((ends, client, *what) for _, ends, client, *what in gone))
    counts: Counter[tuple[str, ...]] = Counter(
        (_day(seen or ends), signature, verdict)
        for seen, ends, client, signature, verdict, _version in gone
        if client != CANARY
    )
    _count(connection, counts)
    connection.execute(delete(daily).where(stale))
    return rows + len(gone)


def due(connection: Connection, before: datetime) -> tuple[int, int]:
    """Return how many messages and findings are from before `before`."""
    return _number(connection, messages, _old_messages(before)), _number(connection, findings, _old_findings(before))


def undated(connection: Connection) -> tuple[int, int]:
    """Return how many messages and findings have no time at all: their age never ends them."""
    timeless = and_(findings.c.seen_at_us == 0, findings.c.ends_at_us == 0)
    return _number(connection, messages, messages.c.seen_at_us == 0), _number(connection, findings, timeless)


def newest(connection: Connection) -> datetime | None:
    """Return when the newest message was seen by the capturing clock; None if there is none."""
    found = connection.execute(select(func.max(messages.c.seen_at_us))).scalar_one()
    return datetime.fromtimestamp(found / 1e6, UTC) if found else None


def noted_times(connection: Connection, names: tuple[str, ...]) -> dict[str, datetime]:
    """Return the times that were noted under `names`; those that cannot be read are left out."""
    times = {}
    for name, text in connection.execute(select(meta.c.name, meta.c.value).where(meta.c.name.in_(names))):
        try:
            times[name] = datetime.fromisoformat(text)
        except ValueError:
            continue
    return times


def note_time(connection: Connection, name: str, time: datetime | None) -> None:
    """Note `time` under `name`; None: forget it."""
    if time is None:
        connection.execute(delete(meta).where(meta.c.name == name))
    else:
        upsert(connection, meta, [{"name": name, "value": time.isoformat()}])


def _old_messages(before: datetime) -> ColumnElement[bool]:
    return messages.c.seen_at_us.between(1, microseconds(before) - 1)


def _old_findings(before: datetime) -> ColumnElement[bool]:
    """By the capturing clock, or where the door has none, by the client's."""
    last = microseconds(before) - 1
    by_client = and_(findings.c.seen_at_us == 0, findings.c.ends_at_us.between(1, last))
    return or_(findings.c.seen_at_us.between(1, last), by_client)


def _delete_some(
    connection: Connection, table: Table, old: ColumnElement[bool], limit: int, told: tuple[Any, ...]
) -> list[Any]:
    """Delete at most `limit` old rows of `table`; return the columns `told` of each.

    Not those that somebody writes just now: two that hold rows would wait for each other. (SQLite has one writer.)
    """
    keys = list(table.primary_key)
    some = select(*keys).where(old).limit(limit).with_for_update(skip_locked=True)
    return list(connection.execute(delete(table).where(tuple_(*keys).in_(some)).returning(*told)))


def _count(connection: Connection, counts: "Counter[tuple[str, ...]]") -> None:
    rows = [
        {"day": day, "signature": signature, "verdict": verdict, "number": number}
        for (day, signature, verdict), number in counts.items()
    ]
    upsert(connection, daily, rows, _added)


def _added(statement: Insert) -> dict[str, ColumnElement[int]]:
    return {"number": daily.c.number + statement.excluded.number}


def _day(time_us: int) -> str:
    """In UTC, as in 2026-03-02; "" for a time beyond the calendar (a client's clock may say anything)."""
    try:
        return datetime.fromtimestamp(time_us / 1e6, UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):
        return ""


def _number(connection: Connection, table: Table, which: ColumnElement[bool]) -> int:
    number: int = connection.execute(select(func.count()).select_from(table).where(which)).scalar_one()
    return number
