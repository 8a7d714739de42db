"""The record that the HTTP layer gives: one request with its response, or one websocket message."""

from dataclasses import dataclass
from enum import StrEnum

from pcap_tools.stream import Side, Stamp

Headers = tuple[tuple[str, str], ...]  # in their order; bytes as ISO-8859-1 (RFC 9110, 5.5)


class Protocol(StrEnum):
    HTTP1 = "HTTP/1"
    HTTP2 = "HTTP/2"
    WEBSOCKET = "websocket"


@dataclass(frozen=True, slots=True)
class Response:
    """A response. `status` is None where its first line was lost; a body is None where it is not all there."""

    status: int | None
    headers: Headers
    body: bytes | None
    first: Stamp
    last: Stamp


@dataclass(frozen=True, slots=True)
class HttpMessage:
    """One request, with its response if that was seen; or one websocket message (`response` is None).

    `body` is without transfer-encoding and padding but still content-encoded, as the headers say. It is
    None where not all of it is there (`lost` says why). HTTP/2 pseudo-header fields stand in `method`,
    `target` (:path), `scheme` and `authority`, not among the headers. A websocket message has the method,
    target and headers of the request that opened it, and `side` says who sent it.
    """

    protocol: Protocol
    side: Side
    method: str
    target: str
    authority: str | None  # Host or :authority, as sent
    scheme: str | None  # HTTP/2 only
    version: str  # "HTTP/1.1", "HTTP/2.0"
    headers: Headers
    body: bytes | None
    first: Stamp  # of the packet with its first byte
    last: Stamp  # of the packet with its last byte, as far as it is there
    response: Response | None = None
    stream_id: int | None = None  # HTTP/2
    lost: str | None = None  # why `body` is None
    is_text: bool = False  # websocket only
