"""What mitmproxy decides by the first bytes of a connection, whoever's it is, in bounded time and memory.

With `allow_hosts` it looks for a Host header and a ClientHello in what a client said so far, each time more comes. Seen
with 11.0.2 and 12.2.3, all connections of the proxy waiting meanwhile:

| what a client says first | without this | with it |
|---|---|---|
| `GET / HTTP/1.1`, `Host:` and 1,600 blanks | 20 s of CPU, eight times as much for twice the blanks | as any head |
| 64 KiB of letters | 5 s of CPU, each time | no HTTP |
| a head without a Host, or a ClientHello, without an end | is held, and looked through again and again | 64 KiB of it |
| a ClientHello that cannot be read | stands in the log as it came, in hex | its first bytes do |
| ... and more | AttributeError and a traceback in the log, at each piece | is let go |
"""

import re
from typing import Final

from mitmproxy.addons import next_layer
from mitmproxy.addons.next_layer import NeedsMoreData, NextLayer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers import tls
from mitmproxy.tls import ClientHello

MOST: Final = 64 << 10  # bytes by which it is decided; a ClientHello has one or two KiB
MOST_TOLD: Final = 200  # characters of an error
REQUEST: Final = re.compile(rb"[a-z]{3}[^\n]+?HTTP/", re.IGNORECASE)
HOST: Final = re.compile(rb"\r\n(?:Host:([^\r\n]*))?\r\n", re.IGNORECASE)  # or the end of the head

_parse_client_hello = tls.parse_client_hello
_on_handshake_error = tls.ClientTLSLayer.on_handshake_error


def bound() -> None:
    """Have it so, for good."""
    NextLayer._get_host_header = staticmethod(host_header)  # type: ignore[method-assign]
    next_layer.parse_client_hello = tls.parse_client_hello = client_hello  # type: ignore[attr-defined]
    tls.ClientTLSLayer.on_handshake_error = on_handshake_error  # type: ignore[method-assign]


def host_header(context: Context, data_client: bytes, data_server: bytes) -> str | None:
    """Return the Host of the request that begins so; None if there is none. Raises NeedsMoreData."""
    head = data_client[:MOST]
    if context.client.transport_protocol != "tcp" or data_server or not REQUEST.match(head):
        return None
    found = HOST.search(head)
    if found is None and len(data_client) <= MOST:
        raise NeedsMoreData
    host = found[1] if found else None
    return host.strip().decode("utf-8", "surrogateescape") or None if host else None


def client_hello(data: bytes) -> ClientHello | None:
    """Return the ClientHello that `data` is; None if more must come. ValueError if it is none, or too long."""
    found = _parse_client_hello(data)
    if found is None and len(data) > MOST:
        raise ValueError(f"more than {MOST} bytes")
    return found


def on_handshake_error(self: tls.ClientTLSLayer, err: str) -> CommandGenerator[None]:
    """Tell of it, not in full, and read no more."""
    self.receive_data = let_go  # type: ignore[assignment, method-assign]
    yield from _on_handshake_error(self, err[:MOST_TOLD])


def let_go(_data: bytes) -> CommandGenerator[None]:
    yield from ()
