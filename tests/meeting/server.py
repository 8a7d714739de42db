"""The far end of the meeting on loopback: a TLS server for HTTP/1.1 and HTTP/2, and a CONNECT proxy to it."""

import socket
import socketserver
import ssl
import threading
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import h2.config
import h2.connection
import h2.events
import h11
import trustme

from tests.meeting.script import LOCUS, METRICS, Message

TIMEOUT = 20  # seconds a socket may be silent before its thread gives up
HTTP2_HOSTS = (METRICS, LOCUS)


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it arrived."""

    method: str
    host: str
    path: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = field(default=(), compare=False)


class MeetingServer:
    """Answers each request as the script says. Use as a context manager."""

    def __init__(self, authority: trustme.CA, messages: Iterable[Message]) -> None:
        self.received: list[Received] = []
        self._answers: dict[Received, deque[tuple[int, bytes]]] = defaultdict(deque)
        hosts = set()
        for message in messages:
            key = Received(message.method, message.host, message.path, message.body)
            self._answers[key].append((message.status, message.answer))
            hosts.add(message.host)
        self._contexts = {host: self._context(authority, host) for host in hosts}

    def _context(self, authority: trustme.CA, host: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(host).configure_cert(context)
        context.set_alpn_protocols(["h2", "http/1.1"] if host in HTTP2_HOSTS else ["http/1.1"])
        return context

    @contextmanager
    def running(self) -> Iterator[int]:
        """Serve while the context lasts; gives the port."""
        with threaded(self._serve) as port:
            yield port

    def _serve(self, plain: socket.socket) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.sni_callback = self._choose
        with context.wrap_socket(plain, server_side=True) as tls:
            (serve_http2 if tls.selected_alpn_protocol() == "h2" else serve_http1)(tls, self._answer)

    def _choose(self, tls: ssl.SSLObject, host: str | None, _context: ssl.SSLContext) -> int | None:
        if host not in self._contexts:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        tls.context = self._contexts[host]
        return None

    def _answer(self, request: Received) -> tuple[int, bytes]:
        self.received.append(request)
        answers = self._answers.get(request)
        return answers.popleft() if answers else (404, b"not in the script")


def serve_http1(tls: ssl.SSLSocket, answer: Any) -> None:
    connection = h11.Connection(h11.SERVER)
    request, body = None, b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(tls.recv(65536))
        elif isinstance(event, h11.Request):
            request, body = event, b""
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage) and request is not None:
            fields = tuple((name.decode(), value.decode()) for name, value in request.headers)
            host = dict(fields)["host"]
            status, text = answer(Received(request.method.decode(), host, request.target.decode(), body, fields))
            headers = [("content-length", str(len(text))), ("content-type", "application/json")]
            tls.sendall(connection.send(h11.Response(status_code=status, headers=headers)) or b"")
            tls.sendall((connection.send(h11.Data(data=text)) or b"") + (connection.send(h11.EndOfMessage()) or b""))
            connection.start_next_cycle()
        else:
            return


def serve_http2(tls: ssl.SSLSocket, answer: Any) -> None:
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
    connection.initiate_connection()
    tls.sendall(connection.data_to_send())
    headers: dict[int, dict[str, str]] = {}
    bodies: dict[int, bytes] = defaultdict(bytes)
    while data := tls.recv(65536):
        for event in connection.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                headers[event.stream_id] = dict(event.headers)
            elif isinstance(event, h2.events.DataReceived):
                bodies[event.stream_id] += event.data
                connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                fields = headers[event.stream_id]
                where = (fields[":method"], fields[":authority"], fields[":path"])
                request = Received(*where, bodies[event.stream_id], tuple(fields.items()))
                status, text = answer(request)
                connection.send_headers(event.stream_id, [(":status", str(status)), ("content-length", str(len(text)))])
                connection.send_data(event.stream_id, text, end_stream=True)
        tls.sendall(connection.data_to_send())


@contextmanager
def connect_proxy(port: int) -> Iterator[int]:
    """An HTTP proxy on loopback that takes every CONNECT to `port`, whatever host it names; gives its own port."""

    def serve(client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            data = client.recv(65536)
            if not data:
                return
            head += data
        with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as upstream:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_pump, args=(upstream, client), daemon=True)
            back.start()
            _pump(client, upstream)
            back.join(TIMEOUT)

    with threaded(serve) as own_port:
        yield own_port


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


@contextmanager
def threaded(serve: Any) -> Iterator[int]:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.settimeout(TIMEOUT)
            try:
                serve(self.request)
            except (OSError, h11.RemoteProtocolError):
                return  # the other side went away

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True
        request_queue_size = 128

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join(TIMEOUT)
