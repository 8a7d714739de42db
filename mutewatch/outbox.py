"""Which findings an export has still to be told of: noted in the transaction that records them.

So nothing is forgotten, whenever the process ends; what was told and not yet crossed out is told again (at least
once). Rows hold keys alone: a finding that is deleted meanwhile is not told of. Rules:

- a minute is noted when it becomes flagged, and when it no longer is, after the receiver may have heard that it was;
- the same finding recorded again notes nothing;
- the canary is nobody, and is told of to nobody.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import (
    Column,
    Connection,
    Integer,
    MetaData,
    Table,
    UniqueConstraint,
    and_,
    delete,
    insert,
    inspect,
    or_,
    select,
    tuple_,
)

from mutewatch.database import begin_change
from mutewatch.identity import CANARY
from mutewatch.records import Finding, Verdict
from mutewatch.sinks.record import Record
from mutewatch.stored import STORED, read
from mutewatch.tables import findings

_NAMES: Final = ("client", "call", "signature", "minute")
_KEY: Final = tuple(findings.c[name] for name in _NAMES)
_AT_ONCE: Final = 500  # keys of one query

outbox = Table(
    "outbox",
    MetaData(),
    Column("id", Integer, primary_key=True),  # the order in which they were noted
    *(Column(name, findings.c[name].type, nullable=False) for name in _NAMES),
    UniqueConstraint(*_NAMES),
)


@dataclass(frozen=True, slots=True)
class Waiting:
    """One noted finding, as it is now; None if it has been deleted since."""

    id: int
    finding: Finding | None


def prepare(connection: Connection) -> None:
    """Make the table where there is none; another gateway may be about to."""
    if not inspect(connection).has_table(outbox.name):
        begin_change(connection)
        outbox.create(connection, checkfirst=True)


def note(connection: Connection, rows: Sequence[Record]) -> None:
    """Note which of the findings in `rows`, about to be written, an export is to be told of."""
    ours = {tuple(row[name] for name in _NAMES): row["verdict"] for row in rows if row["client"] != CANARY}
    told = set(_flagged(connection, list(ours)))
    due = [key for key, verdict in ours.items() if (verdict == Verdict.FLAGGED) is not (key in told)]
    if not due:
        return
    _delete_keys(connection, due)
    connection.execute(insert(outbox), [dict(zip(_NAMES, key, strict=True)) for key in due])


def waiting(connection: Connection, limit: int) -> list[Waiting]:
    """Return the first `limit` that were noted."""
    same = and_(*(outbox.c[name] == findings.c[name] for name in _NAMES))
    query = select(outbox.c.id, *STORED).join_from(outbox, findings, same, isouter=True)
    rows = connection.execute(query.order_by(outbox.c.id).limit(limit)).all()
    found = read(connection, (row for row in rows if row.rest is not None))
    return [Waiting(row.id, next(found) if row.rest is not None else None) for row in rows]


def cross_out(connection: Connection, told: Sequence[Waiting]) -> None:
    """Forget that these were waiting."""
    connection.execute(delete(outbox).where(outbox.c.id.in_([one.id for one in told])))


def forget(connection: Connection, name: str) -> None:
    """Forget what was noted under `name`, of a client or a call, if anything ever was."""
    if inspect(connection).has_table(outbox.name):
        connection.execute(delete(outbox).where(or_(*(outbox.c[column] == name for column in _NAMES))))


def _flagged(connection: Connection, keys: Sequence[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    """Yield those of `keys` under which a flagged finding is stored."""
    for start in range(0, len(keys), _AT_ONCE):
        among = tuple_(*_KEY).in_(keys[start : start + _AT_ONCE])
        query = select(*_KEY).where(among, findings.c.verdict == Verdict.FLAGGED.value)
        yield from (tuple(row) for row in connection.execute(query))


def _delete_keys(connection: Connection, keys: Sequence[tuple[str, ...]]) -> None:
    columns = tuple(outbox.c[name] for name in _NAMES)
    for start in range(0, len(keys), _AT_ONCE):
        connection.execute(delete(outbox).where(tuple_(*columns).in_(keys[start : start + _AT_ONCE])))
