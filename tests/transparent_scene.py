"""A gateway of network namespaces for the test of the firewall rules: client - this one, with the proxy - server.

Run as `unshare -rn python -m tests.transparent_scene run FOLDER RULES PROXY...`; prints what the client saw, as JSON.
With `ask` in the place of `run`: what each TLS client on this machine says to the certificate that it is shown.
"""

import contextlib
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import trustme

from certs.clients import Trial, ask

SERVER, GATEWAY, CLIENT = "198.51.100.10", "10.9.0.1", "10.9.0.2"
SERVER6, GATEWAY6, CLIENT6 = "2001:db8::10", "fd00:9::1", "fd00:9::2"
HAS_IPV6 = Path("/proc/net/if_inet6").exists()  # of this machine's kernel
PROXY_PORT = 8080
CROWD = 300
LIMIT = 256  # of one client, by the rules


def sh(*words: str | int | Path) -> None:
    subprocess.run([str(word) for word in words], check=True)


def wait_until(claim: Callable[[], bool], what: str) -> None:
    for _ in range(400):
        if claim():
            return
        time.sleep(0.05)
    raise AssertionError(f"not within 20 s: {what}")


@contextlib.contextmanager
def child(*words: str | int | Path, inside: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is gone afterwards, in the network namespace of `inside`."""
    into = ["nsenter", "-t", str(inside), "-n"] if inside else []
    process = subprocess.Popen([*into, *(str(word) for word in words)], stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def host(link: str, gateway: str, address: str, six: tuple[str, str] | None = None) -> Iterator[int]:
    """A host on a cable of its own to the gateway; gives the id of a process on it. `six`: both addresses in IPv6."""
    with child("unshare", "-n", "sleep", 120) as process:
        here = Path("/proc/self/ns/net").readlink()
        wait_until(lambda: Path(f"/proc/{process.pid}/ns/net").readlink() != here, "a host")
        sh("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", process.pid)
        sh("ip", "address", "add", f"{gateway}/24", "dev", link)
        sh("ip", "link", "set", link, "up")
        there = ("nsenter", "-t", process.pid, "-n", "ip")
        sh(*there, "address", "add", f"{address}/24", "dev", "eth0")
        sh(*there, "link", "set", "eth0", "up")
        sh(*there, "route", "add", "default", "via", gateway)
        if six is not None and HAS_IPV6:
            sh("ip", "address", "add", f"{six[0]}/64", "dev", link, "nodad")
            sh(*there, "address", "add", f"{six[1]}/64", "dev", "eth0", "nodad")
            sh(*there, "route", "add", "default", "via", six[0])
        yield process.pid


def run(verb: str, folder: Path, rules: Path, proxy: list[str]) -> None:
    """Build it, load the rules as the operator would, and let the client do what `verb` says."""
    me = (sys.executable, "-m", "tests.transparent_scene")
    sh("ip", "link", "set", "lo", "up")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    if HAS_IPV6:
        Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")
    ca = trustme.CA()
    ca.cert_pem.write_to_path(folder / "upstream-ca.pem")
    ca.issue_cert("tsa3.webex.com", "www.example.com").private_key_and_cert_chain_pem.write_to_path(folder / "leaf.pem")
    with (
        host("c0", GATEWAY, CLIENT, (GATEWAY6, CLIENT6)) as client,
        host("s0", "198.51.100.1", SERVER, ("2001:db8::1", SERVER6)) as server,
    ):
        sh("nft", "-f", rules)
        sh("nft", "-f", rules)  # as after a change
        with child(*me, "serve", folder, inside=server), child(*proxy):
            wait_until(lambda: is_listening(PROXY_PORT), "the proxy listens")
            wait_until(lambda: is_open(SERVER, 443), "the server listens")
            sh("nsenter", "-t", client, "-n", *me, verb, folder)
        sh("nft", "delete", "table", "inet", "mutewatch")


def is_open(address: str, port: int) -> bool:
    """Does somebody listen there?"""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((address, port)) == 0


def is_listening(port: int, kind: str = "t") -> bool:
    """Does somebody listen on this host? `kind`: t for TCP, u for UDP.

    Asked so, because the rules refuse who connects straight.
    """
    told = subprocess.run(["ss", f"-Hln{kind}", f"sport = :{port}"], capture_output=True, check=True)
    return bool(told.stdout)


def serve(folder: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "leaf.pem")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"accepted")

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(204)
            self.end_headers()

    class Server(ThreadingHTTPServer):
        request_queue_size = 512

        def finish_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
            with context.wrap_socket(request, server_side=True) as wrapped:
                super().finish_request(wrapped, client_address)

        def handle_error(self, request: object, client_address: object) -> None:
            """A connection that was cut is no news here."""

    class Server6(Server):
        address_family = socket.AF_INET6

    if HAS_IPV6:
        threading.Thread(target=Server6((SERVER6, 443), Handler).serve_forever, daemon=True).start()
    Server((SERVER, 443), Handler).serve_forever()


def attempt(folder: Path) -> None:
    """What a client sees, as JSON on stdout."""
    proxy_ca = folder / "state" / "authority" / "root.pem"
    found = {
        "telemetry host, proxy's CA": post("tsa3.webex.com", proxy_ca),
        "telemetry host, server's CA": post("tsa3.webex.com", folder / "upstream-ca.pem"),
        "other host, server's CA": post("www.example.com", folder / "upstream-ca.pem"),
        "QUIC": datagram(),
        "straight to the proxy": connect(GATEWAY, PROXY_PORT),
        "connections at once": crowd(),
    }
    if HAS_IPV6:
        found |= {
            "telemetry host, proxy's CA, IPv6": post("tsa3.webex.com", proxy_ca, SERVER6),
            "other host, server's CA, IPv6": post("www.example.com", folder / "upstream-ca.pem", SERVER6),
            "QUIC, IPv6": datagram(socket.AF_INET6, SERVER6),
        }
    print(json.dumps(found))


def ask_clients(folder: Path) -> None:
    """What each TLS client says, as JSON on stdout."""
    trial = Trial("tsa3.webex.com", 443, folder / "state" / "authority" / "root.pem", folder, SERVER)
    print(json.dumps([asdict(answer) for answer in ask(trial)]))


def post(name: str, ca: Path, server: str = SERVER) -> str:
    context = ssl.create_default_context(cafile=str(ca))
    try:
        with (
            socket.create_connection((server, 443), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname=name) as secure,
        ):
            secure.sendall(b"POST /metric/v1 HTTP/1.1\r\nHost: %s\r\nContent-Length: 2\r\n\r\n{}" % name.encode())
            return secure.recv(64).split(b"\r\n")[0].decode().split()[1]
    except (OSError, IndexError) as error:
        return type(error).__name__


def datagram(family: socket.AddressFamily = socket.AF_INET, server: str = SERVER) -> str:
    with socket.socket(family, socket.SOCK_DGRAM) as udp:
        udp.settimeout(5)
        udp.connect((server, 443))
        udp.send(b"hello")
        try:
            udp.recv(1)
        except OSError as error:
            return type(error).__name__
    return "answered"


def connect(address: str, port: int) -> str:
    with socket.socket() as tcp:
        tcp.settimeout(5)
        try:
            tcp.connect((address, port))
        except OSError as error:
            return type(error).__name__
    return "connected"


def crowd() -> int:
    """Return how many of CROWD connections stand at once."""
    connections = [socket.socket() for _ in range(CROWD)]
    for each in connections:
        each.setblocking(False)
        each.connect_ex((SERVER, 443))
    time.sleep(4)  # a SYN that was dropped is sent again after 1 and 3 seconds
    for _ in range(8):  # a busy machine takes longer
        if standing(connections) >= LIMIT:
            break
        time.sleep(1)
    found = standing(connections)
    for each in connections:
        each.close()
    return found


def standing(connections: list[socket.socket]) -> int:
    """Return how many of them are connected."""
    count = 0
    for each in connections:
        with contextlib.suppress(OSError):
            each.getpeername()
            count += 1
    return count


if __name__ == "__main__":
    verb, where, *rest = sys.argv[1:]
    if verb in ("run", "ask"):
        run({"run": "try", "ask": "ask-here"}[verb], Path(where), Path(rest[0]), rest[1:])
    else:
        {"serve": serve, "try": attempt, "ask-here": ask_clients}[verb](Path(where))
