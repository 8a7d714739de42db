"""Stores of older versions: brought up whole or not at all, and those of newer ones left alone."""

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlalchemy import and_, func, select, update

from mutewatch import migrations
from mutewatch.errors import OperatorError
from mutewatch.history import History
from mutewatch.records import Verdict
from mutewatch.report.payload import Role, client_minutes, overview
from mutewatch.retention import Periods, Retention
from mutewatch.sinks.record import finding_record
from mutewatch.store import Store
from mutewatch.tables import SCHEMA_VERSION, findings, meta, metadata, open_hours
from tests.report_scene import DAY as DAY_OF_SCENE
from tests.report_scene import day_of, finding, guess_of
from tests.test_store_databases import FACTS, FINDING

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)

# As mutewatch made them: without `seen_at_us` and `daily` in version 1.
OLD = """
CREATE TABLE meta (name VARCHAR NOT NULL, value VARCHAR NOT NULL, PRIMARY KEY (name));
CREATE TABLE inputs (name VARCHAR NOT NULL, counts JSON NOT NULL, error VARCHAR, PRIMARY KEY (name));
CREATE TABLE messages (
    signature VARCHAR NOT NULL, body_sha256 VARCHAR NOT NULL, seen_at_us BIGINT NOT NULL, address VARCHAR NOT NULL,
    facts JSON NOT NULL, PRIMARY KEY (signature, body_sha256, seen_at_us, address)
);
CREATE INDEX messages_by_time ON messages (seen_at_us);
CREATE TABLE findings (
    client VARCHAR NOT NULL, call VARCHAR NOT NULL, signature VARCHAR NOT NULL, minute VARCHAR NOT NULL,
    ends_at_us BIGINT NOT NULL, {seen} verdict VARCHAR NOT NULL, muted_seconds INTEGER,
    record JSON NOT NULL, PRIMARY KEY (client, call, signature, minute)
);
CREATE INDEX findings_by_time ON findings (ends_at_us, verdict);
{more}
INSERT INTO meta VALUES ('schema_version', '{version}');
"""
SECOND = """
CREATE INDEX findings_by_age ON findings (seen_at_us, ends_at_us);
CREATE TABLE daily (
    day VARCHAR NOT NULL, signature VARCHAR NOT NULL, verdict VARCHAR NOT NULL, number INTEGER NOT NULL,
    PRIMARY KEY (day, signature, verdict)
);
INSERT INTO daily VALUES ('2026-01-01', 'webex.tsa.v1', 'flagged', 9);
"""


def old_store(path: Path, version: int, number: int = 20) -> Path:
    """A store of `version` with so many findings, one a day before NOW."""
    seen = "seen_at_us BIGINT DEFAULT '0' NOT NULL," if version == 2 else ""
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(OLD.format(version=version, seen=seen, more=SECOND if version == 2 else ""))
        database.execute("PRAGMA journal_mode=WAL")
        for days in range(number):
            ends = NOW - days * DAY
            one = replace(FINDING, minute=f"d{days}", ends_at=ends)
            us = int(ends.timestamp()) * 1_000_000
            names = "client, call, signature, minute, ends_at_us, verdict, muted_seconds, record"
            row = (*one.key, us, one.verdict.value, 60, json.dumps(finding_record(one)))
            database.execute(f"INSERT INTO findings ({names}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)  # noqa: S608
        if version == 2:
            database.execute("UPDATE findings SET seen_at_us = ends_at_us")
    return path


@pytest.mark.parametrize("version", [1, 2])
def test_an_old_store_has_what_it_had_and_counts_by_hour(tmp_path: Path, version: int) -> None:
    path = old_store(tmp_path / "s.db", version)
    for others in (0, 1):
        with Store(path) as store:
            assert len(list(store.findings())) == 20 + others
            assert len(store.daily()) == version - 1
            with store.begin() as connection:
                assert len(History(connection).hours(NOW - 30 * DAY, NOW + DAY)) == 20
            store.roll_up(NOW + DAY)
            with store.begin() as connection:
                assert len(History(connection).hours(NOW - 30 * DAY, NOW + DAY)) == 20
            store.record([FACTS], [FINDING])
            store.record((), [replace(FINDING, minute="d0", ends_at=NOW)])
    with Store(path) as store:
        retention = Retention(store, Periods(minutes_days=10))
        retention.trust(NOW)
        while retention.step(NOW).rows:
            pass
        assert store.verdicts() == {"flagged": 10}


def schema(location: Path) -> set[tuple[str, ...]]:
    with closing(sqlite3.connect(location)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = {(table, row[1]) for table in tables for row in database.execute(f"PRAGMA table_info({table})")}
        indexes = {(row[0],) for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}
        return columns | indexes


@pytest.mark.parametrize("version", [1, 2])
def test_an_old_store_ends_with_the_tables_of_a_new_one(tmp_path: Path, version: int) -> None:
    Store(old_store(tmp_path / "old.db", version)).close()
    Store(tmp_path / "new.db").close()
    assert schema(tmp_path / "old.db") == schema(tmp_path / "new.db")


def without_kinds(store: Store) -> None:
    """Make of `store` what version 3 made: each finding with the whole of its record."""
    found = list(store.findings())
    with store.begin() as connection:
        for one in found:
            this = and_(findings.c.client == one.client, findings.c.minute == one.minute)
            connection.execute(update(findings).where(this).values(record=finding_record(one)))
        connection.exec_driver_sql("ALTER TABLE findings DROP COLUMN kind")
        connection.exec_driver_sql("DROP TABLE kinds")
        connection.execute(update(meta).values(value="3"))


def told(store: Store, *clients: str) -> list[object]:
    """All that a page tells of the store, and what an export does."""
    span = (DAY_OF_SCENE, DAY_OF_SCENE + DAY)
    with store.begin() as connection:
        history = History(connection)
        pages = [client_minutes(history, client, *span, Role.ANALYST) for client in clients]
        return [overview(history, *span, Role.ANALYST), *pages, *map(finding_record, store.findings())]


def test_findings_of_version_3_stay_as_they_are_and_are_read_beside_new_ones(location: Path | str) -> None:
    ada = [finding("Ada", 1), finding("Ada", 2, Verdict.MISSING), finding("Ada", 3, guess=guess_of("music", 0.8, NOW))]
    with Store(location) as store:
        store.record((), [*day_of("Bob", 2, minutes=90), *ada])
        store.roll_up(DAY_OF_SCENE + DAY)
        before = told(store, "Ada", "Bob")
        without_kinds(store)
    with Store(location) as store:
        assert told(store, "Ada", "Bob") == before
        with store.begin() as connection:
            assert connection.execute(select(func.count(), func.count(findings.c.kind))).one() == (93, 0)
            assert not list(connection.execute(select(open_hours)))  # what was counted still is
        store.record((), ada[1:])
        assert told(store, "Ada", "Bob") == before
        with store.begin() as connection:
            assert connection.execute(select(func.count(findings.c.kind))).scalar_one() == 2


def test_what_is_stopped_in_the_middle_leaves_the_old_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = old_store(tmp_path / "s.db", 1)
    before = schema(path)

    def fail(*_arguments: object, **_more: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(migrations, "insert", fail)  # the last that is done
        with pytest.raises(KeyboardInterrupt):
            Store(path)
    assert schema(path) == before
    with Store(path) as store:
        assert len(list(store.findings())) == 20


@pytest.mark.parametrize("version", [str(SCHEMA_VERSION + 1), "99", "what"])
def test_a_newer_store_is_refused_and_left_alone(location: Path | str, version: str) -> None:
    with Store(location) as store, store.begin() as connection:
        connection.execute(update(meta).values(value=version))
        connection.exec_driver_sql("DROP TABLE hourly")
    with pytest.raises(OperatorError, match=f"this mutewatch reads up to {SCHEMA_VERSION}"):
        Store(location)
    with store.begin() as connection:
        connection.execute(update(meta).values(value=str(SCHEMA_VERSION)))
        metadata.tables["hourly"].create(connection)  # nobody else has


def test_somebody_elses_database_gets_our_tables_and_keeps_its_own(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "s.db")) as database, database:
        database.execute("CREATE TABLE theirs (x)")
    Store(tmp_path / "s.db").close()
    assert ("theirs", "x") in schema(tmp_path / "s.db")
