"""The apps through a real mitmdump, over sockets and TLS, by the script's clock."""

import os
import queue
import socket
import ssl
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.apps.app import Connection
from tests.apps.play import play
from tests.apps.script import at
from tests.live_relay import Relay
from tests.live_support import ROOT, SECONDS, Proxy
from tests.redact_scene import FarEnd

SCRIPT, CLOCK = Path(__file__).with_name("live_script.py"), Path(__file__).with_name("clock")


class OverSockets:
    """The client's end, before the proxy, and the server's, behind it."""

    def __init__(self, client: ssl.SSLSocket, arrivals: "queue.Queue[ssl.SSLSocket]") -> None:
        self._client, self._arrivals = client, arrivals
        self._server: ssl.SSLSocket | None = None  # until the proxy has come to the server, too

    def send(self, from_client: bool, data: bytes) -> None:
        self._end(from_client).sendall(data)

    def receive(self, at_client: bool) -> bytes:
        data = self._end(at_client).recv(65_536)
        assert data, "the proxy closed the connection"
        return data

    def close(self) -> None:
        self._client.close()

    def _end(self, is_client: bool) -> ssl.SSLSocket:
        if is_client:
            return self._client
        if self._server is None:
            self._server = self._arrivals.get(timeout=SECONDS)
        return self._server


@dataclass
class Stage:
    """A proxy, what is behind it, and the clock by which it lives."""

    proxy: Proxy
    clock: Path
    arrivals: "queue.Queue[ssl.SSLSocket]" = field(default_factory=queue.Queue)

    def set_clock(self, _connection: Connection | None, seconds: float) -> None:
        new = self.clock.with_suffix(".new")
        new.write_text(str(at(seconds).timestamp()), encoding="ascii")
        new.replace(self.clock)

    def restart(self) -> None:
        """Stop the proxy, and start it again with what it has kept."""
        assert self.proxy.stop() == 0
        self.proxy.start()
        self.proxy.wait_ready()

    def play(self, connections: Iterable[Connection]) -> None:
        play(connections, self._connect, self.set_clock)

    def _connect(self, connection: Connection) -> OverSockets:
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.settimeout(SECONDS)
        plain.bind(connection.client)
        plain.connect(("127.0.0.1", self.proxy.port))
        target = f"{connection.host}:443"
        plain.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += plain.recv(1)
        context = ssl.create_default_context(cafile=str(self.proxy.ca_file))
        return OverSockets(context.wrap_socket(plain, server_hostname=connection.host), self.arrivals)


@contextmanager
def stage(folder: Path, confdir: Path, hosts: Iterable[str], bare: list[str] | None = None) -> Iterator[Stage]:
    """A running proxy before a server of all `hosts`. `bare`: arguments of a mitmdump without our addon."""
    arrivals: queue.Queue[ssl.SSLSocket] = queue.Queue()
    is_over = threading.Event()

    def keep(tls: ssl.SSLSocket) -> None:
        tls.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        arrivals.put(tls)
        is_over.wait()

    with FarEnd(folder, answer=keep).running(*hosts) as far_end:
        relay = Relay(("127.0.0.1", far_end.port))
        clock = folder / "clock"
        path = os.pathsep.join((str(CLOCK), str(ROOT)))
        environment = {"PYTHONPATH": path, "APPS_CLOCK": str(clock)}
        proxy = Proxy(folder / "state", confdir, relay.port, far_end.authority, script=SCRIPT, environment=environment)
        proxy.live = {"record_timeout": SECONDS}  # of all that is said without a pause
        it = Stage(proxy, clock, arrivals)
        it.set_clock(None, 0)
        try:
            if bare is None:
                proxy.start()
            else:
                proxy.start_bare(bare)
            proxy.wait_ready()
            yield it
        finally:
            is_over.set()
            proxy.end()
            relay.close()
            print(proxy.text())  # shown by pytest where a test fails
