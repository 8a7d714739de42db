"""Builds the pieces of a connection, and reads them back, for the tests of the HTTP layer."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from hypothesis import strategies as st

from pcap_tools.http.connection import HttpConnection
from pcap_tools.http.draft import keep_all, keep_none
from pcap_tools.http.limits import DEFAULT_HTTP_LIMITS, HttpLimits
from pcap_tools.http.message import HttpMessage
from pcap_tools.stream import Data, Gap, Piece, Side, Stamp

C, S = Side.CLIENT, Side.SERVER


def stamp(frame: int) -> Stamp:
    return Stamp(frame, frame * 1_000_000)


def talk(*turns: tuple[Side, bytes]) -> list[Data]:
    """Return one piece for each turn, one packet each."""
    return [Data(side, data, stamp(frame)) for frame, (side, data) in enumerate(turns, start=1)]


def gap(side: Side, frame: int, size: int | None = None) -> Gap:
    return Gap(side, size, stamp(frame))


def read(
    pieces: Iterable[Piece],
    limits: HttpLimits = DEFAULT_HTTP_LIMITS,
    alpn: str | None = None,
    keep_responses: bool = True,
) -> tuple[list[HttpMessage], HttpConnection]:
    """Return what a connection gives for `pieces`, and the connection."""
    connection = HttpConnection(limits, alpn=alpn, keeps=keep_all if keep_responses else keep_none)
    messages = [message for piece in pieces for message in connection.feed(piece)]
    return messages + connection.finish(), connection


def dropped(pieces: Sequence[Data], index: int, known_size: bool) -> list[Piece]:
    """Return `pieces` as they look when packet `index` was not captured; the next one of its side shows it."""
    lost, result, pending = pieces[index], list[Piece](pieces[:index]), True
    for piece in pieces[index + 1 :]:
        if pending and piece.side is lost.side:
            result.append(Gap(lost.side, len(lost.data) if known_size else None, piece.stamp))
            pending = False
        result.append(piece)
    if pending:
        result.append(Gap(lost.side, len(lost.data) if known_size else None, pieces[-1].stamp))
    return result


@st.composite
def other_deliveries(draw: st.DrawFn, pieces: Sequence[Data]) -> list[Piece]:
    """The same bytes with the same stamps, each piece cut anywhere, and the sides mixed in another way."""
    sides: list[list[Piece]] = [[], []]
    for piece in pieces:
        cuts = sorted(draw(st.sets(st.integers(0, len(piece.data)), max_size=4)))
        for start, end in zip([0, *cuts], [*cuts, len(piece.data)], strict=True):
            sides[piece.side].append(replace(piece, data=piece.data[start:end]))
    order = draw(st.permutations([*(0 for _ in sides[0]), *(1 for _ in sides[1])]))
    queues = [iter(side) for side in sides]
    return [next(queues[side]) for side in order]
