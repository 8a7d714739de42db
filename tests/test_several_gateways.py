"""Several gateways write into one PostgreSQL at once: each is an input of its own, and nothing is lost between them."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Barrier

import pytest
from sqlalchemy import select

from bench.faults.kill_live import telemetry_body
from mutewatch import compose, outbox
from mutewatch.compose import PipelineOptions, Recorder, build_recorder
from mutewatch.config import open_state
from mutewatch.forget import forget
from mutewatch.history import History
from mutewatch.identity import Names
from mutewatch.pipeline import Pipeline
from mutewatch.records import AudioReport, Exchange, MuteEvent, Verdict
from mutewatch.retention import Periods, Retention
from mutewatch.rollup import take_turn
from mutewatch.store import Store
from mutewatch.stored import finding_row
from mutewatch.tables import findings
from mutewatch.upsert import upsert
from tests.facts import at, decoded, exchange, level_exchange, press, sample
from tests.postgres_support import PostgreSQL
from tests.report_scene import DAY, finding

MINUTES, CLIENTS = 90, 4
BEGAN, ENDED = at(-60), at(MINUTES + 120)


@pytest.fixture
def url(postgresql: PostgreSQL, monkeypatch: pytest.MonkeyPatch) -> str:
    place = postgresql.new_place()
    monkeypatch.setenv("MUTEWATCH_STORE_URL", place)
    return place


def gateway(tmp_path: Path, host: str, monkeypatch: pytest.MonkeyPatch, days: int = 30) -> Recorder:
    monkeypatch.setattr(compose, "node", lambda: host)
    options = PipelineOptions(activity=False, assume_muted=True, show_clients=True)
    return build_recorder(open_state(tmp_path / host), options, at(0), periods=Periods(days))


def message(gateway: int, client: int, number: int) -> Exchange:
    body = telemetry_body(10 * gateway + client, number, seed=1, minutes=MINUTES + 1, at=at(number))
    return exchange(body, status=None, sent_at=at(number))


def inputs(recorder: Recorder) -> dict[str, int]:
    return {row["name"]: row["counts"]["exchanges"] for row in recorder.store.inputs()}


@pytest.mark.usefixtures("url")
def test_each_gateway_counts_for_itself_and_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (gateway(tmp_path, host, monkeypatch) for host in ("gw-1", "gw-2"))
    one.record([message(1, 1, 1), message(1, 1, 2)])
    other.record([message(2, 1, 1)])
    one.close()
    other.close()
    again = gateway(tmp_path, "gw-1", monkeypatch)
    again.record([message(1, 1, 3)])
    again.tick(at(4))
    assert inputs(again) == {"live gw-1": 3, "live gw-2": 1}
    again.close()


@pytest.mark.usefixtures("url")
@pytest.mark.parametrize("days", [30, 0])
def test_gateways_that_write_count_and_delete_at_once_lose_nothing_and_never_stand_in_a_circle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    monkeypatch.setattr(compose, "LIVE_LOCK_SECONDS", 30)  # a circle is found after one, on the slowest machine
    gateways = [gateway(tmp_path, f"gw-{number}", monkeypatch, days) for number in range(3)]

    def run(number: int) -> None:
        recorder = gateways[number]
        for minute in range(1, MINUTES + 1):
            recorder.record([message(number, client, minute) for client in range(CLIENTS)])
            recorder.tidy(at(minute))
            recorder.tick(at(minute))

    with ThreadPoolExecutor(len(gateways)) as pool:
        list(pool.map(run, range(len(gateways))))
    reader = gateways[0]
    assert inputs(reader) == {f"live gw-{number}": MINUTES * CLIENTS for number in range(3)}
    with reader.store.begin() as connection:
        counted = History(connection).hours(BEGAN, ENDED)
    deleted = sum(row["number"] for row in reader.store.daily())
    assert (deleted > 0) is (days == 0)
    assert {one.verdict for one in counted} <= {Verdict.FLAGGED}
    assert sum(one.number for one in counted) + deleted == MINUTES * CLIENTS * len(gateways)
    for recorder in gateways:
        recorder.close()


@pytest.mark.usefixtures("url")
def test_a_gateway_leaves_counting_and_deleting_to_another_that_is_at_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (gateway(tmp_path, host, monkeypatch, days=0) for host in ("gw-1", "gw-2"))
    one.record([message(1, 1, 1)])
    two_hours = at(120)
    with other.store.begin() as connection:
        take_turn(connection)
        assert one.tidy(two_hours).rows == 0
    assert one.tidy(two_hours).rows > 0
    one.close()
    other.close()


def test_gateways_that_begin_to_export_at_once_make_one_outbox(url: str) -> None:
    stores = [Store(url) for _ in range(4)]
    together = Barrier(len(stores))

    def begin(store: Store) -> None:
        together.wait()
        with store.begin() as connection:
            outbox.prepare(connection)

    with ThreadPoolExecutor(len(stores)) as pool:
        list(pool.map(begin, stores))
    for store in stores:
        store.close()


def test_retention_leaves_for_later_what_another_is_just_writing_again(url: str) -> None:
    old, now = [finding("alice", number) for number in range(3)], DAY + timedelta(days=60)
    with Store(url) as one, Store(url, lock_seconds=0.1) as other:
        one.record((), old)
        retention = Retention(other, Periods())
        retention.trust(now)
        rows = [finding_row(again, 0, lambda _kind: None) for again in old[:2]]
        with one.begin() as connection:
            upsert(connection, findings, rows)
            assert retention.step(now).rows == 1
        assert retention.step(now).rows == 2


def test_who_forgets_waits_for_who_deletes_and_holds_nothing_meanwhile(url: str, postgresql: PostgreSQL) -> None:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with Store(url) as one, Store(url) as other, ThreadPoolExecutor(1) as pool:
        one.record((), [finding("alice", number) for number in range(3)])
        with one.begin() as connection:
            take_turn(connection)
            forgetting = pool.submit(forget, other, "alice")
            while postgresql.query(waiting) == "0":
                assert not forgetting.done()
            assert len(connection.execute(select(findings).with_for_update(nowait=True)).all()) == 3
        assert forgetting.result()["findings"] == 3


@pytest.mark.usefixtures("url")
def test_a_gateway_that_comes_back_says_nothing_new_of_the_others_clients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (gateway(tmp_path, host, monkeypatch) for host in ("gw-1", "gw-2"))
    for minute in range(1, 6):
        one.record([message(1, 1, minute)])
        other.record([message(2, 1, minute)])
    one.close()
    again = gateway(tmp_path, "gw-1", monkeypatch)
    for minute in range(6, 11):
        other.record([message(2, 1, minute)])
        again.record([message(1, 1, minute)])
    for recorder in (other, again):
        recorder.tick(at(300))
        assert recorder.store.verdicts() == {"flagged": 20}
    again.close()
    other.close()


def of_samples(url: str, name: str) -> Recorder:
    """A gateway whose clients report every ten seconds."""
    return Recorder(Pipeline((), Names(None)), Store(url), name=name)


def say(recorder: Recorder, *facts: AudioReport | MuteEvent) -> None:
    for one in decoded(*facts):
        recorder.pipeline.absorb(one)
        recorder.store.record([one], ())
    times = [fact.source.seen_at for fact in facts if fact.source.seen_at]
    recorder.store.record((), recorder.pipeline.advance(max(times)), inherited=recorder.pipeline.inherited)


READINGS = [sample(5 + 10 * number, 0.1) for number in range(6)]  # nothing varies; the first two alone do not show it


@pytest.mark.parametrize("is_closed", [True, False])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_gateway_that_comes_back_in_a_minute_that_another_hears_leaves_it_to_that_one(
    url: str, is_first: bool, is_closed: bool
) -> None:
    hearing, back = of_samples(url, "live gw-1"), of_samples(url, "live gw-2")
    say(hearing, press(-60, True), *READINGS[:2])
    back.restore(at(0.3))
    say(hearing, *READINGS[2:])
    both = (back, hearing) if is_first else (hearing, back)
    for recorder in both:
        recorder.tick(at(2))
    if is_closed:
        back.close()
    for recorder in (hearing,) if is_closed else both:
        recorder.tick(at(5))
    assert [(one.rule, one.samples and one.samples.number) for one in hearing.store.findings()] == [("MW-STILL", 6)]
    for recorder in both:
        recorder.store.close()


def test_a_minute_that_nobody_judged_is_judged_by_who_comes_back(url: str) -> None:
    killed = of_samples(url, "live gw-1")
    say(killed, press(-60, True), sample(5, 0.1), sample(15, 0.3))
    back = of_samples(url, "live gw-1")
    back.restore(at(0.5))
    back.tick(at(2))
    assert list(back.store.findings()) == []
    back.tick(at(4))
    assert [one.rule for one in back.store.findings()] == ["MW-MUTED"]
    for recorder in (killed, back):
        recorder.store.close()


@pytest.mark.usefixtures("url")
def test_a_minute_that_one_gateway_saw_is_not_missing_because_another_did_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (gateway(tmp_path, host, monkeypatch) for host in ("gw-1", "gw-2"))
    one.record([message(1, 1, 1)])
    other.restore(at(1))
    one.record([message(1, 1, minute) for minute in range(2, 6)])
    one.close()
    other.record([message(1, 1, 8)])  # its clients go through the other now; 6 and 7 nobody saw
    assert other.store.verdicts() == {"flagged": 6, "missing": 2}
    other.close()


@pytest.mark.usefixtures("url")
def test_a_gateway_that_comes_back_leaves_a_minute_that_goes_on_to_the_one_that_hears_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (gateway(tmp_path, host, monkeypatch) for host in ("gw-1", "gw-2"))
    levels = [level_exchange(seconds, seconds / 100) for seconds in (5, 15, 25, 35, 45)]
    other.record(levels[:2])
    one.close()
    again = gateway(tmp_path, "gw-1", monkeypatch)
    other.record(levels[2:])
    for recorder in (other, again):
        recorder.tick(at(5))
        assert [found.samples and found.samples.number for found in recorder.store.findings()] == [5]
        recorder.close()
