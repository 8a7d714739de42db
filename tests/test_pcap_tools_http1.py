"""HTTP/1: framing, leniency, switches of protocol."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcap_tools.http.account import Found
from pcap_tools.http.connection import HttpConnection
from pcap_tools.http.draft import Body
from pcap_tools.http.limits import HttpLimits
from pcap_tools.http.message import Protocol
from pcap_tools.stream import Data, Gap, Piece, Side
from tests.http_support import C, S, other_deliveries, read, stamp, talk

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HEAD = b"POST /a HTTP/1.1\r\nHost: h\r\n"


@pytest.mark.parametrize(
    ("sent", "body", "lost"),
    [
        (b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n", b"", None),
        (HEAD + b"Content-Length: 3\r\n\r\nabc", b"abc", None),
        (HEAD + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", b"abc", None),
        (HEAD + b"Content-Length: 3, 03\r\n\r\nabc", b"abc", None),
        (HEAD + b"Content-Length: " + b"0" * 30 + b"3\r\n\r\nabc", b"abc", None),
        (HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", None, "contradictory Content-Length"),
        (HEAD + b"Content-Length: x\r\n\r\nabc", None, "contradictory Content-Length"),
        (HEAD + b"Content-Length: 9\r\n\r\nabc", None, "its end was not seen"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"abcde", None),
        (HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n1\r\na\r\n0\r\n\r\n", b"a", None),
        (HEAD + b'Transfer-Encoding: chunked\r\n\r\n3;x=y;q="1"\r\nabc\r\n0\r\nSum: 1\r\n\r\n', b"abc", None),
        (HEAD + b"Transfer-Encoding: chunked\n\n3\nabc\n0\n\n", b"abc", None),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc", None, "not a chunk size"),
        (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", None, "transfer-encoding gzip"),
        (HEAD + b"Transfer-Encoding: gzip\r\n\r\nabc", None, "transfer-encoding gzip"),
        (b"\r\n\r\n" + HEAD + b"Content-Length: 1\r\n\r\na", b"a", None),
        (b"POST /a HTTP/1.1\nHost: h\nContent-Length: 1\n\na", b"a", None),
        (HEAD + b"X: 1\r\n  2\r\nContent-Length: 1\r\n\r\na", b"a", None),
        (HEAD + b"nonsense\r\ncontent-length : 1\r\n\r\na", b"a", None),
        (HEAD + b"Content-Length: 3", None, "its head is not all there"),
    ],
)
def test_a_request_body_is_framed_as_the_standard_says(sent: bytes, body: bytes | None, lost: str | None) -> None:
    (message,), connection = read(talk((C, sent), (S, OK)))
    assert (message.target, message.authority, message.body, message.lost) == ("/a", "h", body, lost)
    assert message.response is not None
    assert (message.response.status, message.response.body) == (200, b"ok")
    assert connection.account.found is Found.HTTP1


@pytest.mark.parametrize(
    ("method", "response", "status", "body"),
    [
        (b"GET", OK, 200, b"ok"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", 200, b""),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, b""),
        (b"GET", b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200, b"ok"),
        (b"GET", b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + OK, 200, b"ok"),
        (b"GET", b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200, b"ok"),
    ],
)
def test_a_response_leaves_the_place_for_the_next(method: bytes, response: bytes, status: int, body: bytes) -> None:
    ask = method + b" /%d HTTP/1.1\r\nHost: h\r\n\r\n"
    pieces = talk((C, ask % 1), (S, response), (C, b"GET /2 HTTP/1.1\r\nHost: h\r\n\r\n"), (S, OK))
    messages, _ = read(pieces)
    found = [(m.target, m.response.status, m.response.body) for m in messages if m.response]
    assert found == [("/1", status, body), ("/2", 200, b"ok")]


def test_a_response_without_length_lasts_to_the_end() -> None:
    (message,), _ = read(talk((C, b"GET / HTTP/1.0\r\n\r\n"), (S, b"HTTP/1.0 200 OK\r\n\r\nab"), (S, b"cd")))
    assert message.response is not None
    assert (message.response.body, message.response.last.frame) == (b"abcd", 3)


def test_messages_after_connection_close_are_read_on() -> None:
    closing = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    messages, _ = read(talk((C, HEAD + b"Connection: close\r\n\r\n"), (S, closing), (C, HEAD + b"\r\n"), (S, OK)))
    assert [m.response.status for m in messages if m.response] == [200, 200]


def test_targets_and_stamps_stand_as_they_were_sent() -> None:
    pieces = talk((C, b"GET http://h:8/a?b=c HTTP/1.1\r\nHo"), (C, b"st: h:8\r\n\r\n"), (S, OK[:-1]), (S, OK[-1:]))
    (message,), _ = read(pieces)
    assert (message.target, message.authority, message.version) == ("http://h:8/a?b=c", "h:8", "HTTP/1.1")
    assert (message.first, message.last) == (stamp(1), stamp(2))
    assert message.response is not None
    assert (message.response.first, message.response.last) == (stamp(3), stamp(4))


def test_a_body_above_the_limit_is_kept_one_byte_longer() -> None:
    pieces = talk((C, HEAD + b"Content-Length: 9\r\n\r\n123456789"), (S, OK))
    (message,), _ = read(pieces, replace(HttpLimits(), body=4), keep_responses=False)
    assert message.body == b"12345"
    assert message.response is not None
    assert message.response.body is None


def test_a_head_above_the_limit_is_given_as_far_as_it_goes() -> None:
    pieces = talk((C, HEAD + b"X: " + b"x" * 500 + b"\r\n\r\n"), (C, b"GET /b HTTP/1.1\r\nHost: h\r\n\r\n"))
    messages, _ = read(pieces, replace(HttpLimits(), head=100))
    assert [(m.target, m.body, m.lost) for m in messages] == [
        ("/a", None, "its head is not all there"),
        ("/b", b"", None),
    ]


def test_too_many_waiting_requests_go_without_response() -> None:
    connection = HttpConnection(replace(HttpLimits(), waiting=3))
    given = [connection.feed(Data(C, HEAD + b"\r\n", stamp(frame))) for frame in range(1, 6)]
    assert [len(messages) for messages in given] == [0, 0, 0, 1, 1]
    late = [m for frame in range(6, 11) for m in connection.feed(Data(S, OK, stamp(frame)))]
    assert [m.response is not None for m in late + connection.finish()] == [True] * 3
    assert connection.account.unanswered == 2


CONNECT = b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n"
TLS = b"\x16\x03\x01\x00\x05hello"


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 1, 3), (1, 3, 0, 2)])
def test_behind_connect_the_caller_gets_both_sides(order: tuple[int, ...]) -> None:
    turns = talk((C, CONNECT), (S, b"HTTP/1.1 200 Connection established\r\n\r\n"), (C, TLS), (S, TLS + b"!"))
    tunnel: list[Piece] = []
    connection = HttpConnection(on_tunnel=tunnel.append)
    messages = [m for index in order for m in connection.feed(turns[index])] + connection.finish()
    assert [(m.method, m.target, m.response.status if m.response else 0) for m in messages] == [
        ("CONNECT", "h:443", 200)
    ]
    assert {(p.side, p.data, p.stamp.frame) for p in tunnel if isinstance(p, Data)} == {(C, TLS, 3), (S, TLS + b"!", 4)}
    assert connection.account.found is Found.TUNNEL


def test_a_connect_whose_answer_was_read_first_is_whole() -> None:
    refused, accepted = b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 200 Yes\r\n\r\n"
    first, no, again, yes = talk((C, CONNECT), (S, refused), (C, CONNECT), (S, accepted))
    messages, _ = read([no, yes, first, again])
    assert [(m.body, m.response.status) for m in messages if m.response] == [(b"", 407), (b"", 200)]


def test_tls_behind_connect_needs_no_answer() -> None:
    tunnel: list[Piece] = []
    connection = HttpConnection(on_tunnel=tunnel.append)
    for piece in talk((C, CONNECT), (C, TLS)):
        connection.feed(piece)
    assert tunnel == [Data(C, TLS, stamp(2))]
    (message,) = connection.finish()
    assert (message.method, message.response) == ("CONNECT", None)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 1, 3)])
def test_behind_a_lost_answer_to_connect_too(order: tuple[int, ...]) -> None:
    sent: list[Piece] = [
        Data(C, CONNECT, stamp(1)),
        Gap(S, None, stamp(4)),
        Data(C, TLS, stamp(3)),
        Data(S, TLS + b"!", stamp(4)),
    ]
    tunnel: list[Piece] = []
    connection = HttpConnection(on_tunnel=tunnel.append)
    messages = [m for index in order for m in connection.feed(sent[index])] + connection.finish()
    assert [(m.target, m.response) for m in messages] == [("h:443", None)]
    assert [piece for piece in tunnel if piece.side is C] == [sent[2]]
    assert [piece for piece in tunnel if piece.side is S][-1:] == [sent[3]]


def test_a_refused_connect_is_followed_by_more_requests() -> None:
    refused = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
    pieces = talk((C, CONNECT), (S, refused), (C, b"GET /b HTTP/1.1\r\nHost: h\r\n\r\n"), (S, OK))
    messages, _ = read(pieces)
    assert [(m.target, m.response.status) for m in messages if m.response] == [("h:443", 407), ("/b", 200)]


LONG = talk(
    (C, b"POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 12\r\n\r\nHTTP/1.1 200"),
    (S, b"HTTP/1.1 100 Continue\r\n\r\n"),
    (S, OK),
    (C, b"HEAD /2 HTTP/1.1\r\nHost: h\r\n\r\n"),
    (S, b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"),
    (C, b"POST /3 HTTP/1.1\nHost: h\nTransfer-Encoding: chunked\n\n5;a=b\nabcde\nA\n0123456789\n0\nT: 1\n\n"),
    (S, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    (C, b"GET /4 HTTP/1.1\r\nHost: h\r\n\r\nGET /5 HTTP/1.1\r\nHost: h\r\n\r\n"),
    (S, b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n" + OK),
    (C, b"PUT /6 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"),
    (S, b"HTTP/1.1 201 Created\r\n\r\nto the end"),
)


@settings(max_examples=150, deadline=None)
@given(other_deliveries(LONG))
def test_cuts_and_the_order_of_the_sides_change_nothing(pieces: list[Piece]) -> None:
    whole, _ = read(LONG)
    assert [(m.target, m.response.status) for m in whole if m.response] == [
        ("/1", 200), ("/2", 200), ("/3", 200), ("/4", 404), ("/5", 200), ("/6", 201),
    ]  # fmt: skip
    assert read(pieces)[0] == whole


WORDS = st.sampled_from(
    [b"GET / HTTP/1.1\r\n", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\n\r\n", b"\r\n",
     b"Host: h\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"5\r\n", b"0\r\n\r\n",
     b"Connection: upgrade\r\n", b"Upgrade: websocket\r\n", b"CONNECT h:1 HTTP/1.1\r\n\r\n", b"\x16\x03\x01",
     b"\x81\x85abcdefghi", b"hello"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([C, S]), st.one_of(WORDS, st.binary(max_size=30), st.none(), st.integers(0, 9)))
    ),
    st.sampled_from([None, "h2", "http/1.1"]),
)
def test_no_bytes_raise(turns: list[tuple[Side, bytes | int | None]], alpn: str | None) -> None:
    connection = HttpConnection(
        replace(HttpLimits(), head=80, chunk_line=20, waiting=3, ahead=60, undecided=50), alpn=alpn
    )
    for frame, (side, what) in enumerate(turns, start=1):
        piece = Data(side, what, stamp(frame)) if isinstance(what, bytes) else Gap(side, what, stamp(frame))
        connection.feed(piece)
    connection.finish()
    assert connection._waiting.held.size == 0


def test_what_is_not_http_is_said_to_be_so() -> None:
    messages, connection = read(talk((C, b"\x00\x01binary"), (S, b"\x05whatever")))
    assert (messages, connection.account.found) == ([], Found.NOT_HTTP)
    assert (connection.account.client_skipped, connection.account.server_skipped) == (8, 9)


def test_a_message_names_its_protocol() -> None:
    (message,), _ = read(talk((C, HEAD + b"\r\n"), (S, OK)))
    assert message.protocol is Protocol.HTTP1


def test_only_wanted_bodies_of_responses_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []
    add = Body.add

    def counted(self: Body, data: bytes) -> None:
        add(self, data)
        held.append(len(self._parts))

    monkeypatch.setattr(Body, "add", counted)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"
    turns = [turn for path in (b"/a", b"/b") for turn in ((C, b"GET %s HTTP/1.1\r\n\r\n" % path), (S, answer))]
    connection = HttpConnection(keeps=lambda request: request is not None and request.target == "/b")
    messages = [message for piece in talk(*turns) for message in connection.feed(piece)]
    assert [message.response and message.response.body for message in messages] == [None, b"body"]
    assert held == [0, 4]


def test_a_response_whose_end_was_not_seen_has_no_body() -> None:
    cut = talk((C, b"GET / HTTP/1.1\r\n\r\n"), (S, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbody"))
    (message,), _ = read(cut)
    assert message.response and (message.response.status, message.response.body) == (200, None)
