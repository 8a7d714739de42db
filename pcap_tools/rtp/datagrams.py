"""UDP payloads as positions in a buffer, whether the sift found them or packets were taken apart one by one.

Nothing is copied or looked up before it is asked for: of most payloads only the first bytes are ever read.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from pcap_tools.capture.batch import Batch, Positions
from pcap_tools.capture.packets import Datagram
from pcap_tools.capture.sift import IP, Udp, View, header_layout
from pcap_tools.ends import End

Words = npt.NDArray[np.uint64]
Times = npt.NDArray[np.int64]

_PORTS = header_layout(4, source=(">u2", 0), target=(">u2", 2))
_ROOM = 512  # bytes behind the last payload that may be looked at without a look at the bounds


@dataclass(frozen=True)
class Arrivals(ABC):
    """UDP payloads: where in the buffer each begins and, as far as captured, ends; and its bytes on the wire."""

    buffer: bytearray
    begins: Positions
    ends: Positions
    sizes: Positions

    @cached_property
    def octets(self) -> npt.NDArray[np.uint8]:
        return np.frombuffer(self.buffer, np.uint8)

    @cached_property
    def firsts(self) -> npt.NDArray[np.uint8]:
        """The first byte of each, by which protocols are told apart (RFC 7983); of an empty one it means nothing."""
        return self.octets[self.begins]

    @abstractmethod
    def addresses(self, rows: Positions) -> tuple[Words, Words, Words]:
        """Return 64 bits of each one's source and target address, and both ports in one number."""

    @abstractmethod
    def times(self, rows: Positions) -> Times | None:
        """Return when each was captured, in ns since 1970; None if that is not known."""

    @abstractmethod
    def frames(self, rows: Positions) -> Positions:
        """Return Wireshark's frame number of each."""

    @abstractmethod
    def path(self, row: int) -> tuple[End, End]:
        """Return where the payload comes from and where it goes."""


@dataclass(frozen=True)
class SiftedArrivals(Arrivals):
    """The plain UDP packets of a batch."""

    batch: Batch
    udp: Udp

    @classmethod
    def of(cls, batch: Batch, udp: Udp) -> "SiftedArrivals":
        return cls(batch.buffer, udp.payloads, udp.ends, udp.sizes, batch, udp)

    def addresses(self, rows: Positions) -> tuple[Words, Words, Words]:
        view = View(self.buffer)
        header = view.read(IP, self.udp.ip[rows])
        is_v6 = header["first"] >> 4 == 6
        source, target = (
            np.where(is_v6, header[f"{side}_high"] ^ header[f"{side}_low"], header[side]).astype(np.uint64)
            for side in ("source", "target")
        )
        ports = view.read(_PORTS, self.begins[rows] - 8)
        return source, target, ports["source"].astype(np.uint64) << np.uint64(16) | ports["target"]

    def times(self, rows: Positions) -> Times | None:
        return self.batch.times_ns(self.udp.packets[rows])

    def frames(self, rows: Positions) -> Positions:
        return self.batch.frames[self.udp.packets[rows]]

    def path(self, row: int) -> tuple[End, End]:
        at, payload = self.udp.ip.item(row), self.begins.item(row)
        size = 16 if self.buffer[at] >> 4 == 6 else 4
        first = at + (8 if size == 16 else 12)
        source, target = (bytes(self.buffer[start : start + size]) for start in (first, first + size))
        ports = (int.from_bytes(self.buffer[start : start + 2], "big") for start in (payload - 8, payload - 6))
        return (source, next(ports)), (target, next(ports))


@dataclass(frozen=True)
class SingleArrivals(Arrivals):
    """Datagrams that were taken apart one by one: out of tunnels, fragments, and links that the sift cannot read."""

    datagrams: Sequence[Datagram]

    @classmethod
    def of(cls, datagrams: Sequence[Datagram]) -> "SingleArrivals":
        sizes = np.array([len(datagram.payload) for datagram in datagrams], np.intp)
        ends = np.cumsum(sizes)
        buffer = bytearray().join([*(datagram.payload for datagram in datagrams), bytes(_ROOM)])
        return cls(buffer, ends - sizes, ends, sizes, datagrams)

    def addresses(self, rows: Positions) -> tuple[Words, Words, Words]:
        chosen = [self.datagrams[row] for row in rows.tolist()]
        ports = [one.source_port << 16 | one.target_port for one in chosen]
        found: list[Any] = [[_fold(one.source) for one in chosen], [_fold(one.target) for one in chosen], ports]
        source, target, both = (np.array(column, np.uint64) for column in found)
        return source, target, both

    def times(self, rows: Positions) -> Times | None:
        times = [self.datagrams[row].stamp.time_ns for row in rows.tolist()]
        if None in times:
            return None
        return np.array([min(max(time or 0, -(1 << 62)), 1 << 62) for time in times], np.int64)

    def frames(self, rows: Positions) -> Positions:
        return np.array([self.datagrams[row].stamp.frame for row in rows.tolist()], np.intp)

    def path(self, row: int) -> tuple[End, End]:
        one = self.datagrams[row]
        return (one.source, one.source_port), (one.target, one.target_port)


def _fold(address: bytes) -> int:
    """An address in 64 bits, as `SiftedArrivals.addresses` has it."""
    value = int.from_bytes(address, "big")
    return value >> 64 ^ value & ((1 << 64) - 1)
