"""Reads the input of a fuzz target as a script: who says what, in which pieces, and what is missing.

One step is a byte of flags, two bytes of size, and for most kinds that many bytes. Any bytes are a script, and
a script holds all that a target needs, so that a saved input can be run again anywhere.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from pcap_tools.stream import Data, Gap, Piece, Side, Stamp

_STEP_NS = 1_000_000


class Kind(IntEnum):
    DATA = 0
    GAP = 1  # of known size
    UNKNOWN_GAP = 2
    KEYS = 3  # lines of a key log
    SEALED = 4  # what a TLS record holds, which the target seals
    SMALL = 5  # data that comes in pieces of a few bytes


@dataclass(frozen=True, slots=True)
class Step:
    kind: Kind
    side: Side
    option: int  # 0 to 15, for the target
    size: int
    data: bytes
    stamp: Stamp

    @property
    def pieces(self) -> list[Piece]:
        """What a layer of the engine is fed with."""
        match self.kind:
            case Kind.GAP:
                return [Gap(self.side, self.size, self.stamp)]
            case Kind.UNKNOWN_GAP:
                return [Gap(self.side, None, self.stamp)]
            case Kind.SMALL:
                size = self.option + 1
                starts = range(0, len(self.data), size)
                return [Data(self.side, self.data[start : start + size], self.stamp) for start in starts]
        return [Data(self.side, self.data, self.stamp)] if self.data else []


def steps(script: bytes) -> Iterator[Step]:
    """Yield the steps of a script, one packet each."""
    at = frame = 0
    while at + 3 <= len(script):
        flags, size = struct.unpack_from(">BH", script, at)
        at, frame = at + 3, frame + 1
        kind = Kind((flags >> 5) % len(Kind))
        has_data = kind not in (Kind.GAP, Kind.UNKNOWN_GAP)
        data = script[at : at + size] if has_data else b""
        at += len(data)
        yield Step(kind, Side(flags & 1), flags >> 1 & 15, size, data, Stamp(frame, frame * _STEP_NS))


def step(kind: Kind, side: Side, data: bytes, option: int = 0) -> bytes:
    """Return a step as it stands in a script."""
    data = data[:0xFFFF]
    return struct.pack(">BH", kind << 5 | option << 1 | side, len(data)) + data


def gap(piece: Gap) -> bytes:
    kind = Kind.UNKNOWN_GAP if piece.size is None else Kind.GAP
    return struct.pack(">BH", kind << 5 | piece.side, min(piece.size or 0, 0xFFFF))


def script_of(pieces: Iterable[Piece]) -> bytes:
    """Return the script that feeds these pieces."""
    return b"".join(gap(one) if isinstance(one, Gap) else step(Kind.DATA, one.side, one.data) for one in pieces)
