"""Real clients of the gateway, and what each of them saw: curl, Python, headless Chromium.

Run as `python -m tests.gateway_clients FOLDER WAY ADDRESS [PROXY]`, in the network of the clients; prints a JSON line
for each `Seen`. Every client trusts both CAs, the proxy's and the server's, so the leaf it was shown says whose
connection it was. ADDRESS is the server's, PROXY is host:port where the way has one that the client knows of.
"""

import hashlib
import http.client
import json
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import h2.connection
import h2.events

from bench.faults.kill_live import telemetry_body
from tests.client_chromium import Chromium, PageError, chromium
from tests.client_chromium import missing as missing_chromium
from tests.client_websocket import Payload, WebSocket, is_echoed

TELEMETRY = "tsa3.webex.com"
OTHERS = ("www.example.com", "evil-webex.com", "tsa3.webex.com.evil")  # and the server's address
PATH = "/metric/v1"
WEBSOCKET, ECHO = "websocket", "echo"
UNNAMED = ""  # in place of a host: the telemetry host, asked for without a name in the ClientHello
WAYS = ("upstream", "regular", "transparent", "wireguard")  # modes of mitmproxy
PAIRS = (
    ("curl", "http/1.1"),
    ("curl", "h2"),
    ("Python", "http/1.1"),
    ("Python", "h2"),
    ("Python", WEBSOCKET),
    ("Chromium", "http/1.1"),
    ("Chromium", "h2"),
    ("Chromium", WEBSOCKET),
)
PRIVATE = "nobody but the server may see this"  # in each body to a host that is none of ours
# The longest take many TLS records. Chromium sends the texts only.
PAYLOADS: list[Payload] = ["", "text", "\u00fc\U0001f600" * 1000, "x" * 300_000, b"", bytes(range(256)), bytes(300_000)]
SECONDS = 30.0


@dataclass
class Seen:
    """What one client saw of one host. `error` is "" and the rest is filled in, or the other way about."""

    client: str
    protocol: str
    host: str
    leaf: str = ""  # SHA-256
    spoke: str = ""
    status: int = 0
    answer: str = ""
    error: str = ""


def body_for(way: str, client: str, protocol: str, host: str) -> bytes:
    """A telemetry message as no other client of the matrix sends it; to other hosts, one with a secret too."""
    body = telemetry_body(PAIRS.index((client, protocol)), 1, WAYS.index(way))
    return body if host == TELEMETRY else json.dumps({"secret": PRIVATE, "to": host, "body": body.decode()}).encode()


def payloads_for(host: str) -> list[Payload]:
    """What is sent over a websocket: to other hosts, something secret too."""
    return PAYLOADS if host == TELEMETRY else [*PAYLOADS, PRIVATE]


def leaf_of(pem: str) -> str:
    """Return the SHA-256 of the first certificate in `pem`."""
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    first = begin + pem.partition(begin)[2].partition(end)[0] + end
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(first)).hexdigest()


def missing(client: str) -> str | None:
    """Which program that `client` needs is not installed here?"""
    if client == "Chromium":
        return missing_chromium()
    return "curl" if client == "curl" and shutil.which("curl") is None else None


@dataclass(frozen=True)
class Clients:
    """All clients of one way through the gateway."""

    folder: Path
    way: str
    address: str
    proxy: str | None
    authorities: Sequence[Path]

    def all(self) -> Iterator[Seen]:
        """Everything that can be tried with the programs that are there."""
        hosts = (TELEMETRY, *OTHERS, self.address)
        for client, ask in (("curl", self.curl), ("Python", self.python)):
            for _, protocol in (pair for pair in PAIRS if pair[0] == client and missing(client) is None):
                yield from (self._tried(ask, Seen(client, protocol, host)) for host in hosts)
        yield self._tried(self.python, Seen("Python", "http/1.1", UNNAMED))
        if missing("Chromium") is None:  # one browser for many pages
            yield from self.chromium(hosts, "http/1.1", "--disable-http2")
            yield from self.chromium(hosts, "h2")

    def _tried(self, ask: Callable[[Seen], None], seen: Seen) -> Seen:
        try:
            ask(seen)
        except (OSError, http.client.HTTPException, PageError, subprocess.CalledProcessError) as error:
            seen.error = f"{type(error).__name__}: {error}"
        return seen

    def curl(self, seen: Seen) -> None:
        body, flag = self.folder / "body", {"http/1.1": "--http1.1", "h2": "--http2"}[seen.protocol]
        body.write_bytes(body_for(self.way, seen.client, seen.protocol, seen.host))
        command = ["curl", "-sS", flag, "--max-time", str(SECONDS), "--cacert", str(self._bundle())]
        command += ["--proxy", f"http://{self.proxy}"] if self.proxy else ["--noproxy", "*"]
        command += ["--data-binary", f"@{body}", "-w", r"\n%{http_version} %{response_code}\n%{certs}"]
        told = subprocess.run([*command, f"https://{seen.host}{PATH}"], capture_output=True, text=True, check=False)
        if told.returncode:
            raise OSError(told.stderr.strip())
        seen.answer, line, chain = told.stdout.split("\n", 2)
        version, status = line.split()
        seen.spoke, seen.status = {"1.1": "http/1.1", "2": "h2"}[version], int(status)
        seen.leaf = leaf_of(chain)

    def python(self, seen: Seen) -> None:
        with self._connected(seen) as secure:
            seen.leaf = hashlib.sha256(secure.getpeercert(binary_form=True) or b"").hexdigest()
            seen.spoke = secure.selected_alpn_protocol() or ""
            if seen.protocol == WEBSOCKET:
                with WebSocket.connect(secure, seen.host, "/socket") as end:
                    seen.spoke, seen.answer = (
                        WEBSOCKET,
                        ECHO if is_echoed(end, payloads_for(seen.host)) else "not as it was",
                    )
                return
            body = body_for(self.way, seen.client, seen.protocol, seen.host)
            ask = _http2 if seen.protocol == "h2" else _http1
            seen.status, seen.answer = ask(secure, seen.host or TELEMETRY, body)

    def chromium(self, hosts: Sequence[str], protocol: str, *switches: str) -> Iterator[Seen]:
        """Fetch on a page of each host, and in a browser that may use HTTP/2 a websocket, too."""
        home = self.folder / f"chromium-{protocol.replace('/', '')}"
        home.mkdir()
        switches += (f"--proxy-server=http://{self.proxy}", "--proxy-bypass-list=<-loopback>") if self.proxy else ()
        with chromium(home, self.authorities, *switches) as browser:
            for host in hosts:
                yield self._tried(lambda seen: self._fetch(browser, seen), Seen("Chromium", protocol, host))
                if protocol == "h2":
                    yield self._tried(lambda seen: _echo(browser, seen), Seen("Chromium", WEBSOCKET, host))

    def _fetch(self, browser: Chromium, seen: Seen) -> None:
        browser.open(f"https://{seen.host}/")
        seen.leaf = browser.leaf(f"https://{seen.host}")
        body = body_for(self.way, seen.client, seen.protocol, seen.host).decode()
        found = browser.evaluate(f"post({json.dumps(PATH)}, {json.dumps(body)})")
        seen.spoke, seen.status, seen.answer = found["spoke"], found["status"], found["answer"]

    def _bundle(self) -> Path:
        bundle = self.folder / "both-ca.pem"
        if not bundle.exists():
            bundle.write_text("".join(ca.read_text() for ca in self.authorities))
        return bundle

    def _connected(self, seen: Seen) -> ssl.SSLSocket:
        context = ssl.create_default_context(cafile=str(self._bundle()))
        context.set_alpn_protocols(["h2"] if seen.protocol == "h2" else ["http/1.1"])
        context.check_hostname = bool(seen.host)
        plain = self._plain(seen.host or TELEMETRY)
        return context.wrap_socket(plain, server_hostname=seen.host or None)

    def _plain(self, host: str) -> socket.socket:
        if self.proxy is None:
            return socket.create_connection((host, 443), timeout=SECONDS)
        address, _, port = self.proxy.partition(":")
        plain = socket.create_connection((address, int(port)), timeout=SECONDS)
        plain.sendall(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n".encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            piece = plain.recv(1)
            if not piece:
                raise ConnectionError("the proxy ended")
            answer += piece
        if answer.split()[1] != b"200":
            raise ConnectionError(f"the proxy said {answer!r}")
        return plain


def _echo(browser: Chromium, seen: Seen) -> None:
    """On the page that is open. The leaf is the page's: the browser does not tell that of a websocket."""
    seen.leaf = browser.leaf(f"https://{seen.host}")
    payloads = [each for each in payloads_for(seen.host) if isinstance(each, str)]
    found = browser.evaluate(f"echo('/socket', {json.dumps(payloads)})")
    seen.spoke, seen.error = WEBSOCKET, found.get("error", "")
    seen.answer = ECHO if found.get("back") == payloads else "not as it was"


def _http1(secure: ssl.SSLSocket, host: str, body: bytes) -> tuple[int, str]:
    connection = http.client.HTTPConnection(host)
    connection.sock = secure
    connection.request("POST", PATH, body)
    with connection.getresponse() as response:
        return response.status, response.read().decode()


def _http2(secure: ssl.SSLSocket, host: str, body: bytes) -> tuple[int, str]:
    state, status, answer = h2.connection.H2Connection(), 0, b""
    state.initiate_connection()
    names = [(":method", "POST"), (":authority", host), (":scheme", "https"), (":path", PATH)]
    state.send_headers(1, [*names, ("content-length", str(len(body)))])
    state.send_data(1, body, end_stream=True)
    secure.sendall(state.data_to_send())
    while data := secure.recv(65536):
        for event in state.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                status = int(dict(event.headers)[b":status"])
            elif isinstance(event, h2.events.DataReceived):
                answer += event.data
            elif isinstance(event, h2.events.StreamEnded):
                return status, answer.decode()
        secure.sendall(state.data_to_send())
    raise ConnectionError("it ended before the answer did")


if __name__ == "__main__":
    where = Path(sys.argv[1])
    both = (where / "state" / "authority" / "root.pem", where / "upstream-ca.pem")
    clients = Clients(where, sys.argv[2], sys.argv[3], sys.argv[4] if len(sys.argv) > 4 else None, both)
    for one in clients.all():
        print(json.dumps(asdict(one)), flush=True)
