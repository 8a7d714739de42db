"""Walks the framing of pcap and pcapng files, strictly, and gives the packets as arrays of positions.

Every byte of the file is accounted for: `complete`, or where and why not. Libraries stop without a word at
a damaged record, and "no telemetry found" would then be a lie. One chunk of the file is in memory at a time,
and the one before it; of its packets only positions are computed, by numpy, so that a packet which nobody
asks for costs a fraction of a microsecond (measured: docs/performance.md).

- pcap: both byte orders, micro- and nanoseconds; pcapng: any number of sections, each in its own order,
  any number of interfaces, enhanced, simple and obsolete packet blocks, decryption secrets;
- the limits are libpcap's (`limits.py`); a record of zero captured bytes is legal;
- `unreadable`: nothing in the file could be read; `incomplete`: the part before `offset` is good.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pcap_tools.capture.batch import Batch
from pcap_tools.capture.chunk import Chunk, State
from pcap_tools.capture.source import Source, SourceError, open_source
from pcap_tools.limits import DEFAULT_READ_LIMITS, ReadLimits

_LEAST = 32  # bytes of a chunk: the head of a file, of a packet or of a block must fit (24, 24 and 12)
_SLACK = 512  # bytes behind a chunk that may be looked at without a look at the bounds


class Wholeness(StrEnum):
    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Framing:
    """The verdict on one file. `offset` (bytes of the expanded file) and `reason`: where and why not complete."""

    wholeness: Wholeness
    packets: int
    offset: int | None = None
    reason: str | None = None


def _ignore(_secrets: bytes) -> None:
    """Nobody asked for them."""


class Walk:
    """One pass over one capture. Iterate `chunks()`; afterwards `framing` is the verdict.

    `frames_before`: frames in earlier files of the same capture. `on_secrets` takes the key log of each
    Decryption Secrets Block as it comes.
    """

    def __init__(
        self,
        source: Source,
        limits: ReadLimits = DEFAULT_READ_LIMITS,
        frames_before: int = 0,
        on_secrets: Callable[[bytes], None] = _ignore,
    ) -> None:
        self.framing = Framing(Wholeness.UNREADABLE, 0, 0, "is empty")
        self._source, self._limits = source, limits
        self._state = State(limits, frames_before, on_secrets)
        self._offset = 0  # of the chunk in the file

    @property
    def packets(self) -> int:
        """How many were seen so far."""
        return self._state.packets

    @property
    def frames(self) -> int:
        """The last frame.number that Wireshark would give so far, with those of the files before."""
        return self._state.frames_before + self._state.frames

    def chunks(self) -> Iterator[list[Batch]]:
        """Yield the packets chunk by chunk; stops at the end or where the file is damaged."""
        for batches, damage in self._read():
            if batches:
                yield batches
            if damage is not None:
                wholeness = Wholeness.INCOMPLETE if self._offset else Wholeness.UNREADABLE
                self.framing = Framing(wholeness, self.packets, self._offset, damage)
                return
        self.framing = Framing(Wholeness.COMPLETE, self.packets)

    def _read(self) -> Iterator[tuple[list[Batch], str | None]]:
        """Yield each chunk's batches, with the last what is wrong with the file, if anything is."""
        size = max(self._limits.chunk, _LEAST)
        buffers = [bytearray(size + _SLACK), bytearray(size + _SLACK)]
        have, ended = 0, False
        while not ended:
            buffer = buffers[0]
            have, ended, damage = self._fill(buffer, have)
            chunk = Chunk(self._state, buffer, have)
            damage = chunk.parse(ended and not self._source.is_stopped) or damage
            self._offset += chunk.used
            yield chunk.batches, damage
            if damage is not None:
                return
            have -= chunk.used
            following = buffers[1]
            if chunk.need > len(following) - _SLACK:
                following = bytearray(chunk.need + size + _SLACK)
            following[:have] = buffer[chunk.used : chunk.used + have]
            buffers = [following, buffer]

    def _fill(self, buffer: bytearray, have: int) -> tuple[int, bool, str | None]:
        """Read until the buffer is full. Return how much it holds, whether that was the end, and what went wrong."""
        with memoryview(buffer) as view:
            while have < len(buffer) - _SLACK:
                try:
                    with view[have : len(buffer) - _SLACK] as target:
                        count = self._source.readinto(target)
                except SourceError as error:
                    return have, True, str(error)
                have += count
                if not count or self._source.is_live:
                    return have, not count, None
        return have, False, None


def check_framing(path: Path, limits: ReadLimits = DEFAULT_READ_LIMITS) -> Framing:
    """Walk the capture at `path` and return the verdict. Raises InputError if the file cannot be opened."""
    source = open_source(path, limits)
    try:
        walk = Walk(source, limits)
        for _batches in walk.chunks():
            pass
    finally:
        source.close()
    return walk.framing
