"""Finds the records of one chunk of a capture file, checks each of them, and makes batches of the packets.

The loop over the records only reads their lengths; everything else is done by numpy for all of them at once,
and again slowly, for an exact answer, where that finds something odd.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pcap_tools.capture.batch import Batch, Interface, Layout, Positions
from pcap_tools.capture.magic import PCAP_MAGIC, PCAPNG_MAGIC
from pcap_tools.limits import ReadLimits

_ORDER = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _STATISTICS, _SECRETS, _PACKET = 0x0A0D0D0A, 1, 2, 3, 5, 10, 6
# Wireshark numbers these among the packets: journal, custom, events of sysdig. Observed with tshark 4.0
_NUMBERED = np.array([9, 0xBAD, 0x40000BAD, 0x204, 0x216, 0x221, _OLD_PACKET, _SIMPLE_PACKET, _PACKET], np.uint32)
_OPTIONS_AT = {_SECTION: 16, _INTERFACE: 8, _STATISTICS: 12}  # size of the fixed part that options follow
_SMALLEST = {_SECTION: 16, _INTERFACE: 8, _OLD_PACKET: 20, _SIMPLE_PACKET: 4, _STATISTICS: 12, _SECRETS: 8, _PACKET: 20}
_TLS_KEY_LOG = 0x544C534B
_VERSIONS = {(1, 0), (1, 2)}  # of pcapng; 1.2 is written by some and means 1.0
_LINK_TYPE_UNUSED = 0x03FFFE00  # types end at about 300; the upper 6 bits are the check sequence's length
_LAYOUTS = {
    _PACKET: Layout(28, 20, 24, 12, 8),
    _OLD_PACKET: Layout(28, 20, 24, 12, 8),
    _SIMPLE_PACKET: Layout(12, 8, 8, None),
}


@dataclass(slots=True)
class State:
    """What the part of the file behind us says of the part ahead. `on_secrets` takes key logs as they come."""

    limits: ReadLimits
    frames_before: int  # frames in earlier files of the same capture
    on_secrets: Callable[[bytes], None]
    packets: int = 0
    frames: int = 0  # packets, and what else Wireshark gives a number
    magic: bytes = b""
    order: str = "<"
    interfaces: list[Interface] = field(default_factory=list)
    layout: Layout | None = None  # of a pcap file's packets; None: pcapng


class _DamageError(Exception):
    """What is wrong with the record that is being read."""


class Chunk:
    """What is done with one chunk: finds its records, checks them, and makes batches of its packets."""

    def __init__(self, state: State, buffer: bytearray, size: int) -> None:
        self._state, self._buffer, self._size, self._limits = state, buffer, size, state.limits
        self.used, self.need = 0, 0  # bytes of whole records; bytes of the record that is not whole, if known
        self.batches: list[Batch] = []

    def parse(self, is_last: bool) -> str | None:
        """Use up the records that are whole. Return what is wrong with the next one, or None."""
        try:
            if not self._state.magic and not self._take_magic():
                return (
                    "holds nothing: empty, or packed and cut off"
                    if is_last and not self._size
                    else self._cut(is_last, "the file header")
                )
            layout = self._state.layout
            what = self._parse_pcap(layout) if layout is not None else self._parse_pcapng()
            return self._cut(is_last, what)
        except _DamageError as damage:
            return str(damage)

    def _cut(self, is_last: bool, what: str) -> str | None:
        if is_last and self.used < self._size:
            return f"the file ends in the middle of {what}"
        return None

    def _take_magic(self) -> bool:
        """Read a pcap's file header. False if there is not enough of it yet."""
        magic = bytes(self._buffer[: min(4, self._size)])
        if magic in PCAP_MAGIC:
            if self._size < 24:
                return False
            self._take_pcap_header(magic)
        elif magic != PCAPNG_MAGIC:
            if len(magic) < 4:
                return False
            raise _DamageError("neither a pcap nor a pcapng file")
        self._state.magic = magic
        return True

    def _take_pcap_header(self, magic: bytes) -> None:
        order, header = PCAP_MAGIC[magic]
        major, _minor, *_, snap, link_type = struct.unpack_from(order + "HHIIII", self._buffer, 4)
        if major not in (2, 543):  # 543: some old Linux; libpcap takes it too
            raise _DamageError(f"pcap of version {major} is not known")
        if link_type & _LINK_TYPE_UNUSED:
            raise _DamageError(f"link type {link_type:#x} is not known")
        ticks = 1_000_000_000 if b"\x3c" in magic else 1_000_000
        self._state.interfaces = [Interface(link_type & 0xFFFF, snap, ticks)]
        self._state.layout, self._state.order = Layout(header, 8, 12, 0), order
        self.used = 24

    def _parse_pcap(self, layout: Layout) -> str:
        """Use up whole packets; return what it is that the rest would be a part of."""
        order = self._state.order
        heads = list(_pcap_heads(self._buffer, self._size, self.used, order, layout.data))
        after = heads.pop()
        if after > self._size and heads:
            after = heads.pop()
        found = np.array(heads, np.intp)
        captured = self._numbers(order)[found + layout.captured].astype(np.intp)
        bad = np.flatnonzero(captured > self._limits.packet)
        if bad.size:
            found, after = found[: bad[0]], heads[bad[0]]
        self._add(found, captured[: len(found)], layout, self._state.interfaces[0])
        self.used = after
        rest = self._size - after
        if rest < layout.data:
            return "a packet's header"
        (size,) = struct.unpack_from(order + "I", self._buffer, after + 8)
        _check_captured(size, self._limits)
        self.need = layout.data + size
        return "a packet"

    def _parse_pcapng(self) -> str:
        """Use up whole blocks; return what it is that the rest would be a part of."""
        while True:
            if self._size - self.used < (12 if self._buffer.startswith(PCAPNG_MAGIC, self.used) else 8):
                return "a block's header"
            self._take_order()
            heads = list(_block_heads(self._buffer, self._size, self.used, self._state.order))
            after = heads.pop()
            if after > self._size and heads:
                after = heads.pop()
            if not heads:
                self._block(self.used)
                return "a block"
            self._take_blocks(np.array([*heads, after], np.intp))

    def _take_order(self) -> None:
        """A section's own byte order holds from its first byte on."""
        if self._buffer.startswith(PCAPNG_MAGIC, self.used):
            magic = bytes(self._buffer[self.used + 8 : self.used + 12])
            if magic not in _ORDER:
                raise _DamageError("a section without a byte-order magic")
            self._state.order, self._state.interfaces = _ORDER[magic], []

    def _take_blocks(self, heads: Positions) -> None:
        """Use up the blocks that begin at `heads`, the last of which is where they end."""
        order = self._state.order
        kinds = self._numbers(order)[heads[:-1]]
        start = 0
        for index in [*np.flatnonzero((kinds == _SECTION) | (kinds == _INTERFACE)).tolist(), len(kinds)]:
            if start < index:  # packets and others, which do not change what packets mean
                self._take_packets(heads[start : index + 1], kinds[start:index])
            if index < len(kinds):
                self.used = int(heads[index])
                self._take_order()
                if self._state.order != order:
                    return  # the rest was walked in the wrong order
                self._block(self.used)
                self.used = int(heads[index + 1])
            start = index + 1

    def _take_packets(self, heads: Positions, kinds: Any) -> None:
        """Use up packet blocks and others up to the first that is damaged."""
        numbers, good, why = self._numbers(self._state.order), len(kinds), None
        is_packet = (kinds == _PACKET) | (kinds == _SIMPLE_PACKET) | (kinds == _OLD_PACKET)
        for index in np.flatnonzero(~is_packet).tolist():
            try:
                self._block(int(heads[index]))
            except _DamageError as damage:
                good, why = index, str(damage)
                break
        runs = []
        for kind in [kind for kind in _LAYOUTS if (kinds == kind).any()]:
            chosen = np.flatnonzero(kinds[:good] == kind)
            captured, sound, fault = self._check_packets(heads[chosen], numbers, kind, _LAYOUTS[kind])
            if fault is not None:
                good, why = int(chosen[sound]), fault
            runs.append((kind, chosen, captured))
        is_frame = np.isin(kinds, _NUMBERED)
        ordinals = np.cumsum(is_frame) - 1
        for kind, chosen, captured in runs:
            sound = int(np.searchsorted(chosen, good))
            chosen, captured = chosen[:sound], captured[:sound]  # noqa: PLW2901 - up to the damage
            for interface, mine in self._by_interface(heads[chosen], numbers, kind):
                at = chosen[mine]
                self._add(heads[at], captured[mine], _LAYOUTS[kind], interface, ordinals[at])
        self._state.packets += int(np.count_nonzero(is_packet[:good]))
        self._state.frames += int(np.count_nonzero(is_frame[:good]))
        self.used = int(heads[good])
        if why is not None:
            raise _DamageError(why)

    def _block(self, head: int) -> None:
        """Check one block of any kind, and take in what it says unless it is a packet or not all here."""
        kind, length = struct.unpack_from(self._state.order + "II", self._buffer, head)
        self._check_length(kind, length)
        if self._size - head < length:
            self.need = length
            return
        if self._buffer[head + length - 4 : head + length] != self._buffer[head + 4 : head + 8]:
            raise _DamageError("a block whose two lengths differ")
        self._take_block(kind, bytes(self._buffer[head + 8 : head + length - 4]))

    def _check_length(self, kind: int, length: int) -> None:
        if length < 12 + _SMALLEST.get(kind, 0) or length % 4:
            raise _DamageError(f"a block of {length:,} bytes, which cannot be")
        if length > self._limits.block:
            raise _DamageError(f"a block of {length:,} bytes, more than {self._limits.block:,}")

    def _take_block(self, kind: int, body: bytes) -> None:
        """Take in what a block that is not a packet says."""
        order = self._state.order
        if kind == _SECTION:
            version = struct.unpack_from(order + "HH", body, 4)
            if version not in _VERSIONS:
                raise _DamageError(f"pcapng of version {version[0]}.{version[1]} is not known")
        options = _options(body, _OPTIONS_AT[kind], order, self._limits) if kind in _OPTIONS_AT else []
        if kind == _INTERFACE:
            if len(self._state.interfaces) >= self._limits.interfaces:
                raise _DamageError(f"more than {self._limits.interfaces:,} interfaces in one section")
            self._state.interfaces.append(_interface(body, options, order))
        elif kind == _SECRETS:
            secrets_type, size = struct.unpack_from(order + "II", body)
            if secrets_type == _TLS_KEY_LOG:
                self._state.on_secrets(body[8 : 8 + size])

    def _check_packets(
        self, heads: Positions, numbers: Any, kind: int, layout: Layout
    ) -> tuple[Positions, int, str | None]:
        """Return the captured lengths, and of the first packet block that cannot be: its index and why not."""
        lengths = numbers[heads + 4].astype(np.intp)
        rooms = lengths - layout.data - 4
        captured = numbers[heads + layout.captured].astype(np.intp)
        interfaces = self._interface_numbers(heads, numbers, kind)
        if kind == _SIMPLE_PACKET:
            snap = self._state.interfaces[0].snap if self._state.interfaces else 0
            captured = np.minimum(captured, snap or captured)
        tails = np.maximum(heads + lengths - 4, heads)
        padded = (captured + 3) // 4 * 4
        suspects = (
            (rooms < 0)
            | (lengths % 4 != 0)
            | (lengths > self._limits.block)
            | (numbers[tails] != lengths)
            | (interfaces >= len(self._state.interfaces))
            | (captured > self._limits.packet)
            | (captured > rooms)
            | ((rooms > padded) & (kind != _SIMPLE_PACKET))  # options
        )
        for index in np.flatnonzero(suspects).tolist():
            why = self._fault(int(heads[index]), kind, int(interfaces[index]), int(captured[index]))
            if why is not None:
                return captured, index, why
        return captured, len(heads), None

    def _fault(self, head: int, kind: int, interface: int, captured: int) -> str | None:
        """Return what is wrong with one packet block, or None: the slow and exact check."""
        order, layout = self._state.order, _LAYOUTS[kind]
        (length,) = struct.unpack_from(order + "I", self._buffer, head + 4)
        room = length - layout.data - 4
        try:
            self._check_length(kind, length)
            if self._buffer[head + length - 4 : head + length] != self._buffer[head + 4 : head + 8]:
                raise _DamageError("a block whose two lengths differ")
            if interface >= len(self._state.interfaces):
                raise _DamageError(f"a packet of interface {interface:,}, which is not described")
            _check_captured(captured, self._limits)
            if captured > room:
                raise _DamageError(f"a packet of {captured:,} bytes in a block with room for {room:,}")
            if kind != _SIMPLE_PACKET:
                body = bytes(self._buffer[head + layout.data : head + length - 4])
                _options(body, (captured + 3) // 4 * 4, order, self._limits)
        except _DamageError as damage:
            return str(damage)
        return None

    def _interface_numbers(self, heads: Positions, numbers: Any, kind: int) -> Positions:
        if kind == _SIMPLE_PACKET:
            return np.zeros(len(heads), np.intp)
        if kind == _OLD_PACKET:  # 16 bits, and 16 bits of drops
            shorts = np.ndarray((self._size - 1,), self._state.order + "u2", self._buffer, 0, (1,))
            return shorts[heads + 8].astype(np.intp)
        return np.asarray(numbers[heads + 8].astype(np.intp))

    def _by_interface(self, heads: Positions, numbers: Any, kind: int) -> Iterator[tuple[Interface, Positions]]:
        """Yield each interface of these packets with the indices of its packets."""
        described = self._interface_numbers(heads, numbers, kind)
        lowest, highest = (int(described.min()), int(described.max())) if len(described) else (0, -1)
        if lowest == highest:
            yield self._state.interfaces[lowest], np.arange(len(heads))
            return
        for number in np.unique(described).tolist():
            yield self._state.interfaces[number], np.flatnonzero(described == number)

    def _numbers(self, order: str) -> Any:
        """The buffer as 32-bit numbers, one from each byte on."""
        return np.ndarray((len(self._buffer) - 3,), order + "u4", self._buffer, 0, (1,))

    def _add(
        self,
        heads: Positions,
        captured: Positions,
        layout: Layout,
        interface: Interface,
        ordinals: Positions | None = None,
    ) -> None:
        """Make a batch; `ordinals` count from the first frame that the walk has not counted yet."""
        first = self._state.frames_before + self._state.frames + 1
        if ordinals is None:
            ordinals = np.arange(len(heads), dtype=np.intp)
            self._state.packets += len(heads)
            self._state.frames += len(heads)
        if len(heads):
            self.batches.append(
                Batch(self._buffer, heads, captured, ordinals + first, layout, interface, self._state.order)
            )


def _pcap_heads(buffer: bytearray, size: int, position: int, order: str, header: int) -> Iterator[int]:
    """Yield where each packet's record begins, and at last where the next one would: the hot loop of a scan."""
    captured = struct.Struct(order + "8xI").unpack_from
    last = size - header
    while position <= last:
        yield position
        position += header + captured(buffer, position)[0]
    yield position


def _block_heads(buffer: bytearray, size: int, position: int, order: str) -> Iterator[int]:
    """Yield where each block begins, and at last where the next one would: a hot loop."""
    length = struct.Struct(order + "4xI").unpack_from
    last = size - 12
    while position <= last:
        yield position
        position += length(buffer, position)[0] or size + 1  # a block of no length would be walked for ever
    yield position


def _interface(body: bytes, options: list[tuple[int, bytes]], order: str) -> Interface:
    """Return what an Interface Description Block says (if_tsresol is option 9, if_tsoffset 14)."""
    link_type, snap = struct.unpack_from(order + "H2xI", body)
    said = dict(options)
    resolution = said.get(9, b"\x06")[:1] or b"\x06"
    exponent = resolution[0] & 0x7F
    ticks = (2 if resolution[0] & 0x80 else 10) ** min(exponent, 64)
    offset = said.get(14, b"")
    return Interface(link_type, snap, ticks, struct.unpack(order + "q", offset)[0] if len(offset) == 8 else 0)


def _options(body: bytes, at: int, order: str, limits: ReadLimits) -> list[tuple[int, bytes]]:
    """Return a block's options; each must end inside the block."""
    found: list[tuple[int, bytes]] = []
    while at + 4 <= len(body):
        code, length = struct.unpack_from(order + "HH", body, at)
        if code == 0:
            if length:
                raise _DamageError(f"an end of options with a length of {length:,}")
            break
        found.append((code, body[at + 4 : at + 4 + length]))
        at += 4 + (length + 3) // 4 * 4
        if at > len(body):
            raise _DamageError("an option that is longer than its block")
        if len(found) > limits.options:
            raise _DamageError(f"more than {limits.options:,} options in one block")
    return found


def _check_captured(captured: int, limits: ReadLimits) -> None:
    if captured > limits.packet:
        raise _DamageError(f"a packet of {captured:,} captured bytes, more than {limits.packet:,}")
