"""The Webex-like client: real TLS 1.3, HTTP/1.1 for telemetry and HTTP/2 for the rest, one message after another."""

import socket
import ssl
from collections.abc import Callable, Iterable
from typing import Protocol

import h2.config
import h2.connection
import h2.events
import h11

from tests.meeting.script import Message

TIMEOUT = 20
Tap = Callable[[bool, bytes], None]  # (from the client?, bytes on the wire)


class Connect(Protocol):
    """Opens a plain connection that leads to port 443 of `host`."""

    def __call__(self, host: str) -> socket.socket: ...


def connect_directly(port: int) -> Connect:
    """To the meeting's server on loopback, whatever the host."""
    return lambda _host: socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)


def connect_through(proxy_port: int) -> Connect:
    """By CONNECT through the proxy on loopback."""

    def connect(host: str) -> socket.socket:
        plain = socket.create_connection(("127.0.0.1", proxy_port), timeout=TIMEOUT)
        plain.sendall(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            data = plain.recv(65536)
            if not data:
                raise ConnectionError(f"the proxy closed the connection to {host}")
            head += data
        if b" 200 " not in head.split(b"\r\n")[0]:
            raise ConnectionError(f"the proxy refused {host}: {head[:60]!r}")
        return plain

    return connect


class Tls:
    """A TLS connection whose ciphertext can be tapped; offers HTTP/2 and HTTP/1.1."""

    def __init__(self, plain: socket.socket, context: ssl.SSLContext, host: str, tap: Tap) -> None:
        self._plain, self._tap = plain, tap
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._in, self._out, server_hostname=host)
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush()
                self._fill()
        self._flush()

    def sendall(self, data: bytes) -> None:
        self.tls.write(data)
        self._flush()

    def recv(self) -> bytes:
        while True:
            try:
                return self.tls.read(65536)
            except ssl.SSLWantReadError:
                self._fill()
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""

    def close(self) -> None:
        self._plain.close()

    def _flush(self) -> None:
        if data := self._out.read():
            self._tap(True, data)
            self._plain.sendall(data)

    def _fill(self) -> None:
        data = self._plain.recv(65536)
        if data:
            self._tap(False, data)
            self._in.write(data)
        else:
            self._in.write_eof()


class Http1:
    def __init__(self, tls: Tls) -> None:
        self._tls, self._connection = tls, h11.Connection(h11.CLIENT)

    def send(self, message: Message) -> int:
        """Send the request; return the status of its response."""
        connection = self._connection
        if connection.our_state is h11.DONE:
            connection.start_next_cycle()
        headers = [("host", message.host), ("content-length", str(len(message.body)))]
        if message.body:
            headers.append(("content-type", "application/json"))
        request = h11.Request(method=message.method, target=message.path, headers=headers)
        parts = [connection.send(event) for event in (request, h11.Data(data=message.body), h11.EndOfMessage())]
        self._tls.sendall(b"".join(part or b"" for part in parts))
        status = 0
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(self._tls.recv())
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.EndOfMessage):
                return status
            elif isinstance(event, h11.ConnectionClosed):
                raise ConnectionError("the server closed the connection before it answered")


class Http2:
    def __init__(self, tls: Tls) -> None:
        self._tls = tls
        self._connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self._connection.initiate_connection()
        tls.sendall(self._connection.data_to_send())

    def send(self, message: Message) -> int:
        """Send the request; return the status of its response."""
        connection, stream = self._connection, self._connection.get_next_available_stream_id()
        pseudo = [(":method", message.method), (":scheme", "https"), (":authority", message.host)]
        headers = [*pseudo, (":path", message.path), ("content-type", "application/json")]
        connection.send_headers(stream, headers, end_stream=not message.body)
        if message.body:
            connection.send_data(stream, message.body, end_stream=True)
        self._tls.sendall(connection.data_to_send())
        status = 0
        while True:
            data = self._tls.recv()
            if not data:
                raise ConnectionError("the server closed the connection before it answered")
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    status = int(dict(event.headers)[":status"])
                elif isinstance(event, h2.events.StreamEnded):
                    self._tls.sendall(connection.data_to_send())
                    return status


def client_context(authority: str) -> ssl.SSLContext:
    """A context that trusts the certificate file `authority` alone and speaks TLS 1.3."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(authority)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


def play(
    messages: Iterable[Message],
    connect: Connect,
    context_for: Callable[[str], ssl.SSLContext],
    before_each: Callable[[Message], None] = lambda _message: None,
    tap_for: Callable[[str], Tap] = lambda _host: lambda _is_ours, _data: None,
) -> list[int]:
    """Send every message, over one connection a host; return the statuses."""
    open_to: dict[str, Http1 | Http2] = {}
    connections: list[Tls] = []
    statuses = []
    try:
        for message in messages:
            before_each(message)
            if message.host not in open_to:
                tls = Tls(connect(message.host), context_for(message.host), message.host, tap_for(message.host))
                connections.append(tls)
                is_http2 = tls.tls.selected_alpn_protocol() == "h2"
                open_to[message.host] = Http2(tls) if is_http2 else Http1(tls)
            statuses.append(open_to[message.host].send(message))
    finally:
        for tls in connections:
            tls.close()
    return statuses
