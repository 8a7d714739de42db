"""Takes one side of an HTTP/1 connection apart into heads and bodies, and finds its place again after a loss.

It leaves the pairing of requests with responses to `http1_pairs`. Rules:

- `Splitter.next_head` gives the next head; `BodyReader` then reads that message's body, as framed;
- a gap of known size inside a body or chunk of known length is stepped over exactly;
- after any other loss the next head is looked for: a request line at the start of a piece or of a line, a
  status line at the start of a piece only. Inside a line's text there is none, and a request that says
  HTTP/1.1 must have a Host (RFC 9112, 3.2): parts of a batch body look like requests, but have none;
- a head of which the first line is there but not the end is given with the fields it has, as `cut`.
"""

import re
from dataclasses import dataclass
from enum import Enum, auto

from pcap_tools.http.draft import Body
from pcap_tools.http.heads import Framing, Head, Kind, head_end, looks_like_start, may_become_start, parse_head
from pcap_tools.http.inbox import Inbox
from pcap_tools.http.limits import HttpLimits
from pcap_tools.stream import Side, Stamp

_LINE_END = re.compile(rb"\n")


@dataclass(frozen=True, slots=True)
class FoundHead:
    """A head and where it stands. `cut`: why its end is not there; then nothing is known of the body."""

    head: Head
    first: Stamp
    last: Stamp
    is_intact: bool  # nothing of this side is missing before it
    after_loss: bool  # something is missing between the message before it and this one
    cut: str | None = None


class Splitter:
    """Finds the heads of one side."""

    def __init__(self, inbox: Inbox, limits: HttpLimits) -> None:
        self.inbox, self._limits = inbox, limits
        self.is_intact = True  # nothing was lost so far
        self._synced = True
        self._doubtful = False  # the head at hand was found by searching
        self._edge = False  # data[0] may be the start of a line although no piece begins there
        self._lost = False  # since the last head given
        self._scanned = 0  # bytes of `data` known to hold no end of a head
        self._begun = 0  # bytes of `data` known to be the beginning of what may be a first line
        if inbox.crossed:
            self.lose()

    @property
    def searching(self) -> bool:
        """Is the place in the stream not known?"""
        return not self._synced

    def lose(self, *, at_line: bool = False) -> None:
        """What follows is not known to be where a message begins; `at_line`: but it is where a line does."""
        self._synced = self.is_intact = self._doubtful = False
        self._edge = at_line
        self._lost = True
        self._scanned = self._begun = 0

    def next_head(self) -> FoundHead | None:
        """Return the next head, or None until more has come."""
        while self.inbox.data or self.inbox.gap is not None:
            if not self._synced and not self._search():
                if self.inbox.gap is None:
                    return None
                self.inbox.cross()
                self._edge, self._begun = False, 0
                continue
            self._skip_empty_lines()
            end = head_end(self.inbox.data, self._scanned - 2)
            end = end if end is not None and end <= self._limits.head else None
            if end is None and self._is_something_else():
                self._reject()
                continue
            if end is None and len(self.inbox.data) <= self._limits.head:
                self._scanned = len(self.inbox.data)
                if self.inbox.gap is None and not self.inbox.ended:
                    return None
            found = self._whole(end) if end is not None else self._cut()
            if found is not None:
                return found
        return None

    def _skip_empty_lines(self) -> None:
        """Step over empty lines before a message (RFC 9112, 2.2)."""
        data = self.inbox.data
        size = len(data) - len(data.lstrip(b"\r\n"))
        if size:
            self.inbox.take(size)
            self._scanned = 0

    def _is_something_else(self) -> bool:
        """Is a first line there that is none of HTTP/1?"""
        if self._scanned and self.inbox.data.find(b"\n", self._scanned - 1) < 0:
            return False
        end = self.inbox.data.find(b"\n", 0, self._limits.head)
        return end >= 0 and parse_head(self.inbox.side, bytes(self.inbox.data[:end])) is None

    def _reject(self) -> None:
        """Search behind the first line at hand."""
        end = self.inbox.data.find(b"\n")
        self.inbox.skip(end + 1 or len(self.inbox.data))
        self.lose()
        self._edge = end >= 0

    def _whole(self, end: int) -> FoundHead | None:
        first = self.inbox.stamp
        head = parse_head(self.inbox.side, bytes(self.inbox.data[:end]))
        if head is None or not self._is_credible(head):
            self._reject()
            return None
        self.inbox.take(end)
        return self._found(head, first)

    def _cut(self) -> FoundHead | None:
        """Give the head whose end is missing, if its first line is there; search behind it."""
        first, raw = self.inbox.stamp, bytes(self.inbox.data[: self._limits.head])
        lines, newline, _ = raw.rpartition(b"\n")
        head = parse_head(self.inbox.side, lines) if newline else None
        if head is None or not self._is_credible(head):
            self.inbox.skip(len(raw))
            self.lose()
            return None
        self.inbox.take(len(raw))
        found = self._found(head, first, "its head is not all there")
        self.lose()
        return found

    def _is_credible(self, head: Head) -> bool:
        is_request = self.inbox.side is Side.CLIENT
        return not (self._doubtful and is_request and head.version != "HTTP/1.0" and head.get("host") is None)

    def _found(self, head: Head, first: Stamp, cut: str | None = None) -> FoundHead:
        found = FoundHead(head, first, self.inbox.last, self.is_intact, self._lost, cut)
        self._doubtful = self._lost = False
        self._scanned = 0
        return found

    def _search(self) -> bool:
        """Move to the next plausible first line, or to where one may begin; False: none is there yet."""
        data, side = self.inbox.data, self.inbox.side
        if 0 < self._begun <= len(data) <= self._limits.head and data.find(b"\n", self._begun) < 0:
            return False
        unfinished = data.rfind(b"\n") + 1
        for start in self._places():
            if looks_like_start(side, data, start):
                self._settle(start)
                return True
            if start >= unfinished and may_become_start(side, data, start):
                self._edge = True
                self.inbox.skip(start)
                self._begun = len(data)
                return False
        self._begun = 0
        self._edge = side is Side.CLIENT and data.endswith(b"\n")
        self.inbox.skip(len(data))
        return False

    def _places(self) -> list[int]:
        """Return the offsets at which a first line may stand."""
        data, places = self.inbox.data, set(self.inbox.starts())
        if self.inbox.side is Side.CLIENT:
            places.update(end.end() for end in _LINE_END.finditer(data))
        if self._edge:
            places.add(0)
        return sorted(places - {len(data)})

    def _settle(self, start: int) -> None:
        self.inbox.skip(start)
        self._synced = self._doubtful = True
        self._edge = False


class Progress(Enum):
    MORE = auto()  # must come first
    DONE = auto()
    LOST = auto()  # the end of the message is not known


class BodyReader:
    """Moves one body from the inbox into `body`, without its transfer-encoding."""

    def __init__(self, inbox: Inbox, framing: Framing, body: Body, limits: HttpLimits) -> None:
        self._inbox, self._body, self._limits = inbox, body, limits
        self._kind, self._left = framing.kind, framing.length
        self._in_chunk = self._in_trailer = False
        self._lines = 0  # bytes of trailer lines
        if framing.lost is not None:
            body.lose(framing.lost)

    def read(self) -> Progress:
        """Read on as far as possible."""
        match self._kind:
            case Kind.NONE:
                return Progress.DONE
            case Kind.LENGTH:
                return self._pour()
            case Kind.CHUNKED:
                return self._read_chunks()
            case Kind.CLOSE:
                return self._read_to_close()
            case Kind.UNKNOWN:
                return Progress.LOST

    def _pour(self) -> Progress:
        """Move the `_left` bytes of a body or chunk."""
        while self._left:
            if self._inbox.data:
                part = self._inbox.take(self._left)
                self._left -= len(part)
                self._body.add(part)
            elif self._inbox.gap is not None:
                if not self._step_over_gap():
                    return Progress.LOST
            elif self._inbox.ended:
                self._body.lose("its end was not seen")
                return Progress.LOST
            else:
                return Progress.MORE
        return Progress.DONE

    def _step_over_gap(self) -> bool:
        """Step over a gap that ends inside the same body or chunk; False: nobody knows where it ends."""
        size = self._inbox.gap.size if self._inbox.gap else None
        self._body.lose("bytes are missing" if size is None else f"{size:,} bytes are missing")
        if size is None or size > self._left:
            return False
        self._inbox.cross()
        self._left -= size
        return True

    def _read_to_close(self) -> Progress:
        """Move everything that comes: only the end of the connection ends it."""
        while True:
            self._body.add(self._inbox.take(len(self._inbox.data)))
            if self._inbox.gap is None:
                return Progress.DONE if self._inbox.ended else Progress.MORE
            self._body.lose("bytes are missing")
            self._inbox.cross()

    def _read_chunks(self) -> Progress:
        """Move chunk after chunk (RFC 9112, 7.1)."""
        while True:
            if self._in_chunk:
                if (progress := self._pour()) is not Progress.DONE:
                    return progress
                self._in_chunk = False
            line = self._line()
            if isinstance(line, Progress):
                return line
            if self._in_trailer:
                self._lines += len(line)
                if not line.strip() or self._lines > self._limits.head:
                    return Progress.DONE if not line.strip() else self._lose_chunks("trailers too long")
            elif line.strip():  # an empty line ends the chunk before
                size = _chunk_size(line)
                if size is None:
                    return self._lose_chunks("not a chunk size")
                self._left, self._in_chunk, self._in_trailer = size, size > 0, size == 0

    def _line(self) -> bytes | Progress:
        end = self._inbox.data.find(b"\n", 0, self._limits.chunk_line)
        if end >= 0:
            return self._inbox.take(end + 1)
        if len(self._inbox.data) >= self._limits.chunk_line:
            return self._lose_chunks("not a chunk size")
        if self._inbox.gap is not None or self._inbox.ended:
            return self._lose_chunks("bytes are missing" if self._inbox.gap else "its end was not seen")
        return Progress.MORE

    def _lose_chunks(self, reason: str) -> Progress:
        self._body.lose(reason)
        return Progress.LOST


def _chunk_size(line: bytes) -> int | None:
    """Return the size in a chunk's first line; extensions are passed over (7.1.1)."""
    digits = line.partition(b";")[0].strip()
    try:
        return int(digits, 16) if digits.isalnum() and len(digits) <= 16 else None
    except ValueError:
        return None
