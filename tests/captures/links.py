"""Frames: how links and tunnels carry IP packets, and what else passes on the same wire.

- A `Frame` is what a capture file holds. `LINKS` names the ways from an IP packet to a frame.
"""

import ipaddress
import random
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.captures.conversations import HOST
from tests.captures.packets import MICROSECOND, Ip, Segment, checksum, ip_packets


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


def frames(rows: Iterable[Segment], link: str = "ethernet", ip: Ip | None = None, *, interface: int = 0) -> list[Frame]:
    """Return the frames of these segments, in their order."""
    wrap = LINKS[link].wrap
    return [
        Frame(row.time + piece, wrap(packet, row.from_client), None, interface)
        for number, row in enumerate(rows)
        for piece, packet in enumerate(ip_packets(row, number + 1, ip or Ip()))
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
        packet = udp(("10.0.0.53", 53), (first.source[0], 40_000), message)
        time = first.time - (20 - number) * 1_000 * MICROSECOND
        found.append(Frame(time, LINKS["ethernet"].wrap(packet, False)))
    return found


def udp(source: tuple[str, int], target: tuple[str, int], data: bytes) -> bytes:
    """Return an IPv4 packet with this datagram, without checksum of UDP."""
    body = struct.pack(">HHHH", source[1], target[1], 8 + len(data), 0) + data
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, 17, 0)
    head += b"".join(ipaddress.ip_address(end[0]).packed for end in (source, target))
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + body


def noise(rows: list[Segment], count: int = 1_000) -> list[Frame]:
    """Return frames of no interest in the time of these segments: media, ARP, LLC, empty and broken ones."""
    chance = random.Random(7)
    span = rows[-1].time - rows[0].time
    found = []
    for _ in range(count):
        data = chance.randbytes(chance.choice((0, 1, 7, 40, 172, 1_200)))
        macs = b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01"
        media = LINKS["ethernet"].wrap(udp(("192.0.2.7", 50_000), ("198.51.100.1", 443), b"\x90\x6f" + data), True)
        kinds = (
            media,
            macs + b"\x08\x06" + bytes(28),
            macs + struct.pack(">H", len(data) & 0x3FF) + data,
            macs + b"\x08\x00" + data,
            macs + b"\x86\xdd" + data,
            macs + b"\x81\x00" + data,
            LINKS["vlan"].wrap(media[14:], True)[: chance.randrange(60)],
            data,
        )
        found.append(Frame(rows[0].time + chance.randrange(span), chance.choice(kinds)))
    return sorted(found, key=lambda frame: frame.time)
