"""What differs between SQLite and PostgreSQL; all else of the store is one code for both.

- A location is a path (SQLite) or a URL (`postgresql+psycopg://user@host/name`). No message names its password.
- SQLite: write-ahead log, synchronous=FULL, and what is deleted is overwritten (secure_delete).
- PostgreSQL: what is committed is as durable as the server is set to make it (`synchronous_commit`).
"""

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import (
    Connection,
    Engine,
    create_engine,
    event,
    make_url,
)
from sqlalchemy.engine import URL
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    NoSuchModuleError,
    ProgrammingError,
)

from mutewatch.errors import OperatorError

# SQLite's log is written into its file when it has so many pages (16 MB): a page of an index changes many times before
# that, and is written once. It grows beyond only while a reader holds on to an old state.
WAL_PAGES: Final = 4000
WAL_BYTES: Final = 24 << 20  # what is left of the log's file when it grew beyond
CACHE_KB: Final = 32_000  # memory of one connection, as need be; a client's day is 1,440 pages of 4 KB
POSTGRESQL: Final = "postgresql"
_CHANGING: Final = 0x6D757465  # "mute": the advisory lock of whoever makes or changes the tables
_ROWS_FAULTS: Final = (DataError, IntegrityError, InterfaceError, ProgrammingError)
_ROWS_STATES: Final = ("22", "23", "54")  # SQLSTATE: data, integrity, limits of the program


def open_engine(location: Path | str, lock_seconds: float) -> Engine:
    """Return an engine for `location`. Creates a file of SQLite, mode 0600. OperatorError if that cannot be done."""
    url = _url(location)
    arguments: dict[str, Any] = {"timeout": lock_seconds}
    if url.drivername.startswith(POSTGRESQL):
        arguments = _postgresql_arguments(url, lock_seconds)
    else:
        _create_private(Path(url.database or ""))
    try:
        engine = create_engine(
            url,
            connect_args=arguments,
            hide_parameters=True,  # the text of an error must not quote what a client sent
            json_serializer=json_text,
            json_deserializer=parsed_json,
        )
    except (ModuleNotFoundError, NoSuchModuleError):
        raise OperatorError(f"{shown(location)}: PostgreSQL needs psycopg: pip install 'mutewatch[pg]'") from None
    event.listen(engine, "connect", _prepare_sqlite if engine.dialect.name == "sqlite" else _prepare_postgresql)
    return engine


def why_silent(location: Path | str) -> str | None:
    """Connect, and leave everything as it is; return why that fails, or None. OperatorError for a wrong URL."""
    engine = open_engine(location, 5.0)
    try:
        engine.connect().close()
        return None
    except DBAPIError as error:
        return reason(error)
    finally:
        engine.dispose()


def shown(location: Path | str) -> str:
    """Return `location` without its password."""
    if isinstance(location, Path):
        return str(location)
    url = _url(location)  # its query may have a password, too
    return url.set(query={"host": host} if (host := url.query.get("host")) else {}).render_as_string()


def file_of(location: Path | str) -> Path | None:
    """Return SQLite's file; None for PostgreSQL."""
    url = _url(location)
    return Path(url.database) if url.drivername == "sqlite" and url.database else None


def _url(location: Path | str) -> URL:
    if isinstance(location, Path):
        return URL.create("sqlite", database=str(location))
    try:
        url = make_url(location)
    except (ArgumentError, ValueError):  # its text would quote the password
        raise OperatorError("the store's URL cannot be read: write postgresql+psycopg://user@host/database") from None
    if url.drivername == POSTGRESQL:
        return url.set(drivername="postgresql+psycopg")
    if url.drivername not in ("postgresql+psycopg", "sqlite"):
        raise OperatorError(f"a store at {url.drivername}: write postgresql+psycopg://user@host/database, or a path")
    return url


def _postgresql_arguments(url: URL, lock_seconds: float) -> dict[str, Any]:
    """For libpq; what the URL says wins. A server that is gone must not hold up whoever wants to stop."""
    milliseconds = round(lock_seconds * 1000)
    defaults = {
        "application_name": "mutewatch",
        "connect_timeout": 5,  # seconds
        "tcp_user_timeout": 10_000,  # milliseconds without an answer to what was sent
        "options": f"-c lock_timeout={milliseconds}",
    }
    return {name: value for name, value in defaults.items() if name not in url.query}


def _create_private(path: Path) -> None:
    """SQLite gives its WAL and shared-memory files the mode of the database, so the mode is set once, here."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise OperatorError(f"cannot open the store {path}: {error.strerror}") from None


def _prepare_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in (
        *("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"),
        *(f"wal_autocheckpoint={WAL_PAGES}", f"journal_size_limit={WAL_BYTES}", f"cache_size=-{CACHE_KB}"),
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _prepare_postgresql(connection: Any, _record: object) -> None:
    """Let lists be sent as binary arrays: their text, which is psycopg's choice, takes it several times as long."""
    from psycopg.types.array import ListBinaryDumper

    connection.adapters.register_dumper(list, ListBinaryDumper)


def begin_change(connection: Connection) -> None:
    """Let nobody else make or change tables until this transaction ends; all of it or nothing happens."""
    if connection.dialect.name == POSTGRESQL:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_CHANGING})")
    else:
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # Python begins none by itself before a CREATE


@contextmanager
def one_moment(engine: Engine) -> Iterator[Connection]:
    """Yield a connection whose reading is all of one moment, whoever writes meanwhile."""
    is_postgresql = engine.dialect.name == POSTGRESQL
    chosen = engine.execution_options(isolation_level="REPEATABLE READ") if is_postgresql else engine
    with chosen.connect() as connection:
        if not is_postgresql:
            connection.exec_driver_sql("BEGIN")  # Python begins none by itself before a SELECT
        yield connection


def empty_log(engine: Engine, lock_seconds: float) -> bool:
    """Write SQLite's log into its file and empty it, at once or not at all; False if a reader is in the way.

    PostgreSQL looks after its own.
    """
    if engine.dialect.name == POSTGRESQL:
        return True
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout=0")
        try:
            (busy, _, _) = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
        finally:
            connection.exec_driver_sql(f"PRAGMA busy_timeout={round(lock_seconds * 1000)}")
    return not busy


def back_up(engine: Engine, destination: Path) -> None:
    """Copy SQLite's file, as it is at one moment, into the empty file `destination`; writers go on meanwhile.

    The copy is one file, looked through before this returns. Raises sqlite3.Error; OperatorError for a damaged copy.
    """
    with engine.connect() as source, closing(sqlite3.connect(destination)) as copy:
        original: Any = source.connection.driver_connection
        original.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")  # so that it needs no second file
        found = copy.execute("PRAGMA integrity_check").fetchall()
    if found != [("ok",)]:
        first = " ".join(found[0][0].splitlines()[:2])  # of perhaps a hundred
        raise OperatorError(f"the copy is damaged, and so may be the store: {first}")


def is_rows_fault(error: DBAPIError) -> bool:
    """Would these rows be refused again? Every other error is the store's: locked, full, away, forbidden, damaged."""
    state = getattr(error.orig, "sqlstate", None)
    if error.connection_invalidated:
        return False
    if state is not None:
        return str(state).startswith(_ROWS_STATES)
    return isinstance(error, _ROWS_FAULTS)


def reason(error: DBAPIError) -> str:
    """Return what the database said, in one line."""
    return " ".join(str(error.orig).split())


def json_text(value: Any) -> str:
    """JSON of `value`; half of a surrogate pair, which UTF-8 does not have, as an escape."""
    try:
        return msgspec.json.encode(value).decode()  # a small part of the time of Python's own
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(value))


def parsed_json(text: str | bytes) -> Any:
    """What `json_text` wrote."""
    try:
        return msgspec.json.decode(text)
    except ValueError:
        return json.loads(text)
