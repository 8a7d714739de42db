"""The tables of a store and their indexes, the same in SQLite and PostgreSQL.

Facts (`messages`) are kept apart from findings (what they mean). Each index is there for a query, and
`tests/test_store_plans.py` asks both databases whether they use it.
"""

import re
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import JSON, BigInteger, Column, Index, Integer, MetaData, Table, Text, text
from sqlalchemy.types import TypeDecorator

SCHEMA_VERSION: Final = 4
HOUR_US: Final = 3_600_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

# What PostgreSQL keeps in no text: NUL and halves of surrogate pairs. Each is kept as the mark, which is no
# character, and four hex digits; and so is the mark itself, so that all texts come back as they were.
_MARK: Final = "\uffff"
_UNKEPT: Final = re.compile("[\x00\ud800-\udfff\uffff]")
_KEPT: Final = re.compile(f"{_MARK}([0-9a-f]{{4}})")


def kept_text(value: str | None) -> str | None:
    """Return `value` as it stands in the database."""
    if value is None or (value.isascii() and "\0" not in value):  # nearly all
        return value
    return _UNKEPT.sub(lambda found: f"{_MARK}{ord(found[0]):04x}", value)


def given_text(value: str) -> str:
    """Return what `kept_text` was given."""
    return _KEPT.sub(lambda found: chr(int(found[1], 16)), value) if _MARK in value else value


class WireText(TypeDecorator[str]):
    """Text that came from the wire, or from a file's name: whatever stands in it."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, _dialect: object) -> str | None:
        return kept_text(value)

    def process_result_value(self, value: str | None, _dialect: object) -> str | None:
        return None if value is None else given_text(value)


metadata = MetaData()

meta = Table("meta", metadata, Column("name", Text, primary_key=True), Column("value", Text, nullable=False))

# What was read, and how much of it: without this an empty table of findings would look clean.
inputs = Table(
    "inputs",
    metadata,
    Column("name", WireText, primary_key=True),
    Column("counts", JSON, nullable=False),
    Column("error", WireText),
)

messages = Table(
    "messages",
    metadata,
    Column("signature", Text, primary_key=True),
    Column("body_sha256", Text, primary_key=True),
    Column("seen_at_us", BigInteger, primary_key=True),  # capturing clock; 0 where the door has none
    Column("address", WireText, primary_key=True),  # pseudonym; "" where the door has none
    Column("facts", JSON, nullable=False),
)
messages_by_time = Index("messages_by_time", messages.c.seen_at_us)

findings = Table(
    "findings",
    metadata,
    Column("client", WireText, primary_key=True),
    Column("call", WireText, primary_key=True),
    Column("signature", Text, primary_key=True),
    Column("minute", WireText, primary_key=True),
    Column("ends_at_us", BigInteger, nullable=False),  # client's clock; 0 where no time is known
    Column("seen_at_us", BigInteger, nullable=False, server_default="0"),  # capturing clock; 0 where the door has none
    Column("verdict", Text, nullable=False),
    Column("version", WireText, nullable=False, server_default=""),  # of the client; "" where it told none
    Column("muted_seconds", Integer),
    Column("kind", BigInteger),  # what it has in common with others; None: `record` is all of it (see `stored.py`)
    Column("record", JSON, nullable=False),  # what stands in no other column
    # An hour that the minute was in before it was replaced; for the length of one transaction (see `rollup.py`).
    Column("left_hour", BigInteger),
)
_counted = (findings.c.signature, findings.c.verdict, findings.c.version)
findings_by_client = Index("findings_by_client", findings.c.client, findings.c.ends_at_us, *_counted)
findings_by_hour = Index("findings_by_hour", findings.c.ends_at_us, findings.c.client, *_counted)
findings_by_age = Index("findings_by_age", findings.c.seen_at_us, findings.c.ends_at_us)
findings_moved = Index(
    "findings_moved",
    findings.c.left_hour,
    sqlite_where=text("left_hour IS NOT NULL"),
    postgresql_where=text("left_hour IS NOT NULL"),
)

# What many findings have in common, by a number that is made of it: says nothing of anybody, and is never deleted.
kinds = Table(
    "kinds",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("shared", JSON, nullable=False),
)

# The number of minutes of a client in one hour, without the canary's. An hour is since 1970, by the client's clock.
hourly = Table(
    "hourly",
    metadata,
    Column("hour", BigInteger, primary_key=True),
    Column("client", WireText, primary_key=True),
    Column("signature", Text, primary_key=True),
    Column("verdict", Text, primary_key=True),
    Column("version", WireText, primary_key=True),
    Column("number", Integer, nullable=False),
    sqlite_with_rowid=False,
)
hourly_by_client = Index(
    "hourly_by_client",
    *(hourly.c.client, hourly.c.hour, hourly.c.signature, hourly.c.verdict, hourly.c.version, hourly.c.number),
)

# Hours with findings of which `hourly` does not tell the number, or not the right one.
open_hours = Table("open_hours", metadata, Column("hour", BigInteger, primary_key=True, autoincrement=False))

# What nobody could look into, or what was let pass.
uninspected = Table(
    "uninspected",
    metadata,
    Column("input", WireText, primary_key=True),
    Column("hour", BigInteger, primary_key=True),  # since 1970, of the beginning; 0 where the door has no clock
    Column("address", WireText, primary_key=True),  # pseudonym; "" where it is not known, or there were too many
    Column("host", WireText, primary_key=True),
    Column("reason", Text, primary_key=True),
    Column("started_at_us", BigInteger, nullable=False),
    Column("ended_at_us", BigInteger, nullable=False),
    Column("number", Integer, nullable=False),
)
uninspected_by_time = Index("uninspected_by_time", uninspected.c.ended_at_us)

# What remains of findings that were deleted for their age: in nobody's name, without the canary's.
daily = Table(
    "daily",
    metadata,
    Column("day", Text, primary_key=True),  # UTC, 2026-03-02
    Column("signature", Text, primary_key=True),
    Column("verdict", Text, primary_key=True),
    Column("number", Integer, nullable=False),
)


def key_names(table: Table) -> list[str]:
    """Return the names of the columns of the primary key."""
    return [column.name for column in table.primary_key]


def last_by_key(rows: "list[dict[str, Any]]", table: Table) -> "list[dict[str, Any]]":
    """Return the last row of each key: one statement must not write a row twice."""
    key = itemgetter(*key_names(table))
    return list({key(row): row for row in rows}.values())


def microseconds(time: datetime | None) -> int:
    """Since 1970; 0 for None."""
    if time is None:
        return 0
    since = time - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def time_of(us: int) -> datetime | None:
    """Return the time that `microseconds` made so many of."""
    return _EPOCH + timedelta(microseconds=us) if us else None
