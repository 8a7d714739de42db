"""The canary's way through the gateway: bind, leave a ticket, CONNECT, TLS, one message. As any client would.

Each step that fails raises `PathError` with the reason in words; nothing is sent before the gateway has taken
the ticket, so that a gateway which does not know canaries sends nothing to a vendor.
"""

import base64
import html
import http.client
import re
import socket
import ssl
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from addons.canary_far_end import FarEnd
from addons.canary_ticket import TICKET_SECONDS, Ticket, write_ticket
from mutewatch.canary import CanaryMessage
from mutewatch.decode import shorten
from mutewatch.errors import OperatorError

SECONDS = 20.0  # for each step; the gateway may hold a message for as long as its record timeout
HEAD_BYTES = 8192
UNREACHED = 502  # what mitmproxy answers where it has no connection to the server
OUT_OF_TIME = (9, 10)  # X509_V_ERR_CERT_NOT_YET_VALID, ..._HAS_EXPIRED
REFUSAL_SECONDS = 2.0  # for the far end to learn, over loopback, what became of a handshake


class PathError(Exception):
    """A step of the way that did not hold. `check` names it."""

    def __init__(self, check: str, reason: str) -> None:
        self.check, self.reason = check, reason
        super().__init__(reason)


def check_mode(mode: str) -> None:
    """Raise OperatorError for a mode in which the gateway takes no CONNECT."""
    if mode != "regular" and not mode.startswith("upstream:"):
        raise OperatorError(
            f"a canary goes through a gateway in mode regular or upstream, not {mode}: write canary.stale_after = 0"
        )


@dataclass(frozen=True, slots=True)
class Gateway:
    """Where the proxy is, and the one CA that its clients trust."""

    host: str
    port: int
    authorization: str | None  # of the proxy
    authority: Path
    state: Path

    def post(self, message: CanaryMessage, far_end: FarEnd) -> int:
        """Send `message` on a connection of its own; return the status of the answer. PathError if a step fails."""
        context = self._context()
        with closing(self._bound()) as plain:
            self._connect_with_ticket(plain, message.host, far_end)
            with self._handshake(plain, context, message.host, far_end) as secure:
                return _exchange(secure, message)

    def _connect_with_ticket(self, plain: socket.socket, host: str, far_end: FarEnd) -> None:
        """CONNECT, after which the ticket must be gone."""
        client, expires_at = plain.getsockname(), time.time() + TICKET_SECONDS
        ticket = Ticket(client[0], client[1], host, far_end.port, far_end.fingerprint, expires_at)
        try:
            path = write_ticket(self.state, ticket)
        except OSError as error:
            reason = f"no ticket can be written into {self.state}: {error.strerror}"
            raise PathError("led to the far end", reason) from None
        try:
            self._connect(plain, host)
            if path.exists():
                reason = (
                    f"the proxy did not take the canary's ticket: no mutewatch with the state directory {self.state} "
                    "is behind it, or it runs as another user; nothing was sent"
                )
                raise PathError("led to the far end", reason)
        finally:
            path.unlink(missing_ok=True)

    def _context(self) -> ssl.SSLContext:
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(self.authority)
        except (OSError, ssl.SSLError) as error:
            raise PathError("opened by the gateway", f"no CA can be read from {self.authority}: {error}") from None
        return context

    def _bound(self) -> socket.socket:
        """A socket with an address and a port already, which only works on the proxy's own machine."""
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0]
        except OSError as error:
            raise PathError("reached", f"{self.host}: {error.strerror}") from None
        plain = socket.socket(family, kind, protocol)
        plain.settimeout(SECONDS)
        try:
            plain.bind((address[0], 0))
        except OSError:
            plain.close()
            raise PathError("reached", f"{self.host} is not this machine: a canary runs beside its proxy") from None
        return plain

    def _connect(self, plain: socket.socket, host: str) -> None:
        try:
            plain.connect((self.host, self.port))
        except OSError as error:
            reason = f"no proxy answers at {self.host}:{self.port}: {error.strerror or error}"
            raise PathError("reached", reason) from None
        lines = [f"CONNECT {host}:443 HTTP/1.1", f"Host: {host}:443"]
        lines += [f"Proxy-Authorization: {self.authorization}"] if self.authorization else []
        try:
            plain.sendall("\r\n".join([*lines, "", ""]).encode())
            status = _status(_head(plain))
        except OSError as error:
            raise PathError("reached", f"the proxy did not answer CONNECT: {error}") from None
        if status != 200:
            page = b""
            with suppress(OSError):  # without what stands in it, then
                page = plain.recv(HEAD_BYTES)
            raise PathError("led to the far end", f"the proxy answered CONNECT with {status}{_said(page)}")

    def _handshake(self, plain: socket.socket, context: ssl.SSLContext, host: str, far_end: FarEnd) -> ssl.SSLSocket:
        name, met, refused = "opened by the gateway", far_end.handshakes, far_end.refusals
        try:
            return context.wrap_socket(plain, server_hostname=host)
        except ssl.SSLCertVerificationError as error:
            deadline = time.monotonic() + REFUSAL_SECONDS
            while (far_end.handshakes, far_end.refusals) == (met, refused) and time.monotonic() < deadline:
                time.sleep(0.01)
            if error.verify_code in OUT_OF_TIME:
                now = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
                reason = f"the gateway's certificate does not hold now ({now} by this clock): {error.verify_message}"
            elif far_end.refusals > refused:  # it was the far end's certificate that we did not trust
                reason = "the connection was not opened: it passed the gate as if it were nobody's telemetry"
            else:
                reason = f"the gateway showed a certificate that {self.authority} did not sign: {error.verify_message}"
            raise PathError(name, reason) from None
        except OSError as error:
            raise PathError(name, f"TLS with the gateway failed: {error}") from None


def gateway_at(url: str, authority: Path, state: Path) -> Gateway:
    """Return the gateway at `url`, http://[user:password@]host:port. Raises OperatorError."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if host is None or port is None or parts.scheme != "http":
        raise OperatorError(f"--proxy {url!r}: write http://host:port")
    authorization = None
    if parts.username is not None:
        credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = f"Basic {base64.b64encode(credentials.encode()).decode()}"
    return Gateway(host, port, authorization, authority, state)


def _exchange(secure: ssl.SSLSocket, message: CanaryMessage) -> int:
    connection = http.client.HTTPConnection(message.host)
    connection.sock = secure
    headers = {"Content-Type": "application/json", "Connection": "close"}
    try:
        connection.request(message.method, message.path, message.body, headers)
        with connection.getresponse() as response:
            if response.status == UNREACHED:
                said = _said(response.read(HEAD_BYTES))
                raise PathError("passed", f"the gateway could not pass the message on{said}")
            return response.status
    except (OSError, http.client.HTTPException) as error:
        raise PathError("answered", f"the message was not answered: {error or type(error).__name__}") from None


def _said(page: bytes) -> str:
    """Return what mitmproxy's page of an error says, after a colon; "" if it says nothing."""
    found = re.search(rb"<p>(.+?)</p>", page, re.DOTALL)
    return f": {shorten(html.unescape(found[1].decode(errors='replace')).strip(), 200)}" if found else ""


def _head(plain: socket.socket) -> bytes:
    """Read the head of a response byte by byte, so that nothing of what follows is taken."""
    head = b""
    while not head.endswith(b"\r\n\r\n") and len(head) < HEAD_BYTES:
        piece = plain.recv(1)
        if not piece:
            raise ConnectionResetError("it closed the connection")
        head += piece
    return head


def _status(head: bytes) -> int:
    words = head.split(None, 2)
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
