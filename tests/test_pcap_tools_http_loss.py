"""HTTP/1 with parts missing: what is given is right, and only what was touched is missing."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcap_tools.http.message import HttpMessage
from pcap_tools.stream import Data, Piece
from tests.http_support import C, S, dropped, gap, read, stamp, talk


def body(number: int) -> bytes:
    return f"the body of {number} ".encode() * (number + 1)


def head(number: int) -> bytes:
    length = f"Content-Length: {len(body(number))}" if number % 2 else "Transfer-Encoding: chunked"
    return f"POST /{number} HTTP/1.1\r\nHost: h.example\r\n{length}\r\n\r\n".encode()


def coded(number: int) -> bytes:
    return body(number) if number % 2 else b"%x\r\n%s\r\n0\r\n\r\n" % (len(body(number)), body(number))


def answer(number: int) -> bytes:
    text = b"answer %d" % number
    return b"HTTP/1.1 %d OK\r\nContent-Length: %d\r\n\r\n%s" % (210 + number, len(text), text)


def conversation() -> list[Data]:
    """Ten requests, each in three packets; each response in two."""
    turns = []
    for number in range(10):
        middle = len(coded(number)) // 2
        turns += [(C, head(number)), (C, coded(number)[:middle]), (C, coded(number)[middle:])]
        turns += [(S, answer(number)[:-4]), (S, answer(number)[-4:])]
    return talk(*turns)


def is_right(message: HttpMessage) -> bool:
    """Is everything that is said of a message what was sent?"""
    number = int(message.target[1:])
    response = message.response
    return message.body in (None, body(number)) and (
        response is None or (response.status == 210 + number and response.body in (None, b"answer %d" % number))
    )


@pytest.mark.parametrize("known_size", [True, False])
@pytest.mark.parametrize("index", range(50))
def test_one_lost_packet_costs_one_request_or_response(index: int, known_size: bool) -> None:
    messages, _ = read(dropped(conversation(), index, known_size))
    touched = index // 5
    assert all(is_right(message) for message in messages)
    whole = {int(m.target[1:]) for m in messages if m.body is not None and m.response and m.response.body is not None}
    # The one after the touched one may be without response where nobody can be sure.
    assert set(range(10)) - whole <= {touched}


@settings(max_examples=150, deadline=None)
@given(st.sets(st.integers(0, 49), max_size=12), st.booleans())
def test_whatever_is_lost_nothing_wrong_is_said(lost: set[int], known_size: bool) -> None:
    packets = conversation()
    pieces: list[Piece] = []
    missing = {C: 0, S: 0}
    for index, packet in enumerate(packets):
        if index in lost:
            missing[packet.side] += len(packet.data)
            continue
        if missing[packet.side]:
            pieces.append(gap(packet.side, packet.stamp.frame, missing[packet.side] if known_size else None))
            missing[packet.side] = 0
        pieces.append(packet)
    messages, _ = read(pieces)
    assert all(is_right(message) for message in messages)
    untouched = {number for number in range(10) if not lost & set(range(5 * number, 5 * number + 3))}
    assert untouched <= {int(message.target[1:]) for message in messages if message.body is not None}


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_nor_in_another_order_of_the_sides(data: st.DataObject) -> None:
    index, known_size = data.draw(st.integers(0, 49)), data.draw(st.booleans())
    pieces = dropped(conversation(), index, known_size)
    client, server = (iter([piece for piece in pieces if piece.side is side]) for side in (C, S))
    order = data.draw(st.permutations([piece.side for piece in pieces]))
    mixed = [next(client if side is C else server) for side in order]
    assert read(mixed)[0] == read(pieces)[0]


def test_a_capture_that_begins_in_the_middle_is_read_from_the_next_request_on() -> None:
    packets = conversation()[7:]
    messages, _ = read([gap(C, 8), gap(S, 8), *packets])
    assert [(m.target, m.response.status if m.response else None) for m in messages] == [
        (f"/{number}", 210 + number) for number in range(2, 10)
    ]


def test_one_side_alone_is_read() -> None:
    messages, _ = read([piece for piece in conversation() if piece.side is C])
    assert [(m.target, m.body, m.response) for m in messages] == [(f"/{n}", body(n), None) for n in range(10)]


def test_parts_of_a_batch_are_no_requests() -> None:
    batch = b"--x\r\nContent-Type: application/http\r\n\r\nPOST /inner HTTP/1.1\r\nContent-Length: 1\r\n\r\na\r\n--x--"
    pieces: list[Piece] = [gap(C, 1), Data(C, batch, stamp(1)), Data(C, head(1) + body(1), stamp(2))]
    assert [m.target for m in read(pieces)[0]] == ["/1"]


@pytest.mark.parametrize("length", [b"18446744073709551615", b"-1", b"x"])
def test_a_request_behind_one_whose_length_is_none_is_found(length: bytes) -> None:
    first = b"POST /0 HTTP/1.1\r\nHost: h\r\nContent-Length: " + length + b"\r\n\r\n"
    messages, _ = read(talk((C, first + head(1) + body(1))))
    assert [(m.target, m.body) for m in messages] == [("/0", None), ("/1", body(1))]


def test_pipelined_responses_are_not_guessed_after_a_loss() -> None:
    asks = [Data(C, head(n) + coded(n), stamp(n + 1)) for n in range(4)]
    answers = [Data(S, answer(n), stamp(10 + n)) for n in range(4)]
    pieces: list[Piece] = [*asks, answers[0], gap(S, 12), *answers[2:]]
    messages, connection = read(pieces)
    assert [m.response.status if m.response else None for m in messages] == [210, None, None, None]
    assert connection.account.responses_unpaired == 2
