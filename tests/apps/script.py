"""Five minutes of a call, the same in every app: what the microphone hears, when its button is pressed, what is true.

| minute | button | microphone |
|---|---|---|
| 0 | open | moves |
| 1 | muted | moves: the leak |
| 2 | muted | silent, and its energy stands still |
| 3 | muted | always the same, and not silent |
| 4 | open | moves |
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
PRESSES = ((0.0, False), (60.0, True), (240.0, False))  # seconds, muted
MUTED = (60.0, 240.0)
SECONDS = 300
HUM = 0.05  # of minute 3


@dataclass(frozen=True, slots=True)
class Poll:
    """What the client reads of its microphone at one moment. `energy`: sum of squared levels over time, in seconds."""

    seconds: float
    level: float
    energy: float
    duration: float  # of sound that was heard so far; stands still where nothing is heard

    @property
    def milliseconds(self) -> int:
        return milliseconds(self.seconds)


@dataclass(frozen=True, slots=True)
class Truth:
    """What must be found of one minute."""

    verdict: str
    rule: str
    moves: bool


TRUTH = (
    Truth("unmuted", "MW-UNMUTED", True),
    Truth("flagged", "MW-MUTED", True),
    Truth("inert", "MW-FLOOR", False),
    Truth("inert", "MW-STILL", False),
    Truth("unmuted", "MW-UNMUTED", True),
)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def milliseconds(seconds: float) -> int:
    """Since 1970."""
    return round(at(seconds).timestamp() * 1_000)


def level(seconds: float) -> float:
    """How loud it is, from 0 to 1."""
    minute = int(seconds // 60)
    if minute in (2, 3):
        return HUM if minute == 3 else 0.0
    return round(random.Random(f"level at {seconds}").uniform(0.01, 0.4), 4)


def polls(first: float, period: float) -> list[Poll]:
    """What is read every `period` seconds from `first` on."""
    found, energy, duration = list[Poll](), 0.0, 0.0
    for seconds in every(first, period):
        now = level(seconds)
        energy += now * now * period
        duration += period if now else 0
        found.append(Poll(seconds, now, round(energy, 12), duration))
    return found


def every(first: float, period: float) -> Iterator[float]:
    count = int((SECONDS - first) / period)
    yield from (first + number * period for number in range(count + (first + count * period < SECONDS)))


def samples(polled: Sequence[float], period: float, minute: int) -> tuple[int, int]:
    """How many readings end in a minute, and how many of these are of muted time alone."""
    own = [seconds for seconds in polled if seconds // 60 == minute]
    return len(own), sum(MUTED[0] <= seconds - period and seconds <= MUTED[1] for seconds in own)
