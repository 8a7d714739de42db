"""What mitmproxy and its libraries do not cope with, mended in our own process. Seen with 11.0.2 and 12.2.3.

| what comes | without this | with it |
|---|---|---|
| trailers over HTTP/1.1 | NotImplementedError, and the message hangs | left out (RFC 9110, 6.5.1, allows that) |
| an interim response over HTTP/1.1 | is taken for the response, which never comes | left out, as over HTTP/2 |
| a message over `body_size_limit` that nobody holds | 413; a response, 502 | passes |
| 512 KiB in a websocket that unpack to 512 MiB | 1.1 GiB of memory | ends the websocket (1009) after 16 MiB |
| a ping between the pieces of a packed message | ends the websocket (1007) | passes |
| a changed text message of more than 4 kB | cut into frames, perhaps within a character | one frame |
"""

import re
import sys
import zlib
from collections.abc import Callable
from typing import Any, Final

import wsproto.extensions
from h11 import Data, EndOfMessage
from h11._readers import ChunkedReader
from h11._receivebuffer import ReceiveBuffer
from mitmproxy.http import HTTPFlow
from mitmproxy.proxy import events
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers import websocket
from mitmproxy.proxy.layers.http import HttpStream, _http1
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import CloseReason, Opcode

MOST_UNPACKED: Final = 16 << 20  # bytes of a packed websocket message; as of a body that is held
INTERIM: Final = re.compile(rb"HTTP/1\.[01] 1(?!01)\d\d[ \r\n]")  # after 101 nothing comes that is a response

_check_body_size = HttpStream.check_body_size
_read_headers = _http1.Http1Client.read_headers


def mend(holds: Callable[[HTTPFlow], bool]) -> None:
    """Mend all of it, for good. `holds`: is the request of this flow one whose body may be held?"""

    def check_body_size(self: HttpStream, request: bool) -> CommandGenerator[bool]:
        return (yield from _check_body_size(self, request)) if request and holds(self.flow) else False

    HttpStream.check_body_size = check_body_size  # type: ignore[method-assign]
    _http1.Http1Client.read_headers = read_headers  # type: ignore[method-assign]
    _http1.ChunkedReader = WithoutTrailers  # type: ignore[attr-defined]
    wsproto.extensions.PerMessageDeflate = BoundedDeflate  # type: ignore[misc]
    websocket.Fragmentizer.FRAGMENT_SIZE = sys.maxsize


def read_headers(self: _http1.Http1Client, event: events.ConnectionEvent) -> CommandGenerator[None]:
    """Leave out interim responses, then read the head of the response."""
    if isinstance(event, events.DataReceived) and self.request:
        while INTERIM.match(bytes(self.buf)):
            if self.buf.maybe_extract_lines() is None:
                return
    yield from _read_headers(self, event)


class WithoutTrailers(ChunkedReader):
    """Reads a chunked body, and past its trailers."""

    def __call__(self, buf: ReceiveBuffer) -> Data | EndOfMessage | None:
        event = super().__call__(buf)
        return EndOfMessage() if isinstance(event, EndOfMessage) else event


class BoundedDeflate(PerMessageDeflate):
    """The websocket's compression, for messages of up to MOST_UNPACKED bytes."""

    _unpacked = 0  # bytes of the message so far

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
            unpacked = self._decompressor.decompress(bytes(data), MOST_UNPACKED - self._unpacked + 1)
        except zlib.error:
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        self._unpacked += len(unpacked)
        return unpacked if self._unpacked <= MOST_UNPACKED else CloseReason.MESSAGE_TOO_BIG

    def frame_inbound_complete(self, proto: Any, fin: bool) -> bytes | CloseReason | None:
        if not self._inbound_is_compressible:
            return None
        if fin:
            self._unpacked = 0
        return super().frame_inbound_complete(proto, fin)
