"""Real processes and sockets for the tests of the live door: TLS upstream, CONNECT relay, proxy, client.

client --CONNECT, TLS--> mitmdump --CONNECT--> relay --> upstream (one TLS server for every name)
"""

import contextlib
import hashlib
import http.client
import json
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import trustme

from addons.launch import LaunchSettings, mitmdump_arguments
from addons.recorder import LiveSettings
from tests.live_recorder import HOSTS
from tests.live_relay import Relay

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "tests" / "live_script.py"
TELEMETRY = "tsa3.webex.com"
METRICS = "metrics-a.wbx2.com"
OTHER = "www.example.com"
SECONDS = 20.0  # a deadline for what takes well under one second on an idle machine


def wait_until(claim: Callable[[], bool], what: str, seconds: float = SECONDS) -> None:
    """Return once `claim()` holds; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not claim():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.01)


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@dataclass
class Received:
    """One request as the upstream server got it."""

    host: str
    path: str
    body: bytes


class Upstream:
    """A TLS server with a certificate for the names of the tests. `on_request` runs before it answers."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.ca_file = folder / "upstream-ca.pem"
        authority.cert_pem.write_to_path(self.ca_file)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(TELEMETRY, OTHER, METRICS, "locus-a.wbx2.com").configure_cert(self.context)
        self.received: list[Received] = []
        self.beginnings = self.in_progress = 0  # requests of which at least the headers came; those not done with
        self.cut_short = 0  # requests whose sender ended before their body did
        self.on_request: Callable[[Received], None] = lambda _request: None
        self.answer = 204
        self.server = _TlsServer(("127.0.0.1", 0), _handler(self))
        self.server.context = self.context
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def address(self) -> tuple[str, int]:
        return ("127.0.0.1", self.server.server_address[1])

    @property
    def hashes(self) -> list[str]:
        return [sha256(request.body) for request in self.received]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class _TlsServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    context: ssl.SSLContext

    def finish_request(self, request: Any, client_address: Any) -> None:
        with self.context.wrap_socket(request, server_side=True) as wrapped:  # on the connection's own thread
            super().finish_request(wrapped, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that was cut is no news in these tests."""


def _handler(upstream: Upstream) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            upstream.beginnings += 1
            upstream.in_progress += 1
            try:
                self._take()
            finally:
                upstream.in_progress -= 1

        def _take(self) -> None:
            body = self._read_body()
            request = Received(self.headers.get("Host", ""), self.path, body)
            upstream.on_request(request)
            upstream.received.append(request)
            self.send_response(upstream.answer)
            if upstream.answer != 204:
                self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST  # noqa: N815

        def _read_body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                length = int(self.headers.get("Content-Length", "0"))
                body = self.rfile.read(length)
                if len(body) < length:
                    upstream.cut_short += 1
                    raise ConnectionResetError("the sender ended within a body")
                return body
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def free_port() -> int:
    """A port that is free, and below those that Linux gives to connections (32,768 on): it is used a little later."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@dataclass
class Proxy:
    """A real mitmdump with our addon, and a client's view of it."""

    state: Path
    confdir: Path
    relay_port: int
    upstream_ca: Path
    script: Path = SCRIPT
    live: dict[str, Any] = field(default_factory=dict)  # LiveSettings
    extra: Sequence[str] = ()
    environment: dict[str, str] = field(default_factory=dict)
    hosts: Sequence[str] | None = None  # of `allow_hosts`; default: those of the tests' script, or the signatures'
    mode: str | None = None  # default: upstream, through the relay
    raw: Sequence[str] = ()  # arguments of mitmdump that our own checks do not see
    program: Sequence[str] = (str(Path(sys.executable).with_name("mitmdump")),)
    umask: int = -1  # of the process; -1: ours
    is_bare: bool = False  # without our addon, and with the CA that mitmproxy makes

    def start(self) -> None:
        self.port = free_port()
        settings = LaunchSettings(
            LiveSettings(self.state, **self.live),
            listen_port=self.port,
            mode=self.mode or f"upstream:http://127.0.0.1:{self.relay_port}",
            confdir=self.confdir,
            extra=(f"ssl_verify_upstream_trusted_ca={self.upstream_ca}", *self.extra),
        )
        hosts = self.hosts or (HOSTS if self.script.resolve() == SCRIPT else None)
        self._run([*mitmdump_arguments(settings, hosts=hosts, script=self.script), *self.raw])

    @contextmanager
    def running(self) -> "Iterator[Proxy]":
        """Started, and gone afterwards."""
        self.start()
        try:
            self.wait_ready()
            yield self
        finally:
            self.end()

    def start_bare(self, arguments: Sequence[str]) -> None:
        """Start mitmdump without the addon, as quiet as ours."""
        self.is_bare = True
        self.port = free_port()
        onward = ["--mode", f"upstream:http://127.0.0.1:{self.relay_port}"]
        where = ["--listen-host", "127.0.0.1", "--listen-port", str(self.port)]
        quiet = ["-q", "--set=flow_detail=0", f"--set=confdir={self.confdir}"]
        self._run([*onward, *where, *quiet, f"--set=ssl_verify_upstream_trusted_ca={self.upstream_ca}", *arguments])

    def start_command(self, settings: str, *options: str) -> None:
        """Start `mutewatch live` as an operator does, with `settings` (TOML) in a file beside the state directory."""
        self.port = free_port()
        self.program = (sys.executable, "-m", "mutewatch")
        self.settings_file.write_text(settings)
        onward = ("--mode", f"upstream:http://127.0.0.1:{self.relay_port}", "--listen-port", str(self.port))
        trusting = ("--set", f"ssl_verify_upstream_trusted_ca={self.upstream_ca}", "--state", str(self.state))
        self._run(["live", "--config", str(self.settings_file), *onward, *trusting, *options])

    @property
    def settings_file(self) -> Path:
        return self.state.parent / "mutewatch.toml"

    def _run(self, arguments: Sequence[str]) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **self.environment}
        self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.output = (self.state.parent / f"{self.state.name}.out").open("ab")
        self.process = subprocess.Popen(
            [*self.program, *arguments],
            env=environment,
            umask=self.umask,
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=subprocess.STDOUT,
        )

    def wait_ready(self, seconds: float = SECONDS) -> None:
        wait_until(self._answers, "the proxy listens", seconds)

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"the proxy ended with {self.process.returncode}:\n{self.text()}")
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def text(self) -> str:
        """What the proxy printed."""
        return Path(self.output.name).read_text(errors="replace")

    def status(self) -> dict[str, int]:
        """The counters as last written (at most a second ago); empty before the first."""
        try:
            found: dict[str, int] = json.loads((self.state / "live_status.json").read_text())
        except FileNotFoundError:
            return {}
        return found

    def wait_status(self, **wanted: int) -> dict[str, int]:
        """Return the counters once all `wanted` are reached exactly."""
        wait_until(
            lambda: all(self.status().get(name) == value for name, value in wanted.items()),
            f"{wanted} in {self.status()}",
        )
        return self.status()

    def stop(self, how: signal.Signals = signal.SIGTERM, seconds: float = SECONDS) -> int:
        self.process.send_signal(how)
        try:
            return self.process.wait(seconds)
        finally:
            self.end()

    def end(self) -> None:
        """Leave no process behind, whatever happened."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.output.close()

    @property
    def ca_file(self) -> Path:
        return self.confdir / "mitmproxy-ca-cert.pem" if self.is_bare else self.state / "authority" / "root.pem"

    def connect(
        self, host: str, trusting: Path | None = None, *, server_name: str | None = None
    ) -> http.client.HTTPSConnection:
        """A client of `host` through the proxy that trusts one CA: the proxy's, unless told otherwise.

        `server_name`: another name in the ClientHello than in the CONNECT.
        """
        context = ssl.create_default_context(cafile=str(trusting or self.ca_file))
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=SECONDS, context=context)
        connection.set_tunnel(host, 443)
        if server_name is not None:
            connection.sock = self.tunnel(host, server_name, context)
        return connection

    def tunnel(self, host: str, server_name: str, context: ssl.SSLContext) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS)
        plain.sendall(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n".encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += plain.recv(1)
        return context.wrap_socket(plain, server_hostname=server_name)

    def post(
        self,
        host: str,
        body: bytes,
        *,
        trusting: Path | None = None,
        path: str = "/metrics",
        chunked: bool = False,
    ) -> int:
        """Return the status of one POST on a connection of its own."""
        connection = self.connect(host, trusting)
        try:
            if chunked:
                connection.request("POST", path, body=iter([body]), encode_chunked=True)
            else:
                connection.request("POST", path, body=body)
            response = connection.getresponse()
            response.read()
            return response.status
        finally:
            connection.close()


@dataclass
class Scene:
    """Upstream and relay, and proxies made to measure."""

    folder: Path
    confdir: Path
    upstream: Upstream
    relay: Relay

    def make(self, **choices: Any) -> Proxy:
        """A proxy that is not started yet. `choices`: fields of `Proxy`."""
        return Proxy(self.folder / "state", self.confdir, self.relay.port, self.upstream.ca_file, **choices)

    @contextmanager
    def proxy(self, **choices: Any) -> Iterator[Proxy]:
        """A running proxy that is gone afterwards. `choices`: fields of `Proxy`."""
        proxy = self.make(**choices)
        try:
            with proxy.running():
                yield proxy
        finally:
            print(proxy.text())  # shown by pytest where a test fails


@contextmanager
def scene(folder: Path, confdir: Path) -> Iterator[Scene]:
    """Upstream and relay for one test; `confdir` keeps the proxy's CA, which takes a while to make."""
    upstream = Upstream(folder)
    relay = Relay(upstream.address)
    try:
        yield Scene(folder, confdir, upstream, relay)
    finally:
        relay.close()
        upstream.close()
