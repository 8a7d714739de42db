"""Reads the messages of both sides of a websocket (RFC 6455), also compressed ones (RFC 7692).

The two sides are independent; a message is given when its last frame is there. Rules:

- fragments are joined, masks removed, control frames passed over;
- one inflater per side serves every setting: with "no context takeover" a message only refers to itself,
  and a larger window than agreed does no harm;
- a gap of known size inside a frame costs that message; after any other gap frames are looked for at the
  start of a piece, as a chain that ends with a piece. A gap also loses the compression state, unless the
  side keeps none between messages: later compressed messages then are known, but not readable.
"""

import zlib
from dataclasses import dataclass

from pcap_tools.http.account import Account
from pcap_tools.http.draft import Draft
from pcap_tools.http.heads import Head
from pcap_tools.http.inbox import Inbox
from pcap_tools.http.limits import HttpLimits
from pcap_tools.http.message import HttpMessage, Protocol
from pcap_tools.stream import Side, Stamp

_TEXT, _BINARY, _CLOSE = 1, 2, 8
_FIN, _COMPRESSED, _RESERVED = 0x80, 0x40, 0x30
_TAIL = b"\x00\x00\xff\xff"  # taken off by the sender (RFC 7692, 7.2.1)
_STEP = 64 << 10  # bytes inflated at once


@dataclass(frozen=True, slots=True)
class _FrameHead:
    size: int  # bytes of the head itself
    first: int  # its first byte
    mask: bytes
    length: int

    @property
    def opcode(self) -> int:
        return self.first & 0x0F


class Inflater:
    """Removes the compression of one side's messages, one after the other."""

    def __init__(self, limits: HttpLimits, keeps_state: bool) -> None:
        self._limits, self._keeps_state = limits, keeps_state
        self._zlib = zlib.decompressobj(-15)
        self._is_lost = False

    def lose(self) -> None:
        """Data is missing here."""
        self._is_lost = self._keeps_state
        self._zlib = zlib.decompressobj(-15)

    def inflate(self, data: bytes) -> bytes | None:
        """Return a message, at most one byte more of it than the limit; None: it cannot be read."""
        if self._is_lost:
            return None
        kept, total, rest = bytearray(), 0, data + _TAIL
        try:
            while rest:
                part = self._zlib.decompress(rest, _STEP)
                total += len(part)
                kept += part[: self._limits.body + 1 - len(kept)]
                rest = self._zlib.unconsumed_tail
                if self._zlib.eof:  # a last block: the next one begins a new stream (RFC 7692, 7.2.3.4)
                    rest, self._zlib = b"", zlib.decompressobj(-15)
                if total > self._limits.inflated:
                    self.lose()
                    return bytes(kept)
        except zlib.error:
            self.lose()
            return None
        return bytes(kept)


class _Reader:
    """The messages of one side."""

    def __init__(
        self,
        inbox: Inbox,
        limits: HttpLimits,
        request: Draft,
        inflater: Inflater,
        account: Account,
        is_synced: bool,
    ) -> None:
        self._inbox, self._limits, self._request, self._account = inbox, limits, request, account
        self._inflater = inflater
        self._synced = is_synced
        self._closed = False
        self._look_from = 0  # bytes held when it is worth searching again
        self._frame: _FrameHead | None = None
        self._left = self._at = 0  # bytes of the frame to come, and seen
        self._parts = bytearray()  # of the message
        self._opening = 0  # first byte of the message's first frame; 0: between messages
        self._lost: str | None = None
        self._first = self._last = Stamp(0, None)

    def read(self) -> list[HttpMessage]:
        """Read as far as possible and return the messages that have ended."""
        messages: list[HttpMessage] = []
        while self._move(messages):
            pass
        return messages

    def _move(self, messages: list[HttpMessage]) -> bool:
        """Go one step on; False: more must come."""
        if self._closed:
            self._inbox.pass_over()
            return False
        if self._frame is not None:
            if self._inbox.data or not self._left:
                messages += self._read_payload(self._frame)
                return True
        elif (self._synced or self._search()) and self._begin_frame():
            return True
        if self._inbox.gap is not None:
            self._step_over_gap()
            return True
        return False

    def _begin_frame(self) -> bool:
        """Take the head of a frame; False: more must come."""
        head = _head(self._inbox.data, 0)
        if head is None:
            return False
        if not _is_possible(head, self._inbox.side):
            self._lose("not a websocket frame")
            return True
        first = self._inbox.stamp
        self._inbox.take(head.size)
        self._last = self._inbox.last
        if head.opcode in (_TEXT, _BINARY):
            self._parts, self._opening, self._lost, self._first = bytearray(), head.first, None, first
        self._frame, self._left, self._at = head, head.length, 0
        return True

    def _read_payload(self, frame: _FrameHead) -> list[HttpMessage]:
        """Move what is there of a frame; return the message that it ends, if it does."""
        if self._left and self._inbox.data:
            data = self._inbox.take(self._left)
            if self._opening and frame.opcode < _CLOSE:
                self._last = self._inbox.last
                room = self._limits.body + 1 - len(self._parts)
                self._parts += _unmask(data[: max(0, room)], frame.mask, self._at)
                if len(data) > room and self._opening & _COMPRESSED:
                    self._spoil("more compressed bytes than are kept")
            self._left -= len(data)
            self._at += len(data)
        if self._left:
            return []
        self._frame, self._closed = None, frame.opcode == _CLOSE
        if frame.opcode >= _CLOSE or not frame.first & _FIN or not self._opening:
            return []
        return [self._message()]

    def _message(self) -> HttpMessage:
        body: bytes | None = bytes(self._parts) if self._lost is None else None
        if self._opening & _COMPRESSED and body is not None:
            body = self._inflater.inflate(body)
            self._lost = None if body is not None else "its compression refers to bytes that are not there"
        message = HttpMessage(
            protocol=Protocol.WEBSOCKET,
            side=self._inbox.side,
            method=self._request.method,
            target=self._request.target,
            authority=self._request.authority,
            scheme=self._request.scheme,
            version=self._request.version,
            headers=self._request.headers,
            body=body,
            first=self._first,
            last=self._last,
            stream_id=self._request.stream_id,
            lost=self._lost,
            is_text=self._opening & 0x0F == _TEXT,
        )
        self._account.messages += 1
        self._account.bodies_lost += body is None
        self._opening, self._parts = 0, bytearray()
        return message

    def _spoil(self, reason: str) -> None:
        """The message at hand cannot be read; later ones can, unless they refer to it."""
        self._lost = self._lost or reason
        self._parts = bytearray()
        self._inflater.lose()

    def _lose(self, reason: str) -> None:
        """Nobody knows where the next frame begins."""
        self._spoil(reason)
        self._frame, self._opening, self._synced = None, 0, False
        self._look_from = 0
        self._account.websocket_lost += 1

    def _step_over_gap(self) -> None:
        gap = self._inbox.gap
        size = gap.size if gap else None
        if self._frame is not None and size is not None and size <= self._left:
            self._left -= size
            self._at += size
            if self._frame.opcode < _CLOSE:
                self._spoil(f"{size:,} bytes are missing")
        else:
            self._lose("bytes are missing")
        self._inbox.cross()

    def _search(self) -> bool:
        """Move to the first piece that begins with frames which end as a piece ends, or may; False: none yet."""
        is_last = self._inbox.ended or self._inbox.gap is not None
        if len(self._inbox.data) < self._look_from and not is_last:
            return False
        ends, begun = set(self._inbox.ends()), len(self._inbox.data)
        for start in self._inbox.starts():
            verdict = self._judge(start, ends)
            if verdict:
                self._inbox.skip(start)
                self._synced = True
                return True
            if verdict is None:
                begun = min(begun, start)
        self._inbox.skip(begun)
        held = len(self._inbox.data)
        self._look_from = held + held // 64  # each look costs all bytes
        return False

    def _judge(self, start: int, ends: set[int]) -> bool | None:
        """Does a chain of frames lead from `start` to the end of a piece? None: more must come."""
        data, offset = self._inbox.data, start
        while (head := _head(data, offset)) is not None:
            offset += head.size + head.length
            if not _is_possible(head, self._inbox.side):
                return False
            if offset in ends:
                return True
        return None if offset - start <= self._limits.undecided else False


class Websocket:
    """The two sides of one websocket, opened by `request`; `response`: the head of the 101, if it was seen."""

    def __init__(
        self, client: Inbox, server: Inbox, limits: HttpLimits, request: Draft, response: Head | None, account: Account
    ) -> None:
        self._readers = []
        for inbox, name in ((client, "client_no_context_takeover"), (server, "server_no_context_takeover")):
            inflater = Inflater(limits, keeps_state=not _agreed(response, name))
            is_synced = inbox is client or response is not None
            self._readers.append(_Reader(inbox, limits, request, inflater, account, is_synced))
        self._messages: list[HttpMessage] = []

    def run(self) -> None:
        """Read as far as possible."""
        for reader in self._readers:
            self._messages += reader.read()

    def ready(self) -> list[HttpMessage]:
        """Return the messages that have ended since the last time."""
        messages, self._messages = self._messages, []
        return messages


def _agreed(response: Head | None, name: str) -> bool:
    """Does the 101 response name this parameter of permessage-deflate (RFC 7692, 7.1.1)?"""
    if response is None:
        return False
    values = (value for key, value in response.headers if key.lower() == "sec-websocket-extensions")
    return name in {word.strip().lower() for value in values for word in value.replace(",", ";").split(";")}


def _head(data: bytearray, offset: int) -> _FrameHead | None:
    """Return the frame head at `offset`; None if it is not all there (RFC 6455, 5.2)."""
    if len(data) < offset + 2:
        return None
    masked, length = data[offset + 1] & 0x80, data[offset + 1] & 0x7F
    wide = {126: 2, 127: 8}.get(length, 0)
    size = 2 + wide + (4 if masked else 0)
    if len(data) < offset + size:
        return None
    if wide:
        length = int.from_bytes(data[offset + 2 : offset + 2 + wide], "big")
    mask = bytes(data[offset + size - 4 : offset + size]) if masked else b""
    return _FrameHead(size, data[offset], mask, length)


def _is_possible(head: _FrameHead, side: Side) -> bool:
    """Can this be a frame? Clients mask and servers do not (5.1); control frames are short and whole (5.5)."""
    if head.first & _RESERVED or head.opcode not in (0, 1, 2, 8, 9, 10) or head.length >= 1 << 63:
        return False
    if head.opcode >= _CLOSE and (head.length > 125 or not head.first & _FIN or head.first & _COMPRESSED):
        return False
    return bool(head.mask) == (side is Side.CLIENT)


def _unmask(data: bytes, mask: bytes, at: int) -> bytes:
    """Return `data`, which stands `at` bytes behind the start of its frame, without the mask (5.3)."""
    if not mask or not data:
        return data
    turned = mask[at % 4 :] + mask[: at % 4]
    key = (turned * (len(data) // 4 + 1))[: len(data)]
    return (int.from_bytes(data, "big") ^ int.from_bytes(key, "big")).to_bytes(len(data), "big")
