"""Recordings from a CSV of gain minutes, and the training windows in them. NumPy only.

The CSV has one row a minute: split, distance_cm, recording, minute, activity, max_gain, mean_gain,
min_gain. `recording` is `<source file>:<line>:<video>`; without the column `split` all of it is "dev". Rules:

- a recording is a group: no window straddles two, and none is divided between training and validation;
- `minute` counts the records of a recording; a window never reaches over a jump in it;
- nothing is left out silently: `left_out` names what training does not use, and why.
"""

import csv
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classifier.model import CLASSES
from classifier.window import Float32, Gains, is_plausible
from mutewatch.errors import InputError

SPLITS = ("dev", "eval1", "eval2")  # development, and the paper's two evaluation sets
COLUMNS = ("recording", "minute", "activity", "max_gain", "mean_gain", "min_gain")
MAX_CSV_BYTES = 64 << 20  # the published recordings have 0.7 MB in all: two orders of magnitude above
MAX_MINUTE = 1_000_000  # of one recording: two years; the longest has 548

# The spellings of the data, and our stable names.
ACTIVITIES = {name: name for name in CLASSES} | {
    "cooking_eating": "cooking",
    "crowd_talking": "crowd",
    "dog_barking": "dog",
}

# Recordings that training and validation do not use, by the beginning or the end of their name.
_LEFT_OUT_PREFIX = {
    "new_data_50cm:042:": "the same minutes are in the evaluation recordings (old_data_50cm:006)",
    "new_data_50cm:078:": "the same minutes are in the evaluation recordings (old_data_50cm:016)",
}
_LEFT_OUT_SUFFIX = {":punk_music2": "near silence under the label music"}


@dataclass(frozen=True, slots=True)
class Recording:
    """One recording of one activity. `gains`: float32, shape (minutes, 3): max, mean, min as reported."""

    name: str
    activity: str  # one of CLASSES
    minutes: NDArray[np.int64]  # (minutes,), the records' own count, rising
    gains: Float32
    split: str = "dev"
    distance_cm: int = 0  # between loudspeaker and microphone; 0: not told

    @property
    def source(self) -> str:
        """The published file it is from; the whole name where it has no parts."""
        return self.name.partition(":")[0]

    @property
    def video(self) -> str:
        """What was played; the whole name where it has no parts."""
        return self.name.rpartition(":")[2]


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows for training or scoring, those of one recording side by side and in the order of time.

    `values` float32 (n, length, 3), `labels` int64 (n,) into CLASSES, `owners` int64 (n,) into `recordings`.
    """

    values: Float32
    labels: NDArray[np.int64]
    owners: NDArray[np.int64]
    recordings: tuple[Recording, ...]


@dataclass(frozen=True, slots=True)
class RecordingFile:
    """The recordings of one CSV in the order of the file, and the SHA-256 of its bytes."""

    recordings: tuple[Recording, ...]
    sha256: str


def read_recordings(path: Path) -> RecordingFile:
    """Return the recordings of the CSV at `path`. `InputError` names the line that could not be used."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_CSV_BYTES + 1)
        if len(raw) > MAX_CSV_BYTES:
            raise InputError(path, f"more than {MAX_CSV_BYTES:,} bytes")
        table = csv.DictReader(io.StringIO(raw.decode("utf-8"), newline=""))
        absent = [name for name in COLUMNS if name not in (table.fieldnames or ())]
        if absent:
            raise InputError(path, f"no column {', '.join(absent)}; needed: {', '.join(COLUMNS)}")
        groups = _grouped(path, table)
    except OSError as error:
        raise InputError(path, error.strerror or "cannot be read") from error
    except UnicodeDecodeError as error:
        raise InputError(path, "not UTF-8 text", error.start) from error
    except csv.Error as error:
        raise InputError(path, f"not a CSV table: {error}") from error
    if not groups:
        raise InputError(path, "no minutes in it")
    recordings = tuple(group.made(name) for name, group in groups.items())
    return RecordingFile(recordings, hashlib.sha256(raw).hexdigest())


def left_out(recording: Recording) -> str | None:
    """Return why training does not use `recording`; None if it does."""
    for prefix, reason in _LEFT_OUT_PREFIX.items():
        if recording.name.startswith(prefix):
            return reason
    return next((why for end, why in _LEFT_OUT_SUFFIX.items() if recording.name.endswith(end)), None)


def windows_of(recordings: Sequence[Recording], length: int) -> Windows:
    """Return every run of `length` successive minutes inside each of `recordings`, one minute apart."""
    found = [_windows(recording, length) for recording in recordings]  # each (windows, length, 3)
    counts = [len(values) for values in found]
    return Windows(
        values=np.concatenate([np.empty((0, length, 3), dtype=np.float32), *found]),
        labels=np.repeat([CLASSES.index(r.activity) for r in recordings], counts).astype(np.int64),
        owners=np.repeat(np.arange(len(recordings)), counts).astype(np.int64),
        recordings=tuple(recordings),
    )


def _windows(recording: Recording, length: int) -> Float32:
    if len(recording.gains) < length:
        return np.empty((0, length, 3), dtype=np.float32)
    views = np.lib.stride_tricks.sliding_window_view(recording.gains, length, axis=0)  # (w, 3, length)
    span = recording.minutes[length - 1 :] - recording.minutes[: len(views)]  # (w,), in minutes
    kept: Float32 = views[span == length - 1].transpose(0, 2, 1)  # (windows, length, 3)
    return kept


@dataclass(slots=True)
class _Group:
    """The rows of one recording."""

    activity: str
    split: str
    distance_cm: int
    minutes: list[int]
    gains: list[Gains]

    def made(self, name: str) -> Recording:
        minutes, gains = np.array(self.minutes, dtype=np.int64), np.array(self.gains, dtype=np.float32)
        return Recording(name, self.activity, minutes, gains, self.split, self.distance_cm)


def _grouped(path: Path, table: "csv.DictReader[str]") -> dict[str, _Group]:
    groups: dict[str, _Group] = {}
    for row in table:
        where = f"line {table.line_num}"
        activity = ACTIVITIES.get(row["activity"])
        if activity is None:
            raise InputError(path, f"{where}: unknown activity {row['activity']!r}")
        try:
            minute = int(row["minute"])
            gains = (float(row["max_gain"]), float(row["mean_gain"]), float(row["min_gain"]))
            distance = int(row.get("distance_cm") or 0)
        except (TypeError, ValueError) as error:
            raise InputError(path, f"{where}: minute, distance or gain is not a number") from error
        if not row["recording"] or not 0 <= minute <= MAX_MINUTE:
            raise InputError(path, f"{where}: no recording, or minute outside 0 to {MAX_MINUTE:,}")
        if not is_plausible(gains):
            raise InputError(path, f"{where}: gains {gains} outside 4 to 55, or not max >= mean >= min")
        split = row.get("split") or SPLITS[0]
        if split not in SPLITS:
            raise InputError(path, f"{where}: split {split!r}; there are {', '.join(SPLITS)}")
        group = groups.setdefault(row["recording"], _Group(activity, split, distance, [], []))
        has_changed = (group.activity, group.split, group.distance_cm) != (activity, split, distance)
        if has_changed or (group.minutes and minute <= group.minutes[-1]):
            what = "changes activity, split or distance, or runs back"
            raise InputError(path, f"{where}: recording {row['recording']!r} {what}")
        group.minutes.append(minute)
        group.gains.append(gains)
    return groups
