"""Numbers the TCP conversations of a file as Wireshark does: `tcp.stream`.

Wireshark counts the conversations of the file that is open, from 0, in the order of their first packets, whatever
they are; a SYN between known ends begins another one if it has another sequence number (observed with tshark 4.0).
So every TCP packet has its say here, but only the first of a conversation and those with SYN are looked at one by
one: the rest is known by a hash of its ends, for all packets of a chunk at once.

Not counted, though Wireshark does: TCP in tunnels that `packets` does not open, and TCP that stands in an ICMP
error and nowhere else. The numbers behind such a packet are too low.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from pcap_tools.capture.batch import Positions
from pcap_tools.capture.packets import ACK, SYN, Segment
from pcap_tools.capture.sift import Sifted, hash_end

_CACHE_BITS = 16  # of a table of flows that are known: a chunk holds at most some 30,000
_UNKNOWN = -1


class _Event(NamedTuple):
    """A packet that may begin a conversation."""

    frame: int
    key: int  # hash of both ends
    is_from_low: bool  # from the end whose hash is the lower
    flags: int
    sequence: int
    acknowledged: int


class StreamNumbers:
    """The numbers of one file's conversations. Once there are `most`, no later packet's is known."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._latest: dict[int, int] = {}  # by hash of both ends
        self._earlier: dict[int, list[tuple[int, int]]] = {}  # of ends that were used again: first frame, number
        self._bases = (array("q"), array("q"))  # by number: first sequence number of the higher and the lower end
        self._count = 0
        self._is_full, self._last = False, 0  # and behind which frame nothing is known then
        self._cache = np.zeros(1 << _CACHE_BITS, np.uint64)

    def take(self, chunk: Iterable[Sifted], dissected: Mapping[int, object]) -> None:
        """Take all packets of a chunk. `dissected`, by frame: what was found in those that the sift could not read."""
        if self._count >= self._most:
            self._is_full = True
            return
        events: list[_Event] = []
        for sifted in chunk:
            events += self._events(sifted)
            others = (dissected[frame] for frame in sifted.batch.frames[sifted.others].tolist())
            events += (_event_of(packet) for packet in others if isinstance(packet, Segment))
            self._last = max(self._last, int(sifted.batch.frames[-1]))
        for event in sorted(events, key=itemgetter(0)):
            self._see(event)

    def number(self, one: tuple[bytes, int], other: tuple[bytes, int], frame: int) -> int | None:
        """Return the number of the conversation between two ends to which a frame belongs; None if it is not known."""
        if self._is_full and frame > self._last:
            return None
        key = (hash_end(*one) + hash_end(*other)) & _MASK
        past = self._earlier.get(key)
        if past is None:
            return self._latest.get(key)
        return past[max(0, bisect_right(past, frame, key=itemgetter(0)) - 1)][1]

    def _events(self, sifted: Sifted) -> Iterable[_Event]:
        keys = sifted.source_ends + sifted.target_ends
        slots = (keys >> np.uint64(64 - _CACHE_BITS)).astype(np.intp)
        fresh = np.flatnonzero(self._cache[slots] != keys)
        first: Positions = fresh[np.unique(keys[fresh], return_index=True)[1]]
        marked = np.flatnonzero(sifted.headers["flags"] & SYN)
        self._cache[slots[first]] = keys[first]
        at = np.union1d(first, marked)
        headers = sifted.headers[at]
        return map(
            _Event._make,
            zip(
                sifted.batch.frames[sifted.tcp[at]].tolist(),
                keys[at].tolist(),
                (sifted.source_ends[at] < sifted.target_ends[at]).tolist(),
                headers["flags"].tolist(),
                headers["sequence"].tolist(),
                headers["acknowledged"].tolist(),
                strict=True,
            ),
        )

    def _see(self, event: _Event) -> None:
        number = self._latest.get(event.key)
        if number is None or self._restarts(event, number):
            self._begin(event, number)

    def _restarts(self, event: _Event, number: int) -> bool:
        if event.flags & (SYN | ACK) != SYN:
            return False
        base = self._bases[event.is_from_low][number]
        return base not in (_UNKNOWN, event.sequence)

    def _begin(self, event: _Event, before: int | None) -> None:
        """Count one more conversation; `before`: that of the same ends before it."""
        number = self._count
        self._count += 1
        if before is not None:
            self._earlier.setdefault(event.key, [(0, before)]).append((event.frame, number))
        self._latest[event.key] = number
        is_syn, is_ack = bool(event.flags & SYN), bool(event.flags & ACK)
        self._bases[event.is_from_low].append((event.sequence - (not is_syn)) & 0xFFFFFFFF)
        self._bases[not event.is_from_low].append((event.acknowledged - 1) & 0xFFFFFFFF if is_ack else _UNKNOWN)


_MASK = (1 << 64) - 1


def _event_of(segment: Segment) -> _Event:
    source = hash_end(segment.source, segment.source_port)
    target = hash_end(segment.target, segment.target_port)
    key = (source + target) & _MASK
    return _Event(segment.stamp.frame, key, source < target, segment.flags, segment.sequence, segment.acknowledged)
