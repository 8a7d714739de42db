"""Puts the segments of one side of a TCP connection in order, and says what is missing.

Takes segments as they were captured: late, twice, overlapping, across the wrap of the sequence number, as
64 KiB of segmentation offload. The first to say a byte is believed. A hole is waited for until what waits
behind it is more than the limit, or older; then it is a Gap, and the stream goes on behind it.
"""

from bisect import bisect_left

from pcap_tools.limits import ReadLimits
from pcap_tools.stream import Data, Gap, Piece, Side, Stamp

_WRAP = 1 << 32


class TcpSide:
    """One direction of a connection. Where it begins is told by `begin_at`, or else found out."""

    def __init__(self, side: Side, limits: ReadLimits) -> None:
        self.side, self._limits = side, limits
        self.is_finished = False  # its FIN was reached
        self.cut_segments = 0  # of which not all bytes were captured
        self.lost = 0  # bytes
        self._first: int | None = None  # sequence number of the stream's first byte, if that is known
        self._next: int | None = None  # position of the next byte; its low 32 bits are the sequence number
        self._waiting: list[tuple[int, int, bytes, Stamp]] = []  # (position, ordinal, bytes, stamp), sorted and apart
        self._waiting_bytes = self._ordinal = 0
        self._fin_at: int | None = None

    @property
    def has_begun(self) -> bool:
        return self._next is not None

    def begin_at(self, sequence: int) -> None:
        """The first byte of the stream has this sequence number."""
        if self._next is None:
            self._first, self._next = sequence, _WRAP + sequence
            self._waiting = [(self._position(at), *rest) for at, *rest in self._waiting]  # type: ignore[misc]
            self._waiting.sort()

    def began_at(self, sequence: int) -> bool:
        """Is this the sequence number of the stream's first byte?"""
        return self._first == sequence & (_WRAP - 1)

    def distance(self, sequence: int) -> int:
        """Return how many bytes after the next expected one `sequence` is; negative: before."""
        return self._position(sequence) - self._next if self._next is not None else 0

    def feed(self, sequence: int, payload: bytes, cut: int, stamp: Stamp, *, fin: bool = False) -> list[Piece]:
        """Take one segment; return what can now be read on."""
        self.cut_segments += bool(cut)
        position = self._position(sequence)
        if fin:
            self._fin_at = position + len(payload) + cut
        if payload and not self._waiting and position == self._next:  # nearly always
            self._next = position + len(payload)
            pieces: list[Piece] = [Data(self.side, payload, stamp)]
        else:
            if payload:
                self._ordinal += 1
                self._keep(position, payload, stamp)
            pieces = self._ready(stamp)
        self.is_finished = self._fin_at is not None and self._next is not None and self._next >= self._fin_at
        return pieces

    def finish(self) -> list[Piece]:
        """Return what is left, with the gaps that nothing will fill any more."""
        pieces = self._contiguous()
        while self._waiting:
            pieces += self._skip(self._waiting[0][3])
        return pieces

    def _position(self, sequence: int) -> int:
        """The position nearest to the next expected one that has this sequence number."""
        if self._next is None:
            if not self._waiting:
                return _WRAP + sequence
            near = self._waiting[0][0]
        else:
            near = self._next
        return near + ((sequence - near + _WRAP // 2) % _WRAP) - _WRAP // 2

    def _keep(self, position: int, payload: bytes, stamp: Stamp) -> None:
        """Let those bytes wait that nobody said before."""
        if self._next is not None and position < self._next:
            position, payload = self._next, payload[self._next - position :]
        at = bisect_left(self._waiting, (position,))  # the first that begins here or later
        if at:
            before, _, known, _ = self._waiting[at - 1]
            known_here = max(0, before + len(known) - position)
            position, payload = position + known_here, payload[known_here:]
        while payload:
            after, _, known, _ = (
                self._waiting[at] if at < len(self._waiting) else (position + len(payload), 0, b"", stamp)
            )
            fresh = payload[: after - position]
            if fresh:
                self._waiting.insert(at, (position, self._ordinal, fresh, stamp))
                self._waiting_bytes += len(fresh)
                at += 1
            payload, position, at = payload[after + len(known) - position :], after + len(known), at + 1

    def _ready(self, stamp: Stamp) -> list[Piece]:
        pieces = self._contiguous()
        while self._waiting and self._is_too_much(stamp):
            pieces += self._skip(stamp)
        return pieces

    def _contiguous(self) -> list[Piece]:
        """Return what follows directly on what was read, without what was read before."""
        pieces: list[Piece] = []
        if self._next is None:
            return pieces
        count = 0
        for position, _, payload, stamp in self._waiting:
            if position > self._next:
                break
            count += 1
            self._waiting_bytes -= len(payload)
            fresh = payload[self._next - position :]
            if fresh:
                self._next += len(fresh)
                pieces.append(Data(self.side, fresh, stamp))
        del self._waiting[:count]
        return pieces

    def _is_too_much(self, stamp: Stamp) -> bool:
        """Has what waits behind a hole grown too large, too many, or too old?"""
        limits, since = self._limits, self._waiting[0][3].time_ns
        if self._next is None:  # nothing was read yet: who is first is known soon
            return self._ordinal >= limits.first_segments
        if self._waiting_bytes > limits.hole_bytes or len(self._waiting) > limits.hole_segments:
            return True
        return bool(since and stamp.time_ns and stamp.time_ns - since > limits.hole_seconds * 1_000_000_000)

    def _skip(self, stamp: Stamp) -> list[Piece]:
        """Go on behind the hole."""
        position = self._waiting[0][0]
        size = None if self._next is None else position - self._next
        self._next = position
        self.lost += size or 0
        return [Gap(self.side, size, stamp), *self._contiguous()]
