"""One side of a TLS connection as runs of bytes between gaps, and where we are in its keys."""

from collections import deque
from dataclasses import dataclass, field

from pcap_tools.stream import Data, Gap, Piece, Side, Stamp
from pcap_tools.tls.ciphers import Opener

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA = 20, 21, 22, 23
HEADER = 5
LONGEST_RECORD = (1 << 14) + 2048  # RFC 5246, 6.2.3; TLS 1.3 allows 256
_COMPACT = 1 << 16


def is_header(head: bytes | bytearray) -> bool:
    """May these first bytes (any number, at most 5 are looked at) be those of a record?"""
    if head[:1] and not CHANGE_CIPHER_SPEC <= head[0] <= APPLICATION_DATA + 1:
        return False
    if len(head) > 1 and head[1] != 3:
        return False
    if len(head) > 2 and head[2] > 4:
        return False
    return len(head) < HEADER or 0 < int.from_bytes(head[3:5], "big") <= LONGEST_RECORD


class Run:
    """Bytes without a gap. `gap`: what is missing before them."""

    def __init__(self, gap: Gap | None) -> None:
        self.gap = gap
        self.scanned = 0  # how far, from the current position, no record begins
        self._data = bytearray()
        self._start = 0  # of what is not read yet
        self._behind = 0  # bytes that are not in _data any more
        self._marks: deque[tuple[int, Stamp]] = deque()

    def add(self, data: bytes, stamp: Stamp) -> None:
        self._data += data
        self._marks.append((self._behind + len(self._data), stamp))

    def __len__(self) -> int:
        return len(self._data) - self._start

    def peek(self, at: int, count: int) -> bytes:
        """Return up to `count` bytes, `at` bytes ahead."""
        return bytes(self._data[self._start + at : self._start + at + count])

    def find(self, pattern: bytes, at: int) -> int:
        """Return how far ahead `pattern` is, from `at` on; -1: it is not there."""
        found = self._data.find(pattern, self._start + at)
        return found - self._start if found >= 0 else -1

    def skip(self, count: int) -> Stamp:
        """Go on behind `count` bytes; return the packet that completed them."""
        self._start += count
        self.scanned = 0
        end = self._behind + self._start
        while len(self._marks) > 1 and self._marks[0][0] < end:
            self._marks.popleft()
        stamp = self._marks[0][1] if self._marks else Stamp(0, None)
        if self._start > _COMPACT:
            del self._data[: self._start]
            self._behind, self._start = self._behind + self._start, 0
        return stamp


@dataclass(slots=True)
class Epoch:
    """Records under one key, counted from 0."""

    name: str
    opener: Opener


@dataclass(slots=True)
class Half:
    """One side: its bytes, and where we are."""

    side: Side
    runs: deque[Run] = field(default_factory=deque)
    in_sync: bool = True  # does the next record begin at the next byte?
    was_in_sync: bool = False  # was any record read?
    is_encrypted: bool = False
    handshake: bytearray = field(default_factory=bytearray)  # the beginning of a message that goes on
    epochs: list[Epoch] = field(default_factory=list)
    epoch: int = 0
    sequence: int = 0  # of the next record in this epoch
    failed: int = 0  # records since the last that opened
    opened: int = 0
    application_records: int = 0  # opened or not
    recovered: int = 0  # times that records were found again after a gap
    lost: int = 0  # bytes
    first_loss: Stamp | None = None
    last_loss: Stamp | None = None
    gap_is_due: bool = False  # plaintext was lost since the last that was given
    has_given_up: bool = False

    def feed(self, piece: Piece) -> None:
        if isinstance(piece, Gap):
            self.runs.append(Run(piece))
            return
        if not self.runs:
            self.runs.append(Run(None))
        self.runs[-1].add(piece.data, piece.stamp)

    @property
    def held(self) -> int:
        return sum(map(len, self.runs))

    def lose(self, count: int, stamp: Stamp) -> None:
        """Count bytes that were not read, and see to it that a Gap is given."""
        self.gap_is_due = True
        if count:
            self.lost += count
            self.first_loss = self.first_loss or stamp
            self.last_loss = stamp

    def drop(self) -> None:
        """Forget all that is held: it cannot be read."""
        for run in self.runs:
            count = len(run)
            self.lose(count + (run.gap.size or 0 if run.gap else 0), run.skip(count))
        self.runs.clear()
        self.in_sync = False

    def give(self, data: bytes, stamp: Stamp) -> list[Piece]:
        """Return plaintext, behind the Gap that is due."""
        pieces: list[Piece] = []
        if self.gap_is_due:
            self.gap_is_due = False
            pieces.append(Gap(self.side, None, stamp))
        if data:
            pieces.append(Data(self.side, data, stamp))
        return pieces
