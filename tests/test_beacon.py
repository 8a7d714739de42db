"""Beacons: what comes at a steady pace and in a steady size is told from what does not."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutewatch.beacon import Beacon, find_beacon
from mutewatch.flow_records import Burst, Flow, FlowOutcome
from mutewatch.ports import ReadOptions
from mutewatch.report.payload import SAMPLE
from mutewatch.sinks.flows import beacon_of, flow_record, rhythm
from mutewatch.summary import Summary
from pcap_tools import read_inputs
from tests.test_sinks_flows import FLOW

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def bursts(*rows: tuple[float, int]) -> tuple[Burst, ...]:
    return tuple(Burst(START + timedelta(seconds=at), size) for at, size in rows)


def minutely(count: int, *, jitter: float = 0.02, spread: float = 0.02, seed: int = 1) -> list[tuple[float, int]]:
    chance = random.Random(seed)
    return [(60 * n + chance.gauss(0, jitter), round(3_100 * (1 + chance.gauss(0, spread)))) for n in range(count)]


def test_a_message_a_minute_is_a_beacon() -> None:
    beacon = find_beacon(bursts(*minutely(30)))
    assert beacon is not None
    assert (beacon.number, beacon.regularity) == (30, 1.0)
    assert beacon.period_seconds == pytest.approx(60, abs=0.1)
    assert beacon.jitter_seconds < 0.1
    assert beacon.size == pytest.approx(3_100, rel=0.02)
    assert beacon.size_variation < 0.05


def test_a_handshake_before_it_and_messages_that_are_missing_leave_it_a_beacon() -> None:
    rows = [row for number, row in enumerate(minutely(30)) if number not in (7, 15, 16)]
    beacon = find_beacon(bursts((-1.2, 517), (-0.9, 90), *rows))
    assert beacon is not None
    assert beacon.period_seconds == pytest.approx(60, abs=0.1)
    assert beacon.regularity < 1


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (minutely(4), "too few"),
        (minutely(30, jitter=20), "no pace"),
        (minutely(30, spread=0.6), "no size"),
        ([(n * 0.02, 160) for n in range(500)], "media"),
        ([(n * n * 1.0, 3_100) for n in range(30)], "it slows down"),
        ([(0.0, 3_100)] * 30, "all at once"),
        ([(60.0 * n, 0) for n in range(4)], "too few, and empty"),
    ],
)
def test_what_has_no_pace_or_no_size_is_none(rows: list[tuple[float, int]], why: str) -> None:
    assert find_beacon(bursts(*rows)) is None, why


def test_a_browsers_traffic_is_hardly_ever_a_beacon() -> None:
    found = 0
    for seed in range(200):
        chance, at = random.Random(seed), 0.0
        rows = [(at := at + chance.expovariate(1 / 20), round(chance.lognormvariate(6, 1))) for _ in range(30)]
        found += find_beacon(bursts(*rows)) is not None
    assert found == 0


@given(st.lists(st.tuples(st.one_of(st.none(), st.datetimes(timezones=st.just(UTC))), st.integers(0, 1 << 40))))
def test_no_times_and_sizes_are_too_odd(rows: list[tuple[datetime | None, int]]) -> None:
    found = find_beacon([Burst(*row) for row in rows])
    assert found is None or (0 <= found.regularity <= 1 and found.period_seconds >= 1)


def test_the_sample_captures_telemetry_is_a_beacon_and_what_else_it_holds_is_not() -> None:
    flows: list[Flow] = []
    list(read_inputs([SAMPLE / "meeting.pcapng"], ReadOptions(on_flow=flows.append)))
    found = {flow.host: beacon for flow in flows if (beacon := find_beacon(flow.bursts))}
    assert {host: round(beacon.period_seconds) for host, beacon in found.items()} == {"tsa3.webex.com": 60}


CLOSED = replace(FLOW, bursts=bursts(*minutely(30)))


def test_a_closed_flow_is_told_with_its_beacon_and_counted() -> None:
    beacon = beacon_of(CLOSED)
    assert isinstance(beacon, Beacon)
    assert flow_record(CLOSED)["beacon"]["period_seconds"] == beacon.period_seconds
    assert ": a beacon (100% of the gaps on time, sizes vary by " in rhythm(CLOSED.bursts)
    opened = replace(CLOSED, outcome=FlowOutcome.DECRYPTED, messages=30)
    assert flow_record(opened)["beacon"] is None
    assert Summary(flows=[CLOSED, opened, FLOW]).record()["beacons"] == 1
