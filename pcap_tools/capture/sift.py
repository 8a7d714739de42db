"""Says which packets of a batch are worth a closer look: by numpy, for all packets of the batch at once.

Of a packet in plain Ethernet/IP/TCP or UDP it sees the addresses, ports and first bytes of the payload. It
asks for a closer look at

- what may begin a conversation: a ClientHello, an HTTP request (or the first bytes of one), a DNS answer,
  a QUIC handshake;
- packets of the flows, and to or from the addresses, that are `wanted`;
- everything it cannot read itself: fragments, tunnels, extension headers, other link types.

It may ask for too many (flows are known here by a 16-bit hash of their addresses and ports), never for too
few: what it passes over is TCP or UDP of other flows, or is not IP. A packet costs about 0.2 µs.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pcap_tools.capture.batch import Batch, Positions
from pcap_tools.capture.packets import (
    ETHERTYPE_AT,
    GRE,
    HEADER_SIZE,
    IP_AT,
    IP_IN_IP,
    IPV4,
    IPV6,
    IPV6_IN_IP,
    TCP,
    UDP,
    VLANS,
    VXLAN_PORTS,
)

Mask = npt.NDArray[np.bool_]

DNS_PORTS = (53, 5353)
QUIC_PORT = 443
METHODS = (b"GET ", b"POST", b"PUT ", b"PATC", b"HEAD", b"DELE", b"OPTI", b"CONN", b"PRI ", b"TRAC")
_TLS_HANDSHAKE, _CLIENT_HELLO = 0x16, 1
_MOST_TAGS = 2  # VLAN tags that are read here; more go the slow way
_SLOW_PROTOCOLS = (GRE, IP_IN_IP, IPV6_IN_IP)
_MPLS, _PPPOE = 0x8847, 0x8864
_BITS = 16  # of a flow's hash

_FIRST_BYTES = np.zeros(256, np.bool_)
_FIRST_BYTES[[_TLS_HANDSHAKE, *(method[0] for method in METHODS)]] = True
_METHOD_WORDS = np.array([int.from_bytes(method, "big") for method in METHODS], np.uint32)


@dataclass(slots=True)
class Sifted:
    """What was found out about a batch. All arrays of positions index its packets, ascending."""

    batch: Batch
    tcp: Positions  # the plain TCP packets
    flows: Positions  # hash of the flow of each of `tcp`
    starts: Positions  # may begin a conversation over TCP
    payloads: Positions  # where in the buffer the payload of each of `starts` begins
    ends: Positions  # and where it ends
    others: Positions  # must be looked at for what they are: tunnels, fragments, DNS answers, QUIC handshakes


class Wanted:
    """Flows and addresses of which every packet is wanted, as tables by hash."""

    def __init__(self) -> None:
        self._flows = np.zeros(1 << _BITS, np.uint16)
        self._addresses = np.zeros(1 << _BITS, np.bool_)
        self.has_addresses = False
        self.seen = np.zeros(1 << _BITS, np.bool_)  # addresses with TCP payload that was passed over

    def add_flow(self, flow: int) -> None:
        if self._flows[flow] < 0xFFFF:
            self._flows[flow] += 1

    def drop_flow(self, flow: int) -> None:
        if 0 < self._flows[flow] < 0xFFFF:
            self._flows[flow] -= 1

    def add_address(self, address: bytes) -> None:
        self._addresses[hash_address(address)] = True
        self.has_addresses = True

    def was_passed_over(self, address: bytes) -> bool:
        """May there have been TCP payload from or to this address that nobody looked at? Never wrongly False."""
        return bool(self.seen[hash_address(address)])

    def choose(self, sifted: Sifted, sift: "Sift") -> Positions:
        """Return the packets of `sifted.tcp` that are wanted, and note the addresses of the others."""
        is_wanted: Mask = self._flows[sifted.flows] > 0
        sources, targets = sift.addresses
        if self.has_addresses:
            is_wanted |= self._addresses[sources] | self._addresses[targets]
        passed = sift.has_payload & ~is_wanted
        self.seen[sources[passed]] = True
        self.seen[targets[passed]] = True
        return sifted.tcp[is_wanted]


def hash_address(address: bytes) -> int:
    """The hash of an IPv4 or IPv6 address: of its last 32 bits."""
    return (int.from_bytes(address[-4:], "big") * 2654435761 & 0xFFFFFFFF) >> (32 - _BITS)


def hash_flow(address: bytes, port: int, other: bytes, other_port: int) -> int:
    """The hash of a flow, the same for both directions."""
    ends = int.from_bytes(address[-4:], "big") + int.from_bytes(other[-4:], "big")
    return ((ends * 2654435761 + (port + other_port) * 40503) & 0xFFFFFFFF) >> (32 - _BITS)


class Sift:
    """Looks at one batch after the other. What it computed of the last one stays until the next."""

    def __init__(self) -> None:
        self.addresses: tuple[Any, Any] = (np.zeros(0, np.intp), np.zeros(0, np.intp))  # hashes, of the TCP packets
        self.has_payload: Mask = np.zeros(0, np.bool_)  # of the TCP packets
        self.not_ip = 0  # packets passed over because they are not IP

    def sift(self, batch: Batch) -> Sifted:
        """Sort the packets of one batch."""
        link_type = batch.interface.link_type
        if link_type not in ETHERTYPE_AT and link_type not in IP_AT:
            nothing = np.zeros(0, np.intp)
            self.addresses, self.has_payload = (nothing, nothing), np.zeros(0, np.bool_)
            return Sifted(batch, nothing, nothing, nothing, nothing, nothing, np.arange(len(batch.heads)))
        view = _View(batch)
        ip, is_ip, others = view.find_ip(link_type)
        self.not_ip += int(len(ip) - np.count_nonzero(is_ip | others))
        transport, protocol, size, is_plain = view.find_transport(ip, is_ip)
        rest = np.flatnonzero(is_ip & ~is_plain)
        others[rest[view.is_slow(ip[rest])]] = True
        tcp = np.flatnonzero(is_plain & (protocol == TCP))
        udp = np.flatnonzero(is_plain & (protocol == UDP))
        flows = self._flows(view, ip[tcp], transport[tcp])
        starts, payloads, ends = self._starts(view, transport[tcp], size[tcp], tcp)
        chosen = self._datagrams(view, transport[udp])
        rest = np.union1d(np.flatnonzero(others), udp[chosen])
        return Sifted(batch, tcp, flows, tcp[starts], payloads, ends, rest)

    def _flows(self, view: "_View", ip: Positions, transport: Positions) -> Any:
        """Return the hash of each TCP packet's flow; keeps those of its addresses."""
        words, octets = view.words, view.octets
        is_v6 = octets[ip] >> 4 == 6
        source = words[ip + np.where(is_v6, 20, 12)]
        target = words[ip + np.where(is_v6, 36, 16)]
        ports = words[transport]
        factor, shift = np.uint32(2654435761), np.uint32(32 - _BITS)
        self.addresses = ((source * factor) >> shift, (target * factor) >> shift)
        both = (ports >> np.uint32(16)) + (ports & np.uint32(0xFFFF))
        return ((source + target) * factor + both * np.uint32(40503)) >> shift

    def _starts(
        self, view: "_View", transport: Positions, size: Positions, tcp: Positions
    ) -> tuple[Positions, Positions, Positions]:
        """Return which TCP packets may begin a conversation, and where their payload, as captured, begins and ends."""
        header = (view.octets[transport + 12] >> 4).astype(np.intp) * 4
        payload, length = transport + header, size - header
        self.has_payload = length > 0
        starts = np.flatnonzero(self.has_payload & _FIRST_BYTES[view.octets[payload]])
        ends = np.minimum(payload + length, view.end[tcp])
        starts = starts[_is_start(view, payload[starts], (ends - payload)[starts])]
        return starts, payload[starts], ends[starts]

    def _datagrams(self, view: "_View", transport: Positions) -> Mask:
        """Which UDP packets are DNS answers, QUIC handshakes or VXLAN?"""
        ports = view.words[transport]
        source, target = ports >> np.uint32(16), ports & np.uint32(0xFFFF)
        is_quic = ((source == QUIC_PORT) | (target == QUIC_PORT)) & (view.octets[transport + 8] >= 0xC0)
        found: Mask = is_quic
        for port in DNS_PORTS:
            found |= source == port
        for port in VXLAN_PORTS:
            found |= target == port
        return found


def _is_start(view: "_View", payload: Positions, length: Positions) -> Mask:
    """Is this the beginning of a ClientHello or of an HTTP request? Of few bytes: may it be?"""
    words = view.words[payload]
    is_short = length < 6
    is_record = words >> np.uint32(8) <= np.uint32(0x160304)
    is_hello = (words >> np.uint32(16) == 0x1603) & is_record & (view.octets[payload + 5] == _CLIENT_HELLO)
    return np.asarray(is_hello | np.isin(words, _METHOD_WORDS) | is_short)


class _View:
    """The buffer of a batch as bytes, 16-bit and 32-bit numbers, one from each byte on, in network order."""

    def __init__(self, batch: Batch) -> None:
        buffer, size = batch.buffer, len(batch.buffer)
        self.octets = np.frombuffer(buffer, np.uint8)
        self.shorts: Any = np.ndarray((size - 1,), ">u2", buffer, 0, (1,))
        self._words: Any = np.ndarray((size - 3,), ">u4", buffer, 0, (1,))
        self.start = batch.heads + batch.layout.data
        self.end = self.start + batch.captured

    @property
    def words(self) -> "_Native":
        return _Native(self._words)

    def find_ip(self, link_type: int) -> tuple[Positions, Mask, Mask]:
        """Return where IP begins, of which packets it does, and which must be looked at more closely."""
        start = self.start
        if link_type in IP_AT:
            ip = start + IP_AT[link_type]
            return ip, ip + 20 <= self.end, np.zeros(len(ip), np.bool_)
        ip = start + HEADER_SIZE[link_type]
        ethertype = self.shorts[start + ETHERTYPE_AT[link_type]]
        for _ in range(_MOST_TAGS):
            tagged = np.flatnonzero(_is_vlan(ethertype))
            if not len(tagged):
                break
            ethertype[tagged] = self.shorts[ip[tagged] + 2]
            ip[tagged] += 4
        others = _is_vlan(ethertype) | (ethertype == _MPLS) | (ethertype == _PPPOE)
        is_ip = ((ethertype == IPV4) | (ethertype == IPV6)) & (ip + 20 <= self.end)
        return ip, is_ip, others & (ip <= self.end)

    def find_transport(self, ip: Positions, is_ip: Mask) -> tuple[Positions, Any, Positions, Mask]:
        """Return where TCP or UDP begins, the protocol, the bytes from there on, and where all that is plain."""
        octets, shorts = self.octets, self.shorts
        first = octets[ip]
        is_v4, is_v6 = first >> 4 == 4, first >> 4 == 6
        header = np.where(is_v6, 40, (first & 15).astype(np.intp) * 4)
        protocol = octets[ip + np.where(is_v6, 6, 9)]
        total = np.where(is_v6, shorts[ip + 4] + np.intp(40), shorts[ip + 2].astype(np.intp))
        total = np.where(total == np.where(is_v6, 40, 0), self.end - ip, total)  # 0: segmentation offload
        transport = ip + header
        is_whole = is_v6 | (is_v4 & (shorts[ip + 6] & 0x3FFF == 0) & (header >= 20))
        fits = transport + np.where(protocol == TCP, 20, 8) <= self.end
        is_plain = is_ip & is_whole & fits & ((protocol == TCP) | (protocol == UDP))
        return np.where(is_plain, transport, 0), protocol, total - header, is_plain

    def is_slow(self, ip: Positions) -> Mask:
        """Of IP packets that are not plain: which carry, or may carry, TCP or UDP all the same?"""
        first = self.octets[ip]
        protocol = self.octets[ip + np.where(first >> 4 == 6, 6, 9)]
        slow: Mask = np.isin(protocol, (*_SLOW_PROTOCOLS, TCP, UDP))
        slow |= (first >> 4 == 6) & np.isin(protocol, (0, 43, 44, 51, 60, 135))
        slow |= (first >> 4 == 4) & (self.shorts[ip + 6] & 0x3FFF != 0)
        return slow


class _Native:
    """32-bit numbers in the machine's own order: numpy computes slowly with the other."""

    def __init__(self, words: Any) -> None:
        self._words = words

    def __getitem__(self, positions: Positions) -> Any:
        return self._words[positions].astype(np.uint32)


def _is_vlan(ethertype: Any) -> Mask:
    return np.asarray((ethertype == VLANS[0]) | (ethertype == VLANS[1]) | (ethertype == VLANS[2]))
