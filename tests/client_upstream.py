"""The server behind the gateway in the tests with real clients: HTTP/1.1, HTTP/2 and websockets over TLS.

Run as `python -m tests.client_upstream FOLDER ADDRESS PORT`, with its key and chain in FOLDER/leaf.pem. A POST is
answered 202 with the SHA-256 of its body, so that a client knows what arrived; a websocket gets back what it sent.
What came is in FOLDER/received.jsonl, a line for each request: host, protocol, method, path, sha256.
"""

import hashlib
import json
import socket
import ssl
import sys
import threading
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import h2.connection
import h2.events
from h2.config import H2Configuration

from tests.client_websocket import serve_echo

ANSWER = 202  # nothing between client and server would make it up
PAGE = """<!doctype html><link rel="icon" href="data:,"><title>page</title><script>
async function post(path, body) {
  const answer = await fetch(path, {method: "POST", body});
  const text = await answer.text();
  const entry = performance.getEntriesByName(new URL(path, location).href).pop();
  return {status: answer.status, answer: text, spoke: entry.nextHopProtocol};
}
function echo(path, messages) {
  return new Promise(done => {
    const socket = new WebSocket("wss://" + location.host + path), back = [];
    socket.onerror = () => done({error: "the websocket failed"});
    socket.onmessage = event => {
      back.push(event.data);
      if (back.length === messages.length) { socket.close(); done({back}); }
    };
    socket.onopen = () => messages.forEach(message => socket.send(message));
  });
}
</script>"""


@dataclass
class Received:
    """One request as the server got it."""

    host: str
    protocol: str
    method: str
    path: str
    sha256: str


class Log:
    """The requests, a line each, written before they are answered."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        path.touch()

    def add(self, host: str, protocol: str, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Keep one request; return the answer's status and body."""
        digest = hashlib.sha256(body).hexdigest()
        with self._lock, self._path.open("a") as file:
            file.write(json.dumps(asdict(Received(host, protocol, method, path, digest))) + "\n")
        return (ANSWER, digest.encode()) if method == "POST" else (200, PAGE.encode())


def read_log(folder: Path) -> list[Received]:
    return [Received(**json.loads(line)) for line in (folder / "received.jsonl").read_text().splitlines()]


def serve(folder: Path, address: str, port: int) -> None:
    """Serve until the process ends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "leaf.pem")
    context.set_alpn_protocols(["h2", "http/1.1"])
    log = Log(folder / "received.jsonl")

    class Handler(_Http1):
        requests = log

    class Server(ThreadingHTTPServer):
        def finish_request(self, request: Any, client_address: Any) -> None:
            with context.wrap_socket(request, server_side=True) as secure:
                if secure.selected_alpn_protocol() == "h2":
                    _Http2(secure, log).run()
                else:
                    Handler(secure, client_address, self)

        def handle_error(self, request: object, client_address: object) -> None:
            """A connection that was cut is no news here."""

    Server((address, port), Handler).serve_forever()


class _Http1(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    requests: Log

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        status, answer = self.requests.add(self.headers["Host"], "http/1.1", self.command, self.path, body)
        if self.headers.get("Upgrade", "").lower() == "websocket":
            serve_echo(self.connection, self.path, [(k.encode(), v.encode()) for k, v in self.headers.items()])
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        pass


@dataclass
class _Request:
    headers: dict[str, str]
    body: bytearray = field(default_factory=bytearray)


class _Http2:
    """One HTTP/2 connection."""

    def __init__(self, secure: socket.socket, log: Log) -> None:
        self._secure, self._log = secure, log
        self._state = h2.connection.H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self._open: dict[int, _Request] = {}

    def run(self) -> None:
        self._state.initiate_connection()
        self._secure.sendall(self._state.data_to_send())
        while data := self._secure.recv(65536):
            for event in self._state.receive_data(data):
                self._take(event)
            self._secure.sendall(self._state.data_to_send())

    def _take(self, event: object) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self._open[event.stream_id] = _Request(dict(event.headers))
        elif isinstance(event, h2.events.DataReceived):
            self._open[event.stream_id].body += event.data
            self._state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self._answer(event.stream_id, self._open.pop(event.stream_id))

    def _answer(self, stream: int, request: _Request) -> None:
        names = (":authority", ":method", ":path")
        host, method, path = (request.headers[name] for name in names)
        status, body = self._log.add(host, "h2", method, path, bytes(request.body))
        self._state.send_headers(stream, [(":status", str(status)), ("content-length", str(len(body)))])
        self._state.send_data(stream, body, end_stream=True)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
