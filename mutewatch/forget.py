"""One client leaves the store: its messages, minutes, counts by hour, and what of it was not inspected.

By the name that the store has for it, as a client or as an address, wherever that stands: as a key, or in the text
of a row's JSON. What names it is found first, by a walk through the tables, and then deleted in small steps, until a
walk finds nothing. Counts by day are in nobody's name, and stay.
"""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Final

from sqlalchemy import ColumnElement, Table, Text, cast, delete, func, or_, select, tuple_

from mutewatch import outbox
from mutewatch.database import json_text
from mutewatch.rollup import KEYS, take_away, take_turn
from mutewatch.store import Store
from mutewatch.stored import STORED, read
from mutewatch.tables import findings, hourly, messages, uninspected

STEP_ROWS: Final = 200
_NAMED: Final = {
    hourly: ((hourly.c.client,), None),
    messages: ((messages.c.address,), messages.c.facts),
    findings: (tuple(findings.c[name] for name in ("client", "call", "minute", "version")), findings.c.record),
    uninspected: ((uninspected.c.address,), None),
}


def count(store: Store, name: str) -> "Counter[str]":
    """Return how many rows name `name`, by table."""
    return Counter({table.name: len(_keys(store, table, name)) for table in _NAMED})


def forget(store: Store, name: str) -> "Counter[str]":
    """Delete all rows that name `name`; return how many, by table. Raises sqlalchemy's DBAPIError."""
    gone: Counter[str] = Counter()
    found = True
    while found:  # the live proxy may write meanwhile
        found = False
        for table in _NAMED:
            for step in _steps(_keys(store, table, name)):
                found = True
                gone[table.name] += _delete(store, table, step)
    with store.begin() as connection:
        outbox.forget(connection, name)
    return gone


def addresses(store: Store, name: str) -> list[str]:
    """Return the addresses that the messages behind the minutes of the client `name` came from."""
    query = select(*STORED).where(findings.c.client == name)
    with store.begin() as connection:
        minutes = read(connection, connection.execute(query))
        found = {one.source.address for one in minutes if one.source and one.source.address}
    return sorted(found - {name})


def ids_in_calls(store: Store, name: str) -> list[str]:
    """Return the calls of the client `name`, and its ids in them, that messages name which tell no address.

    Such messages may tell no client either, but that a button was pressed in a call.
    """
    of_client = select(findings.c.call).where(findings.c.client == name, findings.c.call != "").distinct()
    with store.begin() as connection:
        calls = set(connection.execute(of_client).scalars())
        told = connection.execute(select(messages.c.facts).where(messages.c.address == "")).scalars()
        events = [(event["call"], event["participant"]) for facts in told for event in facts["mute"]]
    participants = {participant for call, participant in events if call in calls}
    return sorted({one for event in events for one in event if one in calls | participants} - {None, name})


def _keys(store: Store, table: Table, name: str) -> list[tuple[object, ...]]:
    with store.begin() as connection:
        return [tuple(row) for row in connection.execute(select(*table.primary_key).where(_names(table, name)))]


def _names(table: Table, name: str) -> ColumnElement[bool]:
    columns, document = _NAMED[table]
    by_column = or_(*(column == name for column in columns))
    if document is None:
        return by_column
    texts = {json_text(name), json.dumps(name)}  # as either writes it
    whole = cast(document, Text)
    told = (func.replace(whole, text, "") != whole for text in sorted(texts))  # SQLite's LIKE takes "a" for "A"
    return or_(by_column, *told)


def _steps(keys: list[tuple[object, ...]]) -> Iterator[list[tuple[object, ...]]]:
    for start in range(0, len(keys), STEP_ROWS):
        yield keys[start : start + STEP_ROWS]


def _delete(store: Store, table: Table, keys: list[tuple[object, ...]]) -> int:
    these = tuple_(*table.primary_key).in_(keys)
    gone = delete(table).where(these)
    with store.begin() as connection:
        take_turn(connection)  # first, as who else deletes: two that hold rows would wait for each other;
        # and for who writes these rows, in the order in which rows are written (SQLite has one writer)
        connection.execute(select(*table.primary_key).where(these).order_by(*table.primary_key).with_for_update())
        if table is not findings:
            return connection.execute(gone).rowcount
        rows = [tuple(row) for row in connection.execute(gone.returning(findings.c.ends_at_us, *KEYS))]
        take_away(connection, rows)  # of somebody else's, where only the row's text named this one
        return len(rows)
