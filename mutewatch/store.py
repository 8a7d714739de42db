"""The store: facts and findings, in SQLite (WAL) through SQLAlchemy Core.

- Every write is an upsert under a key made from the traffic itself: reading it again changes nothing.
- `record` is one transaction; when it returns, what it was given survives a crash (synchronous=FULL).
- What is deleted is overwritten (secure_delete) in the file, and gone from the write-ahead log once `empty_log` did it.
- Facts (what each message said) are kept apart from findings (what it means), so that old facts can be
  judged again, and so that a restarted gateway goes on with the mute state it knew.

One `Store` belongs to one thread. Readers in other processes do not disturb it.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic_core import to_json
from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    func,
    inspect,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import Insert, insert
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from mutewatch.errors import OperatorError
from mutewatch.identity import CANARY
from mutewatch.records import Decoded, Finding
from mutewatch.sinks.record import Record, finding_from_record, finding_record

SCHEMA_VERSION: Final = 2
WAL_BYTES: Final = 8 << 20  # SQLite's usual 4 MB, twice; it grows beyond only while a reader holds on to an old state

_metadata = MetaData()

meta = Table("meta", _metadata, Column("name", String, primary_key=True), Column("value", String, nullable=False))

# What was read, and how much of it: without this an empty table of findings would look clean.
inputs = Table(
    "inputs",
    _metadata,
    Column("name", String, primary_key=True),
    Column("counts", JSON, nullable=False),
    Column("error", String),
)

messages = Table(
    "messages",
    _metadata,
    Column("signature", String, primary_key=True),
    Column("body_sha256", String, primary_key=True),
    Column("seen_at_us", BigInteger, primary_key=True),  # capturing clock; 0 where the door has none
    Column("address", String, primary_key=True),  # pseudonym; "" where the door has none
    Column("facts", JSON, nullable=False),
)
Index("messages_by_time", messages.c.seen_at_us)

findings = Table(
    "findings",
    _metadata,
    Column("client", String, primary_key=True),
    Column("call", String, primary_key=True),
    Column("signature", String, primary_key=True),
    Column("minute", String, primary_key=True),
    Column("ends_at_us", BigInteger, nullable=False),  # client's clock; 0 where no time is known
    Column("seen_at_us", BigInteger, nullable=False, server_default="0"),  # capturing clock; 0 where the door has none
    Column("verdict", String, nullable=False),
    Column("muted_seconds", Integer),
    Column("record", JSON, nullable=False),
)
Index("findings_by_time", findings.c.ends_at_us, findings.c.verdict)
findings_by_age = Index("findings_by_age", findings.c.seen_at_us, findings.c.ends_at_us)

# What remains of findings that were deleted for their age: in nobody's name, without the canary's.
daily = Table(
    "daily",
    _metadata,
    Column("day", String, primary_key=True),  # UTC, 2026-03-02
    Column("signature", String, primary_key=True),
    Column("verdict", String, primary_key=True),
    Column("number", Integer, nullable=False),
)

_decoded: TypeAdapter[Decoded] = TypeAdapter(Decoded)


class Store:
    """An open store. Use as a context manager, or call `close`."""

    def __init__(self, path: Path, lock_seconds: float = 5.0) -> None:
        """Open or create the store at `path`, mode 0600. OperatorError if that cannot be done.

        `lock_seconds`: how long to wait for somebody else's lock.
        """
        self.path = path
        self._newest_us = 0  # of the messages that were recorded here
        # what is to happen, in the same transaction, before findings are written; gets their rows
        self.before_findings: Callable[[Connection, Sequence[Record]], None] = lambda _connection, _rows: None
        _create_private(path)
        self._lock_ms = round(lock_seconds * 1000)
        # hidden: the text of an error must not quote what a client sent
        self._engine = create_engine(
            URL.create("sqlite", database=str(path)),
            connect_args={"timeout": lock_seconds},
            hide_parameters=True,
            json_serializer=_json_text,
        )
        # Rows of one table in one step: between two steps SQLite gives up Python's lock, and another thread takes it.
        self._engine.dialect.use_insertmanyvalues_wo_returning = True
        event.listen(self._engine, "connect", _prepare_connection)
        try:
            with self._engine.begin() as connection:
                _metadata.create_all(connection)
                self._check_version(connection)
        except DBAPIError as error:
            raise OperatorError(f"{path}: not a store that can be used: {error.orig}") from None

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        self._engine.dispose()

    def record(
        self,
        facts: Iterable[Decoded],
        found: Iterable[Finding],
        counts: Mapping[str, dict[str, Any]] | None = None,
    ) -> None:
        """Keep facts and findings in one transaction, durable on return. Raises sqlalchemy's DBAPIError.

        `counts`: what inputs that go on have given so far, by name.
        """
        message_rows = _last_by_key(map(_message_row, facts), messages)
        self._newest_us = max((row["seen_at_us"] for row in message_rows), default=0) or self._newest_us
        finding_rows = _last_by_key((_finding_row(one, self._newest_us) for one in found), findings)
        input_rows = [{"name": name, "counts": count, "error": None} for name, count in (counts or {}).items()]
        if not message_rows and not finding_rows and not input_rows:
            return
        with self._engine.begin() as connection:
            _upsert(connection, messages, message_rows)
            self.before_findings(connection, finding_rows)
            _upsert(connection, findings, finding_rows)
            _upsert(connection, inputs, input_rows)

    def record_input(self, name: str, counts: dict[str, Any], error: str | None) -> None:
        """Keep what one input gave; reading it again replaces that."""
        with self._engine.begin() as connection:
            _upsert(connection, inputs, [{"name": name, "counts": counts, "error": error}])

    def begin(self) -> AbstractContextManager[Connection]:
        """A transaction of its own, for what is not done here."""
        return self._engine.begin()

    def empty_log(self) -> bool:
        """Write the write-ahead log into the file and empty it, at once or not at all; False if a reader is in the way.

        Until then the log may hold what has been deleted.
        """
        with self._engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA busy_timeout=0")
            try:
                (busy, _, _) = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
            finally:
                connection.exec_driver_sql(f"PRAGMA busy_timeout={self._lock_ms}")
        return not busy

    def facts_since(self, time: datetime, limit: int) -> Iterator[Decoded]:
        """Yield the facts of the `limit` newest messages seen from `time` on."""
        rows = select(messages.c.facts).where(messages.c.seen_at_us >= microseconds(time))
        with self._engine.connect() as connection:
            for (facts,) in connection.execute(rows.order_by(messages.c.seen_at_us.desc()).limit(limit)):
                yield _decoded.validate_python(facts)

    def findings(self) -> Iterator[Finding]:
        """Yield all findings, by client, call and time; the canary's are no client's."""
        order = (findings.c.client, findings.c.call, findings.c.ends_at_us, findings.c.minute)
        rows = select(findings.c.record).where(findings.c.client != CANARY)
        with self._engine.connect() as connection:
            for (record,) in connection.execute(rows.order_by(*order)):
                yield finding_from_record(record)

    def canary(self, call: str, since: datetime) -> tuple[list[Decoded], list[Finding]]:
        """Return what the canary's messages of one call, seen from `since` on, said, and how they were judged."""
        own = messages.c.address == CANARY
        said = select(messages.c.facts).where(own, messages.c.seen_at_us >= microseconds(since))
        judged = select(findings.c.record).where(findings.c.client == CANARY, findings.c.call == call)
        with self._engine.connect() as connection:
            facts = [_decoded.validate_python(row.facts) for row in connection.execute(said)]
            found = [finding_from_record(row.record) for row in connection.execute(judged)]
        return facts, found

    def inputs(self) -> list[Record]:
        """Return what was read into this store, by name."""
        with self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(select(inputs).order_by(inputs.c.name)).mappings()]

    def verdicts(self) -> dict[str, int]:
        """Return the number of findings by verdict, without the canary's."""
        query = select(findings.c.verdict, func.count()).where(findings.c.client != CANARY).group_by(findings.c.verdict)
        with self._engine.connect() as connection:
            return dict(tuple(row) for row in connection.execute(query))

    def daily(self) -> list[Record]:
        """Return what is known of findings that were deleted for their age: day, signature, verdict, number."""
        with self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(select(daily).order_by(*daily.primary_key)).mappings()]

    def _check_version(self, connection: Connection) -> None:
        row = connection.execute(select(meta.c.value).where(meta.c.name == "schema_version")).first()
        if row is None:
            connection.execute(insert(meta).values(name="schema_version", value=str(SCHEMA_VERSION)))
        elif row.value == "1":
            _upgrade(connection)
        elif row.value != str(SCHEMA_VERSION):
            raise OperatorError(f"{self.path}: a store of version {row.value}; this mutewatch reads {SCHEMA_VERSION}")


def _create_private(path: Path) -> None:
    """SQLite gives its WAL and shared-memory files the mode of the database, so the mode is set once, here."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise OperatorError(f"cannot open the store {path}: {error.strerror}") from None


def _upgrade(connection: Connection) -> None:
    """From version 1, which did not know when a finding's message was seen; those go by the client's clock."""
    if "seen_at_us" not in {column["name"] for column in inspect(connection).get_columns("findings")}:
        connection.exec_driver_sql("ALTER TABLE findings ADD COLUMN seen_at_us BIGINT NOT NULL DEFAULT 0")
    findings_by_age.create(connection, checkfirst=True)
    connection.execute(update(meta).where(meta.c.name == "schema_version").values(value=str(SCHEMA_VERSION)))


def _prepare_connection(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"journal_size_limit={WAL_BYTES}", "secure_delete=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _json_text(value: Any) -> str:
    return to_json(value).decode()  # a third of the time of Python's own


def _upsert(connection: Connection, table: Table, rows: Sequence[Record]) -> None:
    """One statement for all rows, so that SQLAlchemy compiles it once and for all."""
    if rows:
        connection.execute(_upsert_statement(table), rows)


@cache
def _upsert_statement(table: Table) -> Insert:
    keys = [column.name for column in table.primary_key]
    statement = insert(table)
    changed = {c.name: statement.excluded[c.name] for c in table.columns if c.name not in keys}
    return statement.on_conflict_do_update(index_elements=keys, set_=changed)


def _last_by_key(rows: Iterable[Record], table: Table) -> list[Record]:
    keys = [column.name for column in table.primary_key]
    return list({tuple(row[key] for key in keys): row for row in rows}.values())


def _message_row(decoded: Decoded) -> Record:
    source = decoded.source
    return {
        "signature": source.signature.id,
        "body_sha256": source.body_sha256,
        "seen_at_us": microseconds(source.seen_at),
        "address": source.address or "",
        "facts": _decoded.dump_python(decoded, mode="json"),
    }


def _finding_row(finding: Finding, newest_us: int) -> Record:
    """`newest_us`: when the messages were seen that came with it; a missing minute has none of its own."""
    client, call, signature, minute = finding.key
    return {
        "client": client,
        "call": call,
        "signature": signature,
        "minute": minute,
        "ends_at_us": microseconds(finding.ends_at),
        "seen_at_us": microseconds(finding.source.seen_at) if finding.source else newest_us,
        "verdict": finding.verdict.value,
        "muted_seconds": round(finding.mute.muted_seconds) if finding.mute else None,
        "record": finding_record(finding),
    }


def microseconds(time: datetime | None) -> int:
    """Since 1970; 0 for None."""
    return 0 if time is None else round((time - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1_000_000)
