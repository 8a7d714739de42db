"""Packets of conversations: TCP segments first, then the bytes of frames on a chosen link.

Plain `struct`: checksums are right unless a test wants them wrong.

- A `Segment` is one TCP packet with its meaning open, so that damage can choose by flow, side and content.
- A `Frame` is what a capture file holds. `LINKS` names the ways from an IP packet to a frame.
"""

import ipaddress
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.captures.conversations import HOST, Chunk, Conversation

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
class Frame:
    """One record of a capture file. `length`: on the wire, where more than was kept; `interface`: in pcapng."""

    time: int
    data: bytes
    length: int | None = None
    interface: int = 0

    @property
    def original(self) -> int:
        return len(self.data) if self.length is None else self.length


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


def segments(conversation: Conversation, tcp: Tcp = Tcp()) -> list[Segment]:
    """Return the packets of all connections in the order of time."""
    found: list[Segment] = []
    for flow, chunks in enumerate(conversation.connections):
        found += _Connection(flow, tcp).packets(chunks)
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


Wrap = Callable[[bytes, bool], bytes]  # an IP packet, from the client? -> a frame
_MACS = b"\x02\0\0\0\0\x02", b"\x02\0\0\0\0\x01"


@dataclass(frozen=True, slots=True)
class Link:
    """A kind of link: its number in capture files, and how it carries an IP packet."""

    number: int
    wrap: Wrap


def _kind(packet: bytes) -> bytes:
    return b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00"


def _ethernet(tags: bytes = b"", *, padded: bool = True) -> Wrap:
    def wrap(packet: bytes, from_client: bool) -> bytes:
        macs = _MACS if from_client else _MACS[::-1]
        frame = b"".join(macs) + tags + _kind(packet) + packet
        return frame + bytes(max(0, 60 - len(frame)) if padded else 0)  # shorter frames are padded on the wire

    return wrap


def _family(order: str, six: int) -> Wrap:
    def wrap(packet: bytes, _from_client: bool) -> bytes:
        return struct.pack(order + "I", six if packet[0] >> 4 == 6 else 2) + packet

    return wrap


def _sll(packet: bytes, from_client: bool) -> bytes:
    return struct.pack(">HHH8s", 4 if from_client else 0, 1, 6, _MACS[1]) + _kind(packet) + packet


def _sll2(packet: bytes, from_client: bool) -> bytes:
    return _kind(packet) + struct.pack(">HIHBB8s", 0, 2, 1, 4 if from_client else 0, 6, _MACS[1]) + packet


def _tunnel(protocol: int, head: Callable[[bytes, bool], bytes]) -> Wrap:
    """Carry packets between two routers in IPv4 `protocol`, behind `head`, which also carries the packet."""

    def wrap(packet: bytes, from_client: bool) -> bytes:
        payload = head(packet, from_client)
        ends = (b"\x0a\0\0\x01", b"\x0a\0\0\x02") if from_client else (b"\x0a\0\0\x02", b"\x0a\0\0\x01")
        outer = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 9, 0, 64, protocol, 0) + b"".join(ends)
        outer = outer[:10] + struct.pack(">H", checksum(outer)) + outer[12:]
        return _ethernet()(outer + payload, from_client)

    return wrap


def _vxlan(packet: bytes, from_client: bool) -> bytes:
    inner = _ethernet(padded=False)(packet, from_client)
    return struct.pack(">HHHH", 55_555, 4_789, 16 + len(inner), 0) + struct.pack(">II", 1 << 27, 42 << 8) + inner


def _gre_ethernet(packet: bytes, from_client: bool) -> bytes:
    return struct.pack(">HHI", 0x2000, 0x6558, 7) + _ethernet(padded=False)(packet, from_client)


LINKS = {
    "ethernet": Link(1, _ethernet()),
    "vlan": Link(1, _ethernet(b"\x81\x00\x00\x2a")),
    "qinq": Link(1, _ethernet(b"\x88\xa8\x00\x07\x81\x00\x00\x2a")),
    "raw": Link(101, lambda packet, _from_client: packet),
    "null": Link(0, _family("<", 30)),
    "null_be": Link(0, _family(">", 28)),
    "loop": Link(108, _family(">", 24)),
    "sll": Link(113, _sll),
    "sll2": Link(276, _sll2),
    "gre": Link(1, _tunnel(47, lambda packet, _from_client: b"\0\0" + _kind(packet) + packet)),
    "gre_ethernet": Link(1, _tunnel(47, _gre_ethernet)),
    "vxlan": Link(1, _tunnel(17, _vxlan)),
}


def frames(rows: Iterable[Segment], link: str = "ethernet", ip: Ip = Ip(), *, interface: int = 0) -> list[Frame]:
    """Return the frames of these segments, in their order."""
    wrap = LINKS[link].wrap
    return [
        Frame(row.time + piece, wrap(packet, row.from_client), None, interface)
        for number, row in enumerate(rows)
        for piece, packet in enumerate(ip_packets(row, number + 1, ip))
    ]


def dns_answers(rows: list[Segment]) -> list[Frame]:
    """Return two answers of a name server, an A and an AAAA record, for the server of these segments."""
    first = rows[0]
    found = []
    for number, (kind, address) in enumerate(((1, first.target[0]), (28, "2001:db8:1::1"))):
        name = b"".join(bytes([len(part)]) + part.encode() for part in (*HOST.split("."), ""))
        data = ipaddress.ip_address(address).packed
        answer = b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 300, len(data)) + data
        message = struct.pack(">HHHHHH", 77 + number, 0x8180, 1, 1, 0, 0) + name + struct.pack(">HH", kind, 1) + answer
        udp = struct.pack(">HHHH", 53, 40_000, 8 + len(message), 0) + message
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), number, 0, 64, 17, 0)
        head += b"\x0a\0\0\x35" + ipaddress.ip_address(first.source[0]).packed
        head = head[:10] + struct.pack(">H", checksum(head)) + head[12:]
        time = first.time - (20 - number) * 1_000 * MICROSECOND
        found.append(Frame(time, LINKS["ethernet"].wrap(head + udp, False)))
    return found
