"""HTTP/2, as the h2 library sends it: frames, header blocks, streams, and what is left after a loss."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes
from hypothesis import given, settings
from hypothesis import strategies as st

from pcap_tools.http.account import Found
from pcap_tools.http.connection import HttpConnection
from pcap_tools.http.frames import PREFACE
from pcap_tools.http.limits import HttpLimits
from pcap_tools.http.message import HttpMessage, Protocol
from pcap_tools.stream import Data, Gap, Piece, Side
from tests.http_support import C, S, dropped, gap, other_deliveries, read, stamp, talk

HEADERS = [(":method", "POST"), (":scheme", "https"), (":authority", "h.example")]


class Talk:
    """A client and a server that talk to each other, and what they sent, one packet each time."""

    def __init__(self) -> None:
        self.client = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.server = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.pieces: list[Data] = []
        self.client.initiate_connection()
        self.server.initiate_connection()
        self.move()

    def move(self) -> None:
        """Deliver what both have to say."""
        for side, sender, receiver in ((C, self.client, self.server), (S, self.server, self.client)):
            data = sender.data_to_send()
            if data:
                self.pieces.append(Data(Side(side), data, stamp(len(self.pieces) + 1)))
                receiver.receive_data(data)

    def ask(self, number: int, path: str, body: bytes, **more: str) -> None:
        extra = [(name.replace("_", "-"), value) for name, value in more.items()]
        self.client.send_headers(number, [*HEADERS, (":path", path), *extra], end_stream=not body)
        if body:
            self.client.send_data(number, body, end_stream=True)
        self.move()

    def answer(self, number: int, status: int = 200, body: bytes = b"ok") -> None:
        self.server.send_headers(number, [(":status", str(status)), ("server", "s")])
        self.server.send_data(number, body, end_stream=True)
        self.move()


def conversation() -> Talk:
    """Ten requests, each with a path and body of its own; every field enters the tables."""
    both = Talk()
    for count in range(10):
        number = 2 * count + 1
        both.ask(
            number, f"/{count}", f"body {count} ".encode() * 9, content_type="application/json", x_count=str(count)
        )
        both.answer(number, 200 + count, f"answer {count}".encode())
    return both


def told(messages: list[HttpMessage]) -> list[tuple[str, bytes | None, int | None, bytes | None]]:
    return [
        (m.target, m.body, m.response.status if m.response else None, m.response.body if m.response else None)
        for m in messages
    ]


def test_requests_come_with_their_responses() -> None:
    messages, connection = read(conversation().pieces)
    assert connection.account.found is Found.HTTP2
    assert told(messages) == [(f"/{n}", f"body {n} ".encode() * 9, 200 + n, f"answer {n}".encode()) for n in range(10)]
    first = messages[0]
    assert (first.protocol, first.method, first.scheme, first.authority) == (
        Protocol.HTTP2,
        "POST",
        "https",
        "h.example",
    )
    assert first.headers == (("content-type", "application/json"), ("x-count", "0"))
    assert (first.stream_id, first.version) == (1, "HTTP/2.0")


def interleaved() -> Talk:
    """Streams that take turns, with padding, priority, trailers, 1xx, CONTINUATION and a reset."""
    both = Talk()
    for number in (1, 5, 7):
        fields = [*HEADERS, (":path", f"/{number}")]
        both.client.send_headers(number, fields, priority_weight=20, priority_depends_on=3)
    both.client.send_headers(9, [*HEADERS, (":path", "/9"), ("x", "y" * 30_000)])
    both.move()
    for part in range(3):
        for number in (7, 9, 1, 5):
            both.client.send_data(number, f"{number}-{part} ".encode(), pad_length=part * number)
        both.move()
    both.server.send_headers(9, [(":status", "100")])
    both.client.send_headers(9, [("sum", "1")], end_stream=True)
    both.client.end_stream(5)
    both.move()
    both.answer(5)
    both.client.reset_stream(7)
    both.client.ping(b"12345678")
    both.client.end_stream(1)
    both.move()
    both.server.send_headers(1, [(":status", "204")], end_stream=True)
    both.server.send_headers(9, [(":status", "200")])
    both.server.send_data(9, b"ab", pad_length=9)
    both.server.send_headers(9, [("sum", "2")], end_stream=True)
    both.server.close_connection()
    both.move()
    return both


EXPECTED = [
    ("/1", b"1-0 1-1 1-2 ", 204, b""),
    ("/5", b"5-0 5-1 5-2 ", 200, b"ok"),
    ("/7", None, None, None),
    ("/9", b"9-0 9-1 9-2 ", 200, b"ab"),
]


def test_streams_are_kept_apart() -> None:
    messages, _ = read(interleaved().pieces)
    assert told(messages) == EXPECTED
    assert [m.lost for m in messages] == [None, None, "reset", None]


@settings(max_examples=60, deadline=None)
@given(other_deliveries(interleaved().pieces))
def test_cuts_and_the_order_of_the_sides_change_nothing(pieces: list[Piece]) -> None:
    assert read(pieces)[0] == read(interleaved().pieces)[0]


def test_a_smaller_and_a_larger_header_table_are_followed() -> None:
    both = Talk()
    for size, number in ((64, 1), (65_536, 3), (0, 5), (4096, 7)):
        both.server.update_settings({SettingCodes.HEADER_TABLE_SIZE: size})
        both.move()
        both.move()
        both.ask(number, f"/{number}", b"x", a="b" * 20, c="d" * 20)
        both.answer(number)
    assert [m.target for m in read(both.pieces)[0]] == ["/1", "/3", "/5", "/7"]


def test_a_response_may_come_before_the_request_ends() -> None:
    both = Talk()
    both.client.send_headers(1, [*HEADERS, (":path", "/")])
    both.move()
    both.answer(1, 413)
    both.client.send_data(1, b"late", end_stream=True)
    both.pieces.append(Data(C, both.client.data_to_send(), stamp(99)))
    assert told(read(both.pieces)[0]) == [("/", b"late", 413, b"ok")]


def test_a_content_length_that_is_not_kept_costs_the_body() -> None:
    both = Talk()
    both.ask(1, "/", b"x", content_type="a")
    pieces = list(both.pieces)
    assert [m.body for m in read(pieces)[0]] == [b"x"]
    client = H2Connection(H2Configuration(client_side=True, validate_outbound_headers=False))
    client.initiate_connection()
    client.send_headers(1, [*HEADERS, (":path", "/"), ("content-length", "4")])
    client.send_data(1, b"abc", end_stream=True)
    assert [(m.body, m.lost) for m in read(talk((C, client.data_to_send())))[0]] == [(None, "3 of 4 bytes are there")]


def test_limits_hold() -> None:
    both = Talk()
    both.ask(1, "/", b"123456789")
    both.answer(1)
    (message,), _ = read(both.pieces, replace(HttpLimits(), body=4), keep_responses=False)
    assert message.body == b"12345"
    assert message.response is not None
    assert (message.response.status, message.response.body) == (200, None)
    messages, connection = read(both.pieces, replace(HttpLimits(), head=20))
    assert (messages, connection.account.unreadable) == ([], {1: 9})
    both.ask(3, "/3", b"x" * 500)
    assert [m.body for m in read(both.pieces, replace(HttpLimits(), frame=100))[0]] == [b"123456789", None]
    messages, connection = read(both.pieces, replace(HttpLimits(), streams=1))
    assert [m.target for m in messages] == ["/", "/3"]


def test_upgraded_cleartext_goes_on_as_stream_1() -> None:
    ask = b"GET /up HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n"
    client, server = H2Connection(), H2Connection(H2Configuration(client_side=False))
    server.initiate_upgrade_connection(client.initiate_upgrade_connection())
    server.send_headers(1, [(":status", "200")])
    server.send_data(1, b"ok", end_stream=True)
    client.send_headers(3, [*HEADERS, (":path", "/3")], end_stream=True)
    switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    pieces = talk((C, ask), (S, switch + server.data_to_send()), (C, client.data_to_send()))
    messages, _ = read(pieces)
    assert told(messages) == [("/up", b"", 200, b"ok"), ("/3", b"", None, None)]
    assert [m.protocol for m in messages] == [Protocol.HTTP1, Protocol.HTTP2]
    assert told(read([pieces[1], pieces[0], pieces[2]])[0]) == told(messages)


@pytest.mark.parametrize("known_size", [True, False])
@pytest.mark.parametrize("index", range(2, 22))
def test_one_lost_packet_costs_what_it_touches(index: int, known_size: bool) -> None:
    both = conversation()
    whole = told(read(both.pieces)[0])
    messages, connection = read(dropped(both.pieces, index, known_size))
    by_path = {path: (body, status, answer) for path, body, status, answer in whole}
    assert len(messages) + len(connection.account.unreadable) >= 9
    for path, body, status, answer in told(messages):
        assert body in (None, by_path[path][0])
        assert status in (None, by_path[path][1])
        assert answer in (None, by_path[path][2])


def plain(number: int, path: str, body: bytes, encode: Callable[..., bytes]) -> bytes:
    """A request of which the fields refer to no table."""
    block = encode([*HEADERS, (":path", path)])
    return frame(1, 4, number, block) + frame(0, 1, number, body)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


FRAMES = st.builds(
    frame,
    st.integers(0, 17), st.sampled_from([0, 1, 4, 5, 8, 0xD, 0x2D, 255]), st.integers(0, 6), st.binary(max_size=40),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([C, S]), FRAMES | st.binary(max_size=30) | st.none() | st.integers(0, 60))))
def test_no_frames_raise(turns: list[tuple[Side, bytes | int | None]]) -> None:
    limits = replace(HttpLimits(), head=60, frame=50, streams=2, undecided=99, unreadable=2)
    connection = HttpConnection(limits, alpn="h2")
    connection.feed(Data(C, PREFACE, stamp(1)))
    for number, (side, what) in enumerate(turns, start=2):
        piece = Data(side, what, stamp(number)) if isinstance(what, bytes) else Gap(side, what, stamp(number))
        connection.feed(piece)
    connection.finish()
    assert connection._waiting.held.size == 0


def literal(fields: list[tuple[str, str]]) -> bytes:
    """Return fields as literals that do not enter the table (RFC 7541, 6.2.2)."""
    parts = ((b"\0", bytes([len(n)]), n.encode(), bytes([len(v)]), v.encode()) for n, v in fields)
    return b"".join(b"".join(part) for part in parts)


def test_what_refers_to_nothing_lost_is_read_after_a_gap() -> None:
    ask = [plain(2 * n + 1, f"/{n}", b"body %d" % n, literal) for n in range(4)]
    pieces: list[Piece] = [*talk((C, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + ask[0])), gap(C, 3)]
    pieces += [Data(C, b"rest of something" + ask[2], stamp(3)), Data(C, ask[3], stamp(4))]
    messages, _ = read(pieces)
    assert told(messages) == [(f"/{n}", b"body %d" % n, None, None) for n in (0, 2, 3)]


def test_fields_that_refer_to_something_lost_are_not_guessed() -> None:
    both = conversation()
    start = next(i for i, piece in enumerate(both.pieces) if i > 6 and piece.side is C)
    messages, connection = read([gap(C, 1), *both.pieces[start:]], alpn="h2")
    assert messages == []
    assert len(connection.account.unreadable) == 10 - (start - 2) // 2
    assert set(connection.account.unreadable.values()) == {9 * len(b"body 0 ")}


def test_a_connection_that_began_before_the_capture_is_known_by_its_frames() -> None:
    ask = plain(101, "/late", b"body", literal)
    messages, connection = read([gap(C, 1), Data(C, b"\x12\x34" + ask + frame(8, 0, 0, b"\0\0\0\1"), stamp(1))])
    assert told(messages) == [("/late", b"body", None, None)]
    assert connection.account.found is Found.HTTP2


def test_a_gap_of_known_size_inside_a_body_costs_that_body_only() -> None:
    ask = plain(1, "/1", b"a" * 50, literal)
    pieces: list[Piece] = list(talk((C, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + ask[:-40])))
    pieces += [gap(C, 2, 30), Data(C, ask[-10:] + plain(3, "/3", b"b", literal), stamp(2))]
    messages, _ = read(pieces)
    assert told(messages) == [("/1", None, None, None), ("/3", b"b", None, None)]


def test_only_wanted_bodies_of_responses_are_kept() -> None:
    both = Talk()
    for stream, path in ((1, "/a"), (3, "/b")):
        both.ask(stream, path, b"x")
        both.answer(stream)
    connection = HttpConnection(keeps=lambda request: request is not None and request.target == "/b")
    messages = [message for piece in both.pieces for message in connection.feed(piece)]
    assert [(m.target, m.response and m.response.body is not None) for m in messages] == [("/a", False), ("/b", True)]
