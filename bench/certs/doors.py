"""A running gateway before a server for every name, and ports of this machine that lead through it."""

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import trustme

from addons.launch import addon_path
from certs.clients import serve_with
from tests.live_relay import Relay, pump
from tests.live_support import Proxy


@contextlib.contextmanager
def stage(folder: Path, leaf_dir: Path | None = None) -> Iterator[Proxy]:
    """The addon as it ships in mitmdump, and behind it a server that says "accepted" under every name."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "upstream-ca.pem")
    pem = folder / "upstream.pem"
    authority.issue_cert("tsa3.webex.com").private_key_and_cert_chain_pem.write_to_path(pem)
    with serve_with(pem) as port:
        relay = Relay(("127.0.0.1", port))
        live = {"activity": False, "leaf_dir": leaf_dir}
        confdir = folder / "state" / "mitmproxy"
        proxy = Proxy(folder / "state", confdir, relay.port, folder / "upstream-ca.pem", addon_path(), live)
        try:
            with proxy.running():
                yield proxy
        finally:
            relay.close()


@contextlib.contextmanager
def led_through(proxy_port: int, host: str) -> Iterator[int]:
    """A port of this machine that leads to `host` through the proxy, for clients that are told of no proxy."""

    class Tunnel(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(("127.0.0.1", proxy_port)) as onward:
                onward.sendall(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n".encode())
                answer = b""
                while not answer.endswith(b"\r\n\r\n"):
                    answer += onward.recv(1)
                pump(self.request, onward)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = allow_reuse_address = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that refused a certificate is what this is for."""

    with Server(("127.0.0.1", 0), Tunnel) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()
