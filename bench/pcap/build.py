"""Builds the capture that the engine is measured on: an hour of a busy network, with a little telemetry in it.

More than 99 % is unrelated: video over UDP, QUIC, other TLS connections (some to the same vendor's other
hosts), DNS. Between it are posts of our own making to a telemetry host over TLS 1.2, TLS 1.3 and HTTP/2.
Everything is drawn from one seed but the TLS secrets.
"""

import itertools
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.captures.conversations import START, Conversation, converse
from tests.captures.links import Frame, frames
from tests.captures.openssl import TLS12, Settings
from tests.captures.packets import segments
from tests.captures.scripts import http2

HOUR_NS = 3_600 * 10**9
_CLIENTS = [bytes([10, 1, 0, number]) for number in range(10, 40)]
_SERVERS = [bytes([203, 0, 113, number]) for number in range(1, 250)]
_ETHERNET = bytes.fromhex("0200000000020200000000010800")
_OTHER_HOSTS = (b"www.example.com", b"radcom.webex.com", b"idbroker.webex.com", b"cdn.example.net")
_NOISE = 16 << 20  # bytes of noise that payloads are cut from
_OPEN_FLOWS = 40
_NEW_FLOW = 0.014  # of TLS packets; gives about 2,800 ClientHellos in 700 MB


@dataclass(frozen=True, slots=True)
class Built:
    """What was built: how many packets and telemetry bytes, and the bodies in it."""

    packets: int
    telemetry_bytes: int
    bodies: tuple[bytes, ...]


def build(path: Path, keylog: Path, size: int, seed: int = 1, posts: int = 500) -> Built:
    """Write a pcap of about `size` bytes to `path` and its secrets to `keylog`.

    `posts`: how many over TLS 1.2, and as many over TLS 1.3; 60 more go over HTTP/2.
    """
    talks = [
        converse(Settings(), count=posts // 10, flows=10),
        converse(Settings(version=TLS12), count=posts // 10, flows=10),
        converse(Settings(alpn=("h2",)), http2(), count=30, flows=2),
    ]
    keylog.write_bytes(b"".join(talk.keylog for talk in talks))
    connections = tuple(itertools.chain.from_iterable(talk.connections for talk in talks))
    bodies = tuple(itertools.chain.from_iterable(talk.bodies for talk in talks))
    telemetry = frames(segments(Conversation(connections, b"", bodies)))
    packets = 0
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1))
        for at, data in _merge(_background(random.Random(seed), size), telemetry):
            seconds, rest = divmod(at, 10**9)
            file.write(struct.pack("<IIII", seconds, rest // 1000, len(data), len(data)) + data)
            packets += 1
    return Built(packets, sum(len(frame.data) + 16 for frame in telemetry), bodies)


def build_both(path: Path, size: int) -> Built:
    """Build a pcap at `path`, and beside it its key log (`.keys`) and the same packets as pcapng (`.pcapng`)."""
    built = build(path, path.with_suffix(".keys"), size)
    to_pcapng(path, path.with_suffix(".pcapng"))
    return built


def to_pcapng(path: Path, target: Path) -> None:
    """Write the same packets as pcapng."""
    with path.open("rb") as source, target.open("wb") as file:
        source.seek(24)
        file.write(struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28))
        file.write(struct.pack("<IIHHII", 1, 20, 1, 0, 262_144, 20))
        while head := source.read(16):
            seconds, rest, size, original = struct.unpack("<IIII", head)
            data = source.read(size) + bytes(-size % 4)
            ticks, length = seconds * 10**6 + rest, 32 + len(data)
            block = struct.pack("<IIIIIII", 6, length, 0, ticks >> 32, ticks & 0xFFFFFFFF, size, original)
            file.write(block + data + struct.pack("<I", length))


def _merge(background: Iterator[tuple[float, bytes]], telemetry: list[Frame]) -> Iterator[tuple[int, bytes]]:
    """Yield (time, packet) of both, telemetry at even distances."""
    waiting = iter(enumerate(telemetry, 1))
    number, frame = next(waiting, (0, None))
    for share, data in background:
        at = START + int(share * HOUR_NS)
        while frame is not None and number / (len(telemetry) + 1) <= share:
            yield at, frame.data
            number, frame = next(waiting, (0, None))
        yield at, data
    while frame is not None:
        yield START + HOUR_NS, frame.data
        number, frame = next(waiting, (0, None))


def _background(rng: random.Random, size: int) -> Iterator[tuple[float, bytes]]:
    """Yield (share of the size that is done, packet): 72 % media, 5 % QUIC, DNS, and the rest TLS."""
    noise = rng.randbytes(_NOISE)
    flows: list[_TlsFlow] = []
    done = 0
    while done < size:
        kind = rng.random()
        if kind < 0.72:
            packet = _udp(rng, noise, b"\x80", rng.choice((180, 900, 1100, 1200)), (50_000 + rng.randrange(20), 9_000))
        elif kind < 0.77:
            packet = _udp(rng, noise, b"\x40", 1200, (51_000 + rng.randrange(20), 443))
        elif kind < 0.775:
            packet = _udp(rng, noise, b"", 60, (53, 40_000 + rng.randrange(20_000)))
        else:
            packet = _tls(rng, noise, flows)
        yield done / size, packet
        done += 16 + len(packet)


@dataclass(slots=True)
class _TlsFlow:
    client: bytes
    server: bytes
    port: int
    sent: int  # next sequence number of the client
    received: int


def _tls(rng: random.Random, noise: bytes, flows: list[_TlsFlow]) -> bytes:
    """A packet of one of the open TLS connections, or the ClientHello of a new one."""
    if len(flows) < _OPEN_FLOWS or rng.random() < _NEW_FLOW:
        ports = rng.randrange(1_024, 50_000)
        flow = _TlsFlow(rng.choice(_CLIENTS), rng.choice(_SERVERS), ports, rng.getrandbits(31), rng.getrandbits(31))
        del flows[: max(0, len(flows) - _OPEN_FLOWS + 1)]
        flows.append(flow)
        hello = _client_hello(rng, rng.choice(_OTHER_HOSTS))
        packet = _tcp(flow.client, flow.server, (flow.port, 443), flow.sent, flow.received, hello)
        flow.sent += len(hello)
        return packet
    flow = rng.choice(flows)
    if rng.random() < 0.35:
        return _tcp(flow.client, flow.server, (flow.port, 443), flow.sent, flow.received, b"")
    at = rng.randrange(len(noise) - 1_500)
    packet = _tcp(flow.server, flow.client, (443, flow.port), flow.received, flow.sent, noise[at : at + 1_460])
    flow.received += 1_460
    return packet


def _client_hello(rng: random.Random, name: bytes) -> bytes:
    extensions = struct.pack(">HHHBH", 0, len(name) + 5, len(name) + 3, 0, len(name)) + name
    extensions += struct.pack(">HHB", 43, 3, 2) + b"\x03\x04" + struct.pack(">HH", 21, 280) + bytes(280)
    body = b"\x03\x03" + rng.randbytes(32) + b"\x20" + rng.randbytes(32) + b"\x00\x02\x13\x01\x01\x00"
    body += struct.pack(">H", len(extensions)) + extensions
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + struct.pack(">H", len(message)) + message


def _udp(rng: random.Random, noise: bytes, first: bytes, length: int, ports: tuple[int, int]) -> bytes:
    at = rng.randrange(len(noise) - 1_500)
    data = struct.pack(">HHHH", *ports, 8 + length, 0) + first + noise[at : at + length - len(first)]
    return _ip(rng.choice(_CLIENTS), _SERVERS[0], 17, data)


def _tcp(source: bytes, target: bytes, ports: tuple[int, int], sequence: int, acknowledged: int, data: bytes) -> bytes:
    wrap = 1 << 32
    head = struct.pack(">HHIIBBHHH", *ports, sequence % wrap, acknowledged % wrap, 0x50, 0x18, 65_535, 0, 0)
    return _ip(source, target, 6, head + data)


def _ip(source: bytes, target: bytes, protocol: int, data: bytes) -> bytes:
    return (
        _ETHERNET
        + struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(data), 0, 0x4000, 64, protocol, 0, source, target)
        + data
    )
