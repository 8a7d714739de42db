"""One side of a TCP connection: what comes out is what was sent, in order, and every byte that is missing is said."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcap_tools.limits import ReadLimits
from pcap_tools.stream import Data, Gap, Piece, Side, Stamp
from pcap_tools.tcp import TcpSide

LIMITS = ReadLimits()
SIZE = 120  # bytes of a stream; their values are 0 to 119, and 128 more in a segment that lies
WRAP = 1 << 32
starts = st.sampled_from([0, 7, WRAP - 60, WRAP - 1, WRAP // 2])
segment_lists = st.lists(st.tuples(st.integers(-20, SIZE - 1), st.integers(0, 50), st.booleans()), max_size=14)


def stamp(frame: int, seconds: int = 0) -> Stamp:
    return Stamp(frame, seconds * 1_000_000_000 + 1)


def content(offset: int, size: int, *, lies: bool = False) -> bytes:
    """What a segment holds. What comes before the beginning does not matter."""
    return bytes(at % 128 + 128 * lies for at in range(offset, min(offset + size, SIZE)))


class Model:
    """Who said which byte first."""

    def __init__(self) -> None:
        self.said: dict[int, int] = {}

    def feed(self, offset: int, data: bytes) -> None:
        for at, value in enumerate(data, offset):
            self.said.setdefault(at, value)


def laid_out(pieces: list[Piece], at: int = 0) -> tuple[dict[int, int], int]:
    """Return the bytes of the pieces by their offset, and where they end."""
    found: dict[int, int] = {}
    for piece in pieces:
        if isinstance(piece, Data):
            found.update(enumerate(piece.data, at))
            at += len(piece.data)
        else:
            at += piece.size or 0
    return found, at


@settings(max_examples=400, deadline=None, derandomize=True)
@given(starts, segment_lists)
def test_the_first_to_say_a_byte_is_believed_and_nothing_else_is_given(
    start: int, segments: list[tuple[int, int, bool]]
) -> None:
    side, model, pieces = TcpSide(Side.CLIENT, LIMITS), Model(), list[Piece]()
    side.begin_at(start)
    for frame, (offset, size, lies) in enumerate(segments, 1):
        data = content(offset, size, lies=lies)
        model.feed(offset, data)
        pieces += side.feed((start + offset) % WRAP, data, 0, stamp(frame))
        assert not any(isinstance(piece, Gap) for piece in pieces)
    pieces += side.finish()
    found, end = laid_out(pieces)
    assert found == {at: value for at, value in model.said.items() if at >= 0}
    assert side.lost == sum(piece.size or 0 for piece in pieces if isinstance(piece, Gap)) == end - len(found)
    assert all(piece.data if isinstance(piece, Data) else piece.size for piece in pieces)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(starts, segment_lists.filter(lambda segments: len(segments) < LIMITS.first_segments))
def test_without_a_beginning_the_lowest_of_the_first_segments_is_it(
    start: int, segments: list[tuple[int, int, bool]]
) -> None:
    side, model, pieces = TcpSide(Side.CLIENT, LIMITS), Model(), list[Piece]()
    for frame, (offset, size, lies) in enumerate(segments, 1):
        data = content(offset, size, lies=lies)
        model.feed(offset, data)
        pieces += side.feed((start + offset) % WRAP, data, 0, stamp(frame))
    assert pieces == []
    pieces = side.finish()
    if model.said:
        assert isinstance(pieces[0], Gap) and pieces[0].size is None
        assert laid_out(pieces, min(model.said))[0] == model.said
    else:
        assert pieces == []


@settings(max_examples=200, deadline=None, derandomize=True)
@given(segment_lists, st.integers(0, 60), st.integers(1, 4))
def test_no_more_waits_than_the_limits_allow(
    segments: list[tuple[int, int, bool]], hole_bytes: int, hole_segments: int
) -> None:
    limits = replace(LIMITS, hole_bytes=hole_bytes, hole_segments=hole_segments)
    side, model, pieces = TcpSide(Side.CLIENT, limits), Model(), list[Piece]()
    side.begin_at(1_000)
    for frame, (offset, size, lies) in enumerate(segments, 1):
        data = content(offset, size, lies=lies)
        model.feed(offset, data)
        pieces += side.feed(1_000 + offset, data, 0, stamp(frame))
        _, end = laid_out(pieces)
        assert sum(at >= end for at in model.said) <= hole_bytes
    found, _ = laid_out(pieces + side.finish())
    assert found.items() <= model.said.items()


def test_what_is_missing_for_too_long_is_missing() -> None:
    side = TcpSide(Side.SERVER, LIMITS)
    side.begin_at(10)
    assert side.feed(13, b"d", 0, stamp(1)) == []
    assert side.feed(14, b"e", 0, stamp(2, LIMITS.hole_seconds)) == []
    late = stamp(3, LIMITS.hole_seconds + 1)
    assert side.feed(15, b"f", 0, late) == [
        Gap(Side.SERVER, 3, late),
        Data(Side.SERVER, b"d", stamp(1)),
        Data(Side.SERVER, b"e", stamp(2, LIMITS.hole_seconds)),
        Data(Side.SERVER, b"f", late),
    ]


def test_without_times_nothing_is_too_old() -> None:
    side = TcpSide(Side.CLIENT, LIMITS)
    side.begin_at(0)
    assert [side.feed(5 * at, b"x", 0, Stamp(at, None)) for at in range(1, 50)] == [[]] * 49


def test_repeated_segments_fill_no_room() -> None:
    side = TcpSide(Side.CLIENT, replace(LIMITS, hole_bytes=10, hole_segments=2))
    side.begin_at(0)
    for frame in range(100):
        assert side.feed(5, b"abc", 0, stamp(frame)) == []
    assert (
        b"".join(piece.data for piece in side.feed(0, b"01234", 0, stamp(100)) if isinstance(piece, Data))
        == b"01234abc"
    )


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_it_is_finished_when_all_up_to_its_fin_was_read(order: tuple[int, ...]) -> None:
    rows = [(0, b"ab", False), (2, b"cd", True), (4, b"", True)]
    side = TcpSide(Side.CLIENT, LIMITS)
    side.begin_at(WRAP - 2)
    told = []
    for index in order:
        offset, data, fin = rows[index]
        side.feed((WRAP - 2 + offset) % WRAP, data, 0, stamp(index), fin=fin)
        told.append(side.is_finished)
    done = max(order.index(0), order.index(1))
    assert told == [number >= done for number in range(3)]


def test_bytes_that_were_not_captured_are_counted_and_missing() -> None:
    side = TcpSide(Side.CLIENT, LIMITS)
    side.begin_at(0)
    pieces = side.feed(0, b"ab", 3, stamp(1)) + side.feed(5, b"f", 0, stamp(2)) + side.finish()
    assert pieces == [
        Data(Side.CLIENT, b"ab", stamp(1)),
        Gap(Side.CLIENT, 3, stamp(2)),
        Data(Side.CLIENT, b"f", stamp(2)),
    ]
    assert (side.cut_segments, side.lost) == (1, 3)


def test_a_beginning_that_comes_late_puts_what_waits_in_its_place() -> None:
    side = TcpSide(Side.CLIENT, LIMITS)
    assert side.feed(1, b"c", 0, stamp(1)) == []
    side.begin_at(WRAP - 1)
    pieces = side.feed(WRAP - 1, b"abc", 0, stamp(2))
    assert pieces == [Data(Side.CLIENT, b"ab", stamp(2)), Data(Side.CLIENT, b"c", stamp(1))]
    assert (side.has_begun, side.distance(2), side.distance(0)) == (True, 0, -2)
