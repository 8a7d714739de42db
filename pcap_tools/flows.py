"""Chooses the flows of a capture that are worth opening, and feeds them.

A flow is ours if its ClientHello or HTTP request names a telemetry host, if its client_random is in the key
log, or if its server has an address that such a host has: from a DNS answer, from another flow, or as the
operator says. What is not ours costs a look at its first bytes and is forgotten.

What a later packet says of an earlier one (an address, a key) is kept for a second pass over the file:
`look_again` says whether there is something to look for. A stream that cannot be read twice is read with
what is known at each moment.
"""

from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from operator import itemgetter

import numpy as np

from mutewatch.flow_records import Unidentified
from pcap_tools.capture.batch import Batch, Positions
from pcap_tools.capture.dns import answers
from pcap_tools.capture.packets import ACK, SYN, Datagram, Dissector, Segment
from pcap_tools.capture.sift import DNS_PORTS, METHODS, QUIC_PORT, Sifted, Wanted, hash_flow, sift
from pcap_tools.capture.stream_numbers import StreamNumbers
from pcap_tools.connection import Basis, Connection, Place, place
from pcap_tools.ends import Key, flow_key, in_order
from pcap_tools.http.host import named_host
from pcap_tools.http.message import HttpMessage
from pcap_tools.interest import Interest, Known
from pcap_tools.limits import ReadLimits
from pcap_tools.quic_flows import QuicFlow, QuicFlows
from pcap_tools.reuse import frames_of_earlier
from pcap_tools.rtp.streams import RtpStreams
from pcap_tools.stream import Stamp
from pcap_tools.tls.budget import Budget
from pcap_tools.tls.handshake import ClientHello, begun_client_hello, client_hello_from_records, glance
from pcap_tools.tls.keylog import KeyLog

Found = Iterator[tuple[Connection, HttpMessage]]


class FlowTable:
    """Takes chunks of packets, gives HTTP messages with their connections."""

    def __init__(self, interest: Interest, keylog: KeyLog, limits: ReadLimits, *, reads_once: bool) -> None:
        self.closed: list[Connection] = []  # finished, for the account
        self.unidentified: Counter[Unidentified] = Counter()  # flows of which nobody knows whose they are
        self.dissector = Dissector(limits)
        self.media = RtpStreams(limits) if interest.media else None
        self._interest, self._keylog, self._limits = interest, keylog, limits
        self._budget = Budget(limits.trials)
        self._known = Known(interest, keylog, limits.streams)
        self._wanted = Wanted()
        self._quic = QuicFlows(self._known.is_host, self._known.addresses, limits)
        self._flows: OrderedDict[Key, Connection] = OrderedDict()
        self._left: OrderedDict[Key, None] = OrderedDict()  # ours neither by name nor by key, at a known address
        self._done: dict[Key, list[tuple[int, int]]] = {}  # read in the first pass: from which frame to which
        self._ended: dict[Key, Connection] = {}  # the last of those ends, closed
        self._randoms: OrderedDict[bytes, None] = OrderedDict()  # of flows that were left for want of a key
        self._recent: list[tuple[Sifted, Positions]] = []  # the chunk before, and what was taken of it
        self._by_address = reads_once or bool(interest.addresses)  # are known addresses looked for in this pass?
        self._stray_keys: KeyLog | None = None  # secrets of which no ClientHello was seen, tried on what has none
        self._given: set[Place] = set()  # messages that a second pass sees again
        self._headless: set[int] = set()  # hashes of the flows that they are tried on
        self._strays = 0  # how many these were so far
        for address in self._known.addresses if self._by_address else ():
            self._wanted.add_address(address)

    def take(self, batches: Iterable[Batch], numbers: StreamNumbers) -> Found:
        """Take the packets of one chunk of the file that `numbers` is of; yield the messages that are complete."""
        chosen: list[tuple[int, Batch, int]] = []  # frame, and where it is
        looked_at: dict[int, Segment | Datagram | None] = {}  # by frame
        recent: list[tuple[Sifted, Positions]] = []
        fresh: list[int] = []
        for batch in batches:
            sifted = sift(batch, with_udp=self.media is not None and not self.media.is_over)
            fresh += self._begin(sifted, looked_at)
            self._look_at_others(sifted, looked_at)
            if self.media is not None:
                self.media.take(sifted, looked_at)
            recent.append((sifted, self._wanted.choose(sifted)))
            chosen += sifted.places(recent[-1][1])
        if fresh:  # what came before the beginning, too: packets do not always stand in their order
            for earlier, taken in (*self._recent, *recent[:-1]):
                passed = np.setdiff1d(earlier.tcp[np.isin(earlier.flows, fresh)], taken)
                chosen += earlier.places(passed)
        numbers.take((sifted for sifted, _ in recent), looked_at)
        self._recent = recent
        yield from self._let_go()
        stale: set[int] = set()
        if fresh:
            looked_at |= {frame: self._dissect(batch, at) for frame, batch, at in chosen if frame not in looked_at}
            segments = (packet for packet in looked_at.values() if isinstance(packet, Segment))
            stale = frames_of_earlier(segments, self._flows)
        for frame, batch, index in sorted(chosen, key=itemgetter(0)):
            if frame in stale:
                continue
            packet = looked_at[frame] if frame in looked_at else self._dissect(batch, index)
            if isinstance(packet, Segment):
                yield from self._segment(packet)
            elif packet is not None and QUIC_PORT in (packet.source_port, packet.target_port):
                self._quic.take(packet)

    def look_again(self) -> bool:
        """After a pass, prepare a second one for what is known only now. False if there is nothing to look for."""
        keys = any(random in self._keylog for random in self._randoms)
        again = [one for one in self.closed if one.has_dropped and one.random in self._keylog]
        addresses = [address for address in self._known.addresses if self._wanted.was_passed_over(address)]
        addresses = [] if self._by_address else addresses
        headless = self._wanted.headless()
        strays = self._unused_keys() if headless else None
        if not (keys or again or addresses or strays):
            return False
        self._given = {spot for one in again for spot in one.given}
        chosen = set(map(id, again))
        self.closed = [one for one in self.closed if id(one) not in chosen]
        for one in self.closed:
            frames = (one.tally.first.frame, one.tally.last.frame)
            self._done.setdefault(in_order(one.client, one.server), []).append(frames)
        self._recent, self._wanted, self._by_address = [], Wanted(), True
        self._left.clear()
        self._randoms.clear()
        self._ended.clear()
        self.unidentified.clear()
        for address in addresses:
            self._wanted.add_address(address)
        if strays:
            self._stray_keys, self._headless = strays, set(headless)
            for flow in headless:
                self._wanted.add_flow(flow)
        return True

    def _unused_keys(self) -> KeyLog | None:
        """Return the secrets of TLS 1.3 sessions whose ClientHello is not in the capture, if there are any."""
        seen = {one.random for one in self.closed if one.random}
        unused = self._keylog.without(seen)
        return unused if len(unused) else None

    @property
    def chosen(self) -> int:
        """How many flows of telemetry hosts were found so far."""
        return len(self.closed) + len(self.quic) + sum(one.basis is not None for one in self._flows.values())

    @property
    def quic(self) -> Collection[QuicFlow]:
        """The QUIC connections to telemetry hosts."""
        return self._quic.found.values()

    def finish(self) -> Found:
        """Nothing more comes in this pass: yield what is left in the open connections."""
        while self._flows:
            key, connection = self._flows.popitem(last=False)
            yield from self._close(key, connection)
        self.unidentified[Unidentified.HEADLESS] += len(self._wanted.headless())

    def _begin(self, sifted: Sifted, looked_at: dict[int, Segment | Datagram | None]) -> list[int]:
        """Look at what may begin a conversation. Return the hashes of flows that were not known."""
        fresh: list[int] = []
        for index, payload, end in zip(
            sifted.tcp[sifted.begun].tolist(), sifted.payloads.tolist(), sifted.ends.tolist(), strict=True
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

    def _look_at_others(self, sifted: Sifted, looked_at: dict[int, Segment | Datagram | None]) -> None:
        """Look at what says which addresses and flows are ours: DNS answers, QUIC handshakes."""
        for index in np.flatnonzero(sifted.others).tolist():
            packet = self._dissect(sifted.batch, index)
            looked_at[int(sifted.batch.frames[index])] = packet
            if not isinstance(packet, Datagram):
                continue
            if packet.source_port in DNS_PORTS:
                for name, address in answers(packet.payload):
                    if self._known.is_host(name):
                        self._watch(address, name)
            elif packet.target_port == QUIC_PORT:
                found = self._quic.discover(packet)
                if found is not None:
                    self._wanted.add_flow(found)

    def _is_others(self, buffer: bytearray, payload: int, end: int) -> bool:
        """Is this a whole ClientHello to somebody else, of no known key? Nearly all are."""
        seen = glance(buffer, payload, end)
        if seen is None:
            return False
        random, name = seen
        if name is None or random in self._keylog or self._known.is_host(name):
            return False
        self._pass_over(random)
        return True

    def _is_beginning(self, key: Key, segment: Segment) -> bool:
        """Does a conversation begin here that may be ours, and that was not read yet?"""
        if self._is_done(key, segment) or not self._may_begin(segment):
            return False
        ended = self._ended.get(key)
        return ended is None or not ended.has_read(segment)

    def _may_begin(self, segment: Segment) -> bool:
        """Is this the beginning of a conversation that may be ours?"""
        payload = segment.payload
        if payload[:1] == b"\x16":
            hello = client_hello_from_records(payload)
            if isinstance(hello, ClientHello) and self._known.basis(hello, segment.target) is None:
                self._pass_over(hello.random)
                return False
            return hello is not None
        if not payload or not any(method.startswith(payload[:4]) for method in METHODS):
            return False
        host = named_host(payload)
        return host is None or self._known.is_host(host) or payload.startswith((b"CONNECT", b"PRI"))

    def _pass_over(self, random: bytes) -> None:
        """This ClientHello is somebody else's; a key for it may still come."""
        if len(self._randoms) < self._limits.streams:
            self._randoms[random] = None

    def _dissect(self, batch: Batch, index: int) -> Segment | Datagram | None:
        data, original = batch.packet(index)
        stamp = Stamp(batch.frames.item(index), batch.time_ns(index))
        return self.dissector.dissect(batch.interface.link_type, data, original, stamp)

    def _segment(self, segment: Segment) -> Found:
        key = flow_key(segment)
        if self._is_done(key, segment):
            return
        connection = self._flows.get(key)
        if connection is not None and connection.restarts_with(segment):
            yield from self._close(key, self._flows.pop(key))
            connection = None
        if connection is None:
            if key in self._left or not (segment.payload or segment.flags & SYN):
                return
            from_start = bool(segment.payload) and self._is_beginning(key, segment)
            is_watched = from_start or self._is_watched(segment)
            is_stray = not is_watched and self._is_stray(segment)
            is_rest = not from_start and (key in self._ended or key in self._done)
            if is_rest or not (is_watched or is_stray):
                return
            if is_stray and self._strays >= self._limits.strays:
                self._pass_by(key)
                self.unidentified[Unidentified.HEADLESS] += 1
                return
            connection = self._add(key, segment, from_start=from_start, is_stray=is_stray)
        self._flows.move_to_end(key)
        yield from self._let_go()
        yield from self._new(connection, connection.feed(segment))
        if connection.basis is None:
            if connection.is_worth_a_look():
                yield from self._decide(key, connection)
        elif connection.is_finished and key in self._flows:
            yield from self._close(key, self._flows.pop(key))

    def _let_go(self) -> Found:
        """Of too many flows at once, close the one that was silent for the longest time."""
        while len(self._flows) > self._limits.open_flows:
            key, connection = self._flows.popitem(last=False)
            connection.is_let_go = True
            yield from self._close(key, connection)

    def _is_done(self, key: Key, segment: Segment) -> bool:
        """Was this segment read in the first pass?"""
        return any(first <= segment.stamp.frame <= last for first, last in self._done.get(key, ()))

    def _is_watched(self, segment: Segment) -> bool:
        if not self._by_address:
            return False
        return segment.source in self._known.addresses or segment.target in self._known.addresses

    def _is_stray(self, segment: Segment) -> bool:
        """Is this of a flow without a beginning on which keys should be tried that fit nothing else?"""
        if self._stray_keys is None:
            return False
        ends = (segment.source, segment.source_port, segment.target, segment.target_port)
        return hash_flow(*ends) in self._headless

    def _add(self, key: Key, segment: Segment, *, from_start: bool, is_stray: bool = False) -> Connection:
        source, target = (segment.source, segment.source_port), (segment.target, segment.target_port)
        is_answer = not from_start and (
            segment.flags & (SYN | ACK) == SYN | ACK
            or (not segment.flags & SYN and self._known.is_server(source, target))
        )
        client, server = (target, source) if is_answer else (source, target)
        keylog, limits = self._keylog, self._limits
        if is_stray and self._stray_keys is not None:
            self._strays += 1
            keylog = self._stray_keys
            limits = replace(limits, tls=replace(limits.tls, trials=limits.stray_trials))
        connection = Connection(client, server, segment.stamp, keylog, limits, self._budget, self._interest.keeps)
        if from_start:
            connection.begin(segment)
        if is_stray:
            connection.open(Basis.TRIAL, None, is_tls=True)
        self._flows[key] = connection
        self._wanted.add_flow(hash_flow(*source, *target))
        return connection

    def _drop(self, key: Key) -> None:
        self._wanted.drop_flow(hash_flow(*key[0], *key[1]))

    def _decide(self, key: Key, connection: Connection, *, is_last: bool = False) -> Found:
        """Open the connection if its first bytes show that it is ours, or drop it if they show that it is not."""
        begin, missed = connection.first_bytes()
        server = connection.server[0]
        is_watched = self._by_address and server in self._known.addresses
        opened: list[HttpMessage] | None = None
        hello: ClientHello | int | None = None
        if begin[:1] == b"\x16" and not missed:
            hello = client_hello_from_records(begin)
            if isinstance(hello, ClientHello):
                connection.hello = hello
                basis = self._known.basis(hello, server)
                if basis is None:
                    return self._leave(key, hello, is_watched)
                if basis is Basis.SNI:
                    self._watch(server, hello.sni)
                opened = connection.open(basis, hello.sni or self._known.addresses.get(server), is_tls=True)
            elif hello is None and not is_watched:
                return self._leave(key, None, is_watched)
            elif isinstance(hello, int) and (connection.has_gap or is_last):
                opened = self._open_cut_hello(connection, begin)
        elif begin and not missed and any(method.startswith(begin[:4]) for method in METHODS):
            host = None if begin.startswith(b"PRI") else named_host(begin)
            if host is not None or begin.startswith(b"PRI"):  # HTTP/2 names its hosts further on
                if not (host is None or self._known.is_host(host)):
                    return self._leave(key, None, is_watched)
                opened = connection.open(Basis.HTTP_HOST, host or None, is_tls=False)
        if opened is None:
            enough = is_last or connection.held_bytes > self._limits.undecided or connection.has_gap
            if not enough:
                return iter(())
            if not is_watched:
                return self._leave(key, hello, is_watched)
            is_http = b" HTTP/1." in begin[: self._limits.undecided]
            opened = connection.open(Basis.ADDRESS, self._known.addresses.get(server), is_tls=not is_http)
        return self._new(connection, opened)

    def _open_cut_hello(self, connection: Connection, begin: bytes) -> list[HttpMessage] | None:
        """Open a connection by what is there of a ClientHello, if that says that it is ours."""
        hello = begun_client_hello(begin)
        basis = self._known.basis(hello, connection.server[0]) if hello is not None else None
        if hello is None or basis not in (Basis.SNI, Basis.KEY):
            return None
        connection.hello = hello
        if basis is Basis.SNI:
            self._watch(connection.server[0], hello.sni)
        return connection.open(basis, hello.sni, is_tls=True)

    def _new(self, connection: Connection, messages: list[HttpMessage]) -> Found:
        """Pass on what was not given before."""
        return ((connection, message) for message in messages if place(message) not in self._given)

    def _leave(self, key: Key, hello: ClientHello | int | None, is_watched: bool) -> Found:
        """It is not ours, or nobody knows: a ClientHello of which bytes are missing (`hello`: how many)."""
        if isinstance(hello, ClientHello):
            self._pass_over(hello.random)
        elif hello is not None:
            self.unidentified[Unidentified.HELLO_CUT] += 1
        if key in self._flows:
            del self._flows[key]
            self._drop(key)
        if is_watched:
            self._pass_by(key)
        return iter(())

    def _pass_by(self, key: Key) -> None:
        self._left[key] = None
        if len(self._left) > self._limits.streams:
            self._left.popitem(last=False)

    def _close(self, key: Key, connection: Connection) -> Found:
        self._drop(key)
        yield from self._new(connection, connection.drain())
        if connection.basis is None:
            yield from self._decide(key, connection, is_last=True)
        yield from self._new(connection, connection.finish())
        connection.close()
        if connection.basis is Basis.TRIAL and not connection.messages:
            self.unidentified[Unidentified.HEADLESS] += 1
            self._pass_by(key)
        elif connection.basis is not None:
            self.closed.append(connection)
            self._ended[key] = connection

    def _watch(self, address: bytes, host: str | None) -> None:
        """From now on this address is known to be a telemetry host's."""
        if self._known.add(address, host) and self._by_address:
            self._wanted.add_address(address)
