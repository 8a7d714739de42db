"""Recordings from a CSV of gain minutes, and the training windows in them. NumPy only.

The CSV has one row a minute: split, distance_cm, recording, minute, activity, max_gain, mean_gain,
min_gain. `recording` is `<source file>:<line>:<video>`. Rules:

- a recording is a group: no window straddles two, and none is divided between training and validation;
- `minute` counts the records of a recording; a window never reaches over a jump in it;
- nothing is left out silently: `left_out` names what training does not use, and why.
"""

import csv
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classifier.model import CLASSES
from classifier.window import Float32, Gains, is_plausible
from mutewatch.errors import InputError

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


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows for training or scoring. `values` float32 (n, length, 3), `labels` int64 (n,) into CLASSES."""

    values: Float32
    labels: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RecordingFile:
    """The recordings of one CSV in the order of the file, and the SHA-256 of its bytes."""

    recordings: tuple[Recording, ...]
    sha256: str


def read_recordings(path: Path) -> RecordingFile:
    """Return the recordings of the CSV at `path`. `InputError` names the line that could not be used."""
    try:
        if path.stat().st_size > MAX_CSV_BYTES:
            raise InputError(path, f"more than {MAX_CSV_BYTES:,} bytes")
        raw = path.read_bytes()
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
    recordings = tuple(_recording(name, *group) for name, group in groups.items())
    return RecordingFile(recordings, hashlib.sha256(raw).hexdigest())


def left_out(recording: Recording) -> str | None:
    """Return why training does not use `recording`; None if it does."""
    for prefix, reason in _LEFT_OUT_PREFIX.items():
        if recording.name.startswith(prefix):
            return reason
    return next((why for end, why in _LEFT_OUT_SUFFIX.items() if recording.name.endswith(end)), None)


def windows_of(recordings: tuple[Recording, ...], length: int) -> Windows:
    """Return every run of `length` successive minutes inside each of `recordings`, one minute apart."""
    values = [np.empty((0, length, 3), dtype=np.float32)]
    labels = [np.empty(0, dtype=np.int64)]
    for recording in recordings:
        found = _windows(recording, length)  # (windows, length, 3)
        values.append(found)
        labels.append(np.full(len(found), CLASSES.index(recording.activity), dtype=np.int64))
    return Windows(np.concatenate(values), np.concatenate(labels))


def _windows(recording: Recording, length: int) -> Float32:
    if len(recording.gains) < length:
        return np.empty((0, length, 3), dtype=np.float32)
    views = np.lib.stride_tricks.sliding_window_view(recording.gains, length, axis=0)  # (w, 3, length)
    span = recording.minutes[length - 1 :] - recording.minutes[: len(views)]  # (w,), in minutes
    kept: Float32 = views[span == length - 1].transpose(0, 2, 1)  # (windows, length, 3)
    return kept


Group = tuple[str, list[int], list[Gains]]  # activity, minutes, gains


def _grouped(path: Path, table: "csv.DictReader[str]") -> dict[str, Group]:
    groups: dict[str, Group] = {}
    for row in table:
        where = f"line {table.line_num}"
        activity = ACTIVITIES.get(row["activity"])
        if activity is None:
            raise InputError(path, f"{where}: unknown activity {row['activity']!r}")
        try:
            minute = int(row["minute"])
            gains = (float(row["max_gain"]), float(row["mean_gain"]), float(row["min_gain"]))
        except (TypeError, ValueError) as error:
            raise InputError(path, f"{where}: minute or gain is not a number") from error
        if not row["recording"] or not 0 <= minute <= MAX_MINUTE:
            raise InputError(path, f"{where}: no recording, or minute outside 0 to {MAX_MINUTE:,}")
        if not is_plausible(gains):
            raise InputError(path, f"{where}: gains {gains} outside 4 to 55, or not max >= mean >= min")
        known, minutes, values = groups.setdefault(row["recording"], (activity, [], []))
        if known != activity or (minutes and minute <= minutes[-1]):
            raise InputError(path, f"{where}: recording {row['recording']!r} changes activity or runs back")
        minutes.append(minute)
        values.append(gains)
    return groups


def _recording(name: str, activity: str, minutes: list[int], gains: list[Gains]) -> Recording:
    return Recording(name, activity, np.array(minutes, dtype=np.int64), np.array(gains, dtype=np.float32))
