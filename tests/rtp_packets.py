"""RTP as bytes, and captures of it: what a client of a meeting sends, with the levels that it is to have."""

import ipaddress
import random
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mutewatch.flow_records import RtpStream
from mutewatch.ports import ReadOptions
from mutewatch.records import Exchange
from pcap_tools.limits import DEFAULT_READ_LIMITS, ReadLimits
from pcap_tools.pcap import CaptureReader
from tests.captures.files import pcap
from tests.captures.links import LINKS, Frame, udp

START = 1_772_442_000 * 10**9  # 2026-03-02T09:00:00Z
CLIENT, SERVER = ("192.168.1.7", 50_000), ("203.0.113.5", 3_478)
MILLISECOND = 10**6
Ends = tuple[tuple[str, int], tuple[str, int]]
Elements = dict[int, bytes]


def rtp(sequence: int, stamp: int, payload: bytes, extension: bytes = b"", *, ssrc: int = 7, kind: int = 111) -> bytes:
    """Return an RTP packet; `extension` with its header."""
    first = 0x90 if extension else 0x80
    return struct.pack(">BBHII", first, kind, sequence % 65_536, stamp % (1 << 32), ssrc) + extension + payload


def one_byte(elements: Elements) -> bytes:
    """Return a header extension of RFC 8285's one-byte form."""
    data = b"".join(bytes([number << 4 | len(value) - 1]) + value for number, value in elements.items())
    return _extension(0xBEDE, data)


def two_bytes(elements: Elements) -> bytes:
    """Return the same in the two-byte form, with padding between."""
    data = b"".join(bytes([number, len(value)]) + value + b"\0" for number, value in elements.items())
    return _extension(0x1000, data)


def _extension(profile: int, data: bytes) -> bytes:
    data += bytes(-len(data) % 4)
    return struct.pack(">HH", profile, len(data) // 4) + data


def channel(data: bytes) -> bytes:
    """Return TURN's ChannelData, padded as over UDP it may be."""
    return struct.pack(">HH", 0x4001, len(data)) + data + bytes(-len(data) % 4)


def binding_request() -> bytes:
    return struct.pack(">HHI", 1, 0, 0x2112A442) + bytes(12)


def datagram(ends: Ends, data: bytes) -> bytes:
    """Return an IP packet of the version that the addresses have."""
    source, target = (ipaddress.ip_address(end[0]) for end in ends)
    if source.version == 4:
        return udp(*ends, data)
    body = struct.pack(">HHHH", ends[0][1], ends[1][1], 8 + len(data), 0) + data
    return struct.pack(">IHBB", 6 << 28, len(body), 17, 64) + source.packed + target.packed + body


@dataclass(frozen=True)
class Talk:
    """A stream of audio: `levels` of its packets (with the bit of voice), and how they are sent."""

    levels: Sequence[int | None]
    level_id: int = 1
    others: Elements = field(default_factory=lambda: {4: b"0"})  # the name of the media, RFC 9143
    form: str = "one"
    size: int = 90
    ssrc: int = 7
    kind: int = 111
    ends: Ends = (CLIENT, SERVER)
    every_ms: int = 20
    start_ms: int = 0
    step: int = 960
    in_channel: bool = False
    first_sequence: int = 65_530  # wraps soon

    def packets(self) -> Iterator[tuple[int, bytes]]:
        """Yield of each packet when it was sent, in ns since 1970, and its bytes."""
        chance = random.Random(self.ssrc)
        form = one_byte if self.form == "one" else two_bytes
        for number, level in enumerate(self.levels):
            elements = dict(self.others)
            if level is not None:
                elements[self.level_id] = bytes([level])
            elements |= {2: number.to_bytes(3, "big"), 3: number.to_bytes(2, "big")} if elements else {}
            extension = form(elements) if elements else b""
            stamp = number * self.step * self.every_ms // 20
            data = rtp(
                self.first_sequence + number,
                stamp,
                chance.randbytes(self.size),
                extension,
                ssrc=self.ssrc,
                kind=self.kind,
            )
            at = START + (self.start_ms + number * self.every_ms) * MILLISECOND
            yield at, channel(data) if self.in_channel else data

    def frames(self, link: str = "ethernet") -> list[Frame]:
        wrap = LINKS[link].wrap
        return [Frame(at, wrap(datagram(self.ends, data), True)) for at, data in self.packets()]


def speech(packets: int, seed: int = 1) -> list[int]:
    """Return levels that go up and down as those of speech do, with the bit of voice where it is loud."""
    chance, level, found = random.Random(seed), 60.0, []
    for _ in range(packets):
        level = min(127, max(15, level + chance.gauss(0, 8)))
        found.append(round(level) | (0x80 if level < 45 else 0))
    return found


@dataclass
class Heard:
    """What was read of a capture."""

    exchanges: list[Exchange]
    streams: list[RtpStream]
    untold: int = 0


def capture_of(*talks: Talk | Iterable[Frame], link: str = "ethernet") -> bytes:
    rows = [frame for talk in talks for frame in (talk.frames(link) if isinstance(talk, Talk) else talk)]
    return pcap(sorted(rows, key=lambda frame: frame.time), link)


def heard(data: bytes, folder: Path, limits: ReadLimits = DEFAULT_READ_LIMITS) -> Heard:
    """Read a capture for its RTP."""
    path, found = folder / "media.pcap", Heard([], [])
    path.write_bytes(data)

    def take(streams: Sequence[RtpStream], untold: int) -> None:
        found.streams += streams
        found.untold += untold

    options = ReadOptions(is_host=lambda _name: False, on_streams=take)
    found.exchanges += CaptureReader(limits).read(path, options)
    return found
