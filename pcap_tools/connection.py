"""One TCP connection of a capture: from its segments to HTTP messages, with an account of what stayed dark.

Until its first bytes say what it is, a connection only holds them. Then it is either opened, as TLS or as
plain HTTP, or it is none of ours. Behind a CONNECT to a proxy, the same starts anew inside.
"""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from mutewatch.flow_records import FlowOutcome
from mutewatch.messages import Apart
from pcap_tools.capture.packets import ACK, FIN, SYN, Segment
from pcap_tools.ends import End
from pcap_tools.http.account import Found
from pcap_tools.http.connection import HttpConnection
from pcap_tools.http.draft import Keeps, keep_none
from pcap_tools.http.host import host_of
from pcap_tools.http.message import HttpMessage
from pcap_tools.limits import ReadLimits
from pcap_tools.stream import Data, Gap, Piece, Side, Stamp
from pcap_tools.tcp import TcpSide
from pcap_tools.tls.budget import Budget
from pcap_tools.tls.handshake import ClientHello, client_hello_from_records
from pcap_tools.tls.keylog import KeyLog
from pcap_tools.tls.session import TlsSession, TlsState

Place = tuple[int, int, int | None]  # first and last frame of a message, and its stream in HTTP/2
_RETRANSMITTED = 1 << 24  # bytes back from the end that may be seen once more
_AHEAD = 1 << 16  # bytes: as far behind the beginning may be what was captured before it, out of order
_BURST_NS = 1_000_000_000  # what a client sends without a pause of one second is one message
_LATEST = (1 << 63) - 1  # ns since 1970: the year 2262; a capture can say later


class Basis(StrEnum):
    """Why a flow was chosen."""

    SNI = "server name"
    HTTP_HOST = "Host"
    KEY = "key in log"
    ADDRESS = "address"
    TRIAL = "a key fits"


@dataclass(slots=True)
class Tally:
    """What is known of a flow without opening it."""

    first: Stamp
    last: Stamp
    sent: list[int] = field(default_factory=lambda: [0, 0])  # payload bytes by side
    _burst_times: "array[int]" = field(default_factory=lambda: array("q"))  # ns; compact, as a flow may have many
    _burst_sizes: "array[int]" = field(default_factory=lambda: array("q"))
    _burst_last: int | None = None  # time of the newest packet of the newest burst

    def add(self, side: Side, size: int, stamp: Stamp, most: int) -> None:
        """Count `size` bytes of payload; `most`: how many bursts are kept."""
        self.last = max(self.last, stamp)
        self.first = min(self.first, stamp)
        self.sent[side] += size
        now = stamp.time_ns
        if side is not Side.CLIENT or not size or now is None:
            return
        if self._burst_last is not None and 0 <= now - self._burst_last < _BURST_NS:
            self._burst_sizes[-1] += size
        elif len(self._burst_times) < most:
            self._burst_times.append(min(now, _LATEST))
            self._burst_sizes.append(size)
        self._burst_last = now

    def bursts(self) -> Iterator[tuple[int, int]]:
        """Yield what the client sent at once: when (ns since 1970) and how many bytes."""
        return zip(self._burst_times, self._burst_sizes, strict=True)


class Connection:
    """Takes segments, gives messages. `client` and `server` are as far as is known who is who."""

    def __init__(
        self,
        client: End,
        server: End,
        stamp: Stamp,
        keylog: KeyLog,
        limits: ReadLimits,
        budget: Budget,
        keeps: Keeps = keep_none,
    ) -> None:
        self.client, self.server = client, server
        self.basis: Basis | None = None  # None: not decided yet
        self.host: str | None = None
        self.hello: ClientHello | None = None
        self.tally = Tally(stamp, stamp)
        self.messages = 0
        self.apart = Apart()  # of its websocket messages
        self.outcome, self.detail = FlowOutcome.NO_HANDSHAKE, ""  # once closed
        self.has_dropped = False  # once closed: was something passed over because its key had not come?
        self.given: set[Place] = set()  # messages that were read after that
        self.random: bytes | None = None  # of its ClientHello, once closed; found out, if that was not seen
        self._keylog, self._limits, self._budget, self._keeps = keylog, limits, budget, keeps
        self._tcp = (TcpSide(Side.CLIENT, limits), TcpSide(Side.SERVER, limits))
        self._held: list[Piece] = []
        self.begun_at = 0  # frame in which the conversation begins; 0: nobody knows
        self.is_let_go = False  # was it closed because too many were open?
        self.held_bytes = self._look_from = 0
        self.has_gap = False  # is something held of which the beginning was missed?
        self._begin, self._is_begin_over = bytearray(), False  # of the client's stream; a gap ends it
        self._stack: Stack | None = None

    @property
    def is_finished(self) -> bool:
        return all(side.is_finished for side in self._tcp)

    def opens_with(self, segment: Segment) -> bool:
        """Is this the SYN with which this connection begins?"""
        side = self._tcp[self._side(segment)]
        return segment.flags & (SYN | ACK) == SYN and side.began_at(segment.sequence + 1)

    def is_near(self, segment: Segment) -> bool:
        """May this, captured before the beginning, belong to this connection, out of order?"""
        side = self._tcp[self._side(segment)]
        return not side.has_begun or -1 <= side.distance(segment.sequence) <= _AHEAD

    def restarts_with(self, segment: Segment) -> bool:
        """Does another connection between the same ends begin here, by its SYN or by its ClientHello?"""
        side = self._tcp[self._side(segment)]
        if segment.flags & SYN:
            is_ours = segment.flags & ACK or not side.has_begun or not self.tally.sent[side.side]
            return not (is_ours or side.began_at(segment.sequence + 1) or side.distance(segment.sequence + 1) == 0)
        if self.hello is None or side.side is not Side.CLIENT or segment.payload[:1] != b"\x16":
            return False
        hello = client_hello_from_records(segment.payload)
        return isinstance(hello, ClientHello) and hello.random != self.hello.random

    def has_read(self, segment: Segment) -> bool:
        """Is this beginning of a conversation one that this connection has read, seen once more?"""
        hello = client_hello_from_records(segment.payload) if segment.payload[:1] == b"\x16" else None
        if isinstance(hello, ClientHello) and self.hello is not None:
            return hello.random == self.hello.random
        return -_RETRANSMITTED < self._tcp[self._side(segment)].distance(segment.sequence) < 0

    def begin(self, segment: Segment) -> None:
        """The conversation begins with this segment of the client, which may be its SYN (RFC 7413)."""
        self.begun_at = segment.stamp.frame
        self._tcp[Side.CLIENT].begin_at(segment.sequence + bool(segment.flags & SYN) & 0xFFFFFFFF)
        if segment.flags & ACK:
            self._tcp[Side.SERVER].begin_at(segment.acknowledged)

    def feed(self, segment: Segment) -> list[HttpMessage]:
        """Take one segment; return the messages that are complete with it."""
        side = self._side(segment)
        tcp = self._tcp[side]
        self.tally.add(side, len(segment.payload) + segment.cut, segment.stamp, self._limits.bursts)
        sequence = segment.sequence
        if segment.flags & SYN:
            sequence = (sequence + 1) & 0xFFFFFFFF
            tcp.begin_at(sequence)
        fin = bool(segment.flags & FIN)
        return self._take(tcp.feed(sequence, segment.payload, segment.cut, segment.stamp, fin=fin))

    def drain(self) -> list[HttpMessage]:
        """No more segments come: what waited for others is read as it is."""
        return [message for tcp in self._tcp for message in self._take(tcp.finish())]

    def finish(self) -> list[HttpMessage]:
        """Nothing more comes, and nothing waits."""
        return self._count(self._stack.finish()) if self._stack is not None else []

    def first_bytes(self) -> tuple[bytes, bool]:
        """What the client said first, as far as it is held, and whether the beginning was missed."""
        return bytes(self._begin), self._is_begin_over and not self._begin

    def is_worth_a_look(self) -> bool:
        """Is more held than at the last look, by enough? Each look costs all first bytes, and they may come singly."""
        if self.held_bytes < self._look_from and not self.has_gap:
            return False
        self._look_from = self.held_bytes + self.held_bytes // 64
        return True

    def open(self, basis: Basis, host: str | None, *, is_tls: bool) -> list[HttpMessage]:
        """It is one of ours: read on, from its first byte."""
        self.basis, self.host = basis, host
        self._stack = Stack(self._keylog, self._limits, self._budget, is_tls=is_tls, keeps=self._keeps)
        if self._stack.tls is not None and self.hello is not None:
            self._stack.tls.expect(self.hello)
        held, self._held, self._begin = self._held, [], bytearray()
        return self._take(held)

    def close(self) -> None:
        """Nobody reads on: keep the account, let go of the rest."""
        self.outcome, self.detail = self._account()
        if self._stack is not None:
            self.has_dropped = self._stack.has_dropped
            self.random = self._stack.tls.client_random if self._stack.tls else None
        self.host = self.server_name
        self._stack, self._held = None, []

    def _account(self) -> tuple[FlowOutcome, str]:
        """What became of the flow, and the details in words."""
        if self._stack is None:
            return FlowOutcome.NO_HANDSHAKE, "too little of it was captured"
        outcome, detail = self._stack.outcome(self.messages)
        lost = sum(side.lost for side in self._tcp)
        cut = sum(side.cut_segments for side in self._tcp)
        parts = [detail] if detail else []
        if lost:
            parts.append(f"{lost:,} bytes lost in the capture")
        if cut:
            parts.append(f"{cut:,} packets cut by the snap length")
            if outcome not in (FlowOutcome.DECRYPTED, FlowOutcome.CLEARTEXT, FlowOutcome.NO_KEY):
                outcome = FlowOutcome.CUT
        is_headless = self.hello is None and self._stack.tls is not None
        if is_headless and outcome is FlowOutcome.DECRYPTED:
            parts.append("its beginning is not in the capture")
        is_deaf = not self.tally.sent[Side.CLIENT]
        if is_deaf or not self.tally.sent[Side.SERVER]:
            parts.append(f"nothing of the {'client' if is_deaf else 'server'} is in the capture")
        if (lost or cut or is_headless or is_deaf) and outcome is FlowOutcome.DECRYPTED:
            outcome = FlowOutcome.PARTLY
        if self.is_let_go:
            parts.append("let go: too many flows at once")
        if outcome is FlowOutcome.NO_KEY and self.basis is Basis.ADDRESS and self.hello and self.hello.has_ech:
            outcome = FlowOutcome.ECH
        return outcome, "; ".join(parts)

    @property
    def is_tls(self) -> bool:
        """Is what is read protected by TLS, behind a CONNECT if there is one?"""
        return self._stack is not None and self._stack.is_tls

    @property
    def server_name(self) -> str | None:
        """Who the client wants to talk to, by the best evidence there is."""
        return (self._stack.server_name if self._stack else None) or self.host

    def _side(self, segment: Segment) -> Side:
        return Side.CLIENT if (segment.source, segment.source_port) == self.client else Side.SERVER

    def _take(self, pieces: list[Piece]) -> list[HttpMessage]:
        if self._stack is None:
            for piece in pieces:
                self._hold(piece)
            return []
        messages: list[HttpMessage] = []
        for piece in pieces:
            messages += self._stack.feed(piece)
        return self._count(messages)

    def _hold(self, piece: Piece) -> None:
        self._held.append(piece)
        if isinstance(piece, Gap):
            self.has_gap = True
            self._is_begin_over |= piece.side is Side.CLIENT
            return
        self.held_bytes += len(piece.data)
        if piece.side is Side.CLIENT and not self._is_begin_over:
            self._begin += piece.data

    def _count(self, messages: list[HttpMessage]) -> list[HttpMessage]:
        self.messages += len(messages)
        if self._stack is not None and self._stack.has_dropped:
            self.given.update(map(place, messages))
        if self.host is None and messages:
            self.host = host_of(messages[0].authority)
        return messages


class Stack:
    """TLS, if there is any, and HTTP in it; and again the same behind a CONNECT."""

    def __init__(
        self,
        keylog: KeyLog,
        limits: ReadLimits,
        budget: Budget,
        *,
        is_tls: bool,
        keeps: Keeps,
        depth: int = 0,
    ) -> None:
        self._keylog, self._limits, self._budget = keylog, limits, budget
        self._keeps, self._depth = keeps, depth
        self.tls = TlsSession(keylog, limits.tls, budget) if is_tls else None
        self.http = HttpConnection(limits.http, keeps=keeps, on_tunnel=self._tunnel)
        self._inner: Stack | None = None
        self._tunnelled: list[HttpMessage] = []
        self._plain_bytes = 0  # read from TLS; a gap counts, too

    @property
    def server_name(self) -> str | None:
        inner = self._inner.server_name if self._inner else None
        return inner or (self.tls.account.sni if self.tls else None)

    @property
    def is_tls(self) -> bool:
        return self._inner.is_tls if self._inner is not None else self.tls is not None

    @property
    def has_dropped(self) -> bool:
        """Was something passed over because its key had not come?"""
        own = self.tls is not None and self.tls.has_dropped
        return own or (self._inner is not None and self._inner.has_dropped)

    def feed(self, piece: Piece) -> list[HttpMessage]:
        messages: list[HttpMessage] = []
        for plain in self.tls.feed(piece) if self.tls else (piece,):
            self._plain_bytes += len(plain.data) if isinstance(plain, Data) else 1
            messages += self.http.feed(plain)
        return messages + self._from_tunnel()

    def finish(self) -> list[HttpMessage]:
        messages: list[HttpMessage] = []
        for plain in self.tls.finish() if self.tls else ():
            self._plain_bytes += len(plain.data) if isinstance(plain, Data) else 1
            messages += self.http.feed(plain)
        messages += self.http.finish()
        return messages + self._from_tunnel() + (self._inner.finish() if self._inner else [])

    def outcome(self, messages: int) -> tuple[FlowOutcome, str]:
        if self._inner is not None:
            return self._inner.outcome(messages)
        is_http = messages or self.http.account.found in (Found.HTTP1, Found.HTTP2, Found.WEBSOCKET)
        losses = self.http.account.losses() if is_http else []
        if self.tls is None:
            return (FlowOutcome.CLEARTEXT if is_http else FlowOutcome.NOT_HTTP), "; ".join(losses)
        account = self.tls.account
        outcome = _OUTCOMES[account.state]
        if account.state is TlsState.EMPTY or (outcome is FlowOutcome.DECRYPTED and not self._plain_bytes):
            return FlowOutcome.EMPTY, account.detail
        if outcome is FlowOutcome.DECRYPTED and not is_http:
            outcome = FlowOutcome.NOT_HTTP
        elif outcome is FlowOutcome.DECRYPTED and losses:
            outcome = FlowOutcome.PARTLY
        return outcome, "; ".join(part for part in (account.detail, *losses) if part)

    def _tunnel(self, piece: Piece) -> None:
        if self._inner is None and self._depth < self._limits.tunnels:
            self._inner = Stack(
                self._keylog,
                self._limits,
                self._budget,
                is_tls=True,
                keeps=self._keeps,
                depth=self._depth + 1,
            )
        if self._inner is not None:
            self._tunnelled += self._inner.feed(piece)

    def _from_tunnel(self) -> list[HttpMessage]:
        messages, self._tunnelled = self._tunnelled, []
        return messages


def place(message: HttpMessage) -> Place:
    """Where in the capture a message is, to know it again."""
    return message.first.frame, message.last.frame, message.stream_id


_OUTCOMES = {
    TlsState.OPENED: FlowOutcome.DECRYPTED,
    TlsState.EMPTY: FlowOutcome.EMPTY,
    TlsState.PARTLY: FlowOutcome.PARTLY,
    TlsState.NO_KEY: FlowOutcome.NO_KEY,
    TlsState.BAD_KEY: FlowOutcome.BAD_KEY,
    TlsState.NO_HANDSHAKE: FlowOutcome.NO_HANDSHAKE,
    TlsState.UNSUPPORTED: FlowOutcome.UNSUPPORTED,
    TlsState.NOT_TLS: FlowOutcome.NOT_HTTP,
}
