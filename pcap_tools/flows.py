"""Chooses the flows of a capture that are worth opening, and feeds them.

A flow is ours if its ClientHello or HTTP request names a telemetry host, if its client_random is in the key
log, or if its server has an address that such a host has: from a DNS answer, from another flow, or as the
operator says. What is not ours costs a look at its first bytes and is forgotten.

What a later packet says of an earlier one (an address, a key) is kept for a second pass over the file:
`look_again` says whether there is something to look for. A stream that cannot be read twice is read with
what is known at each moment.
"""

import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from operator import itemgetter

import numpy as np

from pcap_tools.capture.batch import Batch, Positions
from pcap_tools.capture.dns import answers
from pcap_tools.capture.packets import ACK, SYN, Datagram, Dissector, Segment
from pcap_tools.capture.quic import InitialHellos
from pcap_tools.capture.sift import DNS_PORTS, METHODS, QUIC_PORT, Sift, Sifted, Wanted, hash_flow
from pcap_tools.connection import Basis, Connection, End, Tally
from pcap_tools.http.message import HttpMessage
from pcap_tools.limits import ReadLimits
from pcap_tools.stream import Side, Stamp
from pcap_tools.tls.handshake import ClientHello, client_hello_from_records, glance
from pcap_tools.tls.keylog import KeyLog

Key = tuple[End, End]
Found = Iterator[tuple[Connection, HttpMessage]]
_HEAD_END = re.compile(rb"\n\r?\n")  # a bare LF is taken by many (RFC 9112, 2.2)


@dataclass(slots=True)
class Interest:
    """What the operator looks for. `is_host` says of a host name whether it is one."""

    is_host: Callable[[str], bool]
    addresses: dict[bytes, str | None] = field(default_factory=dict)  # and whose they are
    keep_responses: bool = False  # are the bodies of responses wanted too?


@dataclass(slots=True)
class QuicFlow:
    """A QUIC connection to a telemetry host: it is seen, not read."""

    client: End
    server: End
    host: str | None
    tally: Tally


class FlowTable:
    """Takes chunks of packets, gives HTTP messages with their connections."""

    def __init__(self, interest: Interest, keylog: KeyLog, limits: ReadLimits, *, reads_once: bool) -> None:
        self.closed: list[Connection] = []  # finished, for the account
        self.quic: dict[Key, QuicFlow] = {}
        self.not_ours: Counter[str] = Counter()  # what was looked at and left
        self.dissector = Dissector(limits)
        self._interest, self._keylog, self._limits = interest, keylog, limits
        self._addresses = dict(interest.addresses)  # and those that were found out
        self._initials = InitialHellos()
        self._sift, self._wanted = Sift(), Wanted()
        self._flows: OrderedDict[Key, Connection] = OrderedDict()
        self._left: OrderedDict[Key, None] = OrderedDict()  # ours neither by name nor by key, at a known address
        self._done: set[Key] = set()  # read in the first pass
        self._ended: dict[Key, Connection] = {}  # the last of those ends, closed
        self._randoms: OrderedDict[bytes, None] = OrderedDict()  # of flows that were left for want of a key
        self._names: dict[str, bool] = {}  # what the operator's interest said of them
        self._recent: list[Sifted] = []  # of this chunk and the one before
        self._by_address = reads_once or bool(interest.addresses)  # are known addresses looked for in this pass?
        for address in self._addresses if self._by_address else ():
            self._wanted.add_address(address)

    def take(self, batches: Iterable[Batch]) -> Found:
        """Take the packets of one chunk; yield the messages that are complete with it."""
        chosen: list[tuple[int, Batch, int]] = []  # frame, and where it is
        looked_at: dict[int, Segment] = {}  # by frame
        recent: list[Sifted] = []
        fresh: list[int] = []
        for batch in batches:
            sifted = self._sift.sift(batch)
            fresh += self._begin(sifted, looked_at)
            chosen += _places(sifted, np.union1d(self._wanted.choose(sifted, self._sift), sifted.others))
            recent.append(sifted)
        if fresh:  # what came before the beginning, too: packets do not always stand in their order
            for earlier in (*self._recent, *recent[:-1]):
                chosen += _places(earlier, earlier.tcp[np.isin(earlier.flows, fresh)])
        self._recent = recent
        last = 0
        for frame, batch, index in sorted(chosen, key=itemgetter(0)):
            if frame == last:
                continue
            last = frame
            packet = looked_at.get(frame) or self._dissect(batch, index)
            if isinstance(packet, Segment):
                yield from self._segment(packet)
            elif packet is not None:
                self._datagram(packet)

    def look_again(self) -> bool:
        """After a pass, prepare a second one for what is known only now. False if there is nothing to look for."""
        keys = any(random in self._keylog for random in self._randoms)
        addresses = [address for address in self._addresses if self._wanted.was_passed_over(address)]
        if not keys and (self._by_address or not addresses):
            return False
        self._done.update((min(one.client, one.server), max(one.client, one.server)) for one in self.closed)
        self._recent, self._wanted, self._by_address = [], Wanted(), True
        self._left.clear()
        self._randoms.clear()
        for address in addresses:
            self._wanted.add_address(address)
        return True

    def finish(self) -> Found:
        """Nothing more comes in this pass: yield what is left in the open connections."""
        while self._flows:
            key, connection = self._flows.popitem(last=False)
            yield from self._close(key, connection)

    def _begin(self, sifted: Sifted, looked_at: dict[int, Segment]) -> list[int]:
        """Look at what may begin a conversation. Return the hashes of flows that were not known."""
        fresh: list[int] = []
        for index, payload, end in zip(
            sifted.starts.tolist(), sifted.payloads.tolist(), sifted.ends.tolist(), strict=True
        ):
            if self._is_others(sifted.batch.buffer, payload, end):
                continue
            segment = self._dissect(sifted.batch, index)
            if not isinstance(segment, Segment):
                continue
            looked_at[segment.stamp.frame] = segment
            key = flow_key(segment)
            if key not in self._flows and self._is_beginning(key, segment):
                self._add(key, segment, from_start=True)
                fresh.append(hash_flow(*key[0], *key[1]))
        return fresh

    def _is_others(self, buffer: bytearray, payload: int, end: int) -> bool:
        """Is this a whole ClientHello to somebody else, of no known key? Nearly all are."""
        seen = glance(buffer, payload, end)
        if seen is None:
            return False
        random, name = seen
        if name is None or random in self._keylog or self._is_host(name):
            return False
        self._pass_over(random)
        return True

    def _is_beginning(self, key: Key, segment: Segment) -> bool:
        """Does a conversation begin here that may be ours, and that was not read yet?"""
        if key in self._done or not self._may_begin(segment):
            return False
        ended = self._ended.get(key)
        return ended is None or not ended.has_read(segment)

    def _may_begin(self, segment: Segment) -> bool:
        """Is this the beginning of a conversation that may be ours?"""
        payload = segment.payload
        if payload[:1] == b"\x16":
            hello = client_hello_from_records(payload)
            if isinstance(hello, ClientHello) and self._basis(hello, segment.target) is None:
                self._pass_over(hello.random)
                return False
            return hello is not None
        if not payload or not any(method.startswith(payload[:4]) for method in METHODS):
            return False
        host = _http_host(payload)
        return host is None or self._is_host(host) or payload.startswith((b"CONNECT", b"PRI"))

    def _pass_over(self, random: bytes) -> None:
        self.not_ours["TLS"] += 1
        if len(self._randoms) < self._limits.streams:
            self._randoms[random] = None

    def _is_host(self, name: str) -> bool:
        known = self._names.get(name)
        if known is None:
            known = self._interest.is_host(name)
            if len(self._names) < self._limits.streams:
                self._names[name] = known
        return known

    def _basis(self, hello: ClientHello, server: bytes) -> Basis | None:
        """Why a TLS flow is ours; None: it is not."""
        if hello.sni is not None and self._is_host(hello.sni):
            return Basis.SNI
        if hello.random in self._keylog:
            return Basis.KEY
        if server in self._interest.addresses or (server in self._addresses and (hello.sni is None or hello.has_ech)):
            return Basis.ADDRESS
        return None

    def _dissect(self, batch: Batch, index: int) -> Segment | Datagram | None:
        data, original = batch.packet(index)
        stamp = Stamp(int(batch.frames[index]), batch.time_ns(index))
        return self.dissector.dissect(batch.interface.link_type, data, original, stamp)

    def _segment(self, segment: Segment) -> Found:
        key = flow_key(segment)
        if key in self._done:
            return
        connection = self._flows.get(key)
        if connection is not None and connection.restarts_with(segment):
            yield from self._close(key, self._flows.pop(key))
            connection = None
        if connection is None:
            if key in self._left or (key in self._ended and not segment.flags & SYN and not segment.payload):
                return
            from_start = bool(segment.payload) and self._is_beginning(key, segment)
            if not from_start and (key in self._ended or not self._is_watched(segment)):
                return
            connection = self._add(key, segment, from_start=from_start)
            if len(self._flows) > self._limits.streams:
                yield from self._close(*self._flows.popitem(last=False))
        for message in connection.feed(segment):
            yield connection, message
        if connection.basis is None:
            if connection.is_worth_a_look():
                yield from self._decide(key, connection)
        elif connection.is_finished:
            yield from self._close(key, self._flows.pop(key))

    def _is_watched(self, segment: Segment) -> bool:
        if not self._by_address:
            return False
        return segment.source in self._addresses or segment.target in self._addresses

    def _add(self, key: Key, segment: Segment, *, from_start: bool) -> Connection:
        source, target = (segment.source, segment.source_port), (segment.target, segment.target_port)
        is_answer = not from_start and (
            segment.flags & (SYN | ACK) == SYN | ACK or (not segment.flags & SYN and source[0] in self._addresses)
        )
        client, server = (target, source) if is_answer else (source, target)
        connection = Connection(
            client, server, segment.stamp, self._keylog, self._limits, self._interest.keep_responses
        )
        if from_start:
            connection.begin(segment)
        self._flows[key] = connection
        self._wanted.add_flow(hash_flow(*source, *target))
        return connection

    def _drop(self, key: Key) -> None:
        self._wanted.drop_flow(hash_flow(*key[0], *key[1]))

    def _decide(self, key: Key, connection: Connection, *, is_last: bool = False) -> Found:
        """Open the connection if its first bytes show that it is ours, or drop it if they show that it is not."""
        begin, missed = connection.first_bytes()
        server = connection.server[0]
        is_watched = self._by_address and server in self._addresses
        opened: list[HttpMessage] | None = None
        if begin[:1] == b"\x16" and not missed:
            hello = client_hello_from_records(begin)
            if isinstance(hello, ClientHello):
                connection.hello = hello
                basis = self._basis(hello, server)
                if basis is None:
                    return self._leave(key, hello, is_watched)
                if basis is Basis.SNI:
                    self._watch(server, hello.sni)
                opened = connection.open(basis, hello.sni or self._addresses.get(server), is_tls=True)
            elif hello is None and not is_watched:
                return self._leave(key, None, is_watched)
        elif begin and not missed and any(method.startswith(begin[:4]) for method in METHODS):
            host = None if begin.startswith(b"PRI") else _http_host(begin)
            if host is not None or begin.startswith(b"PRI"):  # HTTP/2 names its hosts further on
                if not (host is None or self._is_host(host)):
                    return self._leave(key, None, is_watched)
                opened = connection.open(Basis.HTTP_HOST, host or None, is_tls=False)
        if opened is None:
            enough = is_last or connection.held_bytes > self._limits.undecided or connection.has_gap
            if not enough:
                return iter(())
            if not is_watched:
                return self._leave(key, None, is_watched)
            is_http = b" HTTP/1." in begin[: self._limits.undecided]
            opened = connection.open(Basis.ADDRESS, self._addresses.get(server), is_tls=not is_http)
        return ((connection, message) for message in opened)

    def _leave(self, key: Key, hello: ClientHello | None, is_watched: bool) -> Found:
        if hello is not None:
            self._pass_over(hello.random)
        if key in self._flows:
            del self._flows[key]
            self._drop(key)
        if is_watched:
            self._left[key] = None
            if len(self._left) > self._limits.streams:
                self._left.popitem(last=False)
        return iter(())

    def _close(self, key: Key, connection: Connection) -> Found:
        self._drop(key)
        for message in connection.drain():
            yield connection, message
        if connection.basis is None:
            yield from self._decide(key, connection, is_last=True)
        for message in connection.finish():
            yield connection, message
        if connection.basis is not None:
            self.closed.append(connection)
            self._ended[key] = connection

    def _watch(self, address: bytes, host: str | None) -> None:
        """From now on this address is known to be a telemetry host's."""
        if len(self._addresses) < self._limits.streams:
            self._addresses.setdefault(address, host)
            if self._by_address:
                self._wanted.add_address(address)

    def _datagram(self, packet: Datagram) -> None:
        if packet.source_port in DNS_PORTS:
            for name, address in answers(packet.payload):
                if self._is_host(name):
                    self._watch(address, name)
        elif QUIC_PORT in (packet.source_port, packet.target_port):
            self._quic(packet)

    def _quic(self, packet: Datagram) -> None:
        """Note a QUIC handshake with a telemetry host, by its server name or its address."""
        source, target = (packet.source, packet.source_port), (packet.target, packet.target_port)
        is_client = packet.target_port == QUIC_PORT
        key = (source, target) if is_client else (target, source)
        flow = self.quic.get(key)
        if flow is None:
            if packet.payload[:1] < b"\xc0":  # no long header (RFC 9000, 17.2): not a handshake, perhaps not QUIC
                return
            hello = self._initials.feed(packet.payload) if is_client else None
            host = hello.sni if hello else None
            known = self._addresses.get(key[1][0])
            if not (host and self._is_host(host)) and key[1][0] not in self._addresses:
                return
            if len(self.quic) >= self._limits.streams:
                return
            flow = self.quic[key] = QuicFlow(*key, host or known, Tally(packet.stamp, packet.stamp))
        side = Side.CLIENT if is_client else Side.SERVER
        flow.tally.add(side, len(packet.payload), 0, packet.stamp, self._limits.bursts)


def _places(sifted: Sifted, chosen: Positions) -> Iterator[tuple[int, Batch, int]]:
    frames = sifted.batch.frames
    return ((int(frames[index]), sifted.batch, index) for index in chosen.tolist())


def flow_key(segment: Segment) -> Key:
    """The ends of a segment's flow, the same for both directions."""
    one, other = (segment.source, segment.source_port), (segment.target, segment.target_port)
    return (one, other) if one < other else (other, one)


def _http_host(head: bytes) -> str | None:
    """Return the host that a request names, "" if its head names none; None while the head is not complete."""
    end = _HEAD_END.search(head)
    first, *lines = head[: end.start() if end else max(0, head.rfind(b"\n"))].split(b"\n")
    for line in lines:
        name, colon, value = line.partition(b":")
        if colon and name.strip().lower() == b"host":
            return _without_port(value)
    if end is None:
        return None
    method, _, target = first.partition(b" ")
    if method != b"CONNECT":
        target = b"" if target.startswith(b"/") else target.partition(b"://")[2].partition(b"/")[0]
    return _without_port(target)


def _without_port(value: bytes) -> str:
    text = value.strip().decode("latin-1").lower()
    name = text.rpartition("]")[0].removeprefix("[") if text.startswith("[") else text.partition(":")[0]
    return name.rstrip(".")
