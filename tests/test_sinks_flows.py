"""The account of a capture's flows: a record for programs, sentences for people, and what to do next."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mutewatch.flow_records import Burst, Flow, FlowOutcome, Unidentified
from mutewatch.sinks.flows import SHOWN, flow_lines, flow_record, rhythm, unidentified_lines

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
FLOW = Flow(
    file="a.pcap",
    client="192.0.2.7",
    client_port=50_000,
    server="198.51.100.1",
    port=443,
    host="tsa3.webex.com",
    basis="server name",
    outcome=FlowOutcome.NO_KEY,
    detail="the log has secrets of 3 other handshakes",
    first_frame=4,
    last_frame=90,
    started_at=START,
    ended_at=None,
    client_bytes=6_200,
    server_bytes=500,
    messages=0,
    bursts=tuple(Burst(START + timedelta(minutes=number), 3_000 + 100 * number) for number in range(3)),
)


def test_a_record_holds_all_that_is_known_of_a_flow() -> None:
    assert json.loads(json.dumps(flow_record(FLOW))) == {
        "type": "flow",
        "outcome": "no key in log",
        "detail": "the log has secrets of 3 other handshakes",
        "file": "a.pcap",
        "first_frame": 4,
        "last_frame": 90,
        "client": "192.0.2.7",
        "client_port": 50_000,
        "server": "198.51.100.1",
        "port": 443,
        "host": "tsa3.webex.com",
        "chosen_by": "server name",
        "started_at": "2026-03-02T09:00:00Z",
        "ended_at": None,
        "client_bytes": 6_200,
        "server_bytes": 500,
        "messages": 0,
        "bursts": [
            {"at": "2026-03-02T09:00:00Z", "size": 3_000},
            {"at": "2026-03-02T09:01:00Z", "size": 3_100},
            {"at": "2026-03-02T09:02:00Z", "size": 3_200},
        ],
        "beacon": None,
    }


def test_a_closed_flow_is_told_with_its_rhythm_and_the_next_step() -> None:
    assert list(flow_lines([FLOW])) == [
        "Flows looked into: 1 no key in log.",
        "  tsa3.webex.com, frames 4 to 90: no key in log (the log has secrets of 3 other handshakes)",
        "    the client sent 3 times, 3,100 bytes at the median, one every 60 s at the median",
        "What to do about “no key in log”: set SSLKEYLOGFILE before the client starts, and give its file of that "
        "session: --keylog FILE.",
    ]


@pytest.mark.parametrize("outcome", [FlowOutcome.DECRYPTED, FlowOutcome.CLEARTEXT])
def test_an_opened_flow_is_only_counted(outcome: FlowOutcome) -> None:
    opened = replace(FLOW, outcome=outcome, messages=3, detail="")
    assert list(flow_lines([opened, opened])) == [f"Flows looked into: 2 {outcome.value}."]


@pytest.mark.parametrize("outcome", FlowOutcome)
def test_every_outcome_is_told_in_words(outcome: FlowOutcome) -> None:
    text = "\n".join(flow_lines([replace(FLOW, outcome=outcome, host=None, detail="")]))
    assert outcome.value in text
    if outcome not in (FlowOutcome.DECRYPTED, FlowOutcome.CLEARTEXT):
        assert f"  198.51.100.1, frames 4 to 90: {outcome.value}\n" in text


def test_a_flow_that_was_opened_in_part_has_no_rhythm() -> None:
    lines = list(flow_lines([replace(FLOW, outcome=FlowOutcome.PARTLY, messages=1, detail="5 bytes lost")]))
    assert lines[1:] == ["  tsa3.webex.com, frames 4 to 90: partly decrypted (5 bytes lost)"]


def test_no_flows_are_no_lines_and_many_are_cut_short() -> None:
    assert list(flow_lines([])) == []
    lines = list(flow_lines([FLOW] * (SHOWN + 5)))
    assert sum(line.startswith("  tsa3") for line in lines) == SHOWN
    assert "  and 5 more (--format jsonl shows all)" in lines


@pytest.mark.parametrize(
    ("bursts", "told"),
    [
        ([], "nothing was sent by the client"),
        ([Burst(START, 1_234)], "the client sent 1,234 bytes at once"),
        ([Burst(None, 10), Burst(None, 20)], "the client sent 2 times, 15 bytes at the median"),
        (
            [Burst(START, 10), Burst(START + timedelta(seconds=9), 20)],
            "the client sent 2 times, 15 bytes at the median",
        ),
    ],
)
def test_a_rhythm_says_no_more_than_it_knows(bursts: list[Burst], told: str) -> None:
    assert rhythm(bursts) == told


def test_a_flow_of_several_files_is_told_with_its_file() -> None:
    lines = list(flow_lines([FLOW], "Flows", with_files=True))
    assert lines[0] == "Flows: 1 no key in log."
    assert lines[1].startswith("  tsa3.webex.com, a.pcap, frames 4 to 90: no key in log")


@pytest.mark.parametrize(
    ("reason", "step"),
    [
        (Unidentified.HELLO_CUT, "capture whole packets (tcpdump -s 0)"),
        (Unidentified.HEADLESS, "start the capture before the client connects, or name the server with --address"),
    ],
)
def test_flows_of_nobody_are_told_with_the_next_step(reason: Unidentified, step: str) -> None:
    assert list(unidentified_lines({reason: 2}))[1:] == [f"What to do about “{reason}”: {step}."]
