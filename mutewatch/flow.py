"""A mitmproxy flow as exchanges: the live proxy, flow dumps and HAR files all come through here.

The core does not import mitmproxy; it reads the attributes of a flow that it is given. Bodies are taken
raw (`raw_content`): mitmproxy would expand any compressed body without a bound.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from msgspec.structs import replace

from mutewatch.messages import Apart, answer_to, utc_or_none, websocket_message
from mutewatch.ports import ReadOptions
from mutewatch.records import Direction, Exchange, Origin

if TYPE_CHECKING:
    from mitmproxy.http import HTTPFlow
    from mitmproxy.websocket import WebSocketMessage


def exchange_from_flow(flow: "HTTPFlow", origin: Origin) -> Exchange:
    """Return the request of `flow`, with the status of its response if that is there already."""
    request = flow.request
    path, _, query = request.path.partition("?")
    peer = flow.client_conn.peername
    address, client_port = peer[:2] if peer else ("", 0)
    return Exchange(
        sent_at=datetime.fromtimestamp(request.timestamp_start, UTC),
        client=address or None,
        host=request.pretty_host.lower().rstrip(".") or None,
        port=request.port,
        method=request.method.upper(),
        path=path,
        query=query,
        body=request.raw_content,
        origin=origin,
        content_encoding=request.headers.get("content-encoding"),
        status=flow.response.status_code if flow.response else None,
        connection=flow.client_conn.id,
        client_port=client_port or None,
    )


def answer_from_flow(request: Exchange, flow: "HTTPFlow", body: bytes | None) -> Exchange:
    """Return the answer to `request` with this body; None: it could not be read."""
    response = flow.response
    if response is None:
        raise ValueError("there is no response")
    at = utc_or_none(response.timestamp_end or response.timestamp_start)
    return answer_to(request, at, body, response.headers.get("content-encoding"))


def message_from_flow(request: Exchange, message: "WebSocketMessage") -> Exchange:
    """Return one message of the websocket that `request` opened."""
    sender = Direction.TO_SERVER if message.from_client else Direction.TO_CLIENT
    body = message.content if isinstance(message.content, bytes) else None  # in a damaged dump, it may be anything
    return websocket_message(request, utc_or_none(message.timestamp), body, sender)


def exchanges_from_flow(flow: "HTTPFlow", origin: Origin, options: ReadOptions) -> Iterator[Exchange]:
    """Yield the request of a saved flow, the body of its answer if that is wanted, and its websocket messages."""
    request = exchange_from_flow(flow, origin)
    yield request
    if flow.response is not None and options.wants_answer(request.method, request.host, request.path):
        yield answer_from_flow(request, flow, flow.response.raw_content)
    apart = Apart()
    for message in flow.websocket.messages if flow.websocket else ():
        exchange = message_from_flow(request, message)
        yield replace(exchange, sent_at=apart.time(exchange.sent_at))
