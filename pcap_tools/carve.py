"""Copies the packets of chosen flows out of a capture, into a small pcapng file: for tshark, for a colleague.

Whole packets are copied: those inside a tunnel with the tunnel around them, and of a segment that came in IP
fragments all the fragments. The secrets go with them, as a Decryption Secrets Block
(draft-ietf-opsawg-pcapng, 4.7): only those of sessions whose ClientHello is in the copied packets. A file that
is handed on opens nothing else. So of a session that began before the capture, or inside another TLS
session, no secrets are copied.
"""

import re
import struct
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import IO

from mutewatch.flow_records import Flow
from pcap_tools.capture.batch import Batch
from pcap_tools.capture.framing import Walk
from pcap_tools.capture.packets import Dissector, Segment
from pcap_tools.capture.sift import Wanted, hash_flow, sift
from pcap_tools.capture.source import open_source
from pcap_tools.ends import Key, flow_key
from pcap_tools.keylog_file import read_key_log
from pcap_tools.limits import DEFAULT_READ_LIMITS, ReadLimits
from pcap_tools.stream import Stamp
from pcap_tools.tls.keylog import KeyLog, Label

_SECTION, _INTERFACE, _PACKET, _SECRETS = 0x0A0D0D0A, 1, 6, 10
_TLS_KEY_LOG = 0x544C534B
_NANOSECONDS = struct.pack("<HHB3xHH", 9, 1, 9, 0, 0)  # if_tsresol, end of options
_HELLO = re.compile(rb"\x16\x03[\x00-\x04]..\x01...\x03[\x00-\x04](.{32})", re.DOTALL)  # RFC 8446, 4.1.2, in a record
_HELLO_SIZE = 43
_MOST_PARTS = 1_400  # packets that one datagram is known to have come in: as the dissector takes fragments


def carve(
    paths: Sequence[Path],
    keys: set[Key],
    keylogs: Sequence[Path],
    file: IO[bytes],
    limits: ReadLimits = DEFAULT_READ_LIMITS,
) -> int:
    """Write the TCP packets of the flows `keys` to `file`; return how many there are.

    Of the key logs at `keylogs` and those in the captures, the secrets of these flows stand at the beginning.
    Reads the captures twice. Raises InputError for a capture or key log that cannot be opened.
    """
    keylog = KeyLog()
    for path in keylogs:
        read_key_log(path, keylog)
    survey = _Survey(keys, limits)

    def add(secrets: bytes) -> None:
        keylog.add(secrets)

    _walk(paths, keys, limits, survey.take, add)
    writer = _PcapngWriter(file, _lines(keylog, survey.randoms))
    dissector = Dissector(limits)

    def copy(batch: Batch, index: int) -> None:
        data, original = batch.packet(index)
        packet = dissector.dissect(batch.interface.link_type, data, original, Stamp(0, None))
        if int(batch.frames[index]) in survey.parts or (isinstance(packet, Segment) and flow_key(packet) in keys):
            writer.write(batch, index, data, original)

    _walk(paths, keys, limits, copy)
    return writer.count


def flow_keys(flows: Iterable[Flow]) -> set[Key]:
    """Return the ends of `flows`, as `carve` wants them."""
    keys = set()
    for flow in flows:
        ends = (ip_address(flow.client).packed, flow.client_port), (ip_address(flow.server).packed, flow.port)
        keys.add((min(ends), max(ends)))
    return keys


class _Survey:
    """Finds out what belongs to the flows `keys`: which packets hold parts of their segments, and which sessions."""

    def __init__(self, keys: set[Key], limits: ReadLimits) -> None:
        self.parts: set[int] = set()  # frames of segments that came in fragments
        self.randoms: set[bytes] = set()  # client_random of each ClientHello
        self._keys, self._dissector = keys, _TracingDissector(limits)
        self._tails: dict[tuple[bytes, int, bytes, int], bytes] = {}  # where a ClientHello may have begun

    def take(self, batch: Batch, index: int) -> None:
        data, original = batch.packet(index)
        frame = int(batch.frames[index])
        self._dissector.begin(frame)
        packet = self._dissector.dissect(batch.interface.link_type, data, original, Stamp(frame, None))
        if not isinstance(packet, Segment) or flow_key(packet) not in self._keys:
            return
        if len(self._dissector.frames) > 1:
            self.parts.update(self._dissector.frames)
        if packet.payload:
            side = (packet.source, packet.source_port, packet.target, packet.target_port)
            text = self._tails.get(side, b"") + packet.payload
            self.randoms.update(hello[1] for hello in _HELLO.finditer(text))
            self._tails[side] = text[1 - _HELLO_SIZE :]


class _TracingDissector(Dissector):
    """Knows in which packets (`frames`) the last datagram came; `begin` says which packet is next."""

    def __init__(self, limits: ReadLimits) -> None:
        super().__init__(limits)
        self.frames: tuple[int, ...] = ()
        self._most = limits.fragmented
        self._parts: OrderedDict[tuple[object, ...], tuple[int, ...]] = OrderedDict()

    def begin(self, frame: int) -> None:
        self.frames = (frame,)

    def _defragment(self, key: tuple[object, ...], at: int, part: bytes, more: bool, cut: int) -> bytes | None:
        whole = super()._defragment(key, at, part, more, cut)
        frames = (*self._parts.pop(key, ()), *self.frames)[:_MOST_PARTS]
        if whole is not None:
            self.frames = frames
            return whole
        self._parts[key] = frames
        if len(self._parts) > self._most:
            self._parts.popitem(last=False)
        return None


def _lines(keylog: KeyLog, randoms: set[bytes]) -> bytes:
    """Return the lines of a key log with the secrets of these sessions only."""
    return b"".join(
        f"{label} {random.hex()} {secret.hex()}\n".encode()
        for random in sorted(randoms)
        for label in Label
        if (secret := keylog.get(label, random)) is not None
    )


def _walk(
    paths: Sequence[Path],
    keys: set[Key],
    limits: ReadLimits,
    take: Callable[[Batch, int], None],
    on_secrets: Callable[[bytes], None] = lambda _secrets: None,
) -> None:
    """Give `take` every packet that may be one of the flows `keys`, or a part of one. Frames count over all files."""
    wanted, frames = Wanted(), 0
    for (address, port), (other, other_port) in keys:
        wanted.add_flow(hash_flow(address, port, other, other_port))
    for path in paths:
        source = open_source(path, limits)
        try:
            walk = Walk(source, limits, frames, on_secrets)
            for batches in walk.chunks():
                for batch in batches:
                    for index in wanted.choose(sift(batch)).tolist():
                        take(batch, index)
            frames = walk.frames
        finally:
            source.close()


class _PcapngWriter:
    """Writes packets of any link type, each as an interface of its own, with times in nanoseconds."""

    def __init__(self, file: IO[bytes], secrets: bytes) -> None:
        self._file, self.count = file, 0
        self._interfaces: dict[int, int] = {}  # number by link type
        file.write(_block(_SECTION, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)))
        if secrets:
            file.write(_block(_SECRETS, struct.pack("<II", _TLS_KEY_LOG, len(secrets)) + secrets))

    def write(self, batch: Batch, index: int, data: bytes, original: int) -> None:
        link_type = batch.interface.link_type
        if link_type not in self._interfaces:
            self._interfaces[link_type] = len(self._interfaces)
            self._file.write(_block(_INTERFACE, struct.pack("<HHI", link_type, 0, 0) + _NANOSECONDS))
        at = batch.time_ns(index) or 0
        head = struct.pack(
            "<IIIII", self._interfaces[link_type], at >> 32 & 0xFFFFFFFF, at & 0xFFFFFFFF, len(data), original
        )
        self._file.write(_block(_PACKET, head + data))
        self.count += 1


def _block(kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    length = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + length + body + length
