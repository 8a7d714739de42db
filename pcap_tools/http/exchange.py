"""Turns an `HttpMessage` into the `Exchange` that every door of mutewatch gives."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from mutewatch.messages import answer_to
from mutewatch.records import Direction, Exchange, Origin
from pcap_tools.http.draft import Draft
from pcap_tools.http.host import host_of
from pcap_tools.http.message import Headers, HttpMessage, Protocol, Response
from pcap_tools.stream import Side, Stamp

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Route:
    """Who spoke with whom, and where that was read: what an exchange has from below HTTP."""

    door: str  # the reader's name
    file: str
    client: str | None  # network address, without port
    port: int | None  # the server's
    sni: str | None = None
    tcp_stream: int | None = None
    connection: str | None = None
    client_port: int | None = None
    is_tls: bool | None = None  # None: not known


def to_exchange(message: HttpMessage, route: Route, ordinal: int) -> Exchange:
    """Return `message` as the `ordinal`-th exchange of its file, at the time of the packet that completed it."""
    is_websocket = message.protocol is Protocol.WEBSOCKET
    path, _, query = path_of(message.target, message.method).partition("?")
    return Exchange(
        sent_at=time_of(message.last),
        client=route.client,
        host=host_of(message.authority or route.sni),
        port=route.port,
        method="WEBSOCKET" if is_websocket else message.method.upper(),
        path=path,
        query=query,
        body=message.body,
        origin=Origin(route.door, route.file, ordinal, message.last.frame, route.tcp_stream),
        content_encoding=None if is_websocket else _content_encoding(message.headers),
        status=message.response.status if message.response else None,
        direction=Direction.TO_SERVER if message.side is Side.CLIENT else Direction.TO_CLIENT,
        connection=route.connection,
        client_port=route.client_port,
        is_tls=route.is_tls,
    )


def answer_exchange(request: Exchange, response: Response, ordinal: int) -> Exchange:
    """Return the body of the response to `request`, as the `ordinal`-th exchange, in the same way."""
    answer = answer_to(request, time_of(response.last), response.body, _content_encoding(response.headers))
    return replace(answer, origin=replace(answer.origin, ordinal=ordinal, frame=response.last.frame))


def is_wanted(wants_answer: Callable[[str, str | None, str], bool], request: Draft | None) -> bool:
    """Is the body of the response to `request` wanted? Of a response whose request nobody knows it is not."""
    if request is None:
        return False
    path = path_of(request.target, request.method).partition("?")[0]
    return wants_answer(request.method.upper(), host_of(request.authority), path)


def _content_encoding(headers: Headers) -> str | None:
    return next((value for name, value in headers if name.lower() == "content-encoding"), None)


def time_of(stamp: Stamp) -> datetime | None:
    """Return the time of a packet, to the microsecond; None if it has none that a calendar knows."""
    if stamp.time_ns is None:
        return None
    try:
        return _EPOCH + timedelta(microseconds=stamp.time_ns // 1_000)
    except OverflowError:
        return None


def path_of(target: str, method: str = "") -> str:
    """Return the path and query of a request target that may be a whole URL, as proxies are sent."""
    scheme, separator, rest = target.partition("://")
    if method == "CONNECT" or not separator or not scheme.isalpha():
        return target
    return "/" + rest.partition("/")[2]
