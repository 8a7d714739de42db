"""Turn the authors' published gain series into one tidy CSV, every quirk of theirs handled by name and reported.

The folder is `BgActivityClassifier/ParseSourceData` of the paper's artifact: seven text files, one block per
recording: a line with the video's path, then `Maxs:[..]`, `Means:[..]`, `Mins:[..]`, one whole number a
minute. Rules:

- every minute goes into the CSV or into a remark that says why not; nothing is corrected silently;
- a recording is named `<file>:<line of its header>:<video>`, so that it can be found again;
- the authors' scripts drop two spellings; here they are kept, and marked as dropped there;
- what is only known from reading around (a splice, two distances) stands in `SPLICE` and `DISTANCES`, and
  is applied only where the file holds what they expect.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from classifier.window import GAIN_RANGE
from mutewatch.errors import InputError, OperatorError

# File, split and distance in cm. The order is the CSV's: protocol P joins recordings in it.
FILES: Final = (
    ("new_data_10cm", "dev", 10),
    ("new_data_25cm", "dev", 25),
    ("new_data_50cm", "dev", 50),
    ("old_data_10cm", "eval1", 10),
    ("old_data_25cm", "eval1", 25),
    ("old_data_50cm", "eval1", 50),
    ("old_data_100cm", "eval2", 100),
)
# How a video's name begins, and the activity; the longest beginning that fits is taken.
VIDEOS: Final = {
    "classical_music": "music",
    "punk_music": "music",
    "cooking": "cooking_eating",
    "eating": "cooking_eating",
    "crowd_talking": "crowd_talking",
    "dog_barking": "dog_barking",
    "keyboard": "keyboard",
    "key_board": "keyboard",
    "cleaning": "cleaning",
    "vaccume": "cleaning",
    "vacuum": "cleaning",
}
DROPPED_BY_AUTHORS: Final = ("punk_music", "key_board")  # spellings that no rule of their scripts matches
# 34 minutes at 10 cm, then the first 17 of a recording at 25 cm under one header.
SPLICE: Final = ("old_data_10cm", 32, 51, 34, 25)  # file, line, minutes, first minute of the second part, its distance
DISTANCES: Final = {("old_data_100cm", 42): 50}  # its header says 50
COLUMNS: Final = ("split", "distance_cm", "recording", "minute", "activity", "max_gain", "mean_gain", "min_gain")

MAX_FILE_BYTES: Final = 16 << 20  # the largest published file has about 40 kB
MAX_RECORDINGS: Final = 200  # of one file; the fullest published has 27. Each is compared with every other
MAX_MINUTES: Final = 2_000  # of one recording; the longest published has 548
MAX_LINE: Final = 20_000  # characters; a series of 2,000 minutes has 8,000
SHORTEST_SHARED: Final = 15  # minutes that two recordings must share, end on start, to be told of
STRADDLED: Final = (3, 7)  # window lengths the paper uses

_SERIES = re.compile(r"(Maxs|Means|Mins)\s*:\s*\[((?:\d{1,3}(?:\s*,\s*\d{1,3})*)?)\]")


@dataclass(frozen=True, slots=True)
class Series:
    """One published recording, or one part of a spliced one. `gains`: max, mean, min of each minute."""

    split: str
    distance_cm: int
    file: str
    line: int  # of the header, counted from 1
    part: str  # "", or "a" and "b" of a splice
    video: str
    note: str  # what the header says behind the video
    gains: tuple[tuple[int, int, int], ...]

    @property
    def name(self) -> str:
        return f"{self.file}:{self.line:03}{self.part}:{self.video}"

    @property
    def activity(self) -> str | None:
        """The class of the video, None if no rule knows it."""
        fitting = [start for start in VIDEOS if self.video.startswith(start)]
        return VIDEOS[max(fitting, key=len)] if fitting else None


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing about the data that a reader of the CSV should know."""

    kind: str
    recording: str
    minutes: int
    text: str


@dataclass(frozen=True, slots=True)
class Published:
    """The recordings of the folder in the order of the CSV, and what is to be said of them."""

    series: tuple[Series, ...]
    remarks: tuple[Remark, ...]


def read_published(folder: Path) -> Published:
    """Return what the published files in `folder` hold. `InputError` names file and line of what is broken,
    `OperatorError` says that none of the files is there."""
    remarks: list[Remark] = []
    found: list[Series] = []
    for name, split, distance in FILES:
        path = folder / f"{name}.txt"
        if not path.is_file():
            remarks.append(Remark("absent", name, 0, "no such file in the folder"))
            continue
        for number, series in enumerate(_blocks(path, name, split, distance), start=1):
            if number > MAX_RECORDINGS:
                raise InputError(path, f"more than {MAX_RECORDINGS:,} recordings")
            found += _mended(series, remarks)
    if not found:
        raise OperatorError(f"{folder}: none of {FILES[0][0]}.txt … {FILES[-1][0]}.txt in it (ParseSourceData)")
    known = tuple(series for series in found if series.activity)
    remarks += [
        Remark("unknown", s.name, len(s.gains), "no activity known for this video; not in the CSV")
        for s in found
        if not s.activity
    ]
    remarks += [*_spellings(known), *_shared_videos(known), *_repeated(known), *_straddling(known)]
    return Published(known, tuple(remarks))


def to_csv(series: Sequence[Series]) -> str:
    """Return the tidy CSV: one row a minute, `minute` counted from 0 within its recording."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for one in series:
        for minute, gains in enumerate(one.gains):
            table.writerow((one.split, one.distance_cm, one.name, minute, one.activity, *gains))
    return text.getvalue()


def _blocks(path: Path, name: str, split: str, distance: int) -> Iterator[Series]:
    """Yield the recordings of one file. A block that is not whole ends in an error, never in fewer minutes."""
    header: tuple[int, tuple[str, str]] | None = None
    columns: dict[str, list[int]] = {}
    for number, line in enumerate(_lines(path), start=1):
        text = line.strip()
        if not text:
            continue
        if len(text) > MAX_LINE:
            raise InputError(path, f"line {number}: more than {MAX_LINE:,} characters")
        matched = _SERIES.fullmatch(text)
        if matched is None and text.startswith(("Maxs:", "Means:", "Mins:")):
            raise InputError(path, f"line {number}: not a series of whole numbers")
        if matched is None:
            if header is not None:
                raise InputError(path, f"line {number}: a new recording before the one of line {header[0]} is whole")
            header = number, _video(path, number, text)
            continue
        if header is None or matched[1] in columns:
            raise InputError(path, f"line {number}: {matched[1]} without a recording, or twice")
        columns[matched[1]] = [int(value) for value in matched[2].split(",") if value]
        if len(columns) == 3:
            line_number, (video, note) = header
            gains = _gains(path, line_number, columns)
            yield Series(split, distance, name, line_number, "", video, note, gains)
            header, columns = None, {}
    if header is not None:
        raise InputError(path, f"line {header[0]}: the file ends within this recording")


def _lines(path: Path) -> list[str]:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InputError(path, f"more than {MAX_FILE_BYTES:,} bytes")
        return path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(path, error.strerror or "cannot be read") from error
    except UnicodeDecodeError as error:
        raise InputError(path, "not UTF-8 text", error.start) from error


def _video(path: Path, number: int, header: str) -> tuple[str, str]:
    """Return the name of the video, without folder and endings, and what else the header says."""
    first, _, note = header.rpartition("/")[2].partition(" ")
    name = first.removesuffix(".wav").removesuffix(".mp4")
    if not name or len(name) > 100 or not re.fullmatch(r"[\w.-]+", name):
        raise InputError(path, f"line {number}: neither the path of a video nor a series of gains")
    return name, note.strip()


def _gains(path: Path, line: int, columns: dict[str, list[int]]) -> tuple[tuple[int, int, int], ...]:
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) != 1 or not 0 < lengths["Maxs"] <= MAX_MINUTES:
        raise InputError(path, f"line {line}: series of {lengths} minutes; needed: as many of each, at least one")
    rows = tuple(zip(columns["Maxs"], columns["Means"], columns["Mins"], strict=True))
    for minute, (highest, mean, lowest) in enumerate(rows):
        if not GAIN_RANGE[0] <= lowest <= mean <= highest <= GAIN_RANGE[1]:
            what = f"gains {highest}, {mean}, {lowest} outside 4 to 55, or not max >= mean >= min"
            raise InputError(path, f"line {line}, minute {minute}: {what}")
    return rows


def _mended(series: Series, remarks: list[Remark]) -> list[Series]:
    """Return the recording, or its parts, with the distance it was made at; `remarks` gains what was changed."""
    distance = DISTANCES.get((series.file, series.line))
    if distance is not None and str(distance) in series.note:
        remarks.append(Remark("distance", series.name, len(series.gains), f"its header says {series.note}"))
        return [replace(series, distance_cm=distance)]
    file, line, minutes, cut, second_distance = SPLICE
    if (series.file, series.line) != (file, line):
        return [series]
    if len(series.gains) != minutes:
        text = f"a splice of {minutes} minutes was expected here; not cut"
        remarks.append(Remark("splice", series.name, len(series.gains), text))
        return [series]
    text = f"two recordings under one header: {cut} minutes, then {minutes - cut} at {second_distance} cm; cut"
    remarks.append(Remark("splice", series.name, minutes, text))
    second = replace(series, part="b", gains=series.gains[cut:], distance_cm=second_distance)
    return [replace(series, part="a", gains=series.gains[:cut]), second]


def _spellings(series: Sequence[Series]) -> Iterator[Remark]:
    for one in series:
        if one.video.startswith(DROPPED_BY_AUTHORS):
            yield Remark("spelling", one.name, len(one.gains), f"the authors' scripts drop it; {one.activity} here")


def _shared_videos(series: Sequence[Series]) -> Iterator[Remark]:
    development = {one.video for one in series if one.split == "dev"}
    for one in series:
        if one.split != "dev" and one.video in development:
            yield Remark("video", one.name, len(one.gains), "a development recording is of the same video")


def _repeated(series: Sequence[Series]) -> Iterator[Remark]:
    """Yield recordings that are in the data twice, and ends that are the start of another recording."""
    for i, one in enumerate(series):
        for other in series[:i]:
            if one.gains == other.gains:
                yield Remark("duplicate", one.name, len(one.gains), f"minute by minute that of {other.name}")
                continue
            for early, late in ((one, other), (other, one)):
                shared = _overlap(early.gains, late.gains)
                if shared:
                    yield Remark("shared", early.name, shared, f"its end is the start of {late.name}")


def _overlap(early: Sequence[object], late: Sequence[object]) -> int:
    """Return how many last minutes of `early` are the first of `late`, 0 for fewer than `SHORTEST_SHARED`."""
    longest = min(len(early), len(late))
    fitting = (n for n in range(longest, SHORTEST_SHARED - 1, -1) if early[-n] == late[0])
    return next((n for n in fitting if early[-n:] == late[:n]), 0)


def _straddling(series: Sequence[Series]) -> Iterator[Remark]:
    """Yield, per file, how many windows of the authors' reach over two recordings that were joined."""
    for file in dict.fromkeys(one.file for one in series):
        counts = {length: _straddling_windows(series, file, length) for length in STRADDLED}
        if any(counts.values()):
            told = ", ".join(f"{count} of {length} minutes" for length, count in counts.items())
            yield Remark("straddling", file, 0, f"windows that reach over two joined recordings: {told}")


def _straddling_windows(series: Sequence[Series], file: str, length: int) -> int:
    joined: Counter[str] = Counter()
    apart = 0
    for one in series:
        if one.file == file and not one.video.startswith(DROPPED_BY_AUTHORS):
            joined[str(one.activity)] += len(one.gains)
            apart += max(len(one.gains) - length + 1, 0)
    return sum(max(minutes - length + 1, 0) for minutes in joined.values()) - apart
