"""The store, for looking at only: SQLite `mode=ro`, PostgreSQL in read-only transactions.

Rules: nothing is created or changed; one look is one transaction, so that its numbers agree with each other, and is
short, so that the write-ahead log can be emptied; a store that is away is away for this look and no longer.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from mutewatch import database
from mutewatch.errors import OperatorError
from mutewatch.history import History
from mutewatch.tables import SCHEMA_VERSION, meta

LOOK_SECONDS: Final = 10.0  # a year of a large site takes longer: ask for less at a time
LOCK_SECONDS: Final = 2.0  # for somebody else's lock
NO_TABLES: Final = "The store has no tables yet: `mutewatch live` or `mutewatch scan --store` makes them."


class StoreAwayError(Exception):
    """The store cannot be read now. One line, for whoever looks: without paths and hosts."""


class ReadOnlyStore:
    """The store at `location`, a path or URL. Any thread may look, any number at a time."""

    def __init__(self, location: Path | str, *, look_seconds: float = LOOK_SECONDS) -> None:
        """OperatorError for a URL that cannot be used. Nothing is opened yet."""
        self._seconds = look_seconds
        self._engine = _sqlite(location) if isinstance(location, Path) else _postgresql(location)

    @contextmanager
    def look(self) -> Iterator[History]:
        """Yield what the store holds now. Raises StoreAwayError, also from within."""
        try:
            with self._engine.connect() as connection, self._limited(connection):
                _check_version(connection)
                yield History(connection)
        except DBAPIError as error:
            raise StoreAwayError(_reason(error)) from error

    @contextmanager
    def _limited(self, connection: Connection) -> Iterator[None]:
        """PostgreSQL keeps the time itself; of SQLite somebody has to say stop."""
        if connection.dialect.name == database.POSTGRESQL:
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = {round(self._seconds * 1000)}")
            yield
            return
        connection.exec_driver_sql("BEGIN")  # Python begins none by itself before a SELECT
        sqlite: Any = connection.connection.dbapi_connection
        alarm = threading.Timer(self._seconds, sqlite.interrupt)
        alarm.start()
        try:
            yield
        finally:
            alarm.cancel()
            alarm.join()  # it must not come when the connection is closed


def _sqlite(path: Path) -> Engine:
    """Opened anew for each look, half a millisecond: a file may be moved away and another take its place."""
    uri = f"file:{quote(str(path.absolute()))}?mode=ro"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(uri, uri=True, timeout=LOCK_SECONDS, check_same_thread=False)

    return create_engine(
        "sqlite://", creator=connect, poolclass=NullPool, json_deserializer=database.parsed_json, hide_parameters=True
    )


def _postgresql(location: str) -> Engine:
    """Connections are kept; one that a restarted server has closed fails one look, and all are made anew."""
    if not location.startswith(database.POSTGRESQL):
        raise OperatorError("--store: write a path, or postgresql+psycopg://user@host/database")
    engine = database.open_engine(location, LOCK_SECONDS)
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def _check_version(connection: Connection) -> None:
    version = connection.execute(select(meta.c.value).where(meta.c.name == "schema_version")).scalar()
    if version is None:
        raise StoreAwayError(NO_TABLES)
    if version != str(SCHEMA_VERSION):
        told = f"The store is of version {version}, not {SCHEMA_VERSION}: `mutewatch report` brings up an older one."
        raise StoreAwayError(told)


def _reason(error: DBAPIError) -> str:
    said = str(error.orig)
    if "interrupted" in said or "statement timeout" in said:
        return "That took too long: ask for a shorter span."
    if "locked" in said or "lock timeout" in said:
        return "The store is locked by another program just now."
    if "unable to open" in said:
        return "There is no store yet: `mutewatch live` or `mutewatch scan --store` makes one."
    if "no such table" in said or "does not exist" in said:
        return NO_TABLES
    return "The store cannot be read just now."
