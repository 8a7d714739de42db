"""The choice of flows: where a conversation may begin, and whose it is."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from mutewatch.flow_records import FlowOutcome
from pcap_tools import flows
from tests.captures.capture import capture
from tests.captures.conversations import HOST, Conversation, tls13
from tests.captures.files import pcap
from tests.captures.links import LINKS, Frame, dns_answers, frames, udp
from tests.captures.packets import SYN, Segment, segments
from tests.captures.special import in_the_clear
from tests.test_pcap_tools_pcap import Reading, read


def in_syn(rows: list[Segment]) -> list[Segment]:
    """The client's first bytes come with its SYN, as TCP Fast Open has it (RFC 7413)."""
    firsts = {row.flow: row for row in reversed(rows) if row.data and row.from_client}
    return [
        replace(row, data=firsts[row.flow].data) if row.flags == SYN else row
        for row in rows
        if row is not firsts[row.flow]
    ]


@pytest.mark.parametrize("talk", [tls13(), in_the_clear()], ids=["tls", "plain"])
def test_a_conversation_may_begin_in_the_syn(talk: Conversation, tmp_path: Path) -> None:
    reading = read(capture(talk, pcap(frames(in_syn(segments(talk))))), tmp_path)
    assert reading.sent.total() == 60
    assert set(reading.outcomes) <= {FlowOutcome.DECRYPTED, FlowOutcome.CLEARTEXT}


def plainly(folder: Path, *requests: bytes) -> Reading:
    """Return what is read of a connection on which these packets are sent; every host is of interest."""
    talk = Conversation((tuple((number * 1_000_000, True, data) for number, data in enumerate(requests, 1)),), b"", ())
    return read(capture(talk, pcap(frames(segments(talk)))), folder, is_host=lambda _name: True)


@pytest.mark.parametrize(
    ("requests", "host"),
    [
        ([b"GET / HTTP/1.1\r\nHost: Example:8080\r\n\r\n"], "example"),
        ([b"GET / HTTP/1.1\nHost: example\n\n"], "example"),
        ([b"GET / HTTP/1.1\n", b"Ho", b"st: example\n", b"\n"], "example"),
        ([b"GET http://example/a HTTP/1.0\r\n\r\n"], "example"),
        ([b"GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n"], "2001:db8::1"),
        ([b"GET / HTTP/1.0\r\n\r\n"], None),
        ([b"GET /http://example/ HTTP/1.0\r\n\r\n"], None),
    ],
)
def test_a_request_names_its_host(requests: list[bytes], host: str | None, tmp_path: Path) -> None:
    reading = plainly(tmp_path, *requests)
    assert [flow.host for flow in reading.flows] == [host]
    assert [flow.outcome for flow in reading.flows] == [FlowOutcome.CLEARTEXT]


def test_a_request_to_somebody_else_is_left_alone(tmp_path: Path) -> None:
    talk = in_the_clear()
    reading = read(capture(talk, pcap(frames(segments(talk)))), tmp_path, is_host=lambda name: name == f"not.{HOST}")
    assert (reading.exchanges, reading.flows) == ([], [])


ENDLESS = {
    "tls": b"\x16\3\1\x40\0\1\0\xea\x60" + bytes(5_000),
    "http": b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 800,
}


@pytest.mark.parametrize("name", ENDLESS)
def test_first_bytes_that_come_singly_are_not_looked_at_each_time(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0

    def look(function: Callable[[bytes], object], data: bytes) -> object:
        nonlocal looks
        looks += 1
        return function(data)

    for called in ("client_hello_from_records", "named_host"):
        monkeypatch.setattr(flows, called, partial(look, getattr(flows, called)))
    begun = ENDLESS[name]
    assert plainly(tmp_path, *(begun[at : at + 1] for at in range(len(begun)))).exchanges == []
    assert 10 < looks < 1_000


@pytest.mark.parametrize(
    ("payload", "outcomes"),
    [(b"\xc3 a handshake", [FlowOutcome.QUIC]), (b"\x90 media", []), (b"\x43 QUIC", []), (b"", [])],
)
def test_only_a_handshake_makes_a_flow_of_quic(payload: bytes, outcomes: list[FlowOutcome], tmp_path: Path) -> None:
    answer = dns_answers(segments(tls13()))[0]
    packet = udp(("192.0.2.7", 50_000), ("198.51.100.1", 443), payload)
    tunnelled = Frame(answer.time + 1_000, LINKS["gre"].wrap(packet, True))  # where the sift does not look
    assert read(capture(tls13(), pcap([answer, tunnelled])), tmp_path).outcomes == outcomes
