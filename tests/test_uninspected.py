"""What was not inspected: kept with its time, under pseudonyms and host patterns, once, and never without bound."""

import ssl
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec import structs
from sqlalchemy.exc import OperationalError

from addons.launch import addon_path
from mutewatch.commands.output import Format
from mutewatch.commands.scan import ScanOptions, scan
from mutewatch.compose import LIVE, PipelineOptions, Recorder, build_pipeline
from mutewatch.config import open_state
from mutewatch.flow_records import FlowOutcome, Unidentified
from mutewatch.history import History, Uninspected
from mutewatch.retention import Periods, Retention
from mutewatch.store import Store
from mutewatch.uninspected import Passed, Reason, Tally, add_to, of_capture, replace_all
from tests.captures.variants import VARIANTS
from tests.facts import tsa_exchange
from tests.live_support import TELEMETRY, Scene
from tests.test_sinks_flows import FLOW

T = datetime(2026, 3, 2, 9, 50, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
PATTERN = "tsa*.webex.com"


def passed(minutes: float = 0, address: str | None = "192.0.2.1", why: str = Reason.PINNED) -> Passed:
    at = T + minutes * MINUTE
    return Passed(at, at + MINUTE, address, PATTERN, why)


def tally(*some: Passed, most: int = 100) -> Tally:
    it = Tally(lambda name: f"p({name})", most)
    for one in some:
        it.add(one)
    return it


def told(store: Store, since: datetime = T - 600 * MINUTE, until: datetime = T + 600 * MINUTE) -> list[Uninspected]:
    with store.begin() as connection:
        return History(connection).uninspected(since, until)


@pytest.fixture
def store(location: Path | str) -> Store:
    return Store(location)


def test_what_one_client_did_in_one_hour_is_one_row_with_its_first_and_last_time(store: Store) -> None:
    with store.begin() as connection:
        add_to(connection, LIVE, tally(passed(), passed(3), passed(1)))
        add_to(connection, LIVE, tally(passed(2), passed(20), passed(4, why=Reason.TOO_LARGE)))
    assert told(store) == [
        Uninspected("p(192.0.2.1)", PATTERN, "pinned", T, T + 4 * MINUTE, 4, LIVE),
        Uninspected("p(192.0.2.1)", PATTERN, "too large", T + 4 * MINUTE, T + 5 * MINUTE, 1, LIVE),
        Uninspected("p(192.0.2.1)", PATTERN, "pinned", T + 20 * MINUTE, T + 21 * MINUTE, 1, LIVE),
    ]


def test_a_capture_that_is_read_again_replaces_what_was_known_of_it(store: Store) -> None:
    for some in ((passed(), passed(100)), (passed(),), (passed(),)):
        with store.begin() as connection:
            replace_all(connection, "a.pcap", tally(*some))
            add_to(connection, "b.pcap", tally(passed(5)))
    assert [(one.input, one.number) for one in told(store)] == [("a.pcap", 1), ("b.pcap", 3)]


def test_a_span_has_what_it_meets_and_what_has_no_time(store: Store) -> None:
    with store.begin() as connection:
        undated = Passed(None, None, None, "", Unidentified.HEADLESS.value, 7)
        add_to(connection, "a.pcap", tally(undated, passed(0), passed(30)))
    no_time = Uninspected(None, "", Unidentified.HEADLESS.value, None, None, 7, "a.pcap")
    assert told(store, T + 10 * MINUTE, T + 20 * MINUTE) == [no_time]
    assert [one.started_at for one in told(store, T + MINUTE, T + 30 * MINUTE)] == [None, T]
    assert [one.started_at for one in told(store, T + 2 * MINUTE, T + 31 * MINUTE)] == [None, T + 30 * MINUTE]


def test_many_addresses_are_counted_but_not_all_named(store: Store) -> None:
    many = tally(*(passed(address=f"192.0.2.{n}") for n in range(50)), most=10)
    with store.begin() as connection:
        add_to(connection, LIVE, many)
        many.clear()
        for n in range(100):
            many.add(passed(address=f"198.51.100.{n}"))
        many.add(passed(address="192.0.2.1"))
        add_to(connection, LIVE, many)
    assert Counter(one.address is None for one in told(store)) == {False: 10, True: 1}
    assert sum(one.number for one in told(store)) == 151


def test_it_goes_with_the_minutes(store: Store) -> None:
    with store.begin() as connection:
        add_to(connection, LIVE, tally(passed(), passed(60 * 30)))
    retention = Retention(store, Periods(minutes_days=1))
    now = T + timedelta(days=2)
    retention.trust(now)
    while retention.step(now).rows:
        pass
    assert [one.started_at for one in told(store, until=now)] == [T + 1800 * MINUTE]


def test_of_flows_only_what_stayed_closed_is_kept() -> None:
    flows = [replace(FLOW, outcome=outcome) for outcome in FlowOutcome]
    reasons = {one.reason for one in of_capture(flows, {}, lambda _host: PATTERN)}
    assert reasons == set(FlowOutcome) - {FlowOutcome.DECRYPTED, FlowOutcome.CLEARTEXT, FlowOutcome.EMPTY}


@pytest.mark.parametrize("show_hosts", [False, True])
def test_a_scan_keeps_the_pattern_of_the_host_and_a_pseudonym(tmp_path: Path, show_hosts: bool) -> None:
    (tmp_path / "capture").mkdir()
    paths, keylog = VARIANTS["keylog_empty"]().write(tmp_path / "capture")
    assert keylog is not None
    options = ScanOptions(
        tmp_path / "state", (keylog,), Format.JSONL, tmp_path / "out", tmp_path / "s.db", show_hosts=show_hosts
    )
    for _ in range(2):
        scan(paths, options, PipelineOptions(activity=False))
        with Store(tmp_path / "s.db") as store:
            found = told(store, datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
        assert {(one.reason, one.input) for one in found} == {("no key in log", " ".join(map(str, paths)))}
        assert all(one.address is not None and one.address.startswith("client-") for one in found)
        assert all(("*" in one.host) != show_hosts for one in found)
        assert sum(one.number for one in found) == 2


def test_while_the_store_is_away_it_is_kept_and_then_written_once(tmp_path: Path) -> None:
    recorder = Recorder(
        build_pipeline(open_state(tmp_path / "state"), PipelineOptions(activity=False)), Store(tmp_path / "s.db", 0)
    )
    with Store(tmp_path / "s.db").begin() as other:
        other.exec_driver_sql("BEGIN EXCLUSIVE")
        for minute in range(2):
            with pytest.raises(OperationalError):
                recorder.note([passed(minute)])
    recorder.forget([structs.replace(tsa_exchange(1), status=None)])
    recorder.note(())
    recorder.note(())
    with Store(tmp_path / "s.db") as store:
        assert [(one.reason, one.number) for one in told(store)] == [("not recorded", 1), ("pinned", 2)]
    recorder.close()


@pytest.mark.live
def test_the_live_proxy_keeps_what_it_let_pass(live: Scene) -> None:
    with live.proxy(script=addon_path(), live={"activity": False, "max_body": 1024}) as proxy:
        assert proxy.post(TELEMETRY, b"x" * 5000) == 204
        with pytest.raises(ssl.SSLCertVerificationError):
            proxy.post(TELEMETRY, b"first", trusting=live.upstream.ca_file)
        for _ in range(2):
            assert proxy.post(TELEMETRY, b"next", trusting=live.upstream.ca_file) == 204
        proxy.wait_status(too_large=1, recorded=1, pinned=2)
        assert proxy.stop() == 0
    with Store(proxy.state / "mutewatch.db") as store:
        found = told(store, datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
    assert {one.reason: one.number for one in found} == {"too large": 1, "certificate refused": 1, "pinned": 2}
    assert {(one.host, one.input) for one in found} == {(PATTERN, LIVE)}
    assert all(one.address is not None and one.address.startswith("client-") for one in found)
