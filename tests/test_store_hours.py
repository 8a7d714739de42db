"""Counts by hour: whatever was recorded, replaced, rolled up, expired, they are what counting all findings gives."""

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from sqlalchemy import select

from mutewatch.expiry import expire
from mutewatch.history import DayCount, History, HourCount
from mutewatch.identity import CANARY
from mutewatch.records import Finding, Verdict
from mutewatch.retention import Periods, Retention
from mutewatch.rollup import roll_up
from mutewatch.store import Store
from mutewatch.tables import HOUR_US, findings, hourly, microseconds, open_hours
from tests.test_store_databases import FINDING

BEGIN = datetime(2026, 3, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
NOW = BEGIN + 6 * HOUR
CLIENTS = ("a", "b", CANARY)


def finding(
    client: str, minute: int, ends: float | None, verdict: Verdict = Verdict.FLAGGED, version: str | None = None
) -> Finding:
    """A minute that ends so many hours after BEGIN; it was seen then, too."""
    ends_at = None if ends is None else BEGIN + ends * HOUR
    assert FINDING.source is not None
    source = replace(FINDING.source, seen_at=ends_at)
    known = replace(FINDING, client_version=version, verdict=verdict, source=source)
    return replace(known, client=client, minute=str(minute), ends_at=ends_at)


def plain_counts(store: Store, since: datetime, until: datetime, client: str | None) -> list[HourCount]:
    """What `History.hours` is to return."""
    first, end = max(1, microseconds(since)), microseconds(until)
    counts: Counter[tuple[int, str, str, str]] = Counter()
    with store.begin() as connection:
        for row in connection.execute(select(findings)).mappings():
            if first <= row["ends_at_us"] < end and row["client"] != CANARY and client in (None, row["client"]):
                counts[row["ends_at_us"] // HOUR_US, row["client"], row["signature"], row["verdict"]] += 1
    return [
        HourCount(datetime.fromtimestamp(hour * 3600, UTC), who, what, Verdict(verdict), number)
        for (hour, who, what, verdict), number in sorted(counts.items())
    ]


def plain_days(store: Store, since: datetime, until: datetime) -> list[DayCount]:
    """What `History.days` is to return."""
    counts: Counter[tuple[datetime, str, str, str, Verdict]] = Counter()
    for one in store.findings():
        if one.ends_at and since <= one.ends_at < until:
            day = one.ends_at.replace(hour=0, minute=0, second=0, microsecond=0)
            counts[day, one.client, one.signature.id, one.client_version or "", one.verdict] += 1
    return [DayCount(*key[:3], key[3] or None, key[4], number) for key, number in sorted(counts.items())]


def check(store: Store, since: datetime, until: datetime) -> None:
    with store.begin() as connection:
        history = History(connection)
        for client in (None, *CLIENTS):
            assert history.hours(since, until, client) == plain_counts(store, since, until, client)
        totals: Counter[tuple[str, Verdict]] = Counter()
        for one in history.hours(since, until):
            totals[one.client, one.verdict] += one.number
        told = {(one.client, verdict): n for one in history.clients(since, until) for verdict, n in one.minutes.items()}
        assert told == totals
        assert history.days(since, until) == plain_days(store, since, until)


hours = st.one_of(st.none(), st.floats(0, 8), st.integers(0, 8).map(float))
minutes = st.builds(
    finding,
    *(st.sampled_from(CLIENTS), st.integers(0, 5), hours, st.sampled_from([Verdict.FLAGGED, Verdict.UNMUTED])),
    st.sampled_from([None, "44.1", "44.2\0"]),
)
steps = st.one_of(
    st.lists(minutes, min_size=1, max_size=8).map(lambda some: ("record", some)),
    st.floats(0, 9).map(lambda at: ("roll up", BEGIN + at * HOUR)),
    st.floats(0, 9).map(lambda at: ("expire", BEGIN + at * HOUR)),
)
spans = st.tuples(hours, hours).map(lambda two: [BEGIN + (at or 0) * HOUR for at in two])


@pytest.fixture
def store(location: Path | str) -> Store:
    return Store(location)


@settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(done=st.lists(steps, max_size=12), span=spans)
def test_hours_are_what_counting_gives_after_any_sequence(store: Store, done: list[tuple[str, object]], span) -> None:  # type: ignore[no-untyped-def]
    with store.begin() as connection:
        for table in (findings, hourly, open_hours):
            connection.execute(table.delete())
    for what, value in done:
        if what == "record":
            store.record((), value)  # type: ignore[arg-type]
        with store.begin() as connection:
            if what == "roll up":
                roll_up(connection, value)  # type: ignore[arg-type]
            elif what == "expire":
                expire(connection, value, BEGIN - 400 * HOUR, 3)  # type: ignore[arg-type]
    check(store, *span)
    check(store, BEGIN, BEGIN + 9 * HOUR)


def test_a_client_has_the_hours_from_its_first_to_its_last(store: Store) -> None:
    store.record((), [finding("a", 1, 0.5), finding("a", 2, 3.25, Verdict.UNMUTED), finding("b", 1, 2)])
    with store.begin() as connection:
        first, second = History(connection).clients(BEGIN, NOW)
        assert (first.first_at, first.last_at) == (BEGIN, BEGIN + 4 * HOUR)
        assert (first.minutes, second.minutes) == ({Verdict.FLAGGED: 1, Verdict.UNMUTED: 1}, {Verdict.FLAGGED: 1})
        assert History(connection).clients(BEGIN, NOW, limit=1) == [first]
        assert History(connection).span() == (BEGIN + 0.5 * HOUR, BEGIN + 3.25 * HOUR)


def counted(store: Store) -> tuple[list[int], list[int]]:
    """The hours since BEGIN that are rolled up, and those that are open."""
    begin = microseconds(BEGIN) // HOUR_US
    with store.begin() as connection:
        closed = connection.execute(select(hourly.c.hour).distinct()).scalars()
        still = connection.execute(select(open_hours.c.hour)).scalars()
        return sorted(hour - begin for hour in closed), sorted(hour - begin for hour in still)


def test_a_minute_is_of_the_day_in_which_it_ends(location: Path | str) -> None:
    with Store(location) as store:
        store.record([], [finding("a", minute, ends) for minute, ends in enumerate((0, 23.99, 24, 47.5))])
        check(store, BEGIN, BEGIN + 72 * HOUR)
        with store.begin() as connection:
            days = History(connection).days(BEGIN, BEGIN + 72 * HOUR)
    assert [(one.day, one.number) for one in days] == [(BEGIN, 2), (BEGIN + 24 * HOUR, 2)]


def test_an_hour_is_rolled_up_when_it_is_over_and_opened_by_what_comes_late(store: Store) -> None:
    store.record((), [finding("a", hour, hour + 0.5) for hour in range(6)])
    retention = Retention(store, Periods())
    for _ in range(10):
        retention.step(BEGIN + 4 * HOUR)
    assert counted(store) == ([0, 1, 2], [3, 4, 5])  # the fourth has just ended: something may be on its way
    store.record((), [finding("b", 1, 1.5)])
    assert counted(store)[1] == [1, 3, 4, 5]
    check(store, BEGIN, NOW)
    store.roll_up(BEGIN + 9 * HOUR)
    assert counted(store) == ([0, 1, 2, 3, 4, 5], [])
    check(store, BEGIN, NOW)


def test_a_minute_whose_time_is_corrected_leaves_its_hour(store: Store) -> None:
    store.record((), [finding("a", 1, 0.5)])
    store.roll_up(NOW)
    store.record((), [finding("a", 1, 1.5)])
    store.record((), [finding("a", 1, 2.5)])
    assert counted(store)[1] == [0, 1, 2]
    store.roll_up(NOW)
    assert counted(store) == ([2], [])


def test_hourly_counts_go_with_their_minutes(store: Store) -> None:
    store.record((), [finding("a", n, n / 20) for n in range(100)])
    store.roll_up(NOW)
    retention = Retention(store, Periods(minutes_days=1))
    retention.trust(NOW + 24 * HOUR)
    while retention.step(NOW + 20 * HOUR).rows:
        check(store, BEGIN, NOW)
    assert counted(store) == ([2, 3, 4], [])
    while retention.step(NOW + 24 * HOUR).rows:
        pass
    assert counted(store) == ([], [])
    assert sum(row["number"] for row in store.daily()) == 100


def test_two_who_write_and_count_at_once_lose_nothing(location: Path | str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with Store(location):
        pass

    def write(number: int) -> None:
        chance = random.Random(number)
        with Store(location, lock_seconds=60) as store:
            for turn in range(20):
                store.record((), [finding(f"c{number}", 5 * turn + n, chance.random() * 5) for n in range(5)])
                with store.begin() as connection:
                    roll_up(connection, NOW)
                with store.begin() as connection:
                    expire(connection, BEGIN + HOUR, BEGIN - 400 * HOUR, 3)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, range(3)))
    with Store(location) as store:
        check(store, BEGIN, NOW)
        store.roll_up(NOW)
        check(store, BEGIN, NOW)
