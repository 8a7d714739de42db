from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from classifier.model import CLASSES
from classifier.recordings import Recording, left_out, read_recordings, windows_of
from mutewatch.errors import InputError
from tests.classifier_minutes import write_csv

HEADER = "recording,minute,activity,max_gain,mean_gain,min_gain"


def recording(minutes: list[int], activity: str = "dog", name: str = "a") -> Recording:
    gains = np.array([[40, 30, 10 + m % 20] for m in minutes], dtype=np.float32).reshape(-1, 3)
    return Recording(name, activity, np.array(minutes, dtype=np.int64), gains)


@pytest.mark.parametrize(
    ("minutes", "windows"),
    [
        (range(6), 0),
        (range(7), 1),
        (range(20), 14),
        ([], 0),
        ([*range(7), *range(8, 15)], 2),
        ([*range(5), *range(6, 11)], 0),
    ],
)
def test_windows_reach_over_no_jump_in_the_minutes(minutes: list[int], windows: int) -> None:
    assert len(windows_of((recording(list(minutes)),), 7).labels) == windows


def test_no_window_straddles_two_recordings() -> None:
    both = windows_of((recording(list(range(8))), recording(list(range(8, 16)), "keyboard")), 7)
    assert both.values.shape == (4, 7, 3)
    assert [CLASSES[label] for label in both.labels] == ["dog", "dog", "keyboard", "keyboard"]


def test_a_window_is_minutes_by_gains() -> None:
    values = windows_of((recording(list(range(8))),), 7).values
    assert values[1, :, 2].tolist() == [11, 12, 13, 14, 15, 16, 17] and set(values[1, :, 0]) == {40}


def test_the_data_s_spellings_become_our_classes(tmp_path: Path) -> None:
    file = read_recordings(write_csv(tmp_path / "g.csv"))
    assert Counter(r.activity for r in file.recordings) == dict.fromkeys(CLASSES, 3)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no column"),
        ("a,b\n1,2\n", "no column recording"),
        (HEADER, "no minutes"),
        (f"{HEADER}\nr,0,sleeping,40,30,20\n", "line 2: unknown activity 'sleeping'"),
        (f"{HEADER}\nr,0,dog,40,x,20\n", "line 2: minute, distance or gain is not a number"),
        (f"{HEADER}\nr,0,dog,40\n", "line 2: minute, distance or gain is not a number"),
        (f"{HEADER}\nr,0,dog,nan,30,20\n", "line 2: gains"),
        (f"{HEADER}\nr,0,dog,20,30,40\n", "line 2: gains"),
        (f"{HEADER}\nr,{10**30},dog,40,30,20\n", "minute outside"),
        (f"{HEADER}\n,0,dog,40,30,20\n", "no recording"),
        (
            f"{HEADER}\nr,1,dog,40,30,20\nr,0,dog,40,30,20\n",
            "line 3: recording 'r' changes activity, split or distance, or runs",
        ),
        (f"{HEADER}\nr,0,dog,40,30,20\nr,1,music,40,30,20\n", "line 3: recording 'r' changes activity"),
        (f"{HEADER}\n" + "x" * 200_000, "not a CSV table"),
        ("\udcff", "not UTF-8"),
    ],
)
def test_a_csv_that_cannot_be_used_says_where(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "g.csv"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=reason):
        read_recordings(path)


def test_no_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_recordings(tmp_path / "none.csv")


@pytest.mark.shared
def test_the_development_recordings_are_those_of_the_paper(shared: Path) -> None:
    file = read_recordings(shared / "data/webex/gain_minutes_development.csv")
    minutes: Counter[str] = Counter()
    for r in file.recordings:
        minutes[r.activity] += len(r.gains)
    assert minutes == {
        "music": 633,
        "cooking": 644,
        "crowd": 838,
        "dog": 529,
        "keyboard": 703,
        "cleaning": 698,
    }
    assert len(file.recordings) == 59
    assert sorted(r.name for r in file.recordings if left_out(r)) == [
        "new_data_10cm:078:punk_music2",
        "new_data_25cm:056:punk_music2",
        "new_data_50cm:042:dog_barking",
        "new_data_50cm:078:punk_music",
        "new_data_50cm:083:punk_music2",
    ]
