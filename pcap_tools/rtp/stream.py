"""One RTP stream: what was counted of it, minute by minute, without keeping a packet.

What it says of mute is an estimate from sizes alone: a minute in which every packet is as small as Opus makes them
of digital silence was muted, or nothing was heard. Of any other minute nothing is estimated, never "unmuted": the
sizes of a client that sends sound while it says that it is muted are those of sound.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from mutewatch.flow_records import InClear, Sender
from pcap_tools.capture.batch import Positions
from pcap_tools.ends import End
from pcap_tools.limits import ReadLimits
from pcap_tools.rtp.datagrams import Times
from pcap_tools.rtp.levels import SECONDS, Choice, Element, Histogram, Levels, choose
from pcap_tools.rtp.packets import IDS, Details, Packets

SECOND_NS = 10**9
MINUTE_NS = 60 * SECOND_NS

_LEAST_PACKETS = 100  # before a stream is taken for what is not audio, and no longer read
_LONGEST_STEP = 48_000  # of the timestamp: a second at the highest clock of audio in WebRTC
_FRAME = 160  # samples: steps of audio are multiples of 20 ms at 8 kHz, or 10 ms at 16 kHz; at 90 kHz hardly one is
_SHORT_FRAMES = (80, 120, 240)  # 10 ms at 8 kHz; 2.5 and 5 ms at 48 kHz
_LARGEST = 500  # bytes of payload at the mean; 20 ms at 200 kbit/s
_MOST_IDS = 4  # elements of one byte of one stream; WebRTC sends one to three beside audio
# Assumed: 3 bytes of Opus for a frame of digital silence, and a tag of SRTP of at most 16 (RFC 7714)
_SILENT_PAYLOAD = 20
_WHOLE_MINUTE_NS = 55 * 10**9  # between the first and the last packet; DTX sends one every 400 ms


@dataclass(slots=True)
class _OpenMinute:
    number: int  # since 1970
    first_ns: int
    last_ns: int
    last_frame: int
    packets: int = 0
    payload_bytes: int = 0
    largest: int = 0
    levels: dict[int, Histogram] = field(default_factory=dict)  # by id of the element


@dataclass(frozen=True, slots=True)
class Minute:
    """One minute (UTC) of a stream."""

    number: int  # since 1970
    last_frame: int
    packets: int
    payload_bytes: int
    is_silent: bool  # was every packet of it as small as those of silence?
    levels: dict[int, Levels]


@dataclass(frozen=True, slots=True)
class Reading:
    """The levels of one minute of a stream. `stretch`: since which minute `is_silent` is what it is."""

    stream: "Stream"
    minute: Minute
    levels: Levels
    stretch: int


class Stream:
    """What one end sends to the other under one SSRC and payload type."""

    def __init__(
        self, key: int, source: End, target: End, ssrc: int, payload_type: int, sender: Sender, limits: ReadLimits
    ) -> None:
        self.key, self.source, self.target = key, source, target
        self.ssrc, self.payload_type, self.sender = ssrc, payload_type, sender
        self.first_frame = self.last_frame = 0
        self.first_ns: int | None = None
        self.last_ns: int | None = None
        self.packets = self.payload_bytes = 0
        self.minutes = self.silent_minutes = 0
        self.level_id: int | None = None
        self._choice = Choice(None, "no header extension")
        self._limits = limits
        self._elements: dict[int, Element] = {}
        self._extended = self._sealed = 0  # packets with a header extension, and with an encrypted one
        self._has_more_ids = False
        self._last: tuple[int, int] | None = None  # sequence number and timestamp
        self._steps = self._audio_steps = 0  # from packet to packet in order, and those of audio among them
        self._open: _OpenMinute | None = None
        self._closed: deque[Minute] = deque()
        self._last_minute: Minute | None = None
        self._was_silent: bool | None = None
        self._stretch = 0

    # -- packets ------------------------------------------------------------------------------------------------

    @property
    def is_worth_reading(self) -> bool:
        """May it be audio?"""
        return self.packets < _LEAST_PACKETS or self.is_audio

    @property
    def is_audio(self) -> bool:
        """Do its timestamps go on as those of audio, and are its packets small?"""
        return 2 * self._audio_steps > self._steps and self.payload_bytes <= _LARGEST * self.packets

    def count(self, packets: Packets, frames: Positions, times: Times | None) -> None:
        """Take in packets of a stream that is not audio."""
        self._count(len(frames), int(packets.sizes.sum()), frames, times)

    def read(self, packets: Packets, details: Details, frames: Positions, times: Times | None) -> None:
        """Take in packets, in the order in which they were captured."""
        self._count(len(frames), int(details.payload_sizes.sum()), frames, times)
        self._step(packets)
        self._extended += int(np.count_nonzero(details.has_extension))
        self._sealed += int(np.count_nonzero(details.is_sealed))
        for number in range(1, IDS):
            octets = details.elements[:, number]
            octets = octets[octets >= 0]
            if len(octets) and self._may_have(number):
                self._elements.setdefault(number, Element()).take(octets)
        if times is None:
            return
        numbers = times // MINUTE_NS
        for number in [numbers.item(0)] if numbers[0] == numbers[-1] else np.unique(numbers).tolist():
            self._add(number, details, np.flatnonzero(numbers == number), frames, times)

    def _count(self, packets: int, payload: int, frames: Positions, times: Times | None) -> None:
        self.packets += packets
        self.payload_bytes += payload
        self.first_frame = self.first_frame or int(frames[0])
        self.last_frame = int(frames[-1])
        if times is not None:
            self.first_ns = int(times[0]) if self.first_ns is None else self.first_ns
            self.last_ns = int(times[-1])

    def _step(self, packets: Packets) -> None:
        sequence = packets.heads["sequence"].astype(np.int64)
        stamps = packets.heads["timestamp"].astype(np.int64)
        last = self._last or (int(sequence[0]), int(stamps[0]))
        in_order = np.diff(sequence, prepend=last[0]) % (1 << 16) == 1
        steps = np.diff(stamps, prepend=last[1])[in_order] % (1 << 32)
        is_audio = (steps > 0) & (steps <= _LONGEST_STEP) & ((steps % _FRAME == 0) | np.isin(steps, _SHORT_FRAMES))
        self._steps += len(steps)
        self._audio_steps += int(np.count_nonzero(is_audio))
        self._last = int(sequence[-1]), int(stamps[-1])

    def _may_have(self, number: int) -> bool:
        is_new = number not in self._elements and len(self._elements) >= _MOST_IDS
        self._has_more_ids |= is_new
        return not is_new

    # -- minutes ------------------------------------------------------------------------------------------------

    def _add(self, number: int, details: Details, rows: Positions, frames: Positions, times: Times) -> None:
        """Add packets to the minute that they are of, or to the open one if they are a little late."""
        if self._open is not None and number not in (self._open.number, self._open.number - 1):
            self.close_minute()
        if self._open is None:
            self._open = _OpenMinute(number, int(times[rows[0]]), int(times[rows[0]]), 0)
        minute, sizes = self._open, details.payload_sizes[rows]
        minute.packets += len(rows)
        minute.payload_bytes += int(sizes.sum())
        minute.largest = max(minute.largest, int(sizes.max()))
        minute.first_ns = min(minute.first_ns, int(times[rows].min()))
        minute.last_ns = max(minute.last_ns, int(times[rows].max()))
        minute.last_frame = int(frames[rows[-1]])
        seconds = np.clip(times[rows] // SECOND_NS - minute.number * SECONDS, 0, SECONDS - 1)
        for element in self._elements:
            octets = details.elements[rows, element]
            is_there = octets >= 0
            if is_there.any():
                minute.levels.setdefault(element, Histogram()).take(octets[is_there], seconds[is_there])

    def close_minute(self, before: int | None = None) -> None:
        """The open minute gets no more packets; with `before` (ns) only if it ended before that."""
        minute = self._open
        if minute is None or (before is not None and (minute.number + 1) * MINUTE_NS > before):
            return
        self._open = None
        is_whole = minute.last_ns - minute.first_ns >= _WHOLE_MINUTE_NS
        is_silent = is_whole and minute.largest <= _SILENT_PAYLOAD
        levels = {element: histogram.sum_up() for element, histogram in minute.levels.items()}
        closed = Minute(
            minute.number, minute.last_frame, minute.packets, minute.payload_bytes, is_silent=is_silent, levels=levels
        )
        if self._last_minute is not None:
            self.silent_minutes += max(0, closed.number - self._last_minute.number - 1)
        self._last_minute = closed
        self._closed.append(closed)

    def is_idle(self, since: int) -> bool:
        """Was there no packet since then?"""
        return self._open is None and (self.last_ns or 0) < since

    # -- levels -------------------------------------------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        """Do so many minutes wait that it must be decided which element is the level?"""
        return len(self._closed) > self._limits.rtp_minutes

    @property
    def has_closed(self) -> bool:
        return bool(self._closed)

    def choose(self, known: int | None, *, is_over: bool) -> int | None:
        """Return the id of the element that is the level, if that can be said by now."""
        self._choice = choose(self._elements, self.packets, known, is_over=is_over)
        self.level_id = self._choice.id if self.is_audio else None
        return self.level_id

    def readings(self) -> Iterator[Reading]:
        """Yield the minutes that had a level, oldest first, once it is known what is one; too old ones are let go."""
        while self._closed and (self.level_id is not None or self.is_full):
            minute = self._closed.popleft()
            levels = minute.levels.get(self.level_id) if self.level_id is not None else None
            if levels is None:
                continue
            if self._was_silent is not minute.is_silent:
                self._was_silent, self._stretch = minute.is_silent, minute.number
            self.minutes += 1
            yield Reading(self, minute, levels, self._stretch)

    def end(self) -> None:
        """Let go of all that only more packets would need."""
        self._closed.clear()
        self._elements.clear()

    @property
    def in_clear(self) -> InClear:
        if not self.is_audio:
            return InClear.NOT_AUDIO
        if self.level_id is not None:
            return InClear.LEVEL
        return InClear.AMBIGUOUS if self._choice.is_ambiguous or self._has_more_ids else InClear.NO_LEVEL

    @property
    def detail(self) -> str:
        """Why so."""
        if not self.is_audio:
            return "its timestamps or sizes are not those of speech"
        if self._sealed:
            return "header extensions are encrypted (RFC 9335)"
        if self._extended and self._choice.id is None and self._has_more_ids:
            return f"more than {_MOST_IDS} elements of one byte"
        return self._choice.why if self._extended else "no header extension"
