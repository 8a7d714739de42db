"""Packets of a capture as positions in a buffer: what the walk over a file gives, and the sift takes."""

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Positions = npt.NDArray[np.intp]

_SECOND = 10**9  # ns
_FAR = 1 << 62  # ns; the year 2116


@dataclass(frozen=True, slots=True)
class Interface:
    """What a section says of an interface. Times are ticks since 1970 plus `offset_s` seconds."""

    link_type: int
    snap: int
    ticks_per_second: int = 1_000_000
    offset_s: int = 0


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a packet's record holds what; bytes from the start of the record, None: it does not."""

    data: int
    captured: int
    original: int
    time: int | None  # pcap: seconds, fraction; pcapng: upper, lower half
    interface: int | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Packets of one interface in one chunk of a file. Valid until the second next chunk is asked for."""

    buffer: bytearray
    heads: Positions  # where in the buffer each record begins
    captured: Positions  # bytes captured of each packet
    frames: Positions  # Wireshark's frame.number of each
    layout: Layout
    interface: Interface
    order: str

    def time_ns(self, index: int) -> int | None:
        """Return when packet `index` was captured, in ns since 1970; None if its record has no time."""
        if self.layout.time is None:
            return None
        high, low = struct.unpack_from(self.order + "II", self.buffer, self.heads.item(index) + self.layout.time)
        ticks = self.interface.ticks_per_second
        if self.layout.interface is None:  # pcap
            return int(high * 1_000_000_000 + low * 1_000_000_000 // ticks)
        return int((high << 32 | low) * 1_000_000_000 // ticks + self.interface.offset_s * 1_000_000_000)

    def times_ns(self, at: Positions) -> npt.NDArray[np.int64] | None:
        """Return the same of many packets at once; None if their records have no time. What no clock shows may wrap."""
        if self.layout.time is None:
            return None
        ticks = self.interface.ticks_per_second
        if ticks > _SECOND or self.interface.offset_s:  # rare, and beyond 64 bits
            times = (self.time_ns(index) or 0 for index in at.tolist())
            return np.array([max(-_FAR, min(time, _FAR)) for time in times], np.int64)
        words = np.ndarray((len(self.buffer) - 7,), "V8", self.buffer, 0, (1,))[self.heads[at] + self.layout.time]
        high, low = words.view(self.order + "u4").reshape(-1, 2).astype(np.uint64).T
        second, per_second = np.uint64(_SECOND), np.uint64(ticks)
        if self.layout.interface is None:  # pcap
            return (high * second + low * second // per_second).astype(np.int64)
        seconds, rest = np.divmod(high << np.uint64(32) | low, per_second)
        return (seconds * second + rest * second // per_second).astype(np.int64)

    def packet(self, index: int) -> tuple[bytes, int]:
        """Return the captured bytes of packet `index`, and how many it had on the wire."""
        head = self.heads.item(index)
        start = head + self.layout.data
        (original,) = struct.unpack_from(self.order + "I", self.buffer, head + self.layout.original)
        return bytes(self.buffer[start : start + self.captured.item(index)]), original
