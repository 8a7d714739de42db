"""Copies the packets of chosen flows out of a capture, into a small pcapng file: for tshark, for a colleague.

The key log goes with it, as a Decryption Secrets Block (draft-ietf-opsawg-pcapng, 4.7). Fragments and
tunnelled packets of the flows are left out: their flow is not known by their outer header.
"""

import struct
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import IO

from mutewatch.records import Flow
from pcap_tools.capture.batch import Batch
from pcap_tools.capture.framing import Walk
from pcap_tools.capture.packets import Dissector, Segment
from pcap_tools.capture.sift import Wanted, hash_flow, sift
from pcap_tools.capture.source import open_source
from pcap_tools.ends import Key, flow_key
from pcap_tools.limits import DEFAULT_READ_LIMITS, ReadLimits
from pcap_tools.stream import Stamp

_SECTION, _INTERFACE, _PACKET, _SECRETS = 0x0A0D0D0A, 1, 6, 10
_TLS_KEY_LOG = 0x544C534B
_NANOSECONDS = struct.pack("<HHB3xHH", 9, 1, 9, 0, 0)  # if_tsresol, end of options


def carve(
    paths: Sequence[Path],
    keys: set[Key],
    keylogs: Sequence[Path],
    file: IO[bytes],
    limits: ReadLimits = DEFAULT_READ_LIMITS,
) -> int:
    """Write the TCP packets of the flows `keys` to `file`; return how many there are.

    The key logs at `keylogs` and those in the captures are copied whole, to the beginning.
    """
    secrets = [keylog.read_bytes() for keylog in keylogs]
    for path in paths:
        _walk(path, limits, secrets.append, lambda _batch: None)
    writer = _PcapngWriter(file, secrets)
    wanted, dissector = Wanted(), Dissector(limits)
    for (address, port), (other, other_port) in keys:
        wanted.add_flow(hash_flow(address, port, other, other_port))

    def take(batch: Batch) -> None:
        for index in wanted.choose(sift(batch)).tolist():
            data, original = batch.packet(index)
            packet = dissector.dissect(batch.interface.link_type, data, original, Stamp(0, None))
            if isinstance(packet, Segment) and flow_key(packet) in keys:
                writer.write(batch, index, data, original)

    for path in paths:
        _walk(path, limits, lambda _secrets: None, take)
    return writer.count


def flow_keys(flows: Iterable[Flow]) -> set[Key]:
    """Return the ends of `flows`, as `carve` wants them."""
    keys = set()
    for flow in flows:
        ends = (ip_address(flow.client).packed, flow.client_port), (ip_address(flow.server).packed, flow.port)
        keys.add((min(ends), max(ends)))
    return keys


def _walk(path: Path, limits: ReadLimits, on_secrets: Callable[[bytes], None], take: Callable[[Batch], None]) -> None:
    source = open_source(path, limits)
    try:
        for batches in Walk(source, limits, on_secrets=on_secrets).chunks():
            for batch in batches:
                take(batch)
    finally:
        source.close()


class _PcapngWriter:
    """Writes packets of any link type, each as an interface of its own, with times in nanoseconds."""

    def __init__(self, file: IO[bytes], secrets: Sequence[bytes]) -> None:
        self._file, self.count = file, 0
        self._interfaces: dict[int, int] = {}  # number by link type
        file.write(_block(_SECTION, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)))
        for log in secrets:
            file.write(_block(_SECRETS, struct.pack("<II", _TLS_KEY_LOG, len(log)) + log))

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
