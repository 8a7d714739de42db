"""The fuzz targets: each turns any bytes into calls of one layer, and raises only on a fault of ours.

- An exception that a layer does not declare is a fault, and so is a broken promise, checked by `assert`.
- Limits are made small, so that short inputs reach them.
"""

import random
import struct
import tempfile
from collections.abc import Callable
from io import BytesIO
from operator import itemgetter
from pathlib import Path

from bench.fuzz.script import Kind, Step, steps
from bench.fuzz.sealed import RANDOM, Sealer
from bench.fuzz.sifted import check_sift, one_packet
from mutewatch.errors import InputError
from mutewatch.ports import ReadOptions
from pcap_tools.capture.batch import Interface
from pcap_tools.capture.framing import Framing, Walk
from pcap_tools.capture.packets import Dissector
from pcap_tools.http.connection import HttpConnection
from pcap_tools.http.draft import keep_all
from pcap_tools.http.exchange import Route, to_exchange
from pcap_tools.http.limits import HttpLimits
from pcap_tools.http.message import HttpMessage
from pcap_tools.limits import ReadLimits
from pcap_tools.pcap import CaptureReader
from pcap_tools.stream import Data, Gap, Piece, Side, Stamp
from pcap_tools.tcp import TcpSide
from pcap_tools.tls.handshake import ClientHello, client_hello_from_records, glance
from pcap_tools.tls.keylog import KeyLog
from pcap_tools.tls.limits import TlsLimits
from pcap_tools.tls.session import TlsSession

KiB = 1 << 10
CHUNKS = (1, 64, 1_000)  # bytes: how small a framing walk's chunks are made
ADDRESSES = ("198.51.100.1", "2001:db8:1::1")  # the servers of the seeds
LINK_TYPES = (1, 0, 12, 101, 108, 113, 228, 229, 276, 105, 127, 147)  # the last three: scapy's, and nobody's
TLS_LIMITS = TlsLimits(
    held=40 * KiB, held_without_key=20 * KiB, handshake=8 * KiB, first_sequences=100, trials=2_000, window=8
)
HTTP_LIMITS = HttpLimits(
    body=4 * KiB, head=2 * KiB, headers=20, chunk_line=100, frame=4 * KiB, table=4 * KiB, streams=8, waiting=5,
    waiting_bytes=8 * KiB, ahead=16 * KiB, undecided=2 * KiB, inflated=16 * KiB, unreadable=4,
)  # fmt: skip
READ_LIMITS = ReadLimits(
    chunk=4 * KiB, fragmented=8, hole_bytes=8 * KiB, hole_segments=20, expansion_free=1 << 20, expansion_ratio=20,
    streams=10, undecided=4 * KiB, tunnels=2, bursts=10, tls=TLS_LIMITS, http=HTTP_LIMITS,
)  # fmt: skip
_ALPN = (None, "h2", "http/1.1", "other")
ROUTE = Route("fuzz", "file", "192.0.2.7", 443)
STREAM = random.Random(0).randbytes(1 << 17)  # what the segments of `tcp` are cut from


class _Memory:
    """A capture file in memory."""

    is_live, is_stopped = False, False

    def __init__(self, data: bytes) -> None:
        self._file = BytesIO(data)

    @property
    def consumed(self) -> int:
        return self._file.tell()

    def readinto(self, target: memoryview) -> int:
        return self._file.readinto(target)

    def close(self) -> None:
        self._file.close()


def framing(data: bytes) -> None:
    """Packets and verdict are the same however small the chunks are."""
    packets, verdict = _walk(data, 1 << 17)
    for chunk in CHUNKS:
        assert _walk(data, chunk) == (packets, verdict), f"with chunks of {chunk} bytes"
    assert len(packets) == verdict.packets
    assert [frame for frame, *_ in packets] == sorted({frame for frame, *_ in packets})
    assert verdict.offset is None or 0 <= verdict.offset <= len(data)


def _walk(data: bytes, chunk: int) -> tuple[list[tuple[int, Interface, tuple[bytes, int], int | None]], Framing]:
    keylog = KeyLog()

    def take(secrets: bytes) -> None:
        keylog.add(secrets)

    walk = Walk(_Memory(data), ReadLimits(chunk=chunk), 0, take)
    found = []
    for batches in walk.chunks():
        for batch in batches:
            for index, frame in enumerate(batch.frames.tolist()):
                found.append((frame, batch.interface, batch.packet(index), batch.time_ns(index)))
    return sorted(found, key=itemgetter(0)), walk.framing


def packets(data: bytes) -> None:
    """Each step is a packet, its option the link type; what the dissector sees, the sift must not pass over."""
    dissector = Dissector(READ_LIMITS)
    for one in steps(data):
        link_type = LINK_TYPES[one.option % len(LINK_TYPES)]
        cut = one.size - len(one.data)
        found = dissector.dissect(link_type, one.data, one.size if cut else len(one.data), one.stamp)
        check_sift(_Memory(one_packet(link_type, one.data)), found)


def tcp(data: bytes) -> None:
    """Segments of one known stream, in any order and as often as one likes: each byte comes once, in its place.

    First a byte of flags and the sequence number of the first byte; then of each segment a byte of flags, where
    in the stream it is, and its size.
    """
    if len(data) < 5:
        return
    flags, first = struct.unpack_from(">BI", data)
    side = TcpSide(Side.CLIENT, READ_LIMITS)
    if flags & 1:
        side.begin_at(first)
    given: list[Piece] = []
    rows = struct.iter_unpack(">BHH", data[5 : 5 + (len(data) - 5) // 5 * 5])
    for number, (kind, at, size) in enumerate(rows, start=1):
        sequence, payload = (first + at) % (1 << 32), STREAM[at : at + size % 3_000]
        if kind & 1:
            side.begin_at(sequence)
        stamp = Stamp(number, number * (1 + (kind >> 4)) * 10**9)
        given += side.feed(sequence, payload, kind >> 1 & 1, stamp, fin=bool(kind & 4))
        waiting = sum(len(held) for *_, held, _ in side._waiting)
        assert waiting == side._waiting_bytes
        assert waiting <= READ_LIMITS.hole_bytes or not side.has_begun
        segments = {ordinal for _, ordinal, *_ in side._waiting}  # one may wait in several parts
        assert len(segments) <= (READ_LIMITS.hole_segments if side.has_begun else READ_LIMITS.first_segments)
        most = READ_LIMITS.hole_segments if side.has_begun else 2 * READ_LIMITS.first_segments
        assert len(side._waiting) <= most
    given += side.finish()
    assert not side._waiting
    if given:
        _check_stream(given, -side.distance(first))


def _check_stream(given: list[Piece], end: int) -> None:
    """Are these the bytes of the known stream, up to `end`?"""
    for piece in reversed(given):
        if isinstance(piece, Data):
            start = end - len(piece.data)
            assert piece.data == STREAM[start:end], f"other bytes from {start} to {end}"
            end = start
        elif piece.size is not None:
            assert piece.size > 0
            end -= piece.size
    assert all(isinstance(piece, Data) or piece.size is not None for piece in given[1:])


def tls(data: bytes) -> None:
    """Pieces of both sides, with key logs between them, and records sealed under known keys."""
    keylog, sealer = KeyLog(), Sealer()
    session = TlsSession(keylog, TLS_LIMITS)
    given: list[Piece] = []
    for one in steps(data):
        if one.kind is Kind.KEYS:
            keylog.add(one.data)
            continue
        _check_glance(one.data)
        for piece in _sealed(one, sealer):
            given += session.feed(piece)
            assert all(half.held <= 2 * TLS_LIMITS.held for half in session.halves)
        assert session.account.lost >= 0
    given += session.finish()
    assert all(isinstance(piece, Gap) or piece.data for piece in given), "data of no bytes"
    if session.client_random == RANDOM:
        for side in Side:
            plain = [piece.data for piece in given if isinstance(piece, Data) and piece.side is side]
            rest = iter(sealer.sealed[side])
            assert all(data in rest for data in plain), "data that was not sealed, or in another order"
    assert not any(half.held for half in session.halves)
    assert session.account.detail is not None


def _sealed(one: Step, sealer: Sealer) -> list[Piece]:
    if one.kind is Kind.SEALED:
        return [Data(one.side, sealer.seal(one.side, one.option, one.data), one.stamp)]
    return one.pieces


def _check_glance(data: bytes) -> None:
    """A glance at a ClientHello says what the parser says, or nothing."""
    seen, hello = glance(data, 0, len(data)), client_hello_from_records(data)
    if seen is not None and isinstance(hello, ClientHello):
        assert seen == (hello.random, hello.sni)


def http1(data: bytes) -> None:
    """Pieces of both sides of a connection in the clear."""
    _http(data, None)


def http2(data: bytes) -> None:
    """The same where the TLS handshake agreed on HTTP/2, or on what the first byte says."""
    _http(data[1:], _ALPN[data[0] % len(_ALPN)] if data else None)


def _http(script: bytes, alpn: str | None) -> None:
    tunnel: list[Piece] = []
    connection = HttpConnection(HTTP_LIMITS, alpn=alpn, keeps=keep_all, on_tunnel=tunnel.append)
    fed = {Side.CLIENT: 0, Side.SERVER: 0}
    held = messages = 0
    for one in steps(script):
        for piece in one.pieces:
            fed[one.side] += len(piece.data) if isinstance(piece, Data) else 0
            messages += _check_messages(connection.feed(piece))
            held = max(held, sum(inbox.held for inbox in connection._inboxes))
            assert held <= 6 * HTTP_LIMITS.ahead + len(one.data)
            assert connection._waiting.held.size <= HTTP_LIMITS.waiting_bytes + 2 * HTTP_LIMITS.body
            assert len(connection._waiting._drafts) <= HTTP_LIMITS.waiting
    messages += _check_messages(connection.finish())
    assert connection.account.messages == messages, "messages given and not counted"
    assert not any(inbox.held for inbox in connection._inboxes), "bytes that nobody has read"
    assert connection.account.client_skipped <= fed[Side.CLIENT]
    assert connection.account.server_skipped <= fed[Side.SERVER]


def _check_messages(messages: list[HttpMessage]) -> int:
    for message in messages:
        assert (message.body is None) == (message.lost is not None)
        assert len(message.body or b"") <= HTTP_LIMITS.body + 1
        assert len(message.headers) <= HTTP_LIMITS.headers
        to_exchange(message, ROUTE, 1)
    return len(messages)


def capture(data: bytes) -> None:
    """A whole file, looked into as far as can be: what it is not, InputError says, with the place."""
    with tempfile.NamedTemporaryFile(dir=_folder(), prefix="mutewatch-fuzz-") as file:
        file.write(data)
        file.flush()
        options = ReadOptions(addresses=ADDRESSES)
        try:
            for exchange in CaptureReader(READ_LIMITS, keep_responses=True).read(Path(file.name), options):
                assert len(exchange.body or b"") <= HTTP_LIMITS.body + 1
        except InputError as error:
            assert error.offset is not None and error.reason


def _folder() -> Path | None:
    """A folder in memory, where there is one."""
    memory = Path("/dev/shm")  # noqa: S108 - the files in it are temporary ones
    return memory if memory.is_dir() else None


TARGETS: dict[str, Callable[[bytes], None]] = {
    one.__name__: one for one in (framing, packets, tcp, tls, http1, http2, capture)
}
