"""Retention: what is too old goes, in small steps and for good; counts stay; a wrong clock deletes nothing."""

import json
import os
import random
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlalchemy import insert, select, update

from mutewatch import tables
from mutewatch.errors import OperatorError
from mutewatch.expiry import newest, undated
from mutewatch.identity import CANARY, Names
from mutewatch.mute import MuteTracker
from mutewatch.pipeline import Pipeline
from mutewatch.records import Decoded, Finding, Source
from mutewatch.retention import DAY, EMPTIED_EVERY, STEP_ROWS, Clock, Periods, Retention
from mutewatch.signatures import load_signatures
from mutewatch.store import Store
from tests.facts import exchange, tsa_exchange

ROOT = Path(__file__).parents[1]
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ONE_DAY = Periods(minutes_days=1, counts_days=30)


@pytest.fixture
def store(location: Path | str) -> Iterator[Store]:
    with Store(location) as it:
        yield it


@pytest.fixture
def file_store(tmp_path: Path) -> Iterator[Store]:
    """In SQLite."""
    with Store(tmp_path / "s.db") as it:
        yield it


def judged() -> tuple[Decoded, Finding]:
    """One message and its finding, as the pipeline makes them."""
    through = Pipeline(load_signatures(), Names(b"k" * 32), MuteTracker(assume=True))
    (facts,) = through.feed(tsa_exchange(1))
    (finding,) = through.finish()
    return facts, finding


FACTS, FINDING = judged()


def add(
    store: Store, number: int, seen_at: datetime | None, ends_at: datetime | None, client: str = "client-0"
) -> None:
    """Record one message, and a finding of it, with these times by the capturing and by the client's clock."""
    assert FINDING.source is not None
    source: Source = replace(FINDING.source, seen_at=seen_at, body_sha256=f"{number:064}", address=client)
    finding = replace(FINDING, source=source, ends_at=ends_at, minute=str(number), client=client)
    store.record([replace(FACTS, source=source)], [finding])


def pruned(store: Store, now: datetime = NOW, periods: Periods = ONE_DAY) -> int:
    """Run until nothing is left to do, by a clock that is right; return how many steps did something."""
    retention, steps = Retention(store, periods), 0
    retention.trust(now)
    while rows := retention.step(now).rows:
        assert rows <= 2 * STEP_ROWS
        steps += 1
    return steps


def left(store: Store) -> tuple[list[str], list[str]]:
    """The numbers of messages and of findings in the store."""
    with store.begin() as connection:
        messages = [str(int(sha)) for sha in connection.execute(select(tables.messages.c.body_sha256)).scalars()]
        findings = list(connection.execute(select(tables.findings.c.minute)).scalars())
    return sorted(messages, key=int), sorted(findings, key=int)


def test_what_is_older_than_its_time_goes_and_the_rest_stays(store: Store) -> None:
    for hours in range(48):
        add(store, hours, NOW - hours * HOUR, NOW - hours * HOUR)
    pruned(store)
    kept = [str(hours) for hours in range(25)]
    assert left(store) == (kept, kept)


def test_a_step_deletes_a_few_rows_of_many(store: Store) -> None:
    for number in range(3 * STEP_ROWS):
        add(store, number, NOW - 9 * DAY, NOW - 9 * DAY)
    assert pruned(store) == 3
    assert left(store) == ([], [])


def test_counts_by_day_say_what_was_deleted_and_go_in_their_time(store: Store) -> None:
    chance, expected = random.Random(7), Counter[str]()
    for number in range(200):
        seen_at = NOW - timedelta(hours=chance.randrange(24 * 9) + 25)
        expected[seen_at.date().isoformat()] += 1
        add(store, number, seen_at, None)
    pruned(store)
    assert {row["day"]: row["number"] for row in store.daily()} == expected
    assert {(row["signature"], row["verdict"]) for row in store.daily()} == {("webex.tsa.v1", "flagged")}
    pruned(store, NOW + 26 * DAY)
    assert [row["day"] for row in store.daily()] == sorted(day for day in expected if day >= "2026-05-28")
    pruned(store, NOW + 40 * DAY)
    assert store.daily() == []


def test_the_canary_goes_without_a_count(store: Store) -> None:
    add(store, 1, NOW - 9 * DAY, None, client=CANARY)
    pruned(store)
    assert (left(store), store.daily()) == (([], []), [])


@pytest.mark.parametrize("ends_at", [None, datetime(1970, 1, 2, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)])
def test_the_age_is_by_the_capturing_clock_whatever_the_client_says(store: Store, ends_at: datetime | None) -> None:
    add(store, 1, NOW - 9 * DAY, ends_at)
    add(store, 2, NOW - HOUR, ends_at)
    pruned(store)
    assert left(store) == (["2"], ["2"])


def test_a_missing_minute_is_as_old_as_what_it_was_recorded_with(store: Store) -> None:
    through = Pipeline(load_signatures(), Names(None), MuteTracker())
    for number in (1, 3):
        one = tsa_exchange(number)  # by a client whose clock is months behind
        store.record(through.feed(replace(one, sent_at=NOW - HOUR)), through.finish())
    assert store.verdicts()["missing"] == 1
    pruned(store)
    assert store.verdicts()["missing"] == 1
    pruned(store, NOW + DAY)
    assert store.verdicts() == {}


def test_without_a_capturing_clock_the_clients_counts_and_without_any_nothing_goes(store: Store) -> None:
    add(store, 1, None, NOW - 9 * DAY)
    add(store, 2, None, NOW - HOUR)
    add(store, 3, None, None)
    pruned(store)
    assert left(store) == (["1", "2", "3"], ["2", "3"])
    with store.begin() as connection:
        assert undated(connection) == (3, 1)


def test_a_time_beyond_the_calendar_is_counted_without_its_day(store: Store) -> None:
    add(store, 1, NOW - 9 * DAY, None)
    with store.begin() as connection:
        connection.execute(update(tables.findings).values(seen_at_us=0, ends_at_us=1))
    pruned(store)
    assert [row["day"] for row in store.daily()] == []  # 1970: too old for a count, too


def test_what_was_deleted_is_in_no_file_any_more(file_store: Store, tmp_path: Path) -> None:
    for number in range(300):
        assert FINDING.source is not None
        add(file_store, number, NOW - 9 * DAY, None, client=f"person-{number:03}-gone")
        add(file_store, 1000 + number, NOW, None, client="person-999-kept")
    retention = Retention(file_store, ONE_DAY)
    retention.trust(NOW)
    while retention.step(NOW).rows:
        pass
    retention.step(NOW + EMPTIED_EVERY)
    files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"person-999-kept" in files
    assert b"-gone" not in files


def test_a_reader_is_not_waited_for_and_the_log_is_emptied_after_it(file_store: Store, tmp_path: Path) -> None:
    log = tmp_path / "s.db-wal"
    add(file_store, 1, NOW - 9 * DAY, None, client="person-gone")
    retention = Retention(file_store, ONE_DAY)
    retention.trust(NOW)
    with closing(sqlite3.connect(file_store.name, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM messages").fetchall()
        assert retention.step(NOW).rows == 2
        assert log.stat().st_size > 0
    retention.step(NOW + EMPTIED_EVERY)
    assert log.stat().st_size == 0


# -- the clock ----------------------------------------------------------------------------------------------


def minutes(start: datetime, days: float) -> list[datetime]:
    """Every quarter of an hour from `start` on."""
    return [start + timedelta(minutes=15 * n) for n in range(int(days * 96) + 1)]


@pytest.mark.parametrize(
    ("times", "believed"),
    [
        pytest.param([*minutes(NOW, 0.5)], 49, id="as it goes"),
        pytest.param([NOW, NOW + 23 * HOUR, NOW + 46 * HOUR], 3, id="off over night"),
        pytest.param([NOW, NOW + 400 * DAY, NOW], 2, id="a jump, mended"),
        pytest.param([NOW, *minutes(NOW + 400 * DAY, 0.9)], 1, id="a jump, mended within a day"),
        pytest.param([NOW, *minutes(NOW + 400 * DAY, 1.5)], 1 + 49, id="a jump that goes on for a day"),
        pytest.param([NOW, *minutes(NOW + 9 * DAY, 0.5), *minutes(NOW + 400 * DAY, 0.9)], 1, id="two jumps"),
        pytest.param([NOW, datetime(1970, 1, 1, tzinfo=UTC), NOW, NOW + HOUR], 4, id="back and again"),
        pytest.param([NOW, NOW + 400 * DAY, NOW + 399 * DAY, NOW + 399.5 * DAY], 1, id="a jump, and some of it back"),
    ],
)
def test_a_clock_that_is_far_ahead_is_believed_after_a_day(times: list[datetime], believed: int) -> None:
    clock = Clock(NOW)
    assert sum(clock.believes(time) for time in times) == believed


def test_a_jump_of_the_clock_deletes_nothing_and_is_remembered_over_a_restart(store: Store) -> None:
    add(store, 1, NOW - HOUR, None)
    assert not Retention(store, ONE_DAY).step(NOW).is_clock_doubted
    add(store, 2, NOW + 400 * DAY, None)  # recorded by the wrong clock: no reason to believe it
    assert Retention(store, ONE_DAY).step(NOW + 400 * DAY).is_clock_doubted
    assert Retention(store, ONE_DAY).step(NOW + 400.9 * DAY).is_clock_doubted
    assert left(store) == (["1", "2"], ["1", "2"])
    assert Retention(store, ONE_DAY).step(NOW + HOUR) == Retention(store, ONE_DAY).step(NOW + HOUR)
    assert left(store) == (["1", "2"], ["1", "2"])


@pytest.mark.parametrize("absence", [2.7, 7.0, 200.0])
def test_a_proxy_that_was_away_deletes_a_day_later_even_if_it_runs_for_hours_only(store: Store, absence: float) -> None:
    add(store, 1, NOW, None)
    Retention(store, ONE_DAY).step(NOW)
    first = NOW + timedelta(days=absence)
    for time in (first, first + 8 * HOUR):
        assert Retention(store, ONE_DAY).step(time).is_clock_doubted
    assert Retention(store, ONE_DAY).step(first + timedelta(days=min(absence, 1.0))).rows == 2


def test_a_new_store_trusts_its_newest_message(store: Store) -> None:
    add(store, 1, NOW, None)
    with store.begin() as connection:
        assert newest(connection) == NOW
    assert Retention(store, ONE_DAY).step(NOW + 400 * DAY).is_clock_doubted


def test_what_cannot_be_read_of_the_noted_times_is_as_if_it_were_not_there(store: Store) -> None:
    add(store, 1, NOW, None)
    with store.begin() as connection:
        connection.execute(insert(tables.meta).values(name="retention_trusted", value="yesterday"))
    assert not Retention(store, ONE_DAY).step(NOW + HOUR).is_clock_doubted


def test_an_hour_of_nothing_to_do_writes_nothing_but_the_time(file_store: Store) -> None:
    retention = Retention(file_store, ONE_DAY)
    retention.step(NOW)
    with closing(sqlite3.connect(file_store.name)) as other:
        before = other.execute("PRAGMA data_version").fetchone()
        for second in range(60):
            retention.step(NOW + timedelta(seconds=second))
        assert other.execute("PRAGMA data_version").fetchone() == before


# -- the command --------------------------------------------------------------------------------------------


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MUTEWATCH_STATE": str(folder)}
    line = [sys.executable, "-m", "mutewatch", *words]
    return subprocess.run(line, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory with two messages: of last year, and of the next."""
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    now = datetime.now(UTC)
    with Store(folder / "mutewatch.db") as store:
        add(store, 1, now - 60 * DAY, None)
        add(store, 2, now - HOUR, None)
    return folder


def test_prune_deletes_what_the_settings_say_and_the_report_keeps_the_count(state: Path, tmp_path: Path) -> None:
    told = command(state, "prune", "--dry-run")
    assert (told.returncode, " 1 messages and 1 findings from before " in told.stdout) == (0, True)
    assert " deleted 1 messages and 1 findings " in command(state, "prune").stdout
    report = command(state, "report").stdout
    assert "Of older minutes, up to " in report
    assert " only counts are kept: 1 flagged." in report
    summary = json.loads(command(state, "report", "--format", "jsonl").stdout.splitlines()[-1])
    assert (summary["minutes_expired"], summary["minutes"]["flagged"]) == ({"flagged": 1}, 1)
    (tmp_path / "m.toml").write_text("retention.minutes_days = 90")
    assert " 0 messages and 0 findings " in command(state, "prune", "--config", str(tmp_path / "m.toml")).stdout


def test_prune_asks_whether_a_clock_far_ahead_is_right(tmp_path: Path) -> None:
    with Store(tmp_path / "old.db") as store:
        add(store, 1, NOW - 3000 * DAY, None)
    line = ("prune", "--store", str(tmp_path / "old.db"))
    told = command(tmp_path / "state", *line)
    assert (told.returncode, told.stdout) == (2, "")
    assert "If the clock is right, say so with --trust-clock" in told.stderr
    assert " deleted 1 messages and 1 findings " in command(tmp_path / "state", *line, "--trust-clock").stdout


def test_prune_says_what_has_no_time(tmp_path: Path) -> None:
    with Store(tmp_path / "s.db") as store:
        add(store, 1, None, None)
    told = command(tmp_path / "state", "prune", "--store", str(tmp_path / "s.db"))
    assert "1 messages and 1 findings have no time and stay" in told.stdout


def test_prune_of_nothing_is_an_error(tmp_path: Path) -> None:
    from mutewatch.commands.prune import prune

    with pytest.raises(OperatorError, match="no store at"):
        prune(None, tmp_path, None, dry_run=False, trust_clock=False)


def test_an_exchange_without_a_time_has_none_in_the_store(store: Store) -> None:
    through = Pipeline(load_signatures(), Names(None), MuteTracker())
    store.record(through.feed(exchange(b"no JSON")), through.finish())
    with store.begin() as connection:
        assert undated(connection) == (1, 1)
