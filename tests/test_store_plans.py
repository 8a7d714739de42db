"""Each query of the page goes by an index, in both databases, with enough rows and after ANALYZE; all are used."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, event, select, text

from bench.store.made import BEGIN, batches
from mutewatch import tables
from mutewatch.expiry import expire
from mutewatch.history import History
from mutewatch.rollup import open_again, roll_up
from mutewatch.store import Store
from tests.conftest import new_location

CLIENTS, MINUTES = 40, 24_000  # ten hours of each
SINCE, UNTIL = BEGIN + timedelta(hours=2), BEGIN + timedelta(hours=3, minutes=20)
CLIENT = "client-000000000007"


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store(new_location(request, tmp_path_factory.mktemp("filled"))) as store:
        for facts, found in batches(MINUTES, CLIENTS, 4_000):
            store.record(facts, found)
        store.roll_up(BEGIN + timedelta(hours=9))
        with store.begin() as connection:
            connection.execute(text("ANALYZE"))
        yield store


@contextmanager
def plans(store: Store) -> Iterator[tuple[Connection, list[str]]]:
    """Yield a connection, and the plans of what is asked through it, as the database tells them."""
    told: list[str] = []
    with store.begin() as connection:

        def explain(raw: Connection, cursor: object, statement: str, parameters: object, *more: object) -> None:
            is_many = more[-1]
            if statement.startswith("EXPLAIN") or is_many:
                return
            word = "EXPLAIN " if store._engine.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN "
            rows = raw.exec_driver_sql(word + statement, parameters)  # type: ignore[arg-type]
            told.append("\n".join(str(row[-1]) for row in rows))

        event.listen(connection, "before_cursor_execute", explain)
        yield connection, told


def check(plan: str, index: str, *, only: bool = False) -> None:
    """The plan goes by `index`; `only`: it never looks at the table's rows."""
    names = (f"{index} on", f"INDEX {index}", f"on {index}")
    assert any(name in plan for name in names), plan
    if only:
        indexes_alone = ("Index Only Scan using", "Backward using", "COVERING INDEX", "Bitmap Index Scan on")
        covered = [f"{words} {index}" for words in indexes_alone]
        assert any(name in plan for name in covered), plan
    assert "Seq Scan on findings" not in plan, plan
    assert "SCAN findings\n" not in f"{plan}\n", plan


def test_a_clients_minutes_go_by_client_and_time(filled: Store) -> None:
    with plans(filled) as (connection, told):
        assert len(History(connection).columns(CLIENT, SINCE, UNTIL).verdict) == 80
    check(told[0], "findings_by_client")


def test_a_clients_hours_go_by_indexes_alone(filled: Store) -> None:
    with plans(filled) as (connection, told):
        assert sum(one.number for one in History(connection).hours(SINCE, UNTIL, CLIENT)) == 80
    check(told[0], "findings_by_client", only=True)
    assert "hourly_by_client" in told[0] or "hourly_pkey" in told[0] or "hourly USING PRIMARY KEY" in told[0], told[0]


@pytest.mark.parametrize("what", ["clients", "hours"])
def test_top_clients_count_open_hours_by_an_index_and_take_the_others_as_known(filled: Store, what: str) -> None:
    with plans(filled) as (connection, told):
        assert len(getattr(History(connection), what)(SINCE, UNTIL)) >= CLIENTS
    check(told[0], "findings_by_hour", only=True)
    assert "hourly" in told[0]


def test_first_and_last_minute_are_the_ends_of_an_index(filled: Store) -> None:
    with plans(filled) as (connection, told):
        assert History(connection).span() is not None
    for plan in told:
        check(plan, "findings_by_hour", only=True)


def test_the_minutes_around_a_span_are_the_ends_of_an_index(filled: Store) -> None:
    with plans(filled) as (connection, told):
        assert None not in History(connection).around(SINCE, UNTIL)
    for plan in told:
        check(plan, "findings_by_hour", only=True)


def test_minutes_that_were_muted_in_part_go_by_their_time(filled: Store) -> None:
    with plans(filled) as (connection, told):
        assert History(connection).muted_parts(SINCE, UNTIL) == (0, 0)
    check(told[0], "findings_by_hour")


def test_a_roll_up_reads_an_index(filled: Store) -> None:
    with plans(filled) as (connection, told):
        assert roll_up(connection, BEGIN + timedelta(hours=11))
        connection.rollback()
    plan = next(plan for plan in told if "findings" in plan)
    # SQLite may leap from client to client after an ANALYZE.
    check(plan, "findings_by_client" if "ANY(client)" in plan else "findings_by_hour", only=True)


def test_what_moved_is_found_without_a_walk(filled: Store) -> None:
    with plans(filled) as (connection, told):
        open_again(connection, [])
    check(told[0], "findings_moved")


def test_what_moved_is_found_without_a_walk_before_any_analyze(location: Path | str) -> None:
    with Store(location) as store:
        for facts, found in batches(4_000, CLIENTS, 1_000):
            store.record(facts, found)
        with plans(store) as (connection, told):
            open_again(connection, [])
    check(told[0], "findings_moved")


def test_what_is_too_old_is_found_by_its_age(filled: Store) -> None:
    with plans(filled) as (connection, told):
        assert expire(connection, BEGIN + timedelta(minutes=2), BEGIN, 10) == 20
        connection.rollback()
    assert any("findings_by_age" in plan for plan in told)
    assert any("messages_by_time" in plan for plan in told)
    assert any("uninspected_by_time" in plan for plan in told) or filled._engine.dialect.name == "postgresql"  # empty


def test_there_is_no_index_that_no_query_here_uses(location: Path | str) -> None:
    used = {"findings_by_client", "findings_by_hour", "findings_by_age", "findings_moved", "hourly_by_client"}
    used |= {"messages_by_time", "uninspected_by_time"}
    assert {index.name for table in tables.metadata.tables.values() for index in table.indexes} == used
    with Store(location) as store, store.begin() as connection:
        assert connection.execute(select(tables.meta.c.value)).scalar_one()
