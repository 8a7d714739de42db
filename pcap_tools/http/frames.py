"""Cuts one side of an HTTP/2 connection into frames (RFC 9113, section 4), and finds them again after a loss.

- A gap of known size inside one frame costs that frame only; after any other gap a chain of plausible frame
  headers is looked for: three of them, or any number that fills a piece or ends with one;
- a frame larger than the limit is passed over;
- a plausible frame has a type of RFC 9113 (or PRIORITY_UPDATE, RFC 9218), flags, a stream and a length
  that fit the type. Chrome also sends types without a meaning; they end a chain, but are no fault.
"""

import re
from dataclasses import dataclass
from enum import IntEnum

from pcap_tools.http.inbox import Inbox
from pcap_tools.http.limits import HttpLimits
from pcap_tools.stream import Side, Stamp

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # RFC 9113, 3.4
_HEADER = 9  # bytes
_USUAL_LENGTH = 1 << 14  # of a frame, unless the peer allows more (RFC 9113, 4.2)
_CHAIN = 3  # frames that follow each other: by chance once in about 10^20 places
_ODD = b"[" + b"".join(re.escape(bytes([number])) for number in range(1, 256, 2)) + b"]"
# Where a frame header may stand: length below 2^16, flags and stream id (below 2^24) as the type has them.
_CANDIDATE = re.compile(
    rb"(?=\x00..[\x00-\x03\x05\x09][\x00\x01\x04\x05\x08\x09\x0c\x0d\x20-\x2d]\x00.."
    + _ODD
    + rb"|\x00\x00\x04\x08\x00\x00|\x00..[\x04\x06\x07\x10][\x00\x01]\x00\x00\x00\x00)",
    re.DOTALL,
)


class FrameType(IntEnum):
    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9
    PRIORITY_UPDATE = 16


END_STREAM, END_HEADERS, PADDED, WITH_PRIORITY = 0x01, 0x04, 0x08, 0x20

_FLAGS = {
    FrameType.DATA: END_STREAM | PADDED,
    FrameType.HEADERS: END_STREAM | END_HEADERS | PADDED | WITH_PRIORITY,
    FrameType.SETTINGS: 0x01,
    FrameType.PUSH_PROMISE: END_HEADERS | PADDED,
    FrameType.PING: 0x01,
    FrameType.CONTINUATION: END_HEADERS,
}
_KNOWN = frozenset(FrameType)
_SIZES = {FrameType.PRIORITY: 5, FrameType.RST_STREAM: 4, FrameType.PING: 8, FrameType.WINDOW_UPDATE: 4}
_OF_CONNECTION = (FrameType.SETTINGS, FrameType.PING, FrameType.GOAWAY, FrameType.PRIORITY_UPDATE)


@dataclass(frozen=True, slots=True)
class FrameHeader:
    length: int
    type: int
    flags: int
    stream: int


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame. `payload` is None where not all of it is there."""

    header: FrameHeader
    payload: bytes | None
    first: Stamp
    last: Stamp


class Lost:
    """Frames are missing here, nobody knows which."""


class FrameReader:
    """Gives the frames of one side in their order."""

    def __init__(self, inbox: Inbox, limits: HttpLimits) -> None:
        self._inbox, self._limits = inbox, limits
        self._synced = not inbox.crossed
        self._says_lost = inbox.crossed
        self._preface = inbox.side is Side.CLIENT and not inbox.crossed
        self._broken: FrameHeader | None = None  # of which `_left` bytes are to be passed over
        self._left = 0
        self._first = inbox.last
        self._look_from = 0  # bytes held when it is worth searching again

    def next_frame(self) -> Frame | Lost | None:
        """Return the next frame, Lost once for each loss, or None until more has come."""
        while not self._says_lost:
            if self._broken is not None:
                frame = self._pass_over(self._broken)
            elif not self._synced:
                frame = None
                if self._search():
                    continue
            else:
                frame = self._whole() if self._is_past_preface() else None
            if frame is not None:
                return frame
            if not self._step() and not self._says_lost:
                return None
        self._says_lost = False
        return Lost()

    def _step(self) -> bool:
        """Is there something to go on with, behind a gap or in a frame that is passed over?"""
        if self._broken is not None and self._inbox.data:
            return True
        gap = self._inbox.gap
        if gap is None:
            return False
        size = gap.size
        if self._broken is None and self._synced and size is not None and (header := self._header(0)) is not None:
            self._break(header)
            self._left -= min(self._left, len(self._inbox.data))
        if self._broken is not None and size is not None and size <= self._left:
            self._left -= size
        else:
            self._lose()
        self._inbox.cross()
        return True

    def _lose(self) -> None:
        self._broken, self._synced, self._preface = None, False, False
        self._look_from = 0
        self._says_lost = True

    def _is_past_preface(self) -> bool:
        """Step over the client's preface; without it, nobody knows where frames begin."""
        data = self._inbox.data
        if self._preface and data.startswith(PREFACE):
            self._inbox.take(len(PREFACE))
            self._preface = False
        elif self._preface and not PREFACE.startswith(data):
            self._lose()
        return not self._preface and self._synced

    def _header(self, offset: int) -> FrameHeader | None:
        return read_header(self._inbox.data, offset)

    def _whole(self) -> Frame | None:
        """Return the frame at hand if all of it is there."""
        header = self._header(0)
        if header is None:
            return None
        if header.length > self._limits.frame:
            self._break(header)
            return self._pass_over(header)
        if len(self._inbox.data) < _HEADER + header.length:
            return None
        first = self._inbox.stamp
        payload = self._inbox.take(_HEADER + header.length)[_HEADER:]
        return Frame(header, payload, first, self._inbox.last)

    def _break(self, header: FrameHeader) -> None:
        """The frame at hand will not be kept."""
        self._first = self._inbox.stamp
        self._inbox.take(_HEADER)
        self._broken, self._left = header, header.length

    def _pass_over(self, header: FrameHeader) -> Frame | None:
        size = min(self._left, len(self._inbox.data))
        self._inbox.skip(size)
        self._left -= size
        if self._left:
            return None
        self._broken = None
        return Frame(header, None, self._first, self._inbox.last)

    def _search(self) -> bool:
        """Move to the next plausible chain of frames, or to where one may begin; False: none is there yet."""
        is_last = self._inbox.ended or self._inbox.gap is not None
        if len(self._inbox.data) < self._look_from and not is_last:
            return False
        start, self._synced = find_chain(self._inbox, is_last=is_last)
        self._inbox.skip(start)
        held = len(self._inbox.data)
        self._look_from = 0 if self._synced else held + held // 64  # each look costs all bytes
        return self._synced


def read_header(data: bytes | bytearray, offset: int) -> FrameHeader | None:
    """Return the frame header at `offset`; None if it is not all there."""
    raw = data[offset : offset + _HEADER]
    if len(raw) < _HEADER:
        return None
    stream = int.from_bytes(raw[5:9], "big") & 0x7FFF_FFFF
    return FrameHeader(int.from_bytes(raw[:3], "big"), raw[3], raw[4], stream)


def find_chain(inbox: Inbox, *, is_last: bool) -> tuple[int, bool]:
    """Return the offset of the first plausible chain of frames, and True; or of where one may begin, and False.

    `is_last`: nothing follows directly on what is there.
    """
    data, starts, ends = inbox.data, set(inbox.starts()), set(inbox.ends())
    for found in _CANDIDATE.finditer(data):
        offset = found.start()
        verdict = _judge(data, offset, offset in starts, ends)
        if verdict is None and is_last:
            verdict = offset in starts and _count(data, offset) > 1
        if verdict is None:
            return offset, False
        if verdict:
            return offset, True
    return max(0, len(data) - _HEADER + 1), False


def _judge(data: bytearray, offset: int, is_start: bool, ends: set[int]) -> bool | None:
    """Does a chain of frames begin at `offset`? None: more must come."""
    count = 0
    while count < _CHAIN:
        header = read_header(data, offset)
        if header is None:
            return None
        if not _is_plausible(header):
            return False
        count += 1
        offset += _HEADER + header.length
        if offset in ends and (is_start or count > 1):
            return True
    return True


def _count(data: bytearray, offset: int) -> int:
    """Return how many plausible frame headers follow each other from `offset` on."""
    count = 0
    while (header := read_header(data, offset)) is not None and _is_plausible(header):
        count += 1
        offset += _HEADER + header.length
    return count


def _is_plausible(header: FrameHeader) -> bool:
    """Do type, flags, stream and length fit each other (RFC 9113, section 6)?"""
    if header.type not in _KNOWN:
        return False
    kind = FrameType(header.type)
    if header.flags & ~_FLAGS.get(kind, 0) or header.length > _USUAL_LENGTH:
        return False
    if header.length != _SIZES.get(kind, header.length) or (kind is FrameType.SETTINGS and header.length % 6):
        return False
    if kind is FrameType.HEADERS and header.length == 0:
        return False
    if header.stream == 0:
        return kind in _OF_CONNECTION or kind is FrameType.WINDOW_UPDATE
    return kind not in _OF_CONNECTION and header.stream % 2 == 1  # server push is not used by clients of today
