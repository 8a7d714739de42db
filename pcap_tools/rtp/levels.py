"""Learns which element of a stream's header extensions is the audio level, and sums levels up minute by minute.

The id is agreed in the signalling, which is encrypted, so it is learned from what the elements do. RFC 6464: one
byte, the top bit says that there is voice, the other seven are the level in -dBov: 0 is the loudest, 127 silence.
An element is the level if it alone changes, and in small steps; or if it alone stays at 127. One that counts up is a
number, one that jumps about is encrypted (RFC 6904), one that stays at anything else is a name (RFC 9143), or a level
that says nothing.
"""

from dataclasses import dataclass, field
from math import log2, log10

import numpy as np
import numpy.typing as npt

SILENCE = 127
LEAST_PACKETS = 8  # with a level, before anything is learned; the shortest stream seen in a real capture had 11

_SURE_PACKETS = 50  # a second of speech: from here on a level that moves is believed while the stream goes on
_COUNTS_UP = 0.9  # share of steps by +1 from which an element is a number
_LARGEST_STEP = 25.0  # dB from packet to packet, at the mean; speech has some 5 to 10, random bytes 43
_SHARE = 0.5  # of the packets have the level; assumed: RFC 6464 does not ask for it in each
_POWER = 10.0 ** (-np.arange(128) / 10)

SECONDS = 60  # of a minute

Octets = npt.NDArray[np.int16]
Seconds = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which element is the level; without an `id`, why nobody can say."""

    id: int | None
    why: str
    is_ambiguous: bool = False


@dataclass(slots=True)
class Element:
    """What one element of one byte did in a stream so far."""

    count: int = 0
    seen: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(256, np.bool_))
    last: int = -1
    rises: int = 0  # steps by +1
    way: int = 0  # sum of the steps of its lower seven bits, up and down

    def take(self, octets: Octets) -> None:
        """Take in its bytes in the order of the packets."""
        steps = np.diff(octets, prepend=octets[0] if self.last < 0 else self.last)
        levels = np.diff(octets & 127, prepend=octets[0] & 127 if self.last < 0 else self.last & 127)
        self.count += len(octets)
        self.seen[octets] = True
        self.last = int(octets[-1])
        self.rises += int(np.count_nonzero(steps % 256 == 1))
        self.way += int(np.abs(levels).sum())

    @property
    def distinct(self) -> int:
        return int(np.count_nonzero(self.seen))

    @property
    def is_silent(self) -> bool:
        """Was it always the level of silence, whatever its top bit was?"""
        return not self.seen[:SILENCE].any() and not self.seen[128 : 128 + SILENCE].any()

    @property
    def moves(self) -> bool:
        """Does it change, and as a level does?"""
        steps = max(1, self.count - 1)
        return self.distinct > 1 and self.rises < _COUNTS_UP * steps and self.way / steps <= _LARGEST_STEP


def choose(elements: dict[int, Element], packets: int, known: int | None, *, is_over: bool) -> Choice:
    """Return which element is the level. `known`: the id on another stream between the same two ends.

    `is_over`: there is no more to come of this stream, so that less is asked for.
    """
    least = LEAST_PACKETS if is_over else _SURE_PACKETS
    often = {number: one for number, one in elements.items() if one.count >= max(_SHARE * packets, least)}
    if not often:
        return Choice(None, "too few packets with an element of one byte" if elements else "no element of one byte")
    if known in often:
        return Choice(known, "the id of another stream between the same ends")
    return _choose_by_behaviour(often, is_over=is_over)


def _choose_by_behaviour(often: dict[int, Element], *, is_over: bool) -> Choice:
    moving = [number for number, one in often.items() if one.moves]
    if len(moving) == 1:
        return Choice(moving[0], "the only element that moves as a level does")
    if moving:
        return Choice(None, f"elements {', '.join(map(str, sorted(moving)))} all move as a level does", True)
    silent = [number for number, one in often.items() if one.is_silent]
    if len(silent) == 1 and is_over:
        return Choice(silent[0], "the only element that stays at the level of silence")
    if any(one.distinct > 1 for one in often.values()):
        return Choice(None, "what its elements hold does not move as a level does: a number, or encrypted (RFC 6904)")
    return Choice(None, "no element of one byte ever changes: a name (RFC 9143), or a level that says nothing")


@dataclass(slots=True)
class Histogram:
    """The levels of one element in one minute."""

    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(128, np.int64))
    powers: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(SECONDS))  # by second, in all
    packets: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(SECONDS, np.int64))  # in each second
    voiced: int = 0

    def take(self, octets: Octets, seconds: Seconds) -> None:
        """Take in bytes, and in which second of the minute each came."""
        levels = octets & 127
        self.counts += np.bincount(levels, minlength=128)
        self.powers += np.bincount(seconds, weights=_POWER[levels], minlength=SECONDS)
        self.packets += np.bincount(seconds, minlength=SECONDS)
        self.voiced += int(np.count_nonzero(octets & 128))

    def sum_up(self) -> "Levels":
        counts, total = self.counts, int(self.counts.sum())
        found = np.flatnonzero(counts)
        shares = counts[found] / total
        return Levels(
            count=total,
            highest=-int(found[0]),
            lowest=-int(found[-1]),
            mean=round(-float(found @ shares), 1),
            energy_mean=round(10 * log10(float(_POWER[found] @ shares)), 1),
            distinct=len(found),
            entropy=round(abs(sum(float(share) * log2(share) for share in shares)), 2),
            voiced=round(100 * self.voiced / total, 1),
            seconds=tuple(
                round(10 * log10(power / count), 1) if count else None
                for power, count in zip(self.powers.tolist(), self.packets.tolist(), strict=True)
            ),
        )


@dataclass(frozen=True, slots=True)
class Levels:
    """The audio levels of one minute, in dBov: 0 (the loudest) to -127 (silence)."""

    count: int  # packets that had one
    highest: int
    lowest: int
    mean: float  # of the levels
    energy_mean: float  # of the power: the level of the whole minute
    distinct: int
    entropy: float  # bits a packet
    voiced: float  # % of the packets with the voice activity bit
    seconds: tuple[float | None, ...]  # of the power in each; None: no packet
