"""Turns the packets that tshark has dissected into exchanges: HTTP/1.1 and HTTP/2 requests with their status.

`HttpMessages.feed` takes one packet as pyshark parsed it from tshark's JSON with raw bytes (`-T json -x
--no-duplicate-keys`), where each message of a packet is an object of its own and each body stands as
hexadecimal: nothing is joined by commas, unescaped or lost. Rules:

- a request takes the next response of its TCP stream (HTTP/1.1; a 1xx is not it) or of its HTTP/2 stream;
- exchanges come in the order of their requests; one whose response was not seen is held back within limits;
- bodies are without chunks and padding but still compressed, with `content_encoding` naming by what;
- a body that is not all there (Content-Length, no END_STREAM) is None: sent, but not readable here;
- a TLS connection of which no HTTP came to light is an exchange without method, at the end.
"""

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from mutewatch.records import Exchange, Origin
from pcap_tools.limits import ReadLimits

_DATA, _HEADERS, _CONTINUATION = "0", "1", "9"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

K = TypeVar("K")
V = TypeVar("V")
Fields = dict[str, Any]  # of one dissected layer: untyped JSON, only in this module


@dataclass(frozen=True, slots=True)
class _Frame:
    """What the layers below HTTP say of a packet."""

    number: int
    time: datetime | None
    source: str | None
    source_port: int | None
    port: int | None
    stream: int


@dataclass(slots=True, eq=False)
class _Request:
    """A request on its way from its first frame to its response."""

    frame: _Frame
    method: str
    target: str
    headers: dict[str, str]
    body: bytes | None = None
    status: int | None = None
    complete: bool = False
    yielded: bool = False  # passed on before it was complete, because too many were held back
    parts: bytearray = field(default_factory=bytearray)  # of an HTTP/2 body, at most one byte above the limit

    def finish(self, frame: _Frame, body: bytes | None, limit: int) -> None:
        """Take `body` as the whole body, unless Content-Length says that some of it is missing."""
        length = "" if "transfer-encoding" in self.headers else self.headers.get("content-length", "")
        if body is not None and length.isdecimal() and len(body) <= limit and int(length[:20]) != len(body):
            body = None
        self.frame, self.body, self.complete, self.parts = frame, body, True, bytearray()


class HttpMessages:
    """Holds the requests that wait for their bodies and responses."""

    def __init__(self, door: str, file: str, limits: ReadLimits) -> None:
        self._door, self._file, self._limits = door, file, limits
        self._ordinal = 0
        self._queue: deque[_Request] = deque()  # every request not yet yielded, oldest first
        self._held = 0  # bytes of their bodies
        self._http1: OrderedDict[int, deque[_Request]] = OrderedDict()  # by TCP stream
        self._http2: OrderedDict[tuple[int, str], _Request] = OrderedDict()  # by TCP and HTTP/2 stream
        self._ending: OrderedDict[tuple[int, str], bool] = OrderedDict()  # END_STREAM before CONTINUATION
        self._names: OrderedDict[int, str] = OrderedDict()  # SNI by TCP stream
        self._dark: OrderedDict[int, _Frame] = OrderedDict()  # ClientHello by TCP stream, while no HTTP was seen

    def feed(self, packet: Any) -> Iterator[Exchange]:
        """Take one pyshark packet and yield the exchanges that are ready."""
        layers: dict[str, list[Fields]] = {}
        for layer in packet.layers:
            # pyshark's public accessors give text without the raw bytes; the parsed object is all there.
            found = (one._all_fields for one in (layer, *layer.duplicate_layers))
            layers.setdefault(layer.layer_name, []).extend(fields for fields in found if fields)
        if "tcp" not in layers:  # HTTP/3 has no TCP; not read
            return
        frame = _frame(int(packet.number), str(packet.sniff_timestamp), layers)
        for fields in layers.get("tls", []):
            name = _find(fields, "tls.handshake.extensions_server_name")
            if isinstance(name, str):
                _remember(self._names, frame.stream, name, self._limits.streams)
                _remember(self._dark, frame.stream, frame, self._limits.streams)
        if "http" in layers or "http2" in layers:
            self._dark.pop(frame.stream, None)
        for fields in layers.get("http", []):
            self._feed_http1(frame, fields)
        for fields in layers.get("http2", []):
            for message in _list(fields.get("http2.stream")):
                if isinstance(message, dict):
                    self._feed_http2(frame, message)
        yield from self._ready()

    def finish(self) -> Iterator[Exchange]:
        """Yield what is left at the end of the capture: requests without response, bodies without end."""
        while self._queue:
            yield self._pop()
        for stream, frame in self._dark.items():
            yield self._exchange(frame, host=self._names.get(stream))

    def _feed_http1(self, frame: _Frame, fields: Fields) -> None:
        method, status = _find(fields, "http.request.method"), _find(fields, "http.response.code")
        if isinstance(method, str):
            headers = _headers1(fields)
            request = _Request(frame, method, str(_find(fields, "http.request.uri") or ""), headers)
            self._finish(request, frame, _body1(fields))
            waiting = self._http1.get(frame.stream) or deque()
            _remember(self._http1, frame.stream, waiting, self._limits.streams)
            waiting.append(request)
            self._queue.append(request)
        elif isinstance(status, str) and (status == "101" or not status.startswith("1")):
            unanswered = self._http1.get(frame.stream, deque())
            if unanswered:
                unanswered.popleft().status = _int(status)

    def _feed_http2(self, frame: _Frame, message: Fields) -> None:
        key = (frame.stream, str(message.get("http2.streamid")))
        kind, request = message.get("http2.type"), self._http2.get(key)
        ends = _find(message, "http2.flags.end_stream") == "1"
        if kind in (_HEADERS, _CONTINUATION):
            headers = _headers2(message)
            if not headers and ends:
                _remember(self._ending, key, True, self._limits.streams)
            elif ":method" in headers:
                request = _Request(frame, headers[":method"], headers.get(":path", ""), headers)
                _remember(self._http2, key, request, self._limits.streams)
                self._queue.append(request)
                if ends or self._ending.pop(key, False):
                    self._finish(request, frame, b"")
            elif request is not None and ":status" in headers:
                if not headers[":status"].startswith("1"):
                    request.status = _int(headers[":status"])
            elif request is not None and ends and _same_sender(frame, request.frame):  # trailers
                self._finish(request, frame, bytes(request.parts))
        elif kind == _DATA and request is not None and _same_sender(frame, request.frame):
            whole = _raw(_find(message, "http2.body.reassembled.data_raw"))
            if whole is None:
                part = _raw(_find(message, "http2.data.data_raw")) or b""
                request.parts += part[: self._limits.body + 1 - len(request.parts)]
            if ends:
                self._finish(request, frame, whole or bytes(request.parts))
        if request is not None and request.complete and request.status is not None:
            self._http2.pop(key, None)

    def _finish(self, request: _Request, frame: _Frame, body: bytes | None) -> None:
        """The message ends with `frame`, and this is its whole body."""
        if not request.yielded:
            self._held -= len(request.body or b"")
            request.finish(frame, body, self._limits.body)
            self._held += len(request.body or b"")

    def _ready(self) -> Iterator[Exchange]:
        """Yield from the oldest on while they are answered, or while too many are held back."""
        while self._queue:
            oldest = self._queue[0]
            full = len(self._queue) > self._limits.waiting or self._held > self._limits.waiting_bytes
            if not full and not (oldest.complete and oldest.status is not None):
                return
            yield self._pop()

    def _pop(self) -> Exchange:
        """Return the oldest request as an exchange."""
        request = self._queue.popleft()
        self._held -= len(request.body or b"")
        request.yielded = True
        host = request.headers.get(":authority") or request.headers.get("host") or self._names.get(request.frame.stream)
        return self._exchange(request.frame, host, request)

    def _exchange(self, frame: _Frame, host: str | None, request: _Request | None = None) -> Exchange:
        """Return what is known of a request, or, without one, of a connection that stayed dark."""
        self._ordinal += 1
        path, _, query = _without_origin(request.target).partition("?") if request else ("", "", "")
        return Exchange(
            sent_at=frame.time,
            client=frame.source,
            host=_host(host),
            port=frame.port,
            method=request.method.upper() if request else "",
            path=path,
            query=query,
            body=request.body if request else None,
            origin=Origin(self._door, self._file, self._ordinal, frame.number, frame.stream),
            content_encoding=request.headers.get("content-encoding") if request else None,
            status=request.status if request else None,
            connection=f"{self._file}#{frame.stream}",
            client_port=frame.source_port,
        )


def _frame(number: int, epoch: str, layers: dict[str, list[Fields]]) -> _Frame:
    """Return what the packet says below HTTP; of a tunnelled packet, its inner addresses."""
    tcp = layers["tcp"][-1]
    address = next((layers[name][-1] for name in ("ip", "ipv6") if name in layers), {})
    seconds, _, fraction = epoch.partition(".")
    try:
        time = _EPOCH + timedelta(seconds=int(seconds), microseconds=int((fraction + "000000")[:6]))
    except (ValueError, OverflowError):
        time = None
    source = address.get("ip.src") or address.get("ipv6.src")
    return _Frame(
        number,
        time,
        source if isinstance(source, str) else None,
        _int(tcp.get("tcp.srcport")),
        _int(tcp.get("tcp.dstport")),
        _int(tcp.get("tcp.stream")) or 0,
    )


def _same_sender(one: _Frame, other: _Frame) -> bool:
    return (one.source, one.source_port) == (other.source, other.source_port)


def _find(fields: Fields, key: str, depth: int = 4) -> Any:
    """Return the first value of `key` in `fields` or, `depth` objects down, in the objects it holds."""
    if key in fields:
        return fields[key]
    for value in fields.values() if depth else ():
        for inner in _list(value):
            if isinstance(inner, dict) and (found := _find(inner, key, depth - 1)) is not None:
                return found
    return None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _raw(value: Any) -> bytes | None:
    """Return the bytes of a raw field, [hexadecimal, position, length, mask, type]; of several, the last."""
    if isinstance(value, list) and value and isinstance(value[0], list):
        value = value[-1]
    return bytes.fromhex(value[0]) if isinstance(value, list) and value else None


def _body1(fields: Fields) -> bytes | None:
    """Return the body of an HTTP/1 request without its chunks; None if tshark shows chunks but no body.

    tshark has a compressed body that it was told not to expand under a heading of its own, which names the
    encoding and the size.
    """
    body = _raw(fields.get("http.file_data_raw"))
    for name, value in fields.items() if body is None else ():
        if name.startswith("Content-encoded entity body") and isinstance(value, dict):
            body = _raw(_find(value, "data.data_raw"))
    if body is None and _find(fields, "http.chunk_size") in (None, "0"):
        return b""
    return body


def _headers1(fields: Fields) -> dict[str, str]:
    """Return the header fields of an HTTP/1 request by lower-case name; the first of each name."""
    headers: dict[str, str] = {}
    for line in _list(fields.get("http.request.line", [])):
        name, _, value = str(line).partition(":")
        headers.setdefault(name.strip().lower(), value.strip())
    return headers


def _headers2(message: Fields) -> dict[str, str]:
    """Return the header fields of an HTTP/2 message by name; the first of each name."""
    headers: dict[str, str] = {}
    for header in _list(_find(message, "http2.header") or []):
        name, value = header.get("http2.header.name"), header.get("http2.header.value")
        if isinstance(name, str) and isinstance(value, str):
            headers.setdefault(name.lower(), value)
    return headers


def _host(text: str | None) -> str | None:
    """Return a host name in lower case, without port and final dot."""
    if not text:
        return None
    name = text.rpartition("]")[0].removeprefix("[") if text.startswith("[") else text.partition(":")[0]
    return name.lower().rstrip(".") or None


def _without_origin(target: str) -> str:
    """Return the path and query of a request target that may be a whole URL, as proxies are sent."""
    scheme, separator, rest = target.partition("://")
    if not separator or not scheme.isalpha():
        return target
    return "/" + rest.partition("/")[2]


def _int(value: Any) -> int | None:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() else None


def _remember(table: OrderedDict[K, V], key: K, value: V, limit: int) -> None:
    """Put `value` into `table` as its newest entry; the oldest goes where there are more than `limit`."""
    table[key] = value
    table.move_to_end(key)
    if len(table) > limit:
        table.popitem(last=False)
