"""Input that is made to cost much: what the engine holds of it, and how often it looks, stays within bounds."""

import tracemalloc

import pytest

from pcap_tools.capture.packets import Dissector
from pcap_tools.limits import ReadLimits
from pcap_tools.stream import Stamp

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
