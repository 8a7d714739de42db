"""Packets in memory for the tests of the capture engine: as a batch, and one by one through the dissector."""

from collections.abc import Iterator, Sequence

from pcap_tools.capture.batch import Batch
from pcap_tools.capture.framing import Walk, Wholeness
from pcap_tools.capture.packets import Datagram, Dissector, Segment
from pcap_tools.limits import DEFAULT_READ_LIMITS, ReadLimits
from pcap_tools.stream import Stamp
from tests.test_pcap_tools_framing import pcap

Found = Segment | Datagram | None


class Memory:
    """A source of capture bytes that are at hand."""

    is_live, is_stopped = False, False

    def __init__(self, data: bytes) -> None:
        self._data, self.consumed = data, 0

    def readinto(self, target: memoryview) -> int:
        count = min(len(target), len(self._data) - self.consumed)
        target[:count] = self._data[self.consumed : self.consumed + count]
        self.consumed += count
        return count

    def close(self) -> None:
        """Nothing is open."""


def batches(packets: Sequence[bytes], link_type: int = 1) -> Iterator[Batch]:
    """Yield the packets as the walk over a capture gives them."""
    walk = Walk(Memory(pcap(*packets, link_type=link_type)))
    for found in walk.chunks():
        yield from found
    assert walk.framing.wholeness is Wholeness.COMPLETE


def dissected(
    packets: Sequence[bytes], link_type: int = 1, *, limits: ReadLimits = DEFAULT_READ_LIMITS, original: int = 0
) -> list[Found]:
    """Return what each packet carries, taken apart one after the other. `original`: at least their size on the wire."""
    dissector = Dissector(limits)
    return [
        dissector.dissect(link_type, data, max(original, len(data)), Stamp(frame, None))
        for frame, data in enumerate(packets, 1)
    ]
