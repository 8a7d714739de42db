"""Websockets, as the wsproto library sends them: fragments, masks, compression, and what is left after a loss."""

import os
import zlib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Event, Ping, Request, TextMessage
from wsproto.extensions import PerMessageDeflate

from pcap_tools.http.account import Found
from pcap_tools.http.limits import HttpLimits
from pcap_tools.http.message import HttpMessage, Protocol
from pcap_tools.stream import Data, Gap, Piece, Side
from tests.http_support import C, S, dropped, gap, other_deliveries, read, stamp


class Talk:
    """A client and a server with a websocket between them, and what they sent, one packet each time."""

    def __init__(self, *, compressed: bool = True, keep_state: bool = True) -> None:
        self.client, self.server = WSConnection(ConnectionType.CLIENT), WSConnection(ConnectionType.SERVER)
        self.pieces: list[Data] = []
        offer = PerMessageDeflate(client_no_context_takeover=not keep_state, server_no_context_takeover=not keep_state)
        self.say(C, Request(host="h.example", target="/ws?a=b", extensions=[offer] if compressed else []))
        accept = PerMessageDeflate(client_no_context_takeover=not keep_state, server_no_context_takeover=not keep_state)
        self.say(S, AcceptConnection(extensions=[accept] if compressed else []))

    def say(self, side: Side, *events: Event) -> None:
        sender, receiver = (self.client, self.server) if side is C else (self.server, self.client)
        data = b"".join(sender.send(event) for event in events)
        self.pieces.append(Data(side, data, stamp(len(self.pieces) + 1)))
        receiver.receive_data(data)
        list(receiver.events())


def conversation(*, compressed: bool = True, keep_state: bool = True) -> Talk:
    both = Talk(compressed=compressed, keep_state=keep_state)
    for count in range(4):
        both.say(C, TextMessage(f"from client {count} " * 20))
        both.say(S, BytesMessage(f"from server {count} ".encode() * 20))
    both.say(C, TextMessage("one ", message_finished=False), Ping(b"p"), TextMessage("two", message_finished=True))
    both.say(S, BytesMessage(bytes(70_000)), TextMessage("x" * 200))
    both.say(C, CloseConnection(1000))
    return both


FROM_CLIENT = [(f"from client {n} " * 20).encode() for n in range(4)] + [b"one two"]
FROM_SERVER = [(f"from server {n} " * 20).encode() for n in range(4)] + [bytes(70_000), b"x" * 200]


def bodies(messages: list[HttpMessage], side: Side) -> list[bytes | None]:
    return [m.body for m in messages if m.side is side and m.protocol is Protocol.WEBSOCKET]


@pytest.mark.parametrize(("compressed", "keep_state"), [(False, True), (True, True), (True, False)])
def test_both_sides_are_read(compressed: bool, keep_state: bool) -> None:
    messages, connection = read(conversation(compressed=compressed, keep_state=keep_state).pieces)
    assert connection.account.found is Found.WEBSOCKET
    assert (bodies(messages, C), bodies(messages, S)) == (FROM_CLIENT, FROM_SERVER)
    opening, first = messages[:2]
    assert opening.response is not None
    assert (opening.protocol, opening.method, opening.response.status) == ("HTTP/1", "GET", 101)
    assert (first.target, first.authority, first.is_text, first.first) == ("/ws?a=b", "h.example", True, stamp(3))
    assert (connection.account.client_skipped, connection.account.websocket_lost) == (0, 0)


WHOLE = conversation().pieces


@settings(max_examples=60, deadline=None)
@given(other_deliveries(WHOLE))
def test_cuts_and_the_order_of_the_sides_change_nothing(pieces: list[Piece]) -> None:
    expected, found = read(WHOLE)[0], read(pieces)[0]
    for side in (C, S):
        assert [m for m in found if m.side is side] == [m for m in expected if m.side is side]


@pytest.mark.parametrize("known_size", [True, False])
@pytest.mark.parametrize(("compressed", "keep_state"), [(False, True), (True, True), (True, False)])
@pytest.mark.parametrize("index", range(2, 12))
def test_one_lost_packet_makes_nothing_wrong(index: int, known_size: bool, compressed: bool, keep_state: bool) -> None:
    pieces = conversation(compressed=compressed, keep_state=keep_state).pieces
    messages, _ = read(dropped(pieces, index, known_size))
    for side, sent in ((C, FROM_CLIENT), (S, FROM_SERVER)):
        given_bodies = bodies(messages, side)
        assert {body for body in given_bodies if body is not None} <= set(sent)
        untouched = pieces[index].side is not side
        readable = not compressed or not keep_state
        if untouched:
            assert given_bodies == sent
        elif readable:
            assert len([body for body in given_bodies if body is not None]) >= len(sent) - 2


def test_a_refused_upgrade_goes_on_with_http() -> None:
    ask = b"GET /%d HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    no = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
    pieces = [Data(C, ask % 1, stamp(1)), Data(S, no, stamp(2)), Data(C, ask % 2, stamp(3)), Data(S, no, stamp(4))]
    messages, _ = read(pieces)
    assert [(m.target, m.response.status) for m in messages if m.response] == [("/1", 403), ("/2", 403)]


def test_a_lost_answer_does_not_hide_the_clients_messages() -> None:
    pieces = conversation(compressed=False).pieces
    messages, _ = read([pieces[0], gap(S, 4), *pieces[2:]])
    assert bodies(messages, C) == FROM_CLIENT
    assert bodies(read([piece for piece in pieces if piece.side is C])[0], C) == FROM_CLIENT


def test_a_frame_in_parts_with_a_hole_costs_that_message() -> None:
    both = Talk(compressed=False)
    both.say(C, TextMessage("a" * 100))
    both.say(C, TextMessage("b"))
    whole = both.pieces[2]
    parts: list[Piece] = [Data(C, whole.data[:30], stamp(3)), Gap(C, 50, stamp(3)), Data(C, whole.data[80:], stamp(3))]
    messages, _ = read([*both.pieces[:2], *parts, both.pieces[3]])
    assert [(m.body, m.lost) for m in messages[1:]] == [(None, "50 bytes are missing"), (b"b", None)]


def server_says(*frames: bytes) -> list[Data]:
    both = Talk()
    return [*both.pieces, *(Data(S, data, stamp(3 + at)) for at, data in enumerate(frames))]


def compressed_frame(data: bytes) -> bytes:
    return b"\xc1\x7f" + len(data).to_bytes(8, "big") + data


def test_expansion_is_bounded() -> None:
    deflate = zlib.compressobj(9, wbits=-15)
    bomb = deflate.compress(bytes(5_000_000)) + deflate.flush(zlib.Z_SYNC_FLUSH)
    after = deflate.compress(b"after") + deflate.flush(zlib.Z_SYNC_FLUSH)
    frames = [compressed_frame(bomb[:-4]), compressed_frame(after[:-4])]
    small = replace(HttpLimits(), body=10_000)
    assert bodies(read(server_says(*frames), small)[0], S) == [bytes(10_001), b"after"]
    tight = replace(HttpLimits(), body=10_000, inflated=1_000_000)
    assert bodies(read(server_says(*frames), tight)[0], S) == [bytes(10_001), None]


def test_a_compressed_message_above_the_limit_is_none_and_so_are_those_that_refer_to_it() -> None:
    deflate = zlib.compressobj(wbits=-15)
    noise = os.urandom(500)
    parts = [deflate.compress(text) + deflate.flush(zlib.Z_SYNC_FLUSH) for text in (b"a", noise, b"b")]
    frames = [compressed_frame(part[:-4]) for part in parts]
    messages, connection = read(server_says(*frames), replace(HttpLimits(), body=400))
    assert bodies(messages, S) == [b"a", None, None]
    assert connection.account.bodies_lost == 2
