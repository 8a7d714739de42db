"""Each TLS connection when it begins: opened with a leaf of ours, or passed on as it came, and counted."""

import logging
import time
from collections.abc import Callable
from typing import Protocol

from mitmproxy import connection, tls
from mitmproxy.proxy import context
from OpenSSL import SSL

from addons.canary_route import LIVE_DOOR, CanaryRoutes
from addons.counters import HookCounters
from addons.gate import Gate
from addons.leaf_source import LeafSource
from addons.pins import Pins
from addons.recorder import LiveSettings
from certs.names import CertificateError
from mutewatch.uninspected import Reason

REFUSED = "The client does not trust the proxy's certificate"  # in mitmproxy's words: the client sent such an alert
UNSEEN = "connection closed early"  # ... it left while we waited for the server, and was shown no certificate
ECH = 0xFE0D  # encrypted_client_hello


class Warn(Protocol):
    """Logs at most one line of a kind in a while."""

    def __call__(self, kind: str, text: str, *, with_traceback: bool = False) -> None: ...


class Note(Protocol):
    """Has it kept that a client's connection or message to a telemetry host was not inspected."""

    def __call__(self, client: connection.Client, host: str | None, why: Reason) -> None: ...


class Handshakes:
    """Decides on connections. `current`: the settings as they are when asked."""

    def __init__(
        self,
        current: Callable[[], LiveSettings],
        gate: Gate,
        pins: Pins,
        leaves: LeafSource,
        canaries: CanaryRoutes,
        counters: HookCounters,
        warn: Warn,
        note: Note,
    ) -> None:
        self._current, self._gate, self._pins, self._leaves = current, gate, pins, leaves
        self._canaries, self._counters, self._warn, self._note = canaries, counters, warn, note

    def opens(self, data: tls.ClientHelloData) -> bool:
        """Is this connection to be opened? What passes instead is counted, with the reason."""
        sni = data.client_hello.sni
        if sni is not None and self._gate.inspects(sni):
            if self._is_opened(data, sni):
                return True
        else:
            self._count_unnamed(data)
        self._counters.ech_offered += any(kind == ECH for kind, _ in data.client_hello.extensions)
        return False

    def _is_opened(self, data: tls.ClientHelloData, sni: str) -> bool:
        settings = self._current()
        address, now = client_address(data.context), time.monotonic()
        if not settings.refuses_pinned and self._pins.holds(address, sni.lower(), now):
            self._counters.pinned += 1
            self._note(data.context.client, sni, Reason.PINNED)
            self._warn("pinned", f"a client that refused our certificate for {sni} was let through uninspected")
            return False
        try:
            self._leaves.provide(sni)
        except CertificateError as error:
            self._counters.without_leaf += 1
            self._note(data.context.client, sni, Reason.NO_LEAF)
            what = "refused" if settings.strict else "let through uninspected"
            self._warn("without_leaf", f"a connection was {what} for want of a certificate: {error}")
            return settings.strict  # opened, and then refused by `start`
        if sni.endswith("."):  # no certificate names a host so, and mitmproxy would look for just that
            data.context.server.sni = sni.rstrip(".")
        self._counters.intercepted += 1
        return True

    def start(self, data: tls.TlsData) -> None:
        """Refuse a connection that was opened without a leaf: shown no certificate at all, no client goes on."""
        sni = data.context.client.sni
        if sni is not None and self._gate.inspects(sni) and not self._leaves.has_given(sni):
            data.ssl_conn = SSL.Connection(SSL.Context(SSL.TLS_SERVER_METHOD))
            data.ssl_conn.set_accept_state()

    def _count_unnamed(self, data: tls.ClientHelloData) -> None:
        """Count a connection to a telemetry host that hid its name: silence would look like absence."""
        address = data.context.server.address
        if address is not None and self._gate.inspects(address[0]):
            self._counters.uninspected += 1
            has_ech = any(kind == ECH for kind, _ in data.client_hello.extensions)
            self._note(data.context.client, address[0], Reason.ECH if has_ech else Reason.NO_NAME)
            self._warn("uninspected", "a connection to a telemetry host did not name it, and passed through")

    def stood(self, data: tls.TlsData) -> None:
        """Note a client that has gone on: it does not refuse our certificate."""
        sni = data.context.client.sni
        if sni is not None:
            self._pins.trust(client_address(data.context), sni.lower())

    def failed(self, data: tls.TlsData) -> None:
        """Note a client that did not go on: who refuses our certificate passes from now on, or is refused each time.

        Whoever fails for another reason (goes away, sends another alert, knows no cipher or version of ours) may do so
        once at a time: a client that cannot be opened must not be kept from its server for good.
        """
        client = data.context.client
        if client.sni is None or not self._gate.inspects(client.sni):
            return
        if self._canaries.door(client) != LIVE_DOOR:  # our own test: it says itself what was wrong
            return
        address, host, now = client_address(data.context), client.sni.lower(), time.monotonic()
        error, began = data.conn.error or "", now - (time.time() - client.timestamp_start)
        if REFUSED in error:
            self._pins.add(address, host, now)
        elif (
            error == UNSEEN
            or not self._leaves.has_given(client.sni)
            or not self._pins.suspect(address, host, began, now)
        ):
            self._counters.handshakes_failed += 1
            if error != UNSEEN:
                self._warn("handshakes_failed", f"a TLS handshake with a client failed: {error}")
            return
        self._counters.refused_by_client += 1
        self._note(client, host, Reason.REFUSED)
        what = "is refused each time" if self._current().refuses_pinned else "is let through for a while"
        self._warn("refused_by_client", f"a client refused our certificate for {client.sni}: it {what}")


def quieten(record: logging.LogRecord) -> bool:
    """A filter: that a handshake failed, which mitmproxy says each time, with the client's address, is no warning."""
    if record.levelno == logging.WARNING and record.getMessage().startswith("Client TLS handshake failed"):
        record.levelno, record.levelname = logging.INFO, "INFO"
    return True


def client_address(context: context.Context) -> str:
    """Return the client's network address; "" if there is none."""
    peer = context.client.peername
    return peer[0] if peer else ""
