"""Writes the messages of a capture as mitmproxy flows or as HAR: for mitmweb, mitmdump, browsers.

Flows are made with mitmproxy's public classes, with the capture's times and addresses; websocket messages
are gathered in the flow that opened them. What was lost stays visible: a body that is not all there is left out
and the flow's comment says why, and `flow.metadata` names file and frame.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from mutewatch.records import Exchange
from pcap_tools.http.message import Headers, HttpMessage, Protocol, Response
from pcap_tools.stream import Side, Stamp

if TYPE_CHECKING:
    from mitmproxy.connection import Client, Server
    from mitmproxy.http import HTTPFlow

_PLAIN_PORTS = (80, 591, 8008, 8080)  # IANA's http and http-alt: taken for HTTP without TLS where nobody says
Read = tuple[Exchange, HttpMessage | None]


def write_flow_dump(messages: Iterable[Read], file: BinaryIO) -> int:
    """Write a flow dump to `file`; return the number of flows."""
    from mitmproxy.io import FlowWriter

    writer, count = FlowWriter(file), 0
    for flow in _flows(messages):
        writer.add(flow)
        count += 1
    return count


def write_har(messages: Iterable[Read], file: BinaryIO) -> int:
    """Write a HAR (HTTP Archive 1.2) to `file`, entry by entry; return the number of entries."""
    from mitmproxy.addons.savehar import SaveHar
    from mitmproxy.connection import Server

    maker, seen, count = SaveHar(), set[Server](), 0
    head = json.dumps(maker.make_har([]))
    begin, end = head.split('"entries": []')
    file.write((begin + '"entries": [').encode())
    for flow in _flows(messages):
        entry = maker.flow_entry(flow, seen)
        file.write((",\n" if count else "\n").encode() + json.dumps(entry).encode())
        count += 1
    file.write(("\n]" + end).encode())
    return count


WRITERS = {".mitm": write_flow_dump, ".har": write_har}


def _flows(messages: Iterable[Read]) -> Iterable["HTTPFlow"]:
    """Yield the flows of all messages; those with websockets at the end, when their messages are together."""
    connections: dict[str | None, tuple[Client, Server]] = {}
    websockets: dict[str | None, HTTPFlow] = {}
    for exchange, message in messages:
        if message is None:
            continue
        if message.protocol is Protocol.WEBSOCKET:
            _add_websocket(websockets, exchange, message)
            continue
        flow = _flow(exchange, message, connections)
        if flow.response is not None and flow.response.status_code == 101:
            websockets[exchange.connection] = flow
        else:
            yield flow
    yield from websockets.values()


def _flow(
    exchange: Exchange, message: HttpMessage, connections: dict[str | None, tuple["Client", "Server"]]
) -> "HTTPFlow":
    from mitmproxy.http import Headers as HeaderFields
    from mitmproxy.http import HTTPFlow, Request

    if exchange.connection not in connections:
        connections[exchange.connection] = _ends(exchange)
    client, server = connections[exchange.connection]
    flow = HTTPFlow(client, server)
    first = _seconds(message.first)
    flow.timestamp_created = first
    flow.request = Request(
        host=exchange.host or "",
        port=exchange.port or 0,
        method=message.method.encode("latin-1", "replace"),
        scheme=(message.scheme or ("https" if client.tls else "http")).encode(),
        authority=_authority(message).encode("latin-1", "replace"),
        path=message.target.encode("latin-1", "replace"),
        http_version=message.version.encode(),
        headers=HeaderFields(_fields(message.headers)),
        content=message.body,
        trailers=None,
        timestamp_start=first,
        timestamp_end=_seconds(message.last),
    )
    if message.response is not None:
        flow.response = _response(message.response, message.version)
    flow.comment = message.lost or ""
    flow.metadata.update({"mutewatch.file": exchange.origin.file, "mutewatch.frame": exchange.origin.frame})
    return flow


def _authority(message: HttpMessage) -> str:
    """What the request line names: of CONNECT where to, of HTTP/2 the :authority."""
    if message.method == "CONNECT":
        return message.target
    return message.authority or "" if message.scheme else ""


def _response(response: Response, version: str) -> Any:
    from mitmproxy.http import Headers as HeaderFields
    from mitmproxy.http import Response as MitmResponse

    return MitmResponse(
        http_version=version.encode(),
        status_code=response.status or 0,
        reason=b"",
        headers=HeaderFields(_fields(response.headers)),
        content=response.body,
        trailers=None,
        timestamp_start=_seconds(response.first),
        timestamp_end=_seconds(response.last),
    )


def _ends(exchange: Exchange) -> tuple["Client", "Server"]:
    from mitmproxy.connection import Client, ConnectionState, Server

    at = exchange.sent_at.timestamp() if exchange.sent_at else 0.0
    client = Client(
        peername=(exchange.client or "", exchange.client_port or 0),
        sockname=("", 0),
        timestamp_start=at,
        state=ConnectionState.CLOSED,
    )
    client.tls = exchange.port not in _PLAIN_PORTS if exchange.is_tls is None else exchange.is_tls
    server = Server(address=(exchange.host or "", exchange.port or 0))
    server.timestamp_start = at
    server.state = ConnectionState.CLOSED
    return client, server


def _add_websocket(websockets: dict[str | None, "HTTPFlow"], exchange: Exchange, message: HttpMessage) -> None:
    from mitmproxy.websocket import WebSocketData, WebSocketMessage
    from wsproto.frame_protocol import Opcode

    flow = websockets.get(exchange.connection)
    if flow is None or message.body is None:
        return
    if flow.websocket is None:
        flow.websocket = WebSocketData()
    kind = Opcode.TEXT if message.is_text else Opcode.BINARY
    is_ours = message.side is Side.CLIENT
    flow.websocket.messages.append(WebSocketMessage(kind, is_ours, message.body, _seconds(message.last)))


def _fields(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in headers]


def _seconds(stamp: Stamp) -> float:
    return (stamp.time_ns or 0) / 1_000_000_000


def writer_for(path: Path) -> Any:
    """Return what writes the kind of file that `path` names, or None."""
    return WRITERS.get(path.suffix)
