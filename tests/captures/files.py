"""Capture files from frames: pcap and pcapng, in every byte order and resolution, compressed or in several files.

Sources: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng. Readers meet here what they should accept.
"""

import gzip
import struct
from collections.abc import Iterable, Sequence

import zstandard

from tests.captures.links import LINKS, Frame

SNAPLEN = 262_144
_MICRO, _NANO, _MODIFIED = 0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34
_TLS_KEY_LOG = 0x544C534B


def pcap(
    frames: Iterable[Frame], link: str = "ethernet", *, order: str = "<", nano: bool = False, snaplen: int = SNAPLEN
) -> bytes:
    """Return a classic capture file. `order`: `<` little, `>` big endian."""
    head = struct.pack(order + "IHHiIII", _NANO if nano else _MICRO, 2, 4, 0, 0, snaplen, LINKS[link].number)
    unit = 1 if nano else 1_000
    records = []
    for frame in frames:
        seconds, rest = divmod(frame.time, 10**9)
        lengths = len(frame.data), frame.original
        records.append(struct.pack(order + "IIII", seconds, rest // unit, *lengths) + frame.data)
    return head + b"".join(records)


def modified_pcap(frames: Iterable[Frame]) -> bytes:
    """Return a capture in the format of Kuznetzov's patched libpcap: eight more bytes in each record head."""
    records = []
    for frame in frames:
        seconds, rest = divmod(frame.time, 10**9)
        head = struct.pack("<IIIIIHBB", seconds, rest // 1_000, len(frame.data), frame.original, 1, 0x0800, 0, 0)
        records.append(head + frame.data)
    return struct.pack("<IHHiIII", _MODIFIED, 2, 4, 0, 0, SNAPLEN, 1) + b"".join(records)


def cut(data: bytes, count: int) -> bytes:
    """Return a file whose end was never written."""
    return data[:-count]


def gz(data: bytes) -> bytes:
    return gzip.compress(data, 1, mtime=0)


def zst(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=1).compress(data)


class Pcapng:
    """Builds a pcapng file block by block; a section must be opened first."""

    def __init__(self, order: str = "<") -> None:
        self._blocks: list[bytes] = []
        self._order = order
        self._clocks: list[tuple[int, int]] = []  # units in a second, offset in seconds: of each interface

    def section(self, order: str | None = None, *, options: bytes = b"") -> "Pcapng":
        """Open a section, in a byte order of its own if wanted; its interfaces count from 0 again."""
        self._order = order or self._order
        self._clocks = []
        return self._block(0x0A0D0D0A, struct.pack(self._order + "IHHq", 0x1A2B3C4D, 1, 0, -1) + options)

    def interface(
        self,
        link: str = "ethernet",
        *,
        resolution: int | None = None,
        offset: int | None = None,
        snaplen: int = SNAPLEN,
        options: bytes = b"",
    ) -> "Pcapng":
        """Describe the next interface. `resolution`: if_tsresol as written; `offset`: if_tsoffset in seconds."""
        if resolution is not None:
            options += self.option(9, bytes([resolution]))
        if offset is not None:
            options += self.option(14, struct.pack(self._order + "q", offset))
        resolution = 6 if resolution is None else resolution
        units: int = 2 ** (resolution & 0x7F) if resolution & 0x80 else 10**resolution
        self._clocks.append((units, offset or 0))
        head = struct.pack(self._order + "HHI", LINKS[link].number, 0, snaplen)
        return self._block(1, head + self._ended(options))

    def secrets(self, keylog: bytes) -> "Pcapng":
        """Add a Decryption Secrets Block with an NSS key log."""
        return self._block(10, struct.pack(self._order + "II", _TLS_KEY_LOG, len(keylog)) + _padded(keylog))

    def packets(self, frames: Iterable[Frame], *, options: bytes = b"") -> "Pcapng":
        """Add Enhanced Packet Blocks."""
        for frame in frames:
            high, low = divmod(self._ticks(frame), 1 << 32)
            head = struct.pack(self._order + "IIIII", frame.interface, high, low, len(frame.data), frame.original)
            self._block(6, head + _padded(frame.data) + self._ended(options))
        return self

    def simple(self, frames: Iterable[Frame]) -> "Pcapng":
        """Add Simple Packet Blocks, which have no time and no interface."""
        for frame in frames:
            self._block(3, struct.pack(self._order + "I", frame.original) + _padded(frame.data))
        return self

    def obsolete(self, frames: Iterable[Frame]) -> "Pcapng":
        """Add Packet Blocks of the first drafts."""
        for frame in frames:
            high, low = divmod(self._ticks(frame), 1 << 32)
            lengths = len(frame.data), frame.original
            head = struct.pack(self._order + "HHIIII", frame.interface, 0, high, low, *lengths)
            self._block(2, head + _padded(frame.data))
        return self

    def others(self) -> "Pcapng":
        """Add blocks that are no packets: a name, statistics, a custom and an unknown one."""
        name = struct.pack(self._order + "HH", 1, 20) + b"\xc6\x33\x64\x01tsa3.webex.com\0" + b"\0" + bytes(4)
        self._block(4, name)
        self._block(5, struct.pack(self._order + "III", 0, 0, 0))
        self._block(0xBAD, struct.pack(self._order + "I", 32_473) + b"made for a test.")
        return self._block(0x7777, b"unknown ")

    def option(self, code: int, value: bytes) -> bytes:
        """Return one option, padded."""
        return struct.pack(self._order + "HH", code, len(value)) + _padded(value)

    def done(self) -> bytes:
        return b"".join(self._blocks)

    def _ended(self, options: bytes) -> bytes:
        return options + bytes(4) if options else b""

    def _ticks(self, frame: Frame) -> int:
        units, offset = self._clocks[frame.interface]
        return (frame.time - offset * 10**9) * units // 10**9

    def _block(self, kind: int, body: bytes) -> "Pcapng":
        length = struct.pack(self._order + "I", len(body) + 12)
        self._blocks.append(struct.pack(self._order + "I", kind) + length + body + length)
        return self


def pcapng(frames: Iterable[Frame], link: str = "ethernet", *, order: str = "<", keylog: bytes = b"") -> bytes:
    """Return the usual file: one section, one interface, the secrets first if there are any."""
    file = Pcapng(order).section().interface(link)
    if keylog:
        file.secrets(keylog)
    return file.packets(frames).done()


def rotated(frames: Sequence[Frame], parts: int) -> list[bytes]:
    """Return the frames in that many files of about the same count, as `tcpdump -C` leaves them."""
    size = -(-len(frames) // parts)
    return [pcap(frames[start : start + size]) for start in range(0, len(frames), size)]


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
