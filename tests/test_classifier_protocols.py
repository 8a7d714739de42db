from pathlib import Path

import numpy as np
import pytest

from classifier.model import CLASSES
from classifier.protocols import FOLDS, SHARED_VIDEOS, Protocol, held_out, joined_windows, rounds
from classifier.published import read_published, to_csv
from classifier.recordings import Recording, Windows, read_recordings, windows_of
from tests.classifier_minutes import write_published


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recording, ...]:
    """All three splits, in the form of the published ones."""
    folder = tmp_path_factory.mktemp("published")
    path = folder / "g.csv"
    path.write_text(to_csv(read_published(write_published(folder / "p")).series))
    return read_recordings(path).recordings


def videos(windows: Windows) -> set[str]:
    return {windows.recordings[owner].video for owner in windows.owners}


def names(windows: Windows) -> set[str]:
    return {windows.recordings[owner].name for owner in windows.owners}


def made(name: str, minutes: int, activity: str = "dog", split: str = "dev") -> Recording:
    gains = np.tile(np.arange(minutes, dtype=np.float32)[:, None] + 4, (1, 3))
    return Recording(name, activity, np.arange(minutes), gains, split, 50)


def test_p_joins_the_recordings_of_a_file_and_class_as_the_paper_did() -> None:
    joined = joined_windows([made("a:1:dog", 8), made("a:2:dog2", 8), made("b:1:dog", 8)], 7)
    assert len(joined.labels) == (16 - 6) + (8 - 6)
    assert joined.values[2, :, 0].tolist() == [6, 7, 8, 9, 10, 11, 4]  # six minutes of one, the first of the next
    assert joined.owners.tolist() == [0, 0, *[1] * 8, 2, 2]


def test_p_drops_what_the_paper_s_scripts_dropped(recordings: tuple[Recording, ...]) -> None:
    seven, three = (next(rounds(Protocol.PAPER, recordings, length)) for length in (7, 3))
    assert videos(seven.train) & {"punk_music3", "keyboard4", "key_board3"} == {"key_board3"}
    assert videos(three.train) & {"punk_music3", "keyboard4", "key_board3"} == {"keyboard4"}
    assert seven.draws and seven.tests.keys() == {"eval1", "eval2"}


def test_each_seed_of_p_holds_out_another_fifth_of_every_class() -> None:
    labels = np.repeat(np.arange(6), 50)
    masks = [held_out(labels, seed) for seed in (0, 0, 1)]
    assert (masks[0] == masks[1]).all() and not (masks[0] == masks[2]).all()
    assert [int(masks[0][labels == label].sum()) for label in range(6)] == [10] * 6


def test_ha_shares_no_recording_and_hb_no_video(recordings: tuple[Recording, ...]) -> None:
    for protocol, shared in (
        (Protocol.RECORDINGS, {"classical_music", "crowd_talking", "dog_barking"}),
        (Protocol.VIDEOS, set()),
    ):
        one = next(rounds(protocol, recordings, 7))
        tested = one.tests["eval1"]
        assert not names(one.train) & names(tested)
        assert videos(one.train) & videos(tested) == shared
        assert not videos(one.train) & {"punk_music2"} and not one.draws
    assert videos(one.train).isdisjoint(SHARED_VIDEOS)


def test_leave_one_video_out_scores_each_video_once(recordings: tuple[Recording, ...]) -> None:
    tested = []
    for one in rounds(Protocol.LEAVE_ONE_VIDEO_OUT, recordings, 7):
        assert videos(one.tests["all"]) == {one.name} and one.name not in videos(one.train)
        tested.append(one.name)
    assert len(tested) == len(set(tested)) == 20  # all but punk_music2


def test_every_development_video_but_those_left_out_is_in_one_fold(recordings: tuple[Recording, ...]) -> None:
    scored: list[str] = []
    for one in rounds(Protocol.FOLDS_BY_VIDEO, recordings, 7):
        scored += sorted(names(one.tests["dev"]))
        assert videos(one.train) & videos(one.tests["dev"]) <= {"classical_music"}
    assert len(scored) == len(set(scored))
    assert {name.rpartition(":")[2] for name in scored} == {v for fold in FOLDS for v in fold if "@" not in v}


def test_a_left_out_distance_is_tested_alone(recordings: tuple[Recording, ...]) -> None:
    for one in rounds(Protocol.FOLDS_BY_DISTANCE, recordings, 7):
        tested = {one.tests["dev"].recordings[owner].distance_cm for owner in one.tests["dev"].owners}
        trained = {one.train.recordings[owner].distance_cm for owner in one.train.owners}
        assert len(tested) == 1 and tested.isdisjoint(trained)


@pytest.mark.shared
def test_the_paper_s_windows_come_out_of_the_csv(shared: Path) -> None:
    """Windows per class in the authors' development data: counts as they published them."""
    recordings = read_recordings(shared / "data/webex/gain_minutes_development.csv").recordings
    published = {
        ("new_data_10cm", 3): (58, 287, 170, 233, 232, 346),
        ("new_data_10cm", 7): (54, 283, 166, 229, 225, 342),
        ("new_data_25cm", 3): (0, 176, 58, 116, 117, 176),
        ("new_data_25cm", 7): (0, 172, 54, 112, 112, 172),
        ("new_data_50cm", 3): (161, 175, 604, 174, 116, 170),
        ("new_data_50cm", 7): (157, 171, 600, 170, 112, 166),
    }
    order = ("music", "cooking", "crowd", "dog", "keyboard", "cleaning")
    for (source, length), counts in published.items():
        train = next(rounds(Protocol.PAPER, recordings, length)).train
        is_here = np.array([train.recordings[owner].source == source for owner in train.owners])
        found = np.bincount(train.labels[is_here], minlength=len(CLASSES))
        assert tuple(int(found[CLASSES.index(name)]) for name in order) == counts


def test_windows_of_nothing_are_none() -> None:
    assert len(windows_of([], 7).labels) == len(joined_windows([], 7).labels) == 0
