"""The store as the served page reads it, in SQLite and PostgreSQL: nothing is written, nothing waits for ever."""

from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import Connection, text

from mutewatch.errors import OperatorError
from mutewatch.history import History
from mutewatch.serve.reading import ReadOnlyStore, StoreAwayError
from mutewatch.store import Store
from mutewatch.tables import findings
from tests.postgres_support import PostgreSQL
from tests.serve_support import finding

ENDLESS: Final = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"


@pytest.fixture
def store(location: Path | str) -> ReadOnlyStore:
    record(location, 1)
    return ReadOnlyStore(location, look_seconds=0.2)


def record(location: Path | str, *numbers: int) -> None:
    with Store(location) as writer:
        writer.record((), [finding(number) for number in numbers])


def total(store: ReadOnlyStore) -> int:
    with store.look() as history:
        first, last = history.span() or pytest.fail("nothing is there")
        return sum(one.number for one in history.hours(first, last.replace(year=2030)))


def test_each_look_sees_what_is_recorded_by_then(store: ReadOnlyStore, location: Path | str) -> None:
    assert total(store) == 1
    record(location, 2, 3)
    assert total(store) == 3


def test_one_look_sees_one_state(store: ReadOnlyStore, location: Path | str) -> None:
    with store.look() as history:
        before = history.span()
        record(location, 2, 3)
        assert history.span() == before


def test_nothing_can_be_written_by_looking(store: ReadOnlyStore) -> None:
    with pytest.raises(StoreAwayError), store.look() as history:
        connection(history).execute(findings.delete())
    assert total(store) == 1


def test_a_look_that_takes_too_long_is_stopped(store: ReadOnlyStore) -> None:
    with pytest.raises(StoreAwayError, match="took too long"), store.look() as history:
        connection(history).execute(text(ENDLESS))
    assert total(store) == 1


def test_a_server_that_was_away_is_found_again(postgresql: PostgreSQL) -> None:
    location = postgresql.new_place()
    record(location, 1)
    store = ReadOnlyStore(location)
    assert total(store) == 1
    postgresql.stop()
    for _ in range(2):
        with pytest.raises(StoreAwayError, match="cannot be read just now"):
            total(store)
    postgresql.start()
    assert total(store) == 1


@pytest.mark.parametrize("location", ["sqlite:///made.db", "mysql://x/y", "postgresql+nothing://x"])
def test_a_location_that_cannot_be_read_only_is_refused(location: str) -> None:
    with pytest.raises(OperatorError):
        ReadOnlyStore(location)
    assert not Path("made.db").exists()


def connection(history: History) -> Connection:
    return history._connection
