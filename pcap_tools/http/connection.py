"""Reads the HTTP messages of one connection, whatever version it speaks, from the pieces of its two sides.

`HttpConnection.feed` takes one piece and returns the messages that are ready; `finish` returns the rest.
It finds out what the connection speaks (`detect`), and hands over where the protocol changes: to websocket
or HTTP/2 after an upgrade, and to the caller (`on_tunnel`) behind a CONNECT. What was found and what was
lost stands in `account`. Rules:

- only the order of the pieces of each side counts, not how the sides follow each other;
- messages come in the order of their requests, each with its response; those of a websocket as they end;
- nothing in the traffic raises an error.
"""

from collections.abc import Callable

from pcap_tools.http.account import Account, Found
from pcap_tools.http.detect import detect
from pcap_tools.http.draft import Keeps, Waiting, keep_none
from pcap_tools.http.http1_connection import Http1Connection, Switch
from pcap_tools.http.http2 import Http2Connection
from pcap_tools.http.inbox import Inbox
from pcap_tools.http.limits import DEFAULT_HTTP_LIMITS, HttpLimits
from pcap_tools.http.message import HttpMessage
from pcap_tools.http.websocket import Websocket
from pcap_tools.stream import Piece, Side


def _ignore(piece: Piece) -> None:
    """Nobody asked for what is behind a CONNECT."""


class HttpConnection:
    """One connection. `alpn`: what its TLS handshake agreed on, if that was seen; `keeps`: which responses' bodies."""

    def __init__(
        self,
        limits: HttpLimits = DEFAULT_HTTP_LIMITS,
        *,
        alpn: str | None = None,
        keeps: Keeps = keep_none,
        on_tunnel: Callable[[Piece], None] = _ignore,
    ) -> None:
        self.account = Account()
        self._limits, self._alpn, self._keeps, self._on_tunnel = limits, alpn, keeps, on_tunnel
        self._inboxes = (Inbox(Side.CLIENT), Inbox(Side.SERVER))
        self._waiting = Waiting(limits, self.account)
        self._http1: Http1Connection | None = None
        self._http2: Http2Connection | None = None
        self._websocket: Websocket | None = None
        self._look_from = 0  # bytes held when it is worth looking again what this is

    def feed(self, piece: Piece) -> list[HttpMessage]:
        """Take the next piece of one side and return the messages that are ready."""
        self._inboxes[piece.side].add(piece)
        self._run()
        return self._ready()

    def finish(self) -> list[HttpMessage]:
        """Nothing more will come: return what is left, as far as it is there."""
        for inbox in self._inboxes:
            inbox.ended = True
        self._run()
        if self.account.found is Found.UNDECIDED and any(inbox.held + inbox.skipped for inbox in self._inboxes):
            self._find(Found.NOT_HTTP)
        messages = [*self._ready(), *self._waiting.rest()]
        for inbox in self._inboxes:
            inbox.pass_over()
        self._count_skipped()
        return messages

    def _ready(self) -> list[HttpMessage]:
        self._count_skipped()
        messages = self._websocket.ready() if self._websocket else []
        return [*self._waiting.ready(), *messages]

    def _count_skipped(self) -> None:
        client, server = self._inboxes
        self.account.client_skipped, self.account.server_skipped = client.skipped, server.skipped

    def _run(self) -> None:
        """Let the protocol read, and the one that takes over from it."""
        before = None
        while before is not self.account.found:
            before = self.account.found
            match before:
                case Found.UNDECIDED:
                    self._look()
                case Found.HTTP1:
                    self._run_http1()
                case Found.HTTP2 if self._http2 is not None:
                    self._http2.run()
                case Found.WEBSOCKET if self._websocket is not None:
                    self._websocket.run()
                case Found.TUNNEL:
                    for inbox in self._inboxes:
                        self._hand_over(inbox)
                case _:
                    for inbox in self._inboxes:
                        inbox.pass_over()

    def _look(self) -> None:
        """Look what this is, unless little has come since the last time: each look costs all bytes."""
        held = sum(inbox.held for inbox in self._inboxes)
        if held >= self._look_from or any(inbox.ended for inbox in self._inboxes):
            self._find(detect(*self._inboxes, self._alpn, self._limits))
            self._look_from = held + held // 64

    def _find(self, found: Found) -> None:
        """The connection speaks `found` from here on."""
        self.account.found = found
        client, server = self._inboxes
        if found is Found.HTTP1:
            self._http1 = Http1Connection(client, server, self._limits, self._keeps, self._waiting, self.account)
        elif found is Found.HTTP2:
            self._http2 = Http2Connection(client, server, self._limits, self._keeps, self._waiting, self.account)

        if found is not Found.UNDECIDED:
            for inbox in self._inboxes:
                inbox.crossed = False  # the protocol knows

    def _run_http1(self) -> None:
        http1 = self._http1
        if http1 is None:
            return
        http1.run()
        request = http1.switched_by
        match http1.switch:
            case Switch.TUNNEL:
                self._find(Found.TUNNEL)
            case Switch.H2C:
                self._find(Found.HTTP2)
                if self._http2 is not None and request is not None:
                    self._http2.adopt(request)
            case Switch.WEBSOCKET if request is not None:
                self._websocket = Websocket(*self._inboxes, self._limits, request, http1.switched_head, self.account)
                self._find(Found.WEBSOCKET)
            case Switch.WEBSOCKET | Switch.OTHER:  # of a websocket, nobody knows where it leads
                self._find(Found.NOT_HTTP)
        if http1.switch is None and http1.is_client_in_tunnel:
            self._hand_over(self._inboxes[Side.CLIENT])

    def _hand_over(self, inbox: Inbox) -> None:
        """Give the caller what is behind a CONNECT."""
        for piece in inbox.drain():
            self._on_tunnel(piece)
