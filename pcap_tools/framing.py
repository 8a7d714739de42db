"""Says whether a capture file is whole: the strict walk over its framing that the other readers rest on.

Libraries stop without a word at a damaged record, and "no telemetry found" would then be a lie. Here every
byte of the file is accounted for: `complete`, or where and why not. Packets are counted, not kept; a gap in
the *traffic* is not this module's business, and neither is a timestamp.

- pcap: both byte orders, micro- and nanoseconds; pcapng: any number of sections, each in its own order;
- the limits are libpcap's (`limits.py`); a record of zero captured bytes is legal;
- `unreadable`: nothing in the file could be read; `incomplete`: the part before `offset` is good.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from pcap_tools.files import open_input
from pcap_tools.limits import DEFAULT_READ_LIMITS, ReadLimits

PCAP_MAGIC = {  # byte order, and bytes of a packet's header
    b"\xd4\xc3\xb2\xa1": ("<", 16),
    b"\xa1\xb2\xc3\xd4": (">", 16),
    b"\x4d\x3c\xb2\xa1": ("<", 16),  # nanoseconds
    b"\xa1\xb2\x3c\x4d": (">", 16),
    b"\x34\xcd\xb2\xa1": ("<", 24),  # Kuznetsov's variant, old Linux
    b"\xa1\xb2\xcd\x34": (">", 24),
}
PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"
_ORDER = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _STATISTICS, _PACKET = 0x0A0D0D0A, 1, 2, 3, 5, 6
_OPTIONS_AT = {
    _SECTION: 16,
    _INTERFACE: 8,
    _STATISTICS: 12,
}  # bytes of the fixed part, where options follow directly
_SMALLEST = {_SECTION: 16, _INTERFACE: 8, _OLD_PACKET: 20, _SIMPLE_PACKET: 4, _STATISTICS: 12, _PACKET: 20}


_VERSIONS = {(1, 0), (1, 2)}  # of pcapng; 1.2 is written by some and means 1.0
_LINK_TYPE_UNUSED = 0x03FFFE00  # types end at about 300; the upper 6 bits are the check sequence's length


class Wholeness(StrEnum):
    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Framing:
    """The verdict on one file. `offset` (bytes) and `reason` say where and why it is not complete."""

    wholeness: Wholeness
    packets: int
    offset: int | None = None
    reason: str | None = None


class _DamageError(Exception):
    """What is wrong with the record that is being read."""


def check_framing(path: Path, limits: ReadLimits = DEFAULT_READ_LIMITS) -> Framing:
    """Walk the capture at `path` and return the verdict. Raises InputError if the file cannot be opened."""
    packets = offset = 0
    with open_input(path) as handle:
        magic = handle.read(4)
        try:
            if magic == PCAPNG_MAGIC:
                records = _walk_pcapng(handle, limits)
            elif magic in PCAP_MAGIC:
                records = _walk_pcap(handle, *PCAP_MAGIC[magic], limits)
            else:
                return Framing(Wholeness.UNREADABLE, 0, 0, "neither a pcap nor a pcapng file")
            for count in records:
                packets, offset = packets + count, handle.tell()
        except _DamageError as damage:
            wholeness = Wholeness.INCOMPLETE if offset else Wholeness.UNREADABLE
            return Framing(wholeness, packets, offset, str(damage))
    return Framing(Wholeness.COMPLETE, packets)


def _walk_pcap(handle: BinaryIO, order: str, header_size: int, limits: ReadLimits) -> Iterator[int]:
    """Yield how many packets each piece of the file holds: 0 for the header, then 1 each."""
    major, *_, link_type = struct.unpack(order + "HHIIII", _take(handle, 20, "the file header"))
    if major not in (2, 543):  # 543: some old Linux; libpcap takes it too
        raise _DamageError(f"pcap of version {major} is not known")
    if link_type & _LINK_TYPE_UNUSED:
        raise _DamageError(f"link type {link_type:#x} is not known")
    yield 0
    captured_length = struct.Struct(order + "8xI")
    while head := handle.read(header_size):
        if len(head) < header_size:
            raise _DamageError("the file ends in the middle of a packet's header")
        (captured,) = captured_length.unpack_from(head)
        _check_captured(captured, limits)
        _take(handle, captured, "a packet")
        yield 1


def _walk_pcapng(handle: BinaryIO, limits: ReadLimits) -> Iterator[int]:
    """Yield how many packets each block holds: 0 or 1. The first four bytes are read already."""
    kind_bytes, order, snap_lengths = PCAPNG_MAGIC, "<", list[int]()
    while kind_bytes:
        length_bytes = _take(handle, 4, "a block's header")
        body = b""
        if kind_bytes == PCAPNG_MAGIC:
            body = _take(handle, 4, "a section's header")
            if body not in _ORDER:
                raise _DamageError("a section without a byte-order magic")
            order, snap_lengths = _ORDER[body], []
        (kind,) = struct.unpack(order + "I", kind_bytes)
        (length,) = struct.unpack(order + "I", length_bytes)
        if length < 12 + _SMALLEST.get(kind, 0) or length % 4:
            raise _DamageError(f"a block of {length:,} bytes, which cannot be")
        if length > limits.block:
            raise _DamageError(f"a block of {length:,} bytes, more than {limits.block:,}")
        body += _take(handle, length - 12 - len(body), "a block")
        if _take(handle, 4, "a block") != length_bytes:
            raise _DamageError("a block whose two lengths differ")
        yield _check_block(kind, body, order, snap_lengths, limits)
        kind_bytes = handle.read(4)
        if 0 < len(kind_bytes) < 4:
            raise _DamageError("the file ends in the middle of a block's header")


def _check_block(kind: int, body: bytes, order: str, snap_lengths: list[int], limits: ReadLimits) -> int:
    """Return how many packets a block holds; adds an interface's snap length to `snap_lengths`."""
    if kind == _SECTION:
        version = struct.unpack_from(order + "HH", body, 4)
        if version not in _VERSIONS:
            raise _DamageError(f"pcapng of version {version[0]}.{version[1]} is not known")
    elif kind == _INTERFACE:
        if len(snap_lengths) >= limits.interfaces:
            raise _DamageError(f"more than {limits.interfaces:,} interfaces in one section")
        snap_lengths.append(struct.unpack_from(order + "I", body, 4)[0])
    elif kind in (_PACKET, _OLD_PACKET):
        layout = "IIIII" if kind == _PACKET else "HHIIII"
        fields = struct.unpack_from(order + layout, body)
        interface, captured = fields[0], fields[-2]
        _check_packet(interface, captured, len(body) - 20, snap_lengths, limits)
        _check_options(body, 20 + (captured + 3) // 4 * 4, order, limits)
        return 1
    elif kind == _SIMPLE_PACKET:
        (original,) = struct.unpack_from(order + "I", body)
        snap = snap_lengths[0] if snap_lengths else 0
        _check_packet(0, min(original, snap or original), len(body) - 4, snap_lengths, limits)
        return 1
    if kind in _OPTIONS_AT:
        _check_options(body, _OPTIONS_AT[kind], order, limits)
    return 0


def _check_packet(interface: int, captured: int, room: int, snap_lengths: list[int], limits: ReadLimits) -> None:
    if interface >= len(snap_lengths):
        raise _DamageError(f"a packet of interface {interface:,}, which is not described")
    _check_captured(captured, limits)
    if captured > room:
        raise _DamageError(f"a packet of {captured:,} bytes in a block with room for {room:,}")


def _check_captured(captured: int, limits: ReadLimits) -> None:
    if captured > limits.packet:
        raise _DamageError(f"a packet of {captured:,} captured bytes, more than {limits.packet:,}")


def _check_options(body: bytes, at: int, order: str, limits: ReadLimits) -> None:
    """Walk a block's options: each must end inside the block."""
    count = 0
    while at + 4 <= len(body):
        code, length = struct.unpack_from(order + "HH", body, at)
        if code == 0:
            if length:
                raise _DamageError(f"an end of options with a length of {length:,}")
            return
        at += 4 + (length + 3) // 4 * 4
        count += 1
        if at > len(body):
            raise _DamageError("an option that is longer than its block")
        if count > limits.options:
            raise _DamageError(f"more than {limits.options:,} options in one block")


def _take(handle: BinaryIO, count: int, what: str) -> bytes:
    data = handle.read(count)
    if len(data) < count:
        raise _DamageError(f"the file ends in the middle of {what}")
    return data
