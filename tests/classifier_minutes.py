"""Client minutes and recordings made for the classifier's tests; nothing here was measured."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mutewatch.records import (
    AudioReport,
    AudioValue,
    ClientMinute,
    MuteSummary,
    Origin,
    Role,
    SignatureRef,
    Source,
)

START = datetime(2021, 11, 19, 22, 0, tzinfo=UTC)
GAINS = (46.0, 38.0, 27.0)  # max, mean, min: an ordinary muted minute
SIGNATURE = SignatureRef("test_gains", 1, "test", "made up")
SOURCE = Source(SIGNATURE, Origin("test"), "0" * 64, None, None)
ROLES = (Role.MAX_GAIN, Role.MEAN_GAIN, Role.MIN_GAIN)


def client_minute(number: int, gains: Sequence[float] | None = GAINS, *, after: float = 0.0) -> ClientMinute:
    """Return minute `number` of a call, `after` seconds late; `gains` None: not seen, (): no gains in it."""
    starts_at = START + timedelta(minutes=number, seconds=after)
    ends_at = starts_at + timedelta(minutes=1)
    report = None
    if gains is not None:
        values = tuple(
            AudioValue(str(role), gain, "dB-like", role=role) for role, gain in zip(ROLES, gains, strict=False)
        )
        loudness = AudioValue("loudness", 1.0, "1")  # a value without a role is none of the model's business
        report = AudioReport(SOURCE, "c", "call", starts_at, ends_at, number, (loudness, *values))
    summary = MuteSummary(60.0, 0.0, 0.0, ())
    return ClientMinute("c", "call", SIGNATURE, str(number), starts_at, ends_at, report, summary, 1)


def call_of(numbers: Sequence[int], gains: Sequence[float] = GAINS) -> list[ClientMinute]:
    """Return the minutes of these numbers, all with the same gains."""
    return [client_minute(number, gains) for number in numbers]


def write_csv(path: Path, *, recordings: int = 3, minutes: int = 20) -> Path:
    """Write a CSV in which each activity has its own level of gain, so that a network can learn it."""
    chance = random.Random(7)
    rows = ["split,distance_cm,recording,minute,activity,max_gain,mean_gain,min_gain"]
    names = ("music", "cooking_eating", "crowd_talking", "dog_barking", "keyboard", "cleaning")
    for level, activity in enumerate(names):
        for take in range(recordings):
            for minute in range(minutes):
                lowest = 5 + 7 * level + chance.randrange(3)
                gains = f"{lowest + 8},{lowest + 4},{lowest}"
                rows.append(f"dev,10,made_up:{take:03}:{activity},{minute},{activity},{gains}")
    path.write_text("\n".join(rows) + "\n")
    return path
