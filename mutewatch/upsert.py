"""Rows go into a table, each new or in the place of the one with its key: by one statement, compiled once."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat
from typing import Any, Final

from sqlalchemy import JSON, Column, Connection, Dialect, Select, Table, Text, bindparam, cast, column, func, select
from sqlalchemy.dialects import postgresql, sqlite

from mutewatch.database import POSTGRESQL, json_text
from mutewatch.tables import WireText, kept_text, key_names

Insert = sqlite.Insert | postgresql.Insert
Also = Callable[[Insert], Mapping[str, Any]]
# PostgreSQL takes many rows as one document, in half of the time of one by one in a pipeline; COPY into a temporary
# table takes 0.8 of that, needs the right to make one, and goes past SQLAlchemy.
_AS_DOCUMENT: Final = 100  # rows
_AT_ONCE: Final = 5000  # rows, some MB
_DOCUMENT: Final = "document"  # the parameter's name


def upsert(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], also: Also | None = None) -> None:
    """Insert `rows`, or replace those with their keys, but for columns that no row names.

    `also`: what else happens to a row that is replaced.
    """
    for start in range(0, len(rows), _AT_ONCE):
        some = rows[start : start + _AT_ONCE]
        is_document = connection.dialect.name == POSTGRESQL and len(some) >= _AS_DOCUMENT
        prepared = _prepared(connection.dialect, table, tuple(some[0]), also, is_document=is_document)
        connection.exec_driver_sql(prepared.sql, prepared.parameters(some))


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A compiled statement, and how rows become its parameters.

    Measured in turns with SQLAlchemy's own way: 8 messages with their findings in 0.85 of its time.
    """

    sql: str
    constants: dict[str, Any]
    encoders: Mapping[str, Callable[[Any], Any]]
    positions: tuple[str, ...] | None  # None: parameters go by name
    is_document: bool  # all rows are one parameter

    def parameters(self, rows: Sequence[Mapping[str, Any]]) -> Any:
        """Return what the database's driver takes: of one row or of all of them."""
        columns: dict[str, Iterable[Any]] = {name: [row[name] for row in rows] for name in rows[0]}
        for name, encode in self.encoders.items():
            columns[name] = [encode(entry) for entry in columns[name]]
        if self.is_document:
            return {**self.constants, _DOCUMENT: json_text(_by_name(columns))}
        columns |= {name: repeat(value) for name, value in self.constants.items()}
        if self.positions is None:
            return _by_name(columns)
        return list(zip(*[columns[name] for name in self.positions], strict=False))  # constants have no end


def _by_name(columns: Mapping[str, Iterable[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=False)]


@lru_cache(maxsize=64)  # of the stores that are open; each commit of the live proxy asks for three
def _prepared(
    dialect: Dialect, table: Table, columns: tuple[str, ...], also: Also | None, *, is_document: bool
) -> _Prepared:
    statement = _upsert_statement(dialect.name, table, columns, also, is_document=is_document)
    compiled = statement.compile(dialect=dialect, column_keys=None if is_document else list(columns))
    constants = {name: value for name, value in compiled.params.items() if name not in (*columns, _DOCUMENT)}
    encoders = {name: encode for name in columns if (encode := _encoder(table.c[name]))}
    return _Prepared(str(compiled), constants, encoders, tuple(compiled.positiontup or ()) or None, is_document)


def _encoder(column: Column[Any]) -> Callable[[Any], Any] | None:
    if isinstance(column.type, JSON):
        return json_text
    return kept_text if isinstance(column.type, WireText) else None


def _upsert_statement(
    dialect: str, table: Table, columns: tuple[str, ...], also: Also | None, *, is_document: bool
) -> Insert:
    statement = postgresql.insert(table) if dialect == POSTGRESQL else sqlite.insert(table)
    if is_document:
        statement = statement.from_select(columns, _rows_of_document(table, columns))
    keys = key_names(table)
    changed: dict[str, Any] = {name: statement.excluded[name] for name in columns if name not in keys}
    if not changed:  # a row of its key alone: written again, so that its lock is held
        changed = {name: statement.excluded[name] for name in keys}
    return statement.on_conflict_do_update(
        index_elements=keys, set_=changed | dict(also(statement) if also is not None else {})
    )


def _rows_of_document(table: Table, columns: tuple[str, ...]) -> Select[Any]:
    """Select the rows of one JSON document; what is JSON itself stands there as text, so that it comes as it is."""
    types = {name: table.c[name].type for name in columns}
    typed = [column(name, Text() if isinstance(kind, JSON) else kind) for name, kind in types.items()]
    document = func.json_to_recordset(cast(bindparam(_DOCUMENT), JSON))
    rows = document.table_valued(*typed).render_derived(name="given", with_types=True)
    return select(
        *(cast(rows.c[name], kind) if isinstance(kind, JSON) else rows.c[name] for name, kind in types.items())
    )
