"""Who is trained on and who is scored: the protocols P, HA, HB and LOVO, and the folds that models are chosen by.

Rules:

- P is the paper's: windows reach over recordings that were joined, a fifth of the windows is held out, the
  spellings its scripts drop are dropped. It flatters, and is kept to compare with published figures;
- HA holds recordings apart: no window straddles two, no minute is on both sides;
- HB also holds videos apart; LOVO leaves one video out at a time, over all recordings;
- the folds use development recordings alone, and hold videos apart, but for classical music (below); models are
  chosen by them. A video that is in no fold is trained on in each.

`punk_music2` is near silence under the label music: no protocol but P's own rules uses it as music.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from classifier.model import CLASSES, Int64
from classifier.recordings import SPLITS, Recording, Windows, left_out, windows_of
from classifier.window import Float32

DEVELOPMENT, *EVALUATION = SPLITS
# Videos that are in the development and in the evaluation recordings, by file name.
SHARED_VIDEOS: Final = frozenset({"classical_music", "crowd_talking", "dog_barking", "punk_music"})
HELD_OUT_SHARE: Final = 0.2  # of the windows of each class, protocol P

# The folds by video. Only one video of music is left besides punk_music3, so classical_music is divided by
# distance: its recordings at 10 cm are in the first fold, all others in the second; each trains for the other.
FOLDS: Final = (
    frozenset({"cooking2", "crowd_talking2", "dog_barking2", "keyboard2", "cleaning2", "classical_music@10"}),
    frozenset({"punk_music3", "cooking_11-22", "crowd_talking", "dog_barking3", "keyboard4", "cleaning3"})
    | {"classical_music"},
    frozenset({"eating", "key_board3", "cleaning4"}),
)


class Protocol(StrEnum):
    """The four protocols for the evaluation recordings, and the two that need development recordings alone."""

    PAPER = "P"
    RECORDINGS = "HA"
    VIDEOS = "HB"
    LEAVE_ONE_VIDEO_OUT = "LOVO"
    FOLDS_BY_VIDEO = "folds"
    FOLDS_BY_DISTANCE = "distances"


@dataclass(frozen=True, slots=True)
class Round:
    """One training and what it is scored on. `tests` has a name for each set of windows."""

    name: str
    train: Windows
    tests: dict[str, Windows]
    draws: bool = False  # each seed holds out a fifth of `train` of its own, as the paper did


def rounds(protocol: Protocol, recordings: Sequence[Recording], length: int) -> Iterator[Round]:
    """Yield the rounds of `protocol` for windows of `length` minutes. Sets without any window are left out."""
    match protocol:
        case Protocol.PAPER:
            yield _paper(recordings, length)
        case Protocol.RECORDINGS | Protocol.VIDEOS:
            yield _apart(recordings, length, SHARED_VIDEOS if protocol is Protocol.VIDEOS else frozenset())
        case Protocol.LEAVE_ONE_VIDEO_OUT:
            usable = [r for r in recordings if left_out(r) is None]
            yield from _leave_out(usable, length, {video: {video} for video in sorted({r.video for r in usable})})
        case Protocol.FOLDS_BY_VIDEO:
            yield from _by_fold(_development(recordings), length)
        case Protocol.FOLDS_BY_DISTANCE:
            yield from _by_distance(_development(recordings), length)


def in_paper(recording: Recording, length: int) -> bool:
    """Is `recording` in the paper's windows of `length` minutes? Its scripts match names by what they contain,
    and their training data for seven minutes had another recording of typing than that for the other lengths."""
    if recording.video.startswith("punk_music"):
        return False
    dropped = "keyboard4" if length == 7 else "key_board3"
    return recording.split != DEVELOPMENT or recording.video != dropped


def joined_windows(recordings: Sequence[Recording], length: int) -> Windows:
    """Return the paper's windows: recordings of one source file and class joined, one window a minute.

    A window that reaches over two recordings counts for the one that its last minute is of.
    """
    parts: list[tuple[Float32, int, list[int]]] = []
    for source in dict.fromkeys(r.source for r in recordings):
        for label, activity in enumerate(CLASSES):
            chosen = [i for i, r in enumerate(recordings) if (r.source, r.activity) == (source, activity)]
            if not chosen:
                continue
            gains = np.concatenate([recordings[i].gains for i in chosen])  # (minutes, 3)
            owners = [i for i in chosen for _ in recordings[i].gains]
            if len(gains) >= length:
                views = np.lib.stride_tricks.sliding_window_view(gains, length, axis=0)  # (w, 3, length)
                parts.append((views.transpose(0, 2, 1), label, owners[length - 1 :]))
    return Windows(
        values=np.concatenate([values for values, _, _ in parts] or [np.empty((0, length, 3), np.float32)]),
        labels=np.array([label for values, label, _ in parts for _ in values], dtype=np.int64),
        owners=np.array([owner for _, _, owners in parts for owner in owners], dtype=np.int64),
        recordings=tuple(recordings),
    )


def held_out(labels: Int64, seed: int) -> NDArray[np.bool_]:
    """Return which windows the seed holds out: a fifth of each class, drawn at random, bool (n,)."""
    chance = np.random.default_rng(seed)
    mask = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        mask[chance.permutation(members)[: round(HELD_OUT_SHARE * len(members))]] = True
    return mask


def _paper(recordings: Sequence[Recording], length: int) -> Round:
    used = [r for r in recordings if in_paper(r, length)]
    train = joined_windows([r for r in used if r.split == DEVELOPMENT], length)
    tests = {split: joined_windows([r for r in used if r.split == split], length) for split in EVALUATION}
    return Round("paper", train, _filled(tests), draws=True)


def _apart(recordings: Sequence[Recording], length: int, unused: frozenset[str]) -> Round:
    train = [r for r in _development(recordings) if r.video not in unused]
    tests = {}
    for split in EVALUATION:
        chosen = [r for r in recordings if r.split == split]
        tests[split] = windows_of([r for r in chosen if in_paper(r, length)], length)
        tests[f"{split} with every spelling"] = windows_of([r for r in chosen if left_out(r) is None], length)
    return Round("held apart", windows_of(train, length), _filled(tests))


def _leave_out(recordings: Sequence[Recording], length: int, parts: dict[str, set[str]]) -> Iterator[Round]:
    for name, videos in parts.items():
        train = windows_of([r for r in recordings if r.video not in videos], length)
        test = windows_of([r for r in recordings if r.video in videos], length)
        yield Round(name, train, _filled({"all": test}))


def _by_fold(recordings: Sequence[Recording], length: int) -> Iterator[Round]:
    fold_of = {r.name: next((i for i, fold in enumerate(FOLDS) if _is_in(r, fold)), None) for r in recordings}
    for number in range(len(FOLDS)):
        train = [r for r in recordings if fold_of[r.name] != number]
        test = windows_of([r for r in recordings if fold_of[r.name] == number], length)
        yield Round(f"fold {number}", windows_of(train, length), _filled({"dev": test}))


def _is_in(recording: Recording, fold: frozenset[str]) -> bool:
    by_distance = f"{recording.video}@{recording.distance_cm}"
    if any(by_distance in other for other in FOLDS):
        return by_distance in fold
    return recording.video in fold


def _by_distance(recordings: Sequence[Recording], length: int) -> Iterator[Round]:
    for distance in sorted({r.distance_cm for r in recordings}):
        train = windows_of([r for r in recordings if r.distance_cm != distance], length)
        test = windows_of([r for r in recordings if r.distance_cm == distance], length)
        yield Round(f"{distance} cm", train, _filled({"dev": test}))


def _development(recordings: Sequence[Recording]) -> list[Recording]:
    return [r for r in recordings if r.split == DEVELOPMENT and left_out(r) is None]


def _filled(tests: dict[str, Windows]) -> dict[str, Windows]:
    return {name: windows for name, windows in tests.items() if len(windows.labels)}
