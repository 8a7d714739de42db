"""Holds the bytes of one side that nobody has used yet, up to the next gap, with their stamps.

The protocols read from two inboxes at their own pace, and one protocol can take over from another in the
middle (an upgrade, a tunnel): what is left in the inboxes is exactly what the next one has to read.

- `data` ends where a gap begins (`gap`) or where nothing more has come yet; `cross` steps over the gap;
- `ended` says that nothing more will come;
- bytes that are passed over unread are counted in `skipped`.
"""

from collections import deque
from collections.abc import Iterator

from pcap_tools.stream import Data, Gap, Piece, Side, Stamp

_NO_STAMP = Stamp(0, None)


class Inbox:
    """The unread bytes of one side."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.data = bytearray()
        self.gap: Gap | None = None
        self.ended = False
        self.crossed = False  # something is missing before data[0], and no protocol was reading yet
        self.skipped = 0  # bytes
        self.held = 0  # bytes that wait here, also those behind the gap
        self.newest = 0  # frame number of the newest piece
        self.last = _NO_STAMP  # of the byte taken last
        self._base = self._piece = 0  # offsets, in all data of the side, of data[0] and of its piece's first byte
        self._marks: deque[tuple[int, Stamp]] = deque()  # where each piece in `data` ends
        self._later: deque[Piece] = deque()  # what came behind the gap
        self._last_gap = 0  # frame number that showed the newest gap

    def add(self, piece: Piece) -> None:
        """Take the next piece of this side."""
        self.newest = max(self.newest, piece.stamp.frame)
        if isinstance(piece, Data):
            self.held += len(piece.data)
        elif piece.size != 0:
            self._last_gap = max(self._last_gap, piece.stamp.frame)
        self._later.append(piece)
        self._pull()

    def _pull(self) -> None:
        """Move what came later into `data`, up to the next gap."""
        while self._later and self.gap is None:
            piece = self._later.popleft()
            if isinstance(piece, Gap):
                self.gap = piece if piece.size != 0 else None
            elif piece.data:
                self.data += piece.data
                self._marks.append((self._base + len(self.data), piece.stamp))

    def gaps_after(self, frame: int) -> bool:
        """Did a packet after `frame` show a gap?"""
        return self._last_gap > frame

    @property
    def stamp(self) -> Stamp:
        """The stamp of data[0]."""
        return self._marks[0][1] if self._marks else self.last

    def take(self, size: int) -> bytes:
        """Return the first `size` bytes of `data` (fewer, if there are fewer) and remove them."""
        taken = bytes(self.data[:size])
        self._drop(len(taken))
        return taken

    def skip(self, size: int) -> None:
        """Pass over the first `size` bytes of `data`."""
        size = min(size, len(self.data))
        self.skipped += size
        self._drop(size)

    def _drop(self, size: int) -> None:
        del self.data[:size]
        self._base += size
        self.held -= size
        while size and self._marks:
            end, stamp = self._marks[0]
            self.last = stamp
            if end > self._base:
                break
            self._marks.popleft()
            self._piece = end
            if end == self._base:
                break

    def cross(self) -> None:
        """Pass over what is left of `data` and over the gap."""
        self.skip(len(self.data))
        self.gap = None
        self._piece = self._base
        self._pull()

    def pass_over(self) -> None:
        """Pass over everything that is held."""
        while self.gap is not None:
            self.cross()
        self.skip(len(self.data))

    def starts(self) -> Iterator[int]:
        """Yield the offsets in `data` at which pieces begin."""
        if self.data and self._piece == self._base:
            yield 0
        for end, _stamp in self._marks:
            if end - self._base < len(self.data):
                yield end - self._base

    def ends(self) -> Iterator[int]:
        """Yield the offsets in `data` at which pieces end."""
        for end, _stamp in self._marks:
            yield end - self._base

    def drain(self) -> Iterator[Piece]:
        """Yield all that is held as pieces, and hold nothing."""
        while self.held or self.gap is not None or self._later:
            while self._marks:
                stamp, size = self.stamp, self._marks[0][0] - self._base
                yield Data(self.side, self.take(size), stamp)
            if self.gap is None:
                return
            gap = self.gap
            self.cross()
            yield gap
