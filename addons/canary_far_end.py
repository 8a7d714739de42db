"""The canary's far end: a real TLS server on loopback that keeps what arrives, instead of the vendor's.

Its certificate is made for the run and never leaves memory but for a moment's file that only its owner can read
(Python's ssl loads keys from files only). Before TLS it also takes a CONNECT, since a gateway in upstream mode
would ask its next proxy that way.
"""

import http.server
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ANSWER = 204
STALL_SECONDS = 10.0  # between two pieces of a message
BODY_BYTES = 1 << 20  # a canary's message is about one thousand


@dataclass(frozen=True, slots=True)
class Arrived:
    """One message as the vendor would have got it."""

    host: str
    method: str
    path: str
    body: bytes
    content_encoding: str | None


class FarEnd:
    """Listens on a port of 127.0.0.1. `on_arrival` runs before a message is answered."""

    def __init__(self, hosts: Iterable[str], on_arrival: Callable[[Arrived], None]) -> None:
        self.arrived: list[Arrived] = []
        self.handshakes = 0  # TLS connections that were accepted on both sides
        self.refusals = 0  # clients that did not finish the handshake
        self._on_arrival = on_arrival
        self.context, self.fingerprint = _throw_away(sorted(set(hosts)))
        self._server = _Server(self)
        self.port: int = self._server.server_address[1]

    def keep(self, message: Arrived) -> None:
        self._on_arrival(message)
        self.arrived.append(message)

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._server.shutdown()
            self._server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, far_end: FarEnd) -> None:
        self.far_end = far_end
        super().__init__(("127.0.0.1", 0), _Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        request.settimeout(STALL_SECONDS)
        _take_connect(request)
        try:
            wrapped = self.far_end.context.wrap_socket(request, server_side=True)
        except OSError:
            self.far_end.refusals += 1
            raise
        self.far_end.handshakes += 1
        with wrapped:
            super().finish_request(wrapped, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that ends early is told by what did not arrive."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        body = self.rfile.read(min(length, BODY_BYTES))
        encoding = self.headers.get("Content-Encoding")
        self.server.far_end.keep(Arrived(self.headers.get("Host", ""), self.command, self.path, body, encoding))
        self.send_response(ANSWER)
        self.end_headers()

    do_PUT = do_PATCH = do_POST  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: what arrived is in `arrived`."""


def _take_connect(plain: socket.socket) -> None:
    """Answer a CONNECT, if that is what comes first."""
    if plain.recv(1, socket.MSG_PEEK) != b"C":  # a TLS record begins with 0x16
        return
    head = b""
    while not head.endswith(b"\r\n\r\n") and len(head) < 8192:
        piece = plain.recv(1)
        if not piece:
            raise ConnectionResetError("ended within CONNECT")
        head += piece
    plain.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")


def _throw_away(hosts: list[str]) -> tuple[ssl.SSLContext, str]:
    """Return a server's context with a certificate of its own for `hosts`, and that certificate's SHA-256."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mutewatch canary")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
    names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
    certificate = builder.add_extension(names, critical=False).sign(key, SHA256())
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:  # mode 0700
        pem = Path(folder) / "far-end.pem"
        pem.write_bytes(secret + certificate.public_bytes(serialization.Encoding.PEM))
        context.load_cert_chain(pem)
    return context, certificate.fingerprint(SHA256()).hex()
