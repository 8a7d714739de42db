"""Packets of conversations: TCP segments first, then the bytes of IP packets. `links` makes frames of these.

Plain `struct`: checksums are right unless a test wants them wrong.

- A `Segment` is one TCP packet with its meaning open, so that damage can choose by flow, side and content.
"""

import ipaddress
import struct
from dataclasses import dataclass

from tests.captures.conversations import Chunk, Conversation

FIN, SYN, PUSH, ACK = 1, 2, 8, 16
MICROSECOND = 1_000  # ns
Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Segment:
    """One TCP packet. `time` in ns since 1970; `flow` counts the connections from 0."""

    time: int
    flow: int
    from_client: bool
    source: Address
    target: Address
    seq: int
    ack: int
    flags: int
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Tcp:
    """How connections become segments. `first`: initial sequence numbers of client and server."""

    mss: int = 1448
    first: tuple[int, int] = (1_000, 500_000)
    version: int = 4
    port: int = 443
    same_ports: bool = False  # every connection from the same client port
    stride: int = 7_919  # between the first numbers of two connections
    acks: bool = True


def segments(conversation: Conversation, tcp: Tcp | None = None) -> list[Segment]:
    """Return the packets of all connections in the order of time."""
    found: list[Segment] = []
    for flow, chunks in enumerate(conversation.connections):
        found += _Connection(flow, tcp or Tcp()).packets(chunks)
    return sorted(found, key=lambda segment: segment.time)


class _Connection:
    def __init__(self, flow: int, tcp: Tcp) -> None:
        client, server = ("2001:db8::7", "2001:db8:1::1") if tcp.version == 6 else ("192.0.2.7", "198.51.100.1")
        port = 50_000 if tcp.same_ports else 50_000 + flow
        self._ends = {True: (client, port), False: (server, tcp.port)}
        self._flow, self._tcp = flow, tcp
        self._next = {True: tcp.first[0] + flow * tcp.stride, False: tcp.first[1] + flow * tcp.stride}

    def packets(self, chunks: tuple[Chunk, ...]) -> list[Segment]:
        at, last = chunks[0][0] - 100 * MICROSECOND, chunks[-1][0] + 900 * MICROSECOND
        rows = [self._make(at, True, SYN), self._make(at + 20 * MICROSECOND, False, SYN | ACK)]
        rows.append(self._make(at + 40 * MICROSECOND, True, ACK))
        for time, from_client, data in chunks:
            size = self._tcp.mss
            starts = range(0, len(data), size)
            step = min(10 * MICROSECOND, 600 * MICROSECOND // len(starts))
            for order, start in enumerate(starts):
                flags = ACK | (PUSH if start + size >= len(data) else 0)
                rows.append(self._make(time + order * step, from_client, flags, data[start : start + size]))
            if self._tcp.acks:
                rows.append(self._make(time + 700 * MICROSECOND, not from_client, ACK))
        rows += [self._make(last, True, FIN | ACK), self._make(last + 20 * MICROSECOND, False, FIN | ACK)]
        return [*rows, self._make(last + 40 * MICROSECOND, True, ACK)]

    def _make(self, time: int, from_client: bool, flags: int, data: bytes = b"") -> Segment:
        seq, ack = self._next[from_client], self._next[not from_client] if flags & ACK else 0
        self._next[from_client] += len(data) + bool(flags & (SYN | FIN))
        ends = self._ends[from_client], self._ends[not from_client]
        return Segment(time, self._flow, from_client, *ends, seq % (1 << 32), ack % (1 << 32), flags, data)


@dataclass(frozen=True, slots=True)
class Ip:
    """How segments become IP packets. `extended`: IPv6 extension headers; `fragment`: bytes of each piece, if cut."""

    bad_checksums: bool = False
    zero_length: bool = False  # as segmentation offload leaves it
    extended: bool = False
    fragment: int = 0
    stamps: bool = True  # the timestamp option in each TCP header


def ip_packets(segment: Segment, number: int, ip: Ip) -> list[bytes]:
    """Return the IP packets of a segment: one, or its fragments. `number`: the identification."""
    source, target = (ipaddress.ip_address(end[0]).packed for end in (segment.source, segment.target))
    tcp = _tcp(segment, source, target, ip)
    if len(source) == 4:
        return _ip4(source, target, tcp, number, ip)
    return _ip6(source, target, tcp, number, ip)


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071) of `data`."""
    return 0xFFFF - int.from_bytes(data + bytes(len(data) % 2), "big") % 0xFFFF


def _tcp(segment: Segment, source: bytes, target: bytes, ip: Ip) -> bytes:
    options = b"\x02\x04\x05\xb4\x01\x01\x01\x00" if segment.flags & SYN else b""
    if ip.stamps:
        clock = segment.time // 10**6 & 0xFFFFFFFF
        options += b"\x01\x01\x08\x0a" + struct.pack(">II", clock, 0)
    offset = (20 + len(options)) // 4 << 4
    ports = struct.pack(">HHII", segment.source[1], segment.target[1], segment.seq, segment.ack)
    rest = options + segment.data
    pseudo = source + target + struct.pack(">II", 20 + len(rest), 6)
    head = ports + struct.pack(">BBHHH", offset, segment.flags, 65_000, 0, 0)
    total = checksum(pseudo + head + rest) ^ (0x5555 if ip.bad_checksums else 0)
    return head[:16] + struct.pack(">HH", total, 0) + rest


def _ip4(source: bytes, target: bytes, payload: bytes, number: int, ip: Ip) -> list[bytes]:
    packets = []
    size = ip.fragment or 1 << 20
    for start in range(0, len(payload), size):
        piece = payload[start : start + size]
        more = 0x2000 if start + size < len(payload) else 0
        place = more | start // 8 or 0x4000 * (not ip.fragment)
        length = 0 if ip.zero_length or len(piece) + 20 > 65_535 else len(piece) + 20
        head = struct.pack(">BBHHHBBH", 0x45, 0, length, number & 0xFFFF, place, 64, 6, 0) + source + target
        total = checksum(head) ^ (0x5555 if ip.bad_checksums else 0)
        packets.append(head[:10] + struct.pack(">H", total) + head[12:] + piece)
    return packets


def _ip6(source: bytes, target: bytes, payload: bytes, number: int, ip: Ip) -> list[bytes]:
    kind, packets = 6, []
    if ip.extended and not ip.fragment:  # hop-by-hop and destination options, each eight bytes of padding
        payload, kind = struct.pack(">BB", 60, 0) + b"\x01\x04" + bytes(4) + b"\x06\x00\x01\x04" + bytes(4) + payload, 0
    size = ip.fragment or 1 << 20
    for start in range(0, len(payload), size):
        piece = payload[start : start + size]
        if ip.fragment:
            more = start + size < len(payload)
            piece = struct.pack(">BBHI", 6, 0, start | more, number) + piece
        length = 0 if ip.zero_length or len(piece) > 65_535 else len(piece)
        head = struct.pack(">IHBB", 0x60000000, length, 44 if ip.fragment else kind, 64)
        packets.append(head + source + target + piece)
    return packets
