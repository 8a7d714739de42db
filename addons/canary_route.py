"""Leads the connections of a canary to its own far end, and no others; all else is the ordinary path.

A canary tells beforehand, in a ticket (`canary_ticket.py`), from which port it will come. Rules:

- only a CONNECT from this very machine is looked up: one call that finds no file, on another thread;
- once its ticket is taken, a connection goes to the far end or nowhere: what a canary sends never reaches a vendor;
- the far end is known by the fingerprint of its certificate, and by nothing else;
- whether the connection is opened and what becomes of its messages is decided where it is for everybody.
"""

import asyncio
import logging
import time
from pathlib import Path
from typing import Any

from mitmproxy import connection, http, tls
from mitmproxy.proxy.mode_specs import UpstreamMode
from mitmproxy.proxy.server_hooks import ServerConnectionHookData
from OpenSSL import SSL, crypto

from addons.canary_ticket import Ticket, TicketError, take_ticket
from addons.counters import HookCounters
from mutewatch.identity import CANARY

logger = logging.getLogger("mutewatch.live")

LIVE_DOOR = "live"
ANSWER_SECONDS = 5.0
CANARIES = 16  # connections at a time; one run has two, one after the other


class CanaryRoutes:
    """An addon inside ours: the hooks that only a canary's connections need."""

    def __init__(self, counters: HookCounters) -> None:
        self._counters = counters
        self._state: Path | None = None  # until it is set, there are no canaries
        self._taken: dict[str, Ticket] = {}  # by the id of the client's connection

    def open(self, state: Path) -> None:
        """Honour tickets in `state` from now on. Not the gate's to say: a gate that is broken must show."""
        self._state = state

    def door(self, client: connection.Client) -> str:
        """Return the door of this client's messages: the live one, or the canary's."""
        return CANARY if client.id in self._taken else LIVE_DOOR

    async def http_connect(self, flow: http.HTTPFlow) -> None:
        """Take the ticket, if this is a connection that one was written for."""
        client = flow.client_conn
        if self._state is None or not is_local(client) or len(self._taken) >= CANARIES:
            return
        try:
            peer = (client.peername[0], client.peername[1])
            ticket = await asyncio.to_thread(take_ticket, self._state, peer, flow.request.host, time.time())
        except TicketError as error:
            self._refuse(str(error))
        except Exception:  # our own fault: no canary then, and its connection is like any other
            self._refuse("reading it failed")
            logger.exception("mutewatch: a canary's ticket could not be taken")
        else:
            if ticket is not None:
                self._taken[client.id] = ticket
                self._counters.canaries += 1

    def _refuse(self, why: str) -> None:
        self._counters.canary_refused += 1
        logger.warning("mutewatch: the ticket of a canary was not honoured: %s", why)

    async def server_connect(self, data: ServerConnectionHookData) -> None:
        """Lead to the far end, which takes a CONNECT as well, as the next proxy of upstream mode would.

        That next proxy must answer, too: it is told nothing, but without it nobody's messages go anywhere.
        """
        ticket = self._taken.get(data.client.id)
        if ticket is None:
            return
        mode = data.client.proxy_mode
        if isinstance(mode, UpstreamMode) and mode.scheme != "http":
            data.server.error = "a canary cannot be led past an upstream proxy that speaks TLS"
            return
        if isinstance(mode, UpstreamMode) and not await answers(*mode.address):
            host, port = mode.address
            data.server.error = f"the next proxy, {host}:{port}, does not answer"
            return
        try:
            data.server.address = ("127.0.0.1", ticket.far_end_port)
        except Exception as error:  # then nowhere
            data.server.error = f"a canary could not be led to its far end: {type(error).__name__}"

    def tls_start_server(self, data: tls.TlsData) -> None:
        """Trust the far end's certificate alone. Comes before mitmproxy's own, which then leaves it so."""
        ticket = self._taken.get(data.context.client.id)
        if ticket is not None:
            data.conn.sni = data.conn.sni or data.context.client.sni or ticket.host
            data.ssl_conn = pinned_connection(ticket.fingerprint, ticket.host)

    def client_disconnected(self, client: connection.Client) -> None:
        self._taken.pop(client.id, None)


async def answers(host: str, port: int) -> bool:
    """Does somebody listen there? The connection is closed at once."""
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), ANSWER_SECONDS)
    except OSError:  # TimeoutError is one
        return False
    writer.close()
    return True


def is_local(client: connection.Client) -> bool:
    """Does this connection come from the machine that it goes to? Then both its ends have the same address."""
    peer: Any = client.peername
    return bool(peer and client.sockname and peer[0] == client.sockname[0])


def pinned_connection(fingerprint: str, host: str) -> SSL.Connection:
    """Return a TLS client that asks for `host` and accepts the certificate of this SHA-256 and no other."""

    def is_pinned(_connection: SSL.Connection, certificate: crypto.X509, _error: int, depth: int, _ok: int) -> bool:
        found = certificate.digest("sha256").decode().replace(":", "").lower()
        return depth == 0 and found == fingerprint

    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, is_pinned)
    started = SSL.Connection(context)
    started.set_tlsext_host_name(host.encode("idna"))
    started.set_connect_state()
    return started
