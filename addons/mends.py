"""What mitmproxy and its libraries do not cope with, mended in our own process. Seen with 11.0.2 and 12.2.3.

| what comes | without this | with it |
|---|---|---|
| the end of a connection whose bytes wait for their turn | it is never closed, nor read | is closed |
| trailers over HTTP/1.1 | NotImplementedError, and the message hangs | left out (RFC 9110, 6.5.1, allows that) |
| an interim response over HTTP/1.1 | is taken for the response, which never comes | left out, as over HTTP/2 |
| a head, or a line between chunks, without an end | is held, whatever its length | ends the connection after 1 MiB |
| a message over `body_size_limit` that nobody holds | 413; a response, 502 | passes |
| long messages of many connections at once | are held, each up to its limit | past 256 MiB: as if over it |
| a long body of a request that is answered at its head | NotImplementedError at each piece, or it is kept | let go |
| a long websocket message | is held, in 1.1 s of CPU for 16 MiB, four times that for 32 | ends it (1009) at 16 MiB |
| ... 512 KiB that unpack to 512 MiB | 1.1 GiB of memory | the same |
| a ping between the pieces of a packed message | ends the websocket (1007) | passes |
| a changed text message of more than 4 kB | cut into frames, perhaps within a character | one frame |
"""

import re
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final

import wsproto.extensions
from h11 import Data, EndOfMessage
from h11._readers import ChunkedReader
from h11._receivebuffer import ReceiveBuffer
from mitmproxy.connection import Connection
from mitmproxy.http import HTTPFlow
from mitmproxy.proxy import events
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers import websocket
from mitmproxy.proxy.layers.http import HttpStream, _http1
from mitmproxy.proxy.server import ConnectionHandler
from wsproto.events import CloseConnection, Event, Message
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import CloseReason, Opcode

from addons import first_bytes
from addons.counters import HookCounters
from addons.held import HoldingNothing, Room

LONGEST_MESSAGE: Final = 16 << 20  # bytes of a websocket message; as of a body that is held
MOST_UNREAD: Final = 1 << 20  # bytes over HTTP/1.1 that are neither a whole head nor of a body; heads have some KiB
PIECE: Final = 1024  # bytes that a piece of one counts for beside its own
TOO_LONG: Final = (1009, "error in extension")  # code and reason of the end, in the words of wsproto
ROOM: Final = Room()
INTERIM: Final = re.compile(rb"HTTP/1\.[01] 1(?!01)\d\d[ \r\n]")  # after 101 nothing comes that is a response

_check_body_size = HttpStream.check_body_size
_handle_connection = ConnectionHandler.handle_connection
_handle_event = _http1.Http1Connection._handle_event
_read_headers = _http1.Http1Client.read_headers


def mend(holds: Callable[[HTTPFlow], bool], counters: HookCounters) -> None:
    """Mend all of it, for good. `holds`: is the request of this flow one whose body may be held?"""

    def check_body_size(self: HttpStream, request: bool) -> CommandGenerator[bool]:
        if request and self.flow.response is not None:
            self.request_body_buf.clear()
            return False
        if not request or not holds(self.flow):
            return False
        if not ROOM.fits(self, len(self.request_body_buf)):
            self.context.options = HoldingNothing(self.context.options)  # type: ignore[assignment]
        is_refused = yield from _check_body_size(self, request)
        if is_refused:
            self.request_body_buf.clear()
        ROOM.fits(self, len(self.request_body_buf))
        return is_refused

    def handle_event(self: _http1.Http1Connection, event: events.Event) -> CommandGenerator[None]:
        """Take what comes; of too much that cannot be read yet, do as if the peer had gone."""
        yield from _handle_event(self, event)
        if len(self.buf) > MOST_UNREAD:
            counters.endless += 1
            self.buf = ReceiveBuffer()
            yield from self.state(events.ConnectionClosed(self.conn))
            self.state = self.done

    first_bytes.bound()
    ConnectionHandler.handle_connection = handle_connection  # type: ignore[method-assign]
    HttpStream.check_body_size = check_body_size  # type: ignore[method-assign]
    _http1.Http1Connection._handle_event = handle_event  # type: ignore[method-assign]
    _http1.Http1Client.read_headers = read_headers  # type: ignore[method-assign]
    _http1.ChunkedReader = WithoutTrailers  # type: ignore[attr-defined]
    wsproto.extensions.PerMessageDeflate = BoundedDeflate  # type: ignore[misc]
    websocket.WebsocketConnection = BoundedConnection  # type: ignore[misc]
    websocket.Fragmentizer.FRAGMENT_SIZE = sys.maxsize


async def handle_connection(self: ConnectionHandler, connection: Connection) -> None:
    """Read until it ends, and close it then, whatever it was doing."""
    try:
        await _handle_connection(self, connection)
    finally:
        left = self.transports.pop(connection, None)
        if left is not None and left.writer is not None:
            with suppress(OSError):
                left.writer.close()


def read_headers(self: _http1.Http1Client, event: events.ConnectionEvent) -> CommandGenerator[None]:
    """Leave out interim responses, then read the head of the response."""
    if isinstance(event, events.DataReceived) and self.request:
        while INTERIM.match(self.buf._data):  # not a copy of all that there is, at each piece
            if self.buf.maybe_extract_lines() is None:
                return
    yield from _read_headers(self, event)


class WithoutTrailers(ChunkedReader):
    """Reads a chunked body, and past its trailers."""

    def __call__(self, buf: ReceiveBuffer) -> Data | EndOfMessage | None:
        event = super().__call__(buf)
        return EndOfMessage() if isinstance(event, EndOfMessage) else event


class BoundedConnection(websocket.WebsocketConnection):
    """One side of a websocket, for messages of up to LONGEST_MESSAGE bytes, which mitmproxy puts together."""

    _held = 0  # bytes of the message so far

    def events(self) -> Iterator[Event]:
        for event in super().events():
            if isinstance(event, Message):
                data = event.data.encode() if isinstance(event.data, str) else event.data
                self._held += len(data) + PIECE
                if self._held > LONGEST_MESSAGE or not ROOM.fits(self, self._held):
                    yield CloseConnection(*TOO_LONG)
                    return
                if event.message_finished:
                    self._held = 0
                    ROOM.fits(self, 0)
            yield event


class BoundedDeflate(PerMessageDeflate):
    """The websocket's compression, of which no piece unpacks to much more than LONGEST_MESSAGE."""

    def frame_inbound_header(self, proto: Any, opcode: Opcode, rsv: Any, payload_length: int) -> Any:
        message = self._inbound_compressed
        found = super().frame_inbound_header(proto, opcode, rsv, payload_length)
        if opcode.iscontrol():  # it may stand between the pieces of a message
            self._inbound_compressed = message
        return found

    def frame_inbound_payload_data(self, proto: Any, data: bytes) -> bytes | CloseReason:
        if not self._inbound_compressed or not self._inbound_is_compressible or self._decompressor is None:
            return data
        try:
            unpacked = self._decompressor.decompress(bytes(data), LONGEST_MESSAGE + 1)  # what is cut off is lost
        except zlib.error:
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        return unpacked if len(unpacked) <= LONGEST_MESSAGE else CloseReason.MESSAGE_TOO_BIG

    def frame_inbound_complete(self, proto: Any, fin: bool) -> bytes | CloseReason | None:
        return super().frame_inbound_complete(proto, fin) if self._inbound_is_compressible else None
