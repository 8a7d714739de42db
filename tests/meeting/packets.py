"""Writes tapped connections as a pcapng capture that carries its TLS secrets.

Packets are scapy's; the file's blocks are written here, since scapy has no Decryption Secrets Block
(draft-ietf-opsawg-pcapng, 4.7).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.packet import Packet

CLIENT = "192.0.2.10"
SEGMENT = 1460  # bytes; Ethernet's 1500 less the headers
TLS_KEY_LOG = 0x544C534B
ETHERNET = 1


@dataclass(slots=True)
class Conversation:
    """One TCP connection to port 443: chunks as (time, from the client?, bytes), in order."""

    number: int  # gives the server's address and the client's port
    opened_at: datetime
    chunks: list[tuple[datetime, bool, bytes]] = field(default_factory=list)


def write_capture(path: Path, conversations: list[Conversation], secrets: bytes) -> None:
    """Write all conversations, in order of time, behind a block with the NSS key log `secrets`."""
    packets = sorted((stamped for one in conversations for stamped in _packets(one)), key=lambda stamped: stamped[0])
    blocks = [
        _block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)),
        _block(1, struct.pack("<HHI", ETHERNET, 0, 262144)),
        _block(10, struct.pack("<II", TLS_KEY_LOG, len(secrets)) + _padded(secrets)),
        *(_packet_block(at, bytes(packet)) for at, packet in packets),
    ]
    path.write_bytes(b"".join(blocks))


def _packets(one: Conversation) -> Iterator[tuple[datetime, Packet]]:
    ours, theirs = _Side(one, from_client=True), _Side(one, from_client=False)
    at = one.opened_at - timedelta(milliseconds=40)
    yield at, ours.segment("S", 0)
    yield at + timedelta(milliseconds=20), theirs.segment("SA", ours.next)
    yield at + timedelta(milliseconds=21), ours.segment("A", theirs.next)
    for at, is_ours, data in one.chunks:
        side, other = (ours, theirs) if is_ours else (theirs, ours)
        for start in range(0, len(data), SEGMENT):
            yield at + timedelta(microseconds=start), side.segment("PA", other.next, data[start : start + SEGMENT])
        yield at + timedelta(microseconds=len(data) + 100), other.segment("A", side.next)
    at = one.chunks[-1][0] + timedelta(milliseconds=30)
    yield at, ours.segment("FA", theirs.next)
    yield at + timedelta(milliseconds=20), theirs.segment("FA", ours.next)
    yield at + timedelta(milliseconds=21), ours.segment("A", theirs.next)


class _Side:
    """One end: its addresses and how far it has counted."""

    def __init__(self, one: Conversation, *, from_client: bool) -> None:
        server, port = f"198.51.100.{one.number}", 50000 + one.number
        ends = ((CLIENT, port, "02:00:00:00:00:01"), (server, 443, "02:00:00:00:00:02"))
        self._source, self._target = ends if from_client else ends[::-1]
        self.next = 1000 * one.number + (0 if from_client else 500_000)

    def segment(self, flags: str, acknowledged: int, data: bytes = b"") -> Packet:
        (source, sport, mac), (target, dport, other_mac) = self._source, self._target
        tcp = TCP(sport=sport, dport=dport, flags=flags, seq=self.next, ack=acknowledged, window=65535)
        self.next += len(data) + (1 if "S" in flags or "F" in flags else 0)
        return Ether(src=mac, dst=other_mac) / IP(src=source, dst=target, ttl=64) / tcp / data


def _packet_block(at: datetime, data: bytes) -> bytes:
    microseconds = round(at.timestamp() * 1_000_000)
    head = struct.pack("<IIIII", 0, microseconds >> 32, microseconds & 0xFFFFFFFF, len(data), len(data))
    return _block(6, head + _padded(data))


def _block(kind: int, body: bytes) -> bytes:
    length = len(body) + 12
    return struct.pack("<II", kind, length) + body + struct.pack("<I", length)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
