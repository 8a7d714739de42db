"""Takes one packet apart down to TCP or UDP: the exact and slow way, for the packets that matter.

Ethernet with any number of VLAN tags, PPPoE and MPLS; raw IP, NULL and LOOP, Linux cooked capture 1 and 2;
IPv4 and IPv6 with extension headers and fragments; inside GRE, VXLAN and IP-in-IP. Link types that are not
here go through scapy. Checksums are not looked at: with offload they are wrong in every outgoing packet.

What a packet says of itself is believed only within its bounds; anything else gives None and is counted.
"""

import struct
from collections import Counter, OrderedDict
from typing import NamedTuple

from pcap_tools.limits import ReadLimits
from pcap_tools.stream import Stamp

ETHERNET, NULL, LOOP, LINUX_SLL, LINUX_SLL2 = 1, 0, 108, 113, 276
IP_AT = {12: 0, 14: 0, 101: 0, 228: 0, 229: 0, NULL: 4, LOOP: 4}  # raw IP in its several numbers, BSD loopback
ETHERTYPE_AT = {ETHERNET: 12, LINUX_SLL: 14, LINUX_SLL2: 0}
HEADER_SIZE = {ETHERNET: 14, LINUX_SLL: 16, LINUX_SLL2: 20}

IPV4, IPV6, VLAN, QINQ, QINQ_OLD = 0x0800, 0x86DD, 0x8100, 0x88A8, 0x9100
MPLS, PPPOE, _BRIDGED = 0x8847, 0x8864, 0x6558
VLANS = (VLAN, QINQ, QINQ_OLD)
TCP, UDP, GRE, IP_IN_IP, IPV6_IN_IP = 6, 17, 47, 4, 41
EXTENSIONS = (0, 43, 60, 135)  # hop-by-hop, routing, destination options, mobility: length in units of 8
FRAGMENT, AUTHENTICATION = 44, 51
IPV6_HEADERS = (*EXTENSIONS, FRAGMENT, AUTHENTICATION)
VXLAN_PORTS = (4789, 8472)  # IANA's, and Linux's old default
FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
_LONGEST = 0xFFFF  # bytes of an IP packet
_MOST_FRAGMENTS = 1_400  # of one datagram: the longest, over the smallest MTU, 68 bytes (RFC 791, 3.2)
_DEPTH = 6  # headers of one kind inside each other, before we take it for an attack


class Segment(NamedTuple):
    """A TCP segment."""

    source: bytes  # 4 or 16
    source_port: int
    target: bytes
    target_port: int
    sequence: int
    acknowledged: int
    flags: int
    payload: bytes
    cut: int  # bytes of the payload that were not captured
    stamp: Stamp


class Datagram(NamedTuple):
    """A UDP datagram."""

    source: bytes
    source_port: int
    target: bytes
    target_port: int
    payload: bytes
    stamp: Stamp


class Dissector:
    """Takes packets apart; holds the fragments that wait for each other. `skipped` counts what is not IP, by why."""

    def __init__(self, limits: ReadLimits) -> None:
        self.skipped: Counter[str] = Counter()
        self._limits = limits
        self._fragments: OrderedDict[tuple[object, ...], _Fragments] = OrderedDict()

    def dissect(self, link_type: int, data: bytes, original: int, stamp: Stamp) -> Segment | Datagram | None:
        """Return what the packet carries, or None. `original`: its size on the wire."""
        try:
            return self._link(link_type, data, max(0, original - len(data)), stamp)
        except (struct.error, IndexError):
            self.skipped["cut short"] += 1
            return None

    def _link(self, link_type: int, data: bytes, cut: int, stamp: Stamp) -> Segment | Datagram | None:
        if link_type in ETHERTYPE_AT:
            at = ETHERTYPE_AT[link_type]
            ethertype = data[at] << 8 | data[at + 1]
            return self._ether(ethertype, data[HEADER_SIZE[link_type] :], cut, stamp, 0)
        if link_type in IP_AT:
            return self._ip(data[IP_AT[link_type] :], cut, stamp, 0)
        inner = _by_scapy(link_type, data)
        if inner is None:
            self.skipped[f"link type {link_type}"] += 1
            return None
        return self._ip(inner, cut, stamp, 0)

    def _ether(self, ethertype: int, data: bytes, cut: int, stamp: Stamp, depth: int) -> Segment | Datagram | None:
        tags = 0
        while ethertype in VLANS and tags < _DEPTH:
            ethertype, data, tags = data[2] << 8 | data[3], data[4:], tags + 1
        if ethertype in (IPV4, IPV6):
            return self._ip(data, cut, stamp, depth)
        if ethertype == PPPOE:
            return self._ip(data[8:], cut, stamp, depth) if data[6:8] in (b"\0\x21", b"\0\x57") else None
        if ethertype == MPLS:
            while not data[2] & 1:  # not the bottom of the stack
                data = data[4:]
            return self._ip(data[4:], cut, stamp, depth)
        self.skipped["not IP"] += 1
        return None

    def _ip(self, data: bytes, cut: int, stamp: Stamp, depth: int) -> Segment | Datagram | None:
        if depth > _DEPTH:
            return None
        version = data[0] >> 4
        if version == 4:
            return self._ipv4(data, cut, stamp, depth)
        if version == 6:
            return self._ipv6(data, cut, stamp, depth)
        self.skipped["not IP"] += 1
        return None

    def _ipv4(self, data: bytes, cut: int, stamp: Stamp, depth: int) -> Segment | Datagram | None:
        total, number, fragment, _ttl, protocol = struct.unpack_from(">2xHHHBB", data)
        header = (data[0] & 15) * 4
        if header < 20 or 0 < total < header:
            return None
        source, target = data[12:16], data[16:20]
        if total:  # 0: segmentation offload; the packet is as long as what was captured
            cut = max(0, total - len(data))
            data = data[:total]
        if fragment & 0x3FFF:
            key = (source, target, number, protocol)
            whole = self._defragment(key, (fragment & 0x1FFF) * 8, data[header:], bool(fragment & 0x2000), cut)
            return self._transport(protocol, source, target, whole, 0, stamp, depth) if whole else None
        return self._transport(protocol, source, target, data[header:], cut, stamp, depth)

    def _ipv6(self, data: bytes, cut: int, stamp: Stamp, depth: int) -> Segment | Datagram | None:
        length, following = struct.unpack_from(">4xHB", data)
        source, target = data[8:24], data[24:40]
        if length:
            cut = max(0, 40 + length - len(data))
            data = data[: 40 + length]
        at = 40
        for _ in range(_DEPTH):
            if following in EXTENSIONS:
                following, at = data[at], at + (data[at + 1] + 1) * 8
            elif following == AUTHENTICATION:
                following, at = data[at], at + (data[at + 1] + 2) * 4
            elif following == FRAGMENT:
                first, _, offset, number = struct.unpack_from(">BBHI", data, at)
                part, more = data[at + 8 :], bool(offset & 1)
                whole = self._defragment((source, target, number), offset & 0xFFF8, part, more, cut)
                return self._transport(first, source, target, whole, 0, stamp, depth) if whole else None
            else:
                return self._transport(following, source, target, data[at:], cut, stamp, depth)
        return None

    def _transport(
        self, protocol: int, source: bytes, target: bytes, data: bytes, cut: int, stamp: Stamp, depth: int
    ) -> Segment | Datagram | None:
        if protocol == TCP:
            sport, dport, sequence, acknowledged, offset, flags = struct.unpack_from(">HHIIBB", data)
            header = offset >> 4 << 2
            if header < 20:
                return None
            cut = max(0, cut - max(0, header - len(data)))  # the header may be cut, too
            return Segment(source, sport, target, dport, sequence, acknowledged, flags, data[header:], cut, stamp)
        if protocol == UDP:
            sport, dport, _length = struct.unpack_from(">HHH", data)
            if dport not in VXLAN_PORTS or len(data) < 30 or not data[8] & 0x08:  # RFC 7348, 5: the I flag
                return Datagram(source, sport, target, dport, data[8:], stamp)
            return self._ether(data[28] << 8 | data[29], data[30:], cut, stamp, depth + 1)
        return self._tunnel(protocol, data, cut, stamp, depth)

    def _tunnel(self, protocol: int, data: bytes, cut: int, stamp: Stamp, depth: int) -> Segment | Datagram | None:
        if protocol in (IP_IN_IP, IPV6_IN_IP):
            return self._ip(data, cut, stamp, depth + 1)
        if protocol == GRE:
            return self._gre(data, cut, stamp, depth + 1)
        return None

    def _gre(self, data: bytes, cut: int, stamp: Stamp, depth: int) -> Segment | Datagram | None:
        """RFC 2784 and 2890: checksum, key and sequence number are there as the flags say."""
        flags, ethertype = struct.unpack_from(">HH", data)
        inner = data[4 + 4 * sum(bool(flags & bit) for bit in (0x8000, 0x2000, 0x1000)) :]
        if flags & 7:  # PPTP's version 1 and others
            return None
        if ethertype == _BRIDGED:
            return self._ether(inner[12] << 8 | inner[13], inner[14:], cut, stamp, depth)
        return self._ether(ethertype, inner, cut, stamp, depth)

    def _defragment(self, key: tuple[object, ...], at: int, part: bytes, more: bool, cut: int) -> bytes | None:
        """Keep one fragment; return the whole once all are there."""
        if cut:
            self.skipped["fragment cut short"] += 1
            return None
        fragments = self._fragments.setdefault(key, _Fragments())
        if len(self._fragments) > self._limits.fragmented:
            self._fragments.popitem(last=False)
            self.skipped["fragments without the rest"] += 1
        whole = fragments.add(at, part, more)
        if whole is not None:
            del self._fragments[key]
        return whole


class _Fragments:
    """The fragments of one datagram (RFC 791, 3.2); the first to say a byte is believed. Overlaps are bounded."""

    def __init__(self) -> None:
        self._parts: dict[int, bytes] = {}
        self._held = 0
        self._size: int | None = None

    def add(self, at: int, part: bytes, more: bool) -> bytes | None:
        is_bounded = self._held <= _LONGEST and len(self._parts) < _MOST_FRAGMENTS
        if at + len(part) <= _LONGEST and at not in self._parts and is_bounded:
            self._parts[at] = part
            self._held += len(part)
        if not more:
            self._size = at + len(part)
        if self._size is None or self._held < self._size:
            return None
        end = 0
        for start in sorted(self._parts):
            if start > end:
                return None
            end = max(end, start + len(self._parts[start]))
        if end < self._size:
            return None
        whole = bytearray(end)
        for start, said in reversed(self._parts.items()):
            whole[start : start + len(said)] = said
        return bytes(whole[: self._size])


def _by_scapy(link_type: int, data: bytes) -> bytes | None:
    """Return the IP packet in a packet of a link type that only scapy knows, or None."""
    import logging

    logging.getLogger("scapy").setLevel(logging.ERROR)  # it warns of settings that nobody here can change
    from scapy.config import conf
    from scapy.layers import all as _layers  # noqa: F401 - fills conf.l2types
    from scapy.layers.inet import IP
    from scapy.layers.inet6 import IPv6

    layer = conf.l2types.num2layer.get(link_type)
    if layer is None:
        return None
    try:
        packet = layer(data)
        found = packet.getlayer(IP) or packet.getlayer(IPv6)
        return bytes(found.original) if found is not None else None
    except Exception:  # scapy's dissectors raise anything; a packet that it cannot read is counted
        return None
