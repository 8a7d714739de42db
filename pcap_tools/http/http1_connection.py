"""Reads both sides of an HTTP/1 connection in step, and notices when they change to another protocol.

- A response is only read once its request is known, as a response to HEAD has no body whatever its fields
  say (RFC 9112, 6.3) and one to CONNECT begins a tunnel. Where the request is lost or does not come, the
  bytes behind the head tell: the next status line, or TLS.
- After CONNECT, and after an offered upgrade, the client's bytes are read once the answer is known. TLS
  behind CONNECT needs no answer. Where the answer is lost, the client's own bytes tell.
"""

from enum import StrEnum

from pcap_tools.http.account import Account
from pcap_tools.http.draft import Answer, Body, Draft, Keeps, Waiting
from pcap_tools.http.frames import PREFACE
from pcap_tools.http.heads import Framing, Head, Kind, looks_like_start, request_framing, response_framing
from pcap_tools.http.http1 import BodyReader, FoundHead, Progress, Splitter
from pcap_tools.http.inbox import Inbox
from pcap_tools.http.limits import HttpLimits
from pcap_tools.http.message import Protocol
from pcap_tools.http.pairs import Pairs
from pcap_tools.stream import Side

_LOOK = len("HTTP/1.")


class Switch(StrEnum):
    """What the connection changed to."""

    WEBSOCKET = "websocket"
    H2C = "h2c"
    TUNNEL = "tunnel"
    OTHER = "other"


class Http1Connection:
    """The two sides of one HTTP/1 connection. After `switch`, the inboxes hold what the new protocol reads."""

    def __init__(
        self, client: Inbox, server: Inbox, limits: HttpLimits, keeps: Keeps, waiting: Waiting, account: Account
    ) -> None:
        self._client, self._server, self._limits, self._waiting = client, server, limits, waiting
        self._keeps = keeps
        self._account = account
        self._requests, self._responses = Splitter(client, limits), Splitter(server, limits)
        self._pairs = Pairs(client, server, account, limits.waiting)
        self._request: Draft | None = None  # whose body is being read
        self._request_body: BodyReader | None = None
        self._is_behind_head = False  # will the client's next bytes be those behind a head, if that body is lost?
        self._answer: Answer | None = None
        self._answer_body: BodyReader | None = None
        self._answer_head: FoundHead | None = None  # whose request is not known yet
        self._asked: Draft | None = None  # the request whose answer says what the client's next bytes are
        self._counted = self._answered = 0  # requests and final responses, while nothing was lost
        self.is_client_in_tunnel = False  # the client went on with TLS behind CONNECT; the answer is still to come
        self.switch: Switch | None = None
        self.switched_by: Draft | None = None
        self.switched_head: Head | None = None  # the 101 response

    def run(self) -> None:
        """Read as far as possible."""
        moved = True
        while moved and self.switch is None:
            moved = self._read_request()
            moved = self._read_response() or moved
        self._pairs.settle(None if self._responses.is_intact else self._answered)
        if self._server.ended and self._client.ended and self.switch is None:
            self._pairs.rest()

    # The client's side

    def _read_request(self) -> bool:
        """Read one head or body; False: there is nothing to go on with."""
        if self._request is not None and self._request_body is not None:
            progress = self._request_body.read()
            if progress is not Progress.MORE:
                self._end_request(self._request, progress)
            return progress is not Progress.MORE
        if self._asked is not None and not self._is_refused(self._asked):
            return False
        found = self._requests.next_head()
        if found is not None:
            self._begin_request(found)
        return found is not None

    def _begin_request(self, found: FoundHead) -> None:
        head = found.head
        index = self._counted if found.is_intact else None
        self._counted += found.is_intact
        request = Draft(
            protocol=Protocol.HTTP1,
            method=head.method,
            target=head.target,
            authority=head.get("host"),
            version=head.version,
            headers=head.headers[: self._limits.headers],
            body=Body(self._limits.body, self._waiting.held),
            first=found.first,
            last=found.last,
            index=index,
            after_loss=found.after_loss,
        )
        if "upgrade" in head.tokens("connection"):
            request.upgrades = head.tokens("upgrade")
        self._waiting.add(request)
        self._pairs.add(request)
        framing = request_framing(head) if found.cut is None else Framing(Kind.UNKNOWN, lost=found.cut)
        if head.method == "CONNECT" and found.cut is None:
            framing = Framing(Kind.NONE)  # RFC 9110, 9.3.6
        self._is_behind_head = framing.kind is Kind.UNKNOWN and found.cut is None
        self._request, self._request_body = request, BodyReader(self._client, framing, request.body, self._limits)
        if framing.kind is Kind.NONE:  # before its answer is looked at, which may be there and end HTTP/1
            self._end_request(request, Progress.DONE)

    def _end_request(self, request: Draft, progress: Progress) -> None:
        request.end(self._client.last)
        self._request = self._request_body = None
        if progress is Progress.LOST:
            self._requests.lose(at_line=self._is_behind_head)
        elif request.answer is None and (request.method == "CONNECT" or request.upgrades):
            self._asked = request

    def _is_refused(self, asked: Draft) -> bool:
        """Does the client go on with HTTP/1 after CONNECT or an offered upgrade? If it does not, switch."""
        data = self._client.data
        if asked.method == "CONNECT" and _is_tls(data):
            self.is_client_in_tunnel = True
        if self.is_client_in_tunnel:
            return False
        if asked.answer is None and not self._is_answer_lost():
            return False
        if asked.answer is None and not (looks_like_start(Side.CLIENT, data, 0) and not data.startswith(b"PRI ")):
            switch = _continuation(asked, data)
            if switch is not None:
                self._switch(switch, asked)
            if switch is not None or (self._client.gap is None and not self._client.ended):
                return False
        self._asked = None
        return True

    def _is_answer_lost(self) -> bool:
        """Will the server's bytes never say what the answer was? They would have come before the client's next."""
        too_much = self._client.held > self._limits.ahead
        is_past = self._server.newest > self._client.stamp.frame
        return self._server.ended or too_much or (self._responses.searching and is_past)

    # The server's side

    def _read_response(self) -> bool:
        """Read one head or body; False: there is nothing to go on with."""
        if self.switch is not None:
            return False
        if self._answer is not None and self._answer_body is not None:
            progress = self._answer_body.read()
            if progress is not Progress.MORE:
                self._end_answer(self._answer, progress)
            return progress is not Progress.MORE
        if self._answer_head is None:
            if self.is_client_in_tunnel and self._is_past_answer():
                self._switch(Switch.TUNNEL, self._asked)
                return False
            self._answer_head = self._responses.next_head()
        return self._answer_head is not None and self._begin_answer(self._answer_head)

    def _is_past_answer(self) -> bool:
        """Is the answer to CONNECT lost, and the server in the tunnel or about to be?"""
        return _is_tls(self._server.data) or (self._server.gap is not None and not self._server.data)

    def _begin_answer(self, found: FoundHead) -> bool:
        """Start with a response if its request is known or will not be known; False: wait."""
        status = found.head.status
        if status < 200 and status != 101:
            self._answer_head = None
            if found.cut is not None:
                self._responses.lose()
            return True
        request = self._pairs.request(self._answered) if found.is_intact else None
        if request is None and found.is_intact and self._may_come():
            return False
        if request is None and (status == 101 or self._is_before_tls(found)):
            if self._asked is None and self._may_still_end():
                return False  # there will be a request for it, after which the client waits
            request = self._asked
        if status == 101:
            return self._begin_switch(found, request)
        framing = self._framing(found, request)
        if framing is None:
            return False
        self._answer_head = None
        self._answered += found.is_intact
        self._start_answer(found, request, framing)
        return True

    def _may_come(self) -> bool:
        """May the request of this response still come?"""
        return self._requests.is_intact and self._may_still_end()

    def _may_still_end(self) -> bool:
        """May the client's side still come to the point that the server's is at?"""
        return not self._client.ended and self._server.held <= self._limits.ahead

    def _begin_switch(self, found: FoundHead, request: Draft | None) -> bool:
        """Take a 101 response: what follows on both sides is another protocol."""
        if request is not None and not request.complete and self._may_still_end():
            return False
        self._answer_head = None
        tokens = found.head.tokens("upgrade")
        if request is not None:
            self._start_answer(found, request, Framing(Kind.NONE))
        self.switched_head = found.head
        known = (switch for switch in (Switch.WEBSOCKET, Switch.H2C) if switch.value in tokens)
        self._switch(next(known, Switch.OTHER), request)
        return True

    def _is_before_tls(self, found: FoundHead) -> bool:
        """Is this a 2xx response with TLS behind it, as after CONNECT?"""
        return 200 <= found.head.status < 300 and found.cut is None and _is_tls(self._server.data)

    def _framing(self, found: FoundHead, request: Draft | None) -> Framing | None:
        """Return how the body of a response is framed; None: wait for the bytes that tell."""
        if found.cut is not None:
            return Framing(Kind.UNKNOWN, lost=found.cut)
        framing = response_framing(found.head, request.method if request else None)
        if request is not None:
            is_tunnel = request.method == "CONNECT" and 200 <= found.head.status < 300
            return Framing(Kind.NONE) if is_tunnel else framing
        if framing.kind in (Kind.NONE, Kind.UNKNOWN):
            return framing
        data = self._server.data
        if len(data) < _LOOK and self._server.gap is None and not self._server.ended:
            return None
        return Framing(Kind.NONE) if data.startswith(b"HTTP/1.") else framing

    def _start_answer(self, found: FoundHead, request: Draft | None, framing: Framing) -> None:
        headers = found.head.headers[: self._limits.headers]
        is_kept = not (request is not None and request.given) and self._keeps(request)
        body = Body(self._limits.body if is_kept else None, self._waiting.held)
        answer = Answer(found.head.status, headers, body, found.first, found.last, after_loss=found.after_loss)
        self._answer, self._answer_body = answer, BodyReader(self._server, framing, body, self._limits)
        if request is not None:
            self._pairs.answer(request, answer)
        else:
            self._pairs.add_loose(answer)
        if framing.kind is Kind.NONE:
            self._end_answer(answer, Progress.DONE)
        if request is not None and request.method == "CONNECT" and 200 <= answer.status < 300:
            self._switch(Switch.TUNNEL, request)

    def _end_answer(self, answer: Answer, progress: Progress) -> None:
        answer.end(self._server.last)
        self._answer = self._answer_body = None
        if progress is Progress.LOST:
            self._responses.lose()

    def _switch(self, switch: Switch, request: Draft | None) -> None:
        self.switch, self.switched_by = switch, request
        if request is not None:
            self._pairs.let_go(request)


def _is_tls(data: bytearray) -> bool:
    """Does a TLS record begin here, a handshake of any version (RFC 8446, 5.1)?"""
    return data[:2] == b"\x16\x03"


def _continuation(asked: Draft, data: bytearray) -> Switch | None:
    """Return what the client's bytes after an offered upgrade are, where the answer was lost."""
    if "h2c" in asked.upgrades and data.startswith(PREFACE[:14]):
        return Switch.H2C
    is_frame = len(data) >= 2 and data[0] & 0x30 == 0 and data[0] & 0x0F in (1, 2, 8, 9, 10) and data[1] & 0x80
    return Switch.WEBSOCKET if "websocket" in asked.upgrades and is_frame else None
