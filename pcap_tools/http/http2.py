"""Reads both sides of an HTTP/2 connection: frames to streams, streams to requests with their responses.

It leaves frames to `frames`, header blocks to `header_blocks` and flow control to whoever needs it. Rules:

- a request is given only if every field of its header block is known; where that is not so, after a loss,
  the stream is counted as unreadable in the account, with the bytes of its body;
- a loss costs the bodies that were under way on that side: DATA may be missing from any of them;
- a Content-Length that the body does not have means that some of it is missing (RFC 9113, 8.1.1);
- a stream that is reset before its end has no body; 1xx responses, trailers and server push are passed over.
"""

from collections import OrderedDict
from dataclasses import dataclass

from pcap_tools.http.account import Account
from pcap_tools.http.draft import Answer, Body, Draft, Keeps, Waiting
from pcap_tools.http.frames import END_HEADERS, END_STREAM, PADDED, WITH_PRIORITY, Frame, FrameReader, FrameType
from pcap_tools.http.header_blocks import HeaderBlocks
from pcap_tools.http.inbox import Inbox
from pcap_tools.http.limits import HttpLimits
from pcap_tools.http.message import Headers, Protocol
from pcap_tools.stream import Side, Stamp

_MISSING = "bytes are missing"


@dataclass(slots=True, eq=False)
class _Stream:
    """One stream, of which either side may be seen first."""

    id: int
    request: Draft | None = None
    answer: Answer | None = None
    is_unreadable: bool = False  # the request's fields are not known
    is_hopeless: bool = False  # the response's fields are not known, or it was reset before them
    is_reset: bool = False  # by the server
    client_ended: bool = False
    server_ended: bool = False

    def link(self) -> None:
        """Give the request what is known of its response."""
        if self.request is not None:
            self.request.answer = self.request.answer or self.answer
            self.request.hopeless = self.is_hopeless and self.request.answer is None


@dataclass(slots=True)
class _Block:
    """A header block of which CONTINUATION frames are still to come (RFC 9113, 6.10)."""

    type: int
    stream: int
    ends_stream: bool
    first: Stamp
    data: bytearray | None  # None: not all of it is there


class _SideState:
    """What the frames of one side have in common."""

    def __init__(self, inbox: Inbox, limits: HttpLimits) -> None:
        self.inbox = inbox
        self.frames = FrameReader(inbox, limits)
        self.headers = HeaderBlocks(limits)
        self.block: _Block | None = None


class Http2Connection:
    """The two sides of one HTTP/2 connection."""

    def __init__(
        self, client: Inbox, server: Inbox, limits: HttpLimits, keeps: Keeps, waiting: Waiting, account: Account
    ) -> None:
        self._limits, self._waiting, self._account = limits, waiting, account
        self._keeps = keeps
        self._sides = (_SideState(client, limits), _SideState(server, limits))
        self._streams: OrderedDict[int, _Stream] = OrderedDict()

    def adopt(self, request: Draft) -> None:
        """Take over the HTTP/1 request that upgraded the connection: it is stream 1 (RFC 7540, 3.2)."""
        request.answer, request.hopeless, request.stream_id = None, False, 1
        self._stream(1).request = request
        self._stream(1).client_ended = True

    def run(self) -> None:
        """Read as far as possible."""
        for state in self._sides:
            while (frame := state.frames.next_frame()) is not None:
                if isinstance(frame, Frame):
                    self._take(state, frame)
                else:
                    self._lose(state)
        if all(state.inbox.ended for state in self._sides):
            for stream in self._streams.values():
                if stream.is_reset and stream.request is not None and not stream.request.complete:
                    stream.request.body.lose("reset")

    def _take(self, state: _SideState, frame: Frame) -> None:
        match frame.header.type:
            case FrameType.DATA:
                self._take_data(state.inbox.side, frame)
            case FrameType.HEADERS | FrameType.PUSH_PROMISE:
                self._begin_block(state, frame)
            case FrameType.CONTINUATION:
                self._go_on_with_block(state, frame)
            case FrameType.RST_STREAM:
                self._reset(state.inbox.side, frame)

    def _stream(self, number: int) -> _Stream:
        """Return a stream, as new if it is not known; the oldest goes where there are too many."""
        stream = self._streams.get(number)
        if stream is None:
            stream = self._streams[number] = _Stream(number)
            if len(self._streams) > self._limits.streams:
                self._drop(self._streams.popitem(last=False)[1])
        return stream

    def _drop(self, stream: _Stream) -> None:
        """Pass on a stream as far as it is there."""
        if stream.request is None and stream.answer is not None:
            stream.answer.body.lose("no request")
        elif stream.request is not None:
            if not stream.request.complete:
                stream.request.body.lose("more streams are open than are kept")
                stream.request.end(stream.request.last)
            if stream.answer is not None and not stream.answer.complete:
                stream.answer.body.lose("more streams are open than are kept")
                stream.answer.end(stream.answer.last)
            stream.request.hopeless = stream.answer is None

    def _close(self, stream: _Stream) -> None:
        """Forget a stream of which nothing more can come."""
        stream.link()
        if stream.client_ended and stream.server_ended:
            self._streams.pop(stream.id, None)

    # DATA

    def _take_data(self, side: Side, frame: Frame) -> None:
        if frame.header.stream % 2 == 0:
            return  # server push
        stream = self._stream(frame.header.stream)
        data = None if frame.payload is None else _without_padding(frame.header.flags, frame.payload)
        ends = bool(frame.header.flags & END_STREAM)
        if side is Side.CLIENT:
            self._take_request_data(stream, data, frame)
        elif stream.answer is not None and not stream.answer.complete:
            stream.answer.last = frame.last
            _add(stream.answer.body, data)
        if ends:
            self._end(side, stream, frame.last)

    def _take_request_data(self, stream: _Stream, data: bytes | None, frame: Frame) -> None:
        request = stream.request
        if request is None:
            stream.is_unreadable = True
            self._account.lose_stream(stream.id, len(data or b""), self._limits.unreadable)
        elif not request.complete:
            request.last = frame.last
            _add(request.body, data)

    def _end(self, side: Side, stream: _Stream, last: Stamp) -> None:
        """This side sends no more in `stream`."""
        if side is Side.CLIENT:
            stream.client_ended = True
            if stream.request is not None and not stream.request.complete:
                _check_length(stream.request.body, stream.request.headers)
                stream.request.end(last)
        else:
            stream.server_ended = True
            if stream.answer is None:
                stream.is_hopeless = True
            elif not stream.answer.complete:
                stream.answer.end(last)
        self._close(stream)

    def _reset(self, side: Side, frame: Frame) -> None:
        """The stream ends here, for both sides; what the other side has sent by then still counts."""
        stream = self._streams.get(frame.header.stream)
        if stream is None and side is Side.SERVER and frame.header.stream % 2:
            stream = self._stream(frame.header.stream)
        if stream is None:
            return
        if side is Side.SERVER:
            stream.is_reset = True
            if stream.answer is not None and not stream.answer.complete:
                stream.answer.body.lose("reset")
        elif stream.request is not None and not stream.request.complete:
            stream.request.body.lose("reset")
        self._end(side, stream, frame.last)

    # Header blocks

    def _begin_block(self, state: _SideState, frame: Frame) -> None:
        if state.block is not None:
            state.headers.lose()  # its end is missing
        payload = frame.payload
        if payload is not None:
            payload = _without_padding(frame.header.flags, payload)
        if payload is not None and frame.header.type == FrameType.PUSH_PROMISE:
            payload = payload[4:]  # the promised stream
        elif payload is not None and frame.header.flags & WITH_PRIORITY:
            payload = payload[5:]
        ends = frame.header.type == FrameType.HEADERS and bool(frame.header.flags & END_STREAM)
        data = None if payload is None else bytearray(payload)
        state.block = _Block(frame.header.type, frame.header.stream, ends, frame.first, data)
        if frame.header.flags & END_HEADERS:
            self._end_block(state, state.block, frame.last)

    def _go_on_with_block(self, state: _SideState, frame: Frame) -> None:
        block = state.block
        if block is None or block.stream != frame.header.stream:
            state.block = None
            state.headers.lose()  # its beginning is missing
            return
        if block.data is not None:
            too_long = len(block.data) + frame.header.length > self._limits.head
            block.data = None if frame.payload is None or too_long else block.data + frame.payload
        if frame.header.flags & END_HEADERS:
            self._end_block(state, block, frame.last)

    def _end_block(self, state: _SideState, block: _Block, last: Stamp) -> None:
        state.block = None
        fields = None if block.data is None else state.headers.decode(bytes(block.data))
        if block.data is None:
            state.headers.lose()
        if block.type == FrameType.PUSH_PROMISE or block.stream % 2 == 0:
            return
        stream = self._stream(block.stream)
        if state.inbox.side is Side.CLIENT:
            self._take_request(stream, fields, block.first, last)
        else:
            self._take_response(stream, fields, block.first, last)
        if block.ends_stream:
            self._end(state.inbox.side, stream, last)

    def _take_request(self, stream: _Stream, fields: Headers | None, first: Stamp, last: Stamp) -> None:
        """Begin a request, unless these are the trailers of one."""
        if stream.request is not None:
            if not stream.request.complete:
                stream.request.last = last
            return
        pseudo, headers = _split(fields or ())
        if ":method" not in pseudo or stream.is_unreadable:
            stream.is_unreadable = True
            self._account.lose_stream(stream.id, 0, self._limits.unreadable)
            return
        authority = pseudo.get(":authority") or next((value for name, value in headers if name == "host"), None)
        stream.request = Draft(
            protocol=Protocol.HTTP2,
            method=pseudo[":method"],
            target=pseudo.get(":path") or (authority or "" if pseudo[":method"] == "CONNECT" else ""),
            authority=authority,
            version="HTTP/2.0",
            headers=headers[: self._limits.headers],
            body=Body(self._limits.body, self._waiting.held),
            first=first,
            last=last,
            scheme=pseudo.get(":scheme"),
            stream_id=stream.id,
        )
        self._waiting.add(stream.request)
        stream.link()

    def _take_response(self, stream: _Stream, fields: Headers | None, first: Stamp, last: Stamp) -> None:
        """Begin a final response, unless these are the trailers of one; a 1xx response is passed over."""
        if stream.answer is not None:
            stream.answer.last = stream.answer.last if stream.answer.complete else last
            return
        pseudo, headers = _split(fields or ())
        status = pseudo.get(":status", "")
        if len(status) != 3 or not status.isascii() or not status.isdecimal() or status.startswith("1"):
            return
        is_kept = not (stream.request is not None and stream.request.given) and self._keeps(stream.request)
        body = Body(self._limits.body if is_kept else None, self._waiting.held)
        stream.answer = Answer(int(status), headers[: self._limits.headers], body, first, last)
        stream.link()

    def _lose(self, state: _SideState) -> None:
        """Frames of one side are missing: of its open streams, nobody knows what else came."""
        state.headers.lose()
        state.block = None
        for stream in list(self._streams.values()):
            if state.inbox.side is Side.CLIENT:
                if stream.request is not None and not stream.request.complete:
                    stream.request.body.lose(_MISSING)
                    stream.request.end(stream.request.last)
            elif stream.answer is not None and not stream.answer.complete:
                stream.answer.body.lose(_MISSING)
                stream.answer.end(stream.answer.last)


def _split(fields: Headers) -> tuple[dict[str, str], Headers]:
    """Return the pseudo-header fields by name, and the others in their order."""
    pseudo = {name: value for name, value in reversed(fields) if name.startswith(":")}
    return pseudo, tuple((name, value) for name, value in fields if not name.startswith(":"))


def _without_padding(flags: int, payload: bytes) -> bytes | None:
    """Return the payload of a DATA, HEADERS or PUSH_PROMISE frame; None if its padding is longer (6.1)."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        return None
    return payload[1 : len(payload) - payload[0]]


def _add(body: Body, data: bytes | None) -> None:
    if data is None:
        body.lose(_MISSING)
    else:
        body.add(data)


def _check_length(body: Body, headers: Headers) -> None:
    """Lose the body if Content-Length says that some of it is missing."""
    length = next((value for name, value in headers if name == "content-length"), "")
    if length.isascii() and length.isdecimal() and int(length[:18]) != body.size:
        body.lose(f"{body.size:,} of {length[:18]} bytes are there")
