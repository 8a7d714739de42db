"""The scene in which real bodies are redacted: a server that keeps what it gets, its key log, a capture, clients.

Nothing here knows how the proxy redacts. The server speaks HTTP/1.1 and HTTP/2, as its client asks for.
"""

import gzip
import http.client
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from uuid import uuid4

import h2.config
import h2.connection
import h2.events
import trustme

from addons.launch import addon_path
from mutewatch.mitigate import Policies, Policy
from tests.live_relay import Relay
from tests.live_support import TELEMETRY, Proxy, wait_until
from tests.meeting.client import Tls, client_context, connect_through
from tests.meeting.server import Received, serve_http1, serve_http2, threaded

WAYS = ("plain", "gzip", "chunked", "h2")
CLIENTS = 4  # threads, each with a connection for HTTP/1.1 and one for HTTP/2
MARKS = 9  # UDP port "discard": what is sent there only marks a capture
CHUNK = 700  # bytes; no real body fits into one
PATH = "/metric/v1?appid=A&sitename=ann.webex.example&test="


@dataclass(frozen=True, slots=True)
class Sending:
    """One body on its way: what `name` says can be read in the URL when it arrives."""

    name: str
    body: bytes
    way: str
    content_encoding: str | None = None
    path: str = PATH
    authority: str = TELEMETRY  # of HTTP/2


def on_the_wire(sending: Sending) -> bytes:
    """Return the body as the client sends it, without what HTTP puts around it."""
    return gzip.compress(sending.body, mtime=0) if sending.way == "gzip" else sending.body


def sendings(bodies: Sequence[bytes], ways: Sequence[str], *, all_ways: bool) -> list[Sending]:
    """Return each body in each way, or each in one way after the other."""
    turns = cycle(ways)
    pairs = [(number, way) for number in range(len(bodies)) for way in (ways if all_ways else (next(turns),))]
    return [Sending(f"{number}-{way}", bodies[number], way) for number, way in pairs]


@dataclass(slots=True)
class FarEnd:
    """What a vendor's server would have got, and how its TLS can be opened."""

    folder: Path
    answer: Callable[[ssl.SSLSocket], None] | None = None  # to connections; default: HTTP/1.1 and HTTP/2
    received: list[Received] = field(default_factory=list)
    port: int = 0

    @property
    def authority(self) -> Path:
        return self.folder / "far-ca.pem"

    @property
    def keylog(self) -> Path:
        return self.folder / "far-keys.log"

    def by_name(self) -> dict[str, Received]:
        """Return what arrived by the name of its sending; no name has come twice."""
        found = {request.path.partition("test=")[2]: request for request in self.received}
        assert len(found) == len(self.received)
        return found

    @contextmanager
    def running(self, *hosts: str) -> Iterator["FarEnd"]:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.authority))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*hosts).configure_cert(context)
        context.set_alpn_protocols(["h2", "http/1.1"] if self.answer is None else ["http/1.1"])
        context.keylog_filename = str(self.keylog)

        def serve(plain: socket.socket) -> None:
            with context.wrap_socket(plain, server_side=True) as tls:
                if self.answer is not None:
                    self.answer(tls)
                    return
                (serve_http2 if tls.selected_alpn_protocol() == "h2" else serve_http1)(tls, self._answer)

        with threaded(serve) as self.port:
            yield self

    def _answer(self, request: Received) -> tuple[int, bytes]:
        self.received.append(request)
        return 200, b"{}"


class Client:
    """Sends through the proxy, over connections that stay open."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._http1: http.client.HTTPSConnection | None = None
        self._tls: Tls | None = None
        self._http2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))

    def send(self, sending: Sending) -> int:
        """Return the status of the answer."""
        headers = {"Content-Encoding": sending.content_encoding} if sending.content_encoding else {}
        if sending.way == "h2":
            return self._send_http2(sending.authority, sending.path + sending.name, sending.body, headers)
        body = on_the_wire(sending)
        if sending.way == "gzip":
            headers = {"Content-Encoding": "gzip"}
        if self._http1 is None:
            self._http1 = self._proxy.connect(TELEMETRY)
        if sending.way == "chunked":
            parts = iter([body[start : start + CHUNK] for start in range(0, len(body), CHUNK)])
            self._http1.request("POST", sending.path + sending.name, parts, headers, encode_chunked=True)
        else:
            self._http1.request("POST", sending.path + sending.name, body, headers)
        with self._http1.getresponse() as response:
            response.read()
            return response.status

    def _send_http2(self, authority: str, path: str, body: bytes, more: dict[str, str]) -> int:
        connection, tls = self._http2, self._opened()
        stream = connection.get_next_available_stream_id()
        head = [(":method", "POST"), (":scheme", "https"), (":authority", authority), (":path", path)]
        connection.send_headers(stream, [*head, *((key.lower(), value) for key, value in more.items())])
        for start in range(0, len(body), CHUNK):
            connection.send_data(stream, body[start : start + CHUNK])
        connection.end_stream(stream)
        tls.sendall(connection.data_to_send())
        status = 0
        while True:
            for event in connection.receive_data(tls.recv()):
                if isinstance(event, h2.events.ResponseReceived):
                    status = int(dict(event.headers)[":status"])
                elif isinstance(event, h2.events.DataReceived):
                    connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    tls.sendall(connection.data_to_send())
                    return status
                elif isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
                    raise ConnectionError(f"{path}: {event}")

    def _opened(self) -> Tls:
        if self._tls is None:
            plain = connect_through(self._proxy.port)(TELEMETRY)
            context = client_context(str(self._proxy.ca_file))
            self._tls = Tls(plain, context, TELEMETRY, lambda _is_ours, _data: None)
            assert self._tls.tls.selected_alpn_protocol() == "h2"
            self._http2.initiate_connection()
            self._tls.sendall(self._http2.data_to_send())
        return self._tls

    def close(self) -> None:
        for connection in (self._http1, self._tls):
            if connection is not None:
                connection.close()


def send_all(proxy: Proxy, sent: Sequence[Sending]) -> dict[str, int]:
    """Send everything, by several clients at once; return the status of each by its name."""

    def work(share: Sequence[Sending]) -> dict[str, int]:
        client = Client(proxy)
        try:
            return {sending.name: client.send(sending) for sending in share}
        finally:
            client.close()

    with ThreadPoolExecutor(CLIENTS) as pool:
        shares = pool.map(work, [sent[number::CLIENTS] for number in range(CLIENTS)])
        return {name: status for share in shares for name, status in share.items()}


@contextmanager
def redacting(
    folder: Path,
    confdir: Path,
    policy: Policy,
    assume: str = "",
    answer: Callable[[ssl.SSLSocket], None] | None = None,
    environment: dict[str, str] | None = None,
) -> Iterator[tuple[Proxy, FarEnd]]:
    """A running proxy with this policy for all, as it ships, and the server behind it."""
    live = {"activity": False, "policies": Policies(policy), "assume": assume, "record_timeout": 20.0}
    with FarEnd(folder, answer).running(TELEMETRY) as far_end:
        relay = Relay(("127.0.0.1", far_end.port))
        proxy = Proxy(folder / "state", confdir, relay.port, far_end.authority, script=addon_path(), live=live)
        proxy.environment = environment or {}
        proxy.start()
        try:
            proxy.wait_ready()
            yield proxy, far_end
        finally:
            proxy.end()
            relay.close()
            print(proxy.text())  # shown by pytest where a test fails


class Capture:
    """Every packet from and to one TCP port of this machine, by dumpcap."""

    def __init__(self, path: Path, port: int) -> None:
        self.path, self._port = path, port

    @contextmanager
    def running(self) -> Iterator[None]:
        """Capture what is sent meanwhile; nothing that was is missing afterwards."""
        command = [
            "dumpcap",
            "-q",
            "-i",
            "lo",
            "-B",
            "16",
            "-f",
            f"tcp port {self._port} or udp port {MARKS}",
            "-w",
            str(self.path),
        ]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            self._wait_for_a_mark()
            yield
            self._wait_for_a_mark()
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(20)

    def _wait_for_a_mark(self) -> None:
        """Return once a packet that is sent now is in the file."""
        mark = uuid4().bytes

        def is_there() -> bool:
            with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
                plain.sendto(mark, ("127.0.0.1", MARKS))
            return self.path.is_file() and mark in self.path.read_bytes()

        wait_until(is_there, "the capture runs")


def why_not_captured() -> str | None:
    """Return why packets cannot be captured here; None if they can."""
    if shutil.which("dumpcap") is None:
        return "dumpcap is not installed"
    tried = subprocess.run(["dumpcap", "-q", "-i", "lo", "-a", "packets:1", "-a", "duration:1", "-w", "/dev/null"],
                           capture_output=True, text=True, check=False)  # fmt: skip
    return None if tried.returncode == 0 else f"dumpcap may not capture here: {tried.stderr.strip().splitlines()[-1]}"
