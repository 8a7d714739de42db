"""The relay between proxy and server in the tests of the live door: what an upstream proxy would be."""

import contextlib
import selectors
import socket
import socketserver
import threading
from typing import Any


class Relay:
    """An HTTP proxy that answers CONNECT to any name and tunnels to one address. Keeps what was asked for, and headers.

    While it is `away`, it ends each connection without an answer.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.asked: list[str] = []
        self.headers: list[bytes] = []
        self._away = False
        self._tunnels: set[socket.socket] = set()
        relay = self

        class Tunnel(socketserver.StreamRequestHandler):
            disable_nagle_algorithm = True  # as in the onward socket: small messages must not wait for each other

            def handle(self) -> None:
                words = self.rfile.readline().split()
                while header := self.rfile.readline().strip():
                    relay.headers.append(header)
                relay.asked.append(words[1].decode())
                if relay.away:
                    return
                relay._tunnels.add(self.connection)
                try:
                    with socket.create_connection(target) as onward:
                        onward.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                        self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                        pump(self.connection, onward)
                finally:
                    relay._tunnels.discard(self.connection)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = allow_reuse_address = True
            request_queue_size = 128

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A tunnel that was cut is no news in these tests."""

        self.server = Server(("127.0.0.1", 0), Tunnel)
        self.port: int = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def away(self) -> bool:
        return self._away

    @away.setter
    def away(self, is_away: bool) -> None:
        """From now on; tunnels that stand are cut."""
        self._away = is_away
        for tunnel in list(self._tunnels) if is_away else ():
            with contextlib.suppress(OSError):  # ended by itself
                tunnel.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def pump(one: socket.socket, other: socket.socket) -> None:
    """Copy both ways until either side ends."""
    with selectors.DefaultSelector() as selector:  # not `select`, which ends at 1,024 descriptors
        selector.register(one, selectors.EVENT_READ, other)
        selector.register(other, selectors.EVENT_READ, one)
        while True:
            for ready, _ in selector.select():
                data = ready.fileobj.recv(65536)  # type: ignore[union-attr]
                if not data:
                    return
                ready.data.sendall(data)
