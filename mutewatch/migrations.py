"""Makes the tables of a new store, and brings those of an older mutewatch to what they are now.

One transaction does all of it: whoever is stopped in the middle has the old store, and begins again.
Version 1 did not know when a finding's message was seen; 2 had no counts by hour and knew nothing of what was not
inspected. Both were SQLite's only. 3 had no kinds; its findings stay as they are, and are read, until they expire.
A store of a newer mutewatch is left alone.
"""

from typing import Final

from sqlalchemy import Connection, Engine, delete, insert, inspect, select

from mutewatch.database import begin_change
from mutewatch.errors import OperatorError
from mutewatch.tables import HOUR_US, SCHEMA_VERSION, findings, meta, metadata, open_hours

_VERSION: Final = "schema_version"
_COUNTED_BY_HOUR: Final = 3
_ADDED: Final = {  # columns that findings did not have once
    "seen_at_us": "BIGINT NOT NULL DEFAULT 0",
    "version": "TEXT NOT NULL DEFAULT ''",  # none was told
    "left_hour": "BIGINT",
    "kind": "BIGINT",
}
_DROPPED: Final = ("findings_by_time",)  # indexes of older versions


def prepare(engine: Engine, name: str) -> None:
    """Make or change the tables as need be. OperatorError for a store of another mutewatch; `name`: the store's."""
    with engine.connect() as connection:
        if _version(connection) == SCHEMA_VERSION:
            return
    with engine.begin() as connection:
        begin_change(connection)
        version = _version(connection)  # again: somebody else may have been first
        if version > SCHEMA_VERSION:
            raise OperatorError(f"{name}: a store of version {version}; this mutewatch reads up to {SCHEMA_VERSION}")
        if version < SCHEMA_VERSION:
            _bring_up(connection, version)


def _bring_up(connection: Connection, version: int) -> None:
    if version:
        _extend_findings(connection)
    metadata.create_all(connection)
    for index in findings.indexes:
        index.create(connection, checkfirst=True)
    if 0 < version < _COUNTED_BY_HOUR:
        hour = (findings.c.ends_at_us // HOUR_US).label("hour")
        dated = select(hour).where(findings.c.ends_at_us > 0).distinct()
        connection.execute(insert(open_hours).from_select(["hour"], dated))
    connection.execute(delete(meta).where(meta.c.name == _VERSION))
    connection.execute(insert(meta).values(name=_VERSION, value=str(SCHEMA_VERSION)))


def _version(connection: Connection) -> int:
    """Return the version of the store; 0 for a new one."""
    if not inspect(connection).has_table(meta.name):
        return 0
    found = connection.execute(select(meta.c.value).where(meta.c.name == _VERSION)).scalar()
    if found is None:
        return 0
    return int(found) if found.isdecimal() else SCHEMA_VERSION + 1


def _extend_findings(connection: Connection) -> None:
    """Add to the findings of older versions what they lack."""
    known = {column["name"] for column in inspect(connection).get_columns(findings.name)}
    for name, definition in _ADDED.items():
        if name not in known:
            connection.exec_driver_sql(f"ALTER TABLE findings ADD COLUMN {name} {definition}")
    for name in _DROPPED:
        connection.exec_driver_sql(f"DROP INDEX IF EXISTS {name}")
