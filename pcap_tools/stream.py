"""What the layers of the capture engine hand to each other: bytes of one connection, and what is missing of them.

TCP, TLS and HTTP all take pieces and give what they make of them: `feed(piece)` for each piece in order,
`finish()` once at the end. The two sides of a connection are independent streams, so the pieces of one side
are in order, and nothing is promised between the sides.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple


class Side(IntEnum):
    """Who sent it."""

    CLIENT = 0
    SERVER = 1

    @property
    def other(self) -> "Side":
        return Side(1 - self)


class Stamp(NamedTuple):
    """Which packet of the capture it was, and when."""

    frame: int  # Wireshark's frame.number: 1-based, over the whole file
    time_ns: int | None  # since 1970 UTC by the capturing clock; None: the packet has no time


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes that follow directly on what came before them on this side."""

    side: Side
    data: bytes
    stamp: Stamp  # of the packet that completed them


@dataclass(frozen=True, slots=True)
class Gap:
    """Bytes are missing here. The next piece of this side begins after them, anywhere in a record or message."""

    side: Side
    size: int | None  # bytes; None: not known (the capture began in mid-stream, plaintext of lost records)
    stamp: Stamp  # of the packet that showed it


Piece = Data | Gap
