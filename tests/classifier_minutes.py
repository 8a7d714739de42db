"""Reports and recordings made for the classifier's tests; nothing here was measured."""

import base64
import json
import random
import re
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mutewatch.records import (
    AudioReport,
    AudioValue,
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


def report_of(number: int, gains: Sequence[float] = GAINS, *, after: float = 0.0) -> AudioReport:
    """Return the report of minute `number` of a call, `after` seconds late; `gains` (): none in it."""
    starts_at = START + timedelta(minutes=number, seconds=after)
    ends_at = starts_at + timedelta(minutes=1)
    values = tuple(AudioValue(str(role), gain, "dB-like", role=role) for role, gain in zip(ROLES, gains, strict=False))
    loudness = AudioValue("loudness", 1.0, "1")  # a value without a role is none of the model's business
    return AudioReport(SOURCE, "c", "call", starts_at, ends_at, number, (loudness, *values))


def call_of(numbers: Sequence[int], gains: Sequence[float] = GAINS) -> list[AudioReport]:
    """Return the reports of these minutes, all with the same gains."""
    return [report_of(number, gains) for number in numbers]


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


# Level of the mean gain at 50 cm, how far max and min are from it, and how much min moves: invented, but apart.
SOUNDS = {
    "classical_music": (37, 11, 12, 5),
    "punk_music": (30, 14, 8, 3),
    "cooking": (47, 4, 11, 6),
    "eating": (46, 4, 10, 5),
    "crowd": (24, 7, 6, 1),
    "dog": (43, 9, 22, 2),
    "keyboard": (45, 6, 6, 2),
    "key_board": (44, 6, 7, 2),
    "cleaning": (27, 5, 5, 1),
    "vaccume": (26, 5, 5, 1),
}
DEVELOPMENT_VIDEOS = (
    *("classical_music", "cleaning2", "cleaning3", "cleaning4", "cooking2", "cooking_11-22", "crowd_talking"),
    *("crowd_talking2", "dog_barking2", "dog_barking3", "eating", "keyboard2", "key_board3", "keyboard4"),
    *("punk_music2", "punk_music3"),
)
EVALUATION_VIDEOS = ("classical_music", "cooking", "cooking3", "crowd_talking", "dog_barking", "keyboard", "vaccume")


def made_up_gains(video: str, distance_cm: int, minutes: int, seed: int) -> list[tuple[int, int, int]]:
    """Return max, mean and min of `minutes` minutes that sound like `video`; the same seed, the same minutes."""
    chance = random.Random(f"{video} {distance_cm} {seed}")
    level, above, below, moves = next(sound for start, sound in SOUNDS.items() if video.startswith(start))
    nearer = 12 if distance_cm == 10 else 0
    rows = []
    for _ in range(minutes):
        mean = level - nearer + chance.randint(-1, 1)
        highest = mean + above + chance.randint(-1, 1)
        lowest = mean - below + chance.randint(-moves, moves)
        rows.append((min(highest, 55), mean, max(min(lowest, mean), 4)))
    return rows


def write_published(folder: Path, *, minutes: int = 14) -> Path:
    """Write a folder in the form the authors published, all seven files, with their quirks and our numbers."""
    folder.mkdir(exist_ok=True)
    for name, distance in (("new_data_10cm", 10), ("new_data_25cm", 25), ("new_data_50cm", 50)):
        videos = [*DEVELOPMENT_VIDEOS, *(["dog_barking"] if distance == 50 else [])]
        blocks = [(video, made_up_gains(video, distance, minutes, 0)) for video in videos]
        (folder / f"{name}.txt").write_text(published_text(blocks))
    for name, distance in (
        ("old_data_10cm", 10),
        ("old_data_25cm", 25),
        ("old_data_50cm", 50),
        ("old_data_100cm", 100),
    ):
        blocks = [(video, made_up_gains(video, distance, minutes + 3, 1)) for video in EVALUATION_VIDEOS]
        (folder / f"{name}.txt").write_text(published_text(blocks))
    return folder


def published_text(blocks: Sequence[tuple[str, Sequence[tuple[int, int, int]]]], *, blank_before: str = "") -> str:
    """Return the text of one published file; two blank lines instead of one before the video `blank_before`."""
    lines: list[str] = []
    for video, rows in blocks:
        lines += [""] if video == blank_before else []
        name, _, note = video.partition(" ")
        lines.append(f"./youtube_vids/{name}.mp4.wav {note}".rstrip())
        for title, column in zip(("Maxs", "Means", "Mins"), zip(*rows, strict=True), strict=True):
            lines.append(f"{title}:[{', '.join(map(str, column))}]")
        lines.append("")
    return "\n".join(lines)


def real_calls(log: Path) -> list[list[tuple[int, AudioReport]]]:
    """Return the calls of a debugger's log of real telemetry, each minute with the client's own number of it.

    The bodies are cut out and decoded by hand; the core's decoder is tested elsewhere.
    """
    calls: dict[str, list[tuple[int, AudioReport]]] = {}
    for match in re.finditer(rb'"gzipb64data"\s*:\s*"([A-Za-z0-9+/=\\]+)"', log.read_bytes()):
        try:
            packed = base64.b64decode(match[1].replace(b"\\", b""))
            inner = json.loads(zlib.decompressobj(31).decompress(packed))
        except (ValueError, zlib.error):
            continue  # the debugger lost some reads
        event = inner["event"]
        interval = event["intervals"][0]
        levels = interval["audioTransmit"][0]["levels"]
        gains = [float(levels[f"audio{which}Gain"]) for which in ("Max", "Mean", "Min")]
        sent = datetime.fromisoformat(inner["originTime"]["sent"]).astimezone(UTC)
        minute, seconds = divmod((sent - START).total_seconds(), 60)
        known = calls.setdefault(event["identifiers"]["correlationId"], [])
        known.append((interval["intervalNumber"], report_of(int(minute), gains, after=seconds)))
    return list(calls.values())
