"""Flow dumps: every HTTP request before the damage, the client's address, and bodies as they were sent."""

import gzip
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy.io import FlowWriter
from mitmproxy.test import tflow
from mitmproxy.websocket import WebSocketMessage
from wsproto.frame_protocol import Opcode

from mutewatch.errors import InputError
from mutewatch.ports import ReadOptions
from mutewatch.records import Exchange
from pcap_tools.flow_dump import FlowDumpReader
from pcap_tools.limits import ReadLimits


def dump(*bodies: bytes, encoding: str | None = None) -> bytes:
    """Return a dump with one POST per body, each with a response, and a TCP flow first."""
    file = io.BytesIO()
    writer = FlowWriter(file)
    writer.add(tflow.ttcpflow())
    for body in bodies:
        flow = tflow.tflow(resp=True)
        flow.request.method, flow.request.raw_content = "POST", body
        flow.request.headers["host"] = "Example.COM"
        if encoding:
            flow.request.headers["content-encoding"] = encoding
        flow.client_conn.peername = ("192.0.2.7", 50_000)
        writer.add(flow)
    return file.getvalue()


def read_bytes(path: Path, data: bytes) -> tuple[list[Exchange], InputError | None]:
    path.write_bytes(data)
    found: list[Exchange] = []
    try:
        for exchange in FlowDumpReader().read(path, ReadOptions()):
            found.append(exchange)
    except InputError as error:
        return found, error
    return found, None


def test_http_flows_are_read_and_others_skipped(tmp_path: Path) -> None:
    found, error = read_bytes(tmp_path / "x.mitm", dump(b"one", b"two"))
    assert ([e.body for e in found], error) == ([b"one", b"two"], None)
    assert [(e.origin.door, e.origin.ordinal) for e in found] == [("flow-dump", 1), ("flow-dump", 2)]


def test_client_host_and_status_are_those_of_the_flow(tmp_path: Path) -> None:
    (exchange,), _ = read_bytes(tmp_path / "x.mitm", dump(b"one"))
    assert (exchange.client, exchange.host, exchange.status) == ("192.0.2.7", "example.com", 200)


def test_a_compressed_body_stays_compressed(tmp_path: Path) -> None:
    body = gzip.compress(b"one")
    (exchange,), _ = read_bytes(tmp_path / "x.mitm", dump(body, encoding="gzip"))
    assert (exchange.body, exchange.content_encoding) == (body, "gzip")


@pytest.mark.parametrize(
    "tail",
    [b"garbage", b"5:hello", b"999999999999:", b"3:abc,", b"4:true!", b"0:}", b"1:1#", b"2:[]]", b"\xff\xfe"],
)
def test_garbage_ends_the_reading_at_its_offset(tmp_path: Path, tail: bytes) -> None:
    good = dump(b"one")
    found, error = read_bytes(tmp_path / "x.mitm", good + tail)
    assert [e.body for e in found] == [b"one"]
    assert error is not None and error.offset == len(good)


def test_a_cut_dump_gives_what_stands_before_the_cut(tmp_path: Path) -> None:
    one, two = dump(b"one"), dump(b"one", b"two")
    for cut in range(len(one) + 1, len(two), 97):
        found, error = read_bytes(tmp_path / "x.mitm", two[:cut])
        assert [e.body for e in found] == [b"one"]
        assert error is not None and error.offset == len(one)


def test_a_deeply_nested_dump_is_one_input_error(tmp_path: Path) -> None:
    nested = b"0:]"
    for _ in range(5_000):
        nested = b"%d:%b]" % (len(nested), nested)
    found, error = read_bytes(tmp_path / "x.mitm", nested)
    assert found == [] and error is not None


def test_a_flow_above_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.mitm"
    path.write_bytes(dump(b"x" * 10_000))
    with pytest.raises(InputError, match="more than 5,000"):
        list(FlowDumpReader(ReadLimits(flow=5_000)).read(path, ReadOptions()))


@given(st.data())
def test_changed_bytes_raise_nothing_but_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    damaged = bytearray(dump(b"one", b"two"))
    for at in data.draw(st.lists(st.integers(0, len(damaged) - 1), max_size=4)):
        damaged[at] = data.draw(st.integers(0, 255))
    read_bytes(tmp_path_factory.getbasetemp() / "x.mitm", bytes(damaged))


def talk(*messages: WebSocketMessage) -> bytes:
    """Return a dump of one websocket."""
    flow = tflow.twebsocketflow()
    flow.client_conn.peername = ("192.0.2.7", 50_000)
    assert flow.websocket
    flow.websocket.messages = list(messages)
    file = io.BytesIO()
    FlowWriter(file).add(flow)
    return file.getvalue()


def test_websocket_messages_come_behind_their_request_in_their_order(tmp_path: Path) -> None:
    said = WebSocketMessage(Opcode.TEXT, True, b"one", 2.5), WebSocketMessage(Opcode.BINARY, False, b"\0", 3.5)
    (opened, *messages), error = read_bytes(tmp_path / "x.mitm", talk(*said))
    assert (opened.method, opened.status, error) == ("GET", 101, None)
    assert [(m.method, m.path, m.direction, m.body, m.status) for m in messages] == [
        ("WEBSOCKET", "/ws", "to-server", b"one", None),
        ("WEBSOCKET", "/ws", "to-client", b"\0", None),
    ]
    assert [m.sent_at and m.sent_at.timestamp() for m in messages] == [2.5, 3.5]
    assert {(e.client, e.client_port, e.connection) for e in (opened, *messages)} == {
        ("192.0.2.7", 50_000, opened.connection)
    }
    assert [e.origin.ordinal for e in (opened, *messages)] == [1, 2, 3]


def test_equal_messages_of_one_time_are_apart_and_a_time_that_is_none_costs_only_itself(tmp_path: Path) -> None:
    said = [WebSocketMessage(Opcode.TEXT, True, b"same", at) for at in (1.0, 1.0, float("nan"))]
    (_, one, two, three), error = read_bytes(tmp_path / "x.mitm", talk(*said))
    assert error is None
    assert one.sent_at and two.sent_at and (two.sent_at - one.sent_at).total_seconds() == 1e-6
    assert (three.body, three.sent_at) == (b"same", None)


def test_the_body_of_an_answer_is_an_exchange_where_it_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "x.mitm"
    path.write_bytes(dump(b"one"))
    request, answer = FlowDumpReader().read(path, ReadOptions(wants_answer=lambda *_: True))
    assert (request.body, request.direction) == (b"one", "to-server")
    assert (answer.body, answer.direction, answer.status, answer.path) == (b"message", "to-client", 200, request.path)
    assert answer.origin.ordinal == 2
