"""Makes the seeds: from the test captures, taken apart by the engine itself down to the layer of each target."""

import struct
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from bench.fuzz import sealed
from bench.fuzz.script import Kind, script_of, step
from bench.fuzz.targets import LINK_TYPES, TLS_LIMITS
from pcap_tools.capture.framing import Walk
from pcap_tools.capture.packets import SYN, Dissector, Segment
from pcap_tools.capture.source import open_source
from pcap_tools.ends import Key, flow_key
from pcap_tools.limits import ReadLimits
from pcap_tools.stream import Data, Piece, Side, Stamp
from pcap_tools.tcp import TcpSide
from pcap_tools.tls.keylog import KeyLog
from pcap_tools.tls.session import TlsSession
from tests.captures.variants import VARIANTS

LIMITS = ReadLimits()
FILE_BYTES = 12 << 10  # of each capture: a fuzzer does better with small seeds
PACKETS = 12
PIECES = 24
TLS_BYTES = 12 << 10  # one whole record and some
HTTP_BYTES = 4 << 10


@cache
def _captures() -> dict[str, tuple[bytes, bytes]]:
    """Return the first file of each test capture, and its key log."""
    captures = {name: make() for name, make in VARIANTS.items()}
    return {name: (capture.files[0][1], capture.keylog) for name, capture in captures.items()}


def seeds(target: str) -> dict[str, bytes]:
    """Return the seeds of a target by name: one of each test capture that has something for it."""
    made: dict[str, bytes] = {}
    for name, (data, keylog) in _captures().items():
        if target in ("framing", "capture"):
            made[name] = data[:FILE_BYTES]
            continue
        maker = _MAKERS[target]
        script = maker(data, keylog)
        if script and script not in made.values():
            made[name] = script
    if target == "tls":
        made["sealed"] = _sealed()
    return made


def _packets(data: bytes, _keylog: bytes) -> bytes:
    script = b""
    for link_type, packet, _ in _all_packets(data, PACKETS):
        if link_type in LINK_TYPES:
            script += step(Kind.DATA, Side.CLIENT, packet, LINK_TYPES.index(link_type))
    return script


def _tcp(data: bytes, _keylog: bytes) -> bytes:
    _, rows = _first_flow(data)
    rows = [row for row in rows if row.payload and row.source == rows[0].source][: 4 * PACKETS]
    if not rows:
        return b""
    first = min(row.sequence for row in rows)
    places = ((row.sequence - first) & 0xFFFF for row in rows)
    cells = (struct.pack(">BHH", 0, at, len(row.payload) & 0xFFFF) for at, row in zip(places, rows, strict=True))
    return struct.pack(">BI", 1, first) + b"".join(cells)


def _tls(data: bytes, keylog: bytes) -> bytes:
    pieces = _pieces(data)
    random = pieces[0].data[11:43] if pieces and isinstance(pieces[0], Data) else b""
    lines = [line for line in keylog.lower().splitlines(keepends=True) if random.hex().encode() in line]
    text = b"".join(line[: line.find(b" ")].upper() + line[line.find(b" ") :] for line in lines)
    return step(Kind.KEYS, Side.CLIENT, text) + _short(pieces, TLS_BYTES)


@cache
def _http(data: bytes, keylog: bytes) -> bytes:
    pieces = _pieces(data)
    begin = next((piece.data for piece in pieces if isinstance(piece, Data)), b"")
    if begin[:1] != b"\x16":
        return _short(pieces, HTTP_BYTES)
    keys = KeyLog()
    keys.add(keylog)
    session = TlsSession(keys, TLS_LIMITS)
    plain = [found for piece in pieces for found in session.feed(piece)] + session.finish()
    return _short(plain, HTTP_BYTES)


def _http2(data: bytes, keylog: bytes) -> bytes:
    script = _http(data, keylog)
    return bytes([b"PRI * HTTP/2" in script]) + script if script else b""


def _short(pieces: list[Piece], most: int) -> bytes:
    """Return the script of the first pieces, of about `most` bytes."""
    script = b""
    for piece in pieces[:PIECES]:
        if len(script) < most:
            script += script_of([piece])
    return script


def _sealed() -> bytes:
    """A connection whose records are sealed by the target: EncryptedExtensions, Finished, KeyUpdate, HTTP."""
    rows: list[tuple[Kind, Side, bytes, int]] = [
        (Kind.KEYS, Side.CLIENT, sealed.keys(), 0),
        (Kind.DATA, Side.CLIENT, sealed.hello(Side.CLIENT), 0),
        (Kind.DATA, Side.SERVER, sealed.hello(Side.SERVER), 0),
        (Kind.SEALED, Side.SERVER, b"\x08\0\0\x0b\0\x09\0\x10\0\x05\0\x03\x02h2" + b"\x14\0\0\x04done\x16", 0),
        (Kind.SEALED, Side.CLIENT, b"\x14\0\0\x04done\x16", 1),
        (Kind.SEALED, Side.CLIENT, b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n\x17", 2),
        (Kind.SEALED, Side.SERVER, b"HTTP/1.1 204 No Content\r\n\r\n\x17\0\0", 1),
        (Kind.SEALED, Side.SERVER, b"\x18\0\0\x01\0\x16", 1),
    ]
    return b"".join(step(*row) for row in rows)


_MAKERS: dict[str, Callable[[bytes, bytes], bytes]] = {
    "packets": _packets,
    "tcp": _tcp,
    "tls": _tls,
    "http1": _http,
    "http2": _http2,
}


def _all_packets(data: bytes, most: int) -> list[tuple[int, bytes, int]]:
    """Return (link type, packet, size on the wire) of the first packets."""
    with tempfile.NamedTemporaryFile(prefix="mutewatch-seed-") as file:
        file.write(data)
        file.flush()
        source = open_source(Path(file.name), LIMITS)
        found = {}
        try:
            for batches in Walk(source).chunks():
                for batch in batches:
                    for index, frame in enumerate(batch.frames.tolist()[:most]):
                        found[frame] = (batch.interface.link_type, *batch.packet(index))
        finally:
            source.close()
    return [found[frame] for frame in sorted(found)][:most]


@cache
def _first_flow(data: bytes) -> tuple[Key | None, list[Segment]]:
    """Return the segments of the first TCP flow, and its key."""
    dissector, key, rows = Dissector(LIMITS), None, []
    for frame, (link_type, packet, size) in enumerate(_all_packets(data, 20 * PACKETS), start=1):
        segment = dissector.dissect(link_type, packet, size, Stamp(frame, frame))
        if isinstance(segment, Segment) and (key is None or flow_key(segment) == key):
            key = flow_key(segment)
            rows.append(segment)
    return key, rows


@cache
def _pieces(data: bytes) -> list[Piece]:
    """Return what TCP gives of the first flow."""
    _, rows = _first_flow(data)
    if not rows:
        return []
    client = (rows[0].source, rows[0].source_port)
    if rows[0].target_port > rows[0].source_port and not rows[0].flags & SYN:
        client = (rows[0].target, rows[0].target_port)
    sides = TcpSide(Side.CLIENT, LIMITS), TcpSide(Side.SERVER, LIMITS)
    pieces: list[Piece] = []
    for row in rows:
        side = sides[(row.source, row.source_port) != client]
        sequence = row.sequence + bool(row.flags & SYN) & 0xFFFFFFFF
        if row.flags & SYN:
            side.begin_at(sequence)
        pieces += side.feed(sequence, row.payload, row.cut, row.stamp)
    return pieces + [piece for side in sides for piece in side.finish()]
