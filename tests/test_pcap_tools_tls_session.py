"""One recorded TLS connection: in whatever pieces it comes the same plaintext, and never more held than allowed."""

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcap_tools.stream import Data, Gap, Piece, Side
from pcap_tools.tls.keylog import KeyLog
from pcap_tools.tls.limits import DEFAULT_TLS_LIMITS, TlsLimits
from pcap_tools.tls.session import TlsSession, TlsState
from tests.captures.conversations import Conversation, converse
from tests.captures.openssl import TLS12, Settings
from tests.http_support import C, S, other_deliveries, stamp

TALKS = {
    "TLS 1.3": converse(Settings(), count=3, flows=1, size=300),
    "TLS 1.2": converse(Settings(version=TLS12), count=3, flows=1, size=300),
}
BOTH = pytest.mark.parametrize("name", TALKS)


def pieces_of(talk: Conversation) -> list[Data]:
    """Return what went over the wire, flight by flight."""
    return [
        Data(C if from_client else S, data, stamp(frame))
        for frame, (_, from_client, data) in enumerate(talk.connections[0], 1)
    ]


def session(keylog: bytes, limits: TlsLimits = DEFAULT_TLS_LIMITS) -> TlsSession:
    keys = KeyLog()
    keys.add(keylog)
    return TlsSession(keys, limits)


def plaintext(pieces: Iterable[Piece]) -> tuple[bytes, bytes]:
    """Return what each side said; a gap is shown as a zero byte."""
    sides: dict[Side, bytes] = {C: b"", S: b""}
    for piece in pieces:
        sides[piece.side] += piece.data if isinstance(piece, Data) else b"\0"
    return sides[C], sides[S]


def read(one: TlsSession, pieces: Iterable[Piece]) -> tuple[bytes, bytes]:
    given = [plain for piece in pieces for plain in one.feed(piece)]
    return plaintext(given + one.finish())


@BOTH
@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data())
def test_however_it_is_delivered_it_says_the_same(name: str, data: st.DataObject) -> None:
    talk = TALKS[name]
    pieces = pieces_of(talk)
    expected = read(session(talk.keylog), pieces)
    assert all(body in expected[0] for body in talk.bodies)
    other = session(talk.keylog)
    assert read(other, data.draw(other_deliveries(pieces))) == expected
    assert other.account.state is TlsState.OPENED


@BOTH
def test_keys_that_come_late_open_what_waited(name: str) -> None:
    talk = TALKS[name]
    one = session(b"")
    assert [plain for piece in pieces_of(talk) for plain in one.feed(piece)] == []
    one.keylog.add(talk.keylog)
    assert plaintext(one.finish()) == read(session(talk.keylog), pieces_of(talk))


@BOTH
def test_without_a_key_no_more_is_held_than_allowed_and_the_rest_is_counted(name: str) -> None:
    talk, limits = TALKS[name], replace(DEFAULT_TLS_LIMITS, held_without_key=700)
    one, sent = session(b"", limits), 0
    for piece in pieces_of(talk):
        assert one.feed(piece) == []
        sent += len(piece.data) if piece.side is C else 0
        assert all(half.held <= 700 for half in one.halves)
    assert one.finish() == []
    assert one.account.state is TlsState.NO_KEY
    assert sent - 700 < one.halves[C].lost <= sent


@BOTH
def test_after_giving_up_a_key_opens_what_still_comes(name: str) -> None:
    talk, limits = TALKS[name], replace(DEFAULT_TLS_LIMITS, held_without_key=700)
    pieces = pieces_of(talk)
    one, at = session(b"", limits), len(pieces) * 2 // 3
    for piece in pieces[:at]:
        one.feed(piece)
    one.keylog.add(talk.keylog)
    said, _ = read(one, pieces[at:])
    assert said.startswith(b"\0")
    assert talk.bodies[-1] in said and talk.bodies[0] not in said
    assert one.account.state is TlsState.PARTLY


def test_what_waits_for_the_other_sides_hello_is_bounded() -> None:
    talk, limits = TALKS["TLS 1.3"], replace(DEFAULT_TLS_LIMITS, held=600, held_without_key=600)
    one = session(talk.keylog, limits)
    given = [plain for piece in pieces_of(talk) if piece.side is C for plain in one.feed(piece)]
    assert all(half.held <= 600 for half in one.halves)
    assert talk.bodies[-1] in plaintext(given + one.finish())[0]


def test_recovery_tries_no_more_than_allowed_and_says_so() -> None:
    talk = TALKS["TLS 1.3"]
    foreign = "".join(f"CLIENT_TRAFFIC_SECRET_0 {number:064x} {number:064x}\n" for number in range(50)).encode()
    one = session(foreign, replace(DEFAULT_TLS_LIMITS, trials=1_000))
    pieces: list[Piece] = [Gap(C, None, stamp(9)), *[piece for piece in pieces_of(talk) if piece.side is C][2:]]
    assert read(one, pieces)[0].strip(b"\0") == b""
    assert (one.account.state, one.account.detail) == (TlsState.NO_HANDSHAKE, "gave up after 1,000 trials")


def test_a_handshake_message_above_the_limit_ends_nothing() -> None:
    talk = TALKS["TLS 1.3"]
    longest = len(pieces_of(talk)[0].data)  # the ClientHello; the server's certificate is longer
    one = session(talk.keylog, replace(DEFAULT_TLS_LIMITS, handshake=longest))
    said, answered = read(one, pieces_of(talk))
    assert all(body in said for body in talk.bodies)
    assert answered.count(b"HTTP/1.1 200 OK") == len(talk.bodies)


@pytest.mark.parametrize("name", TALKS)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 2_000), st.integers(1, 255)), min_size=1, max_size=4))
def test_nothing_is_given_that_was_not_said(name: str, changes: list[tuple[int, int, int]]) -> None:
    talk = TALKS[name]
    pieces = pieces_of(talk)
    for which, at, flip in changes:
        piece = pieces[which % len(pieces)]
        data = bytearray(piece.data)
        data[at % len(data)] ^= flip
        pieces[which % len(pieces)] = replace(piece, data=bytes(data))
    whole = read(session(talk.keylog), pieces_of(talk))
    for said, sent in zip(read(session(talk.keylog), pieces), whole, strict=True):
        at = 0
        for part in filter(None, said.split(b"\0")):
            at = sent.index(part, at) + len(part)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(st.sampled_from([C, S]), st.binary(max_size=60) | st.just(b"\x16\3\3\0\x04\1\0\0\0")), max_size=8
    )
)
def test_nothing_that_comes_raises_an_error(turns: list[tuple[Side, bytes]]) -> None:
    one = session(TALKS["TLS 1.3"].keylog)
    assert read(one, [Data(side, data, stamp(frame)) for frame, (side, data) in enumerate(turns)]) == (b"", b"")
    assert one.account.opened == 0
