"""Input that is made to cost much: what the engine holds of it, and how often it looks, stays within bounds."""

import gzip
import tracemalloc
from pathlib import Path

import pytest
from hpack.table import HeaderTable

from mutewatch.ports import ReadOptions
from pcap_tools.capture import quic
from pcap_tools.capture.packets import Dissector, Segment
from pcap_tools.capture.source import open_source
from pcap_tools.connection import Connection
from pcap_tools.flows import FlowTable
from pcap_tools.http.header_blocks import HeaderBlocks
from pcap_tools.http.limits import DEFAULT_HTTP_LIMITS
from pcap_tools.interest import Interest
from pcap_tools.limits import ReadLimits
from pcap_tools.pcap import CaptureReader
from pcap_tools.stream import Stamp
from pcap_tools.tls.keylog import KeyLog
from tests.captures.files import pcap

LIMITS = ReadLimits()
MiB = 1 << 20


def ip4_fragment(number: int, at: int, data: bytes) -> bytes:
    """A fragment of a TCP packet that is not the last."""
    head = b"\x45\0" + (20 + len(data)).to_bytes(2, "big") + number.to_bytes(2, "big")
    return head + (0x2000 | at // 8).to_bytes(2, "big") + b"\x40\x06\0\0" + bytes(range(8)) + data


@pytest.mark.parametrize("size", [8, 16_000])
def test_overlapping_fragments_are_not_held_without_bound(size: int) -> None:
    dissector, stamp = Dissector(LIMITS), Stamp(1, 0)
    tracemalloc.start()
    for at in range(0, 48_000, 8):
        packet = ip4_fragment(1, at, bytes(size))
        dissector.dissect(101, packet, len(packet), stamp)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < MiB


def test_a_conversation_in_single_bytes_is_not_looked_at_after_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ClientHello that does not end."""
    looks: list[int] = []
    first_bytes = Connection.first_bytes

    def counted(connection: Connection) -> tuple[bytes, bool]:
        looks.append(connection.held_bytes)
        return first_bytes(connection)

    monkeypatch.setattr(Connection, "first_bytes", counted)
    table = FlowTable(Interest(lambda _name: False), KeyLog(), LIMITS, reads_once=True)
    begin = b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc" + bytes(16_000)
    for at in range(len(begin)):
        segment = Segment(b"aaaa", 1, b"bbbb", 443, at, 0, 0x10, begin[at : at + 1], 0, Stamp(at + 1, at))
        assert not list(table._segment(segment))
    assert looks[-1] > 15_000
    assert len(looks) < 600


def test_many_small_gzip_members_are_read(tmp_path: Path) -> None:
    made = [gzip.compress(bytes([number % 256])) for number in range(20_000)]
    path = tmp_path / "many.gz"
    path.write_bytes(b"".join(made))
    source, read, target = open_source(path, LIMITS), b"", bytearray(1 << 16)
    while count := source.readinto(memoryview(target)):
        read += target[:count]
    source.close()
    assert read == bytes(number % 256 for number in range(20_000))


def test_a_key_log_that_is_one_long_line_is_not_held(tmp_path: Path) -> None:
    keylog, empty = tmp_path / "keys", tmp_path / "empty.pcap"
    line = b"CLIENT_RANDOM " + b"11" * 32 + b" " + b"22" * 48
    keylog.write_bytes(bytes(24 * MiB) + b"\n" + line)
    empty.write_bytes(pcap([]))
    tracemalloc.start()
    assert not list(CaptureReader().read(empty, ReadOptions((keylog,))))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 * MiB


def test_parts_of_a_quic_hello_are_not_held_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """CRYPTO frames that overlap, and never begin at 0."""
    initials, frames = quic.InitialHellos(), [b""]
    monkeypatch.setattr(quic, "_open_initial", lambda _packet: (b"connection", frames[0]))
    tracemalloc.start()
    for at in range(1, 8_000):
        frames[0] = b"\x06" + (0x4000 | at).to_bytes(2, "big") + (0x4000 | 8_000).to_bytes(2, "big") + bytes(8_000)
        assert initials.feed(b"an Initial packet") is None
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < MiB


def test_a_large_table_is_not_copied_for_each_block_after_a_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    entered: list[bytes] = []
    add = HeaderTable.add

    def counted(table: HeaderTable, name: bytes, value: bytes) -> None:
        entered.append(name)
        add(table, name, value)

    monkeypatch.setattr(HeaderTable, "add", counted)
    blocks = HeaderBlocks(DEFAULT_HTTP_LIMITS)
    for _ in range(20):
        blocks.decode(b"\x40\x01a\x00" * 1_500)  # a: ""
    assert len(entered) == 30_000
    blocks.lose()
    for _ in range(100):
        assert blocks.decode(b"\x82") == ((":method", "GET"),)
    assert len(entered) == 30_000
