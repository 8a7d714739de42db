import csv
from pathlib import Path

import pytest

from classifier.published import FILES, Remark, read_published, to_csv
from classifier.recordings import read_recordings
from mutewatch.errors import InputError, OperatorError
from tests.classifier_minutes import made_up_gains, published_text, write_published

ROWS = made_up_gains("cooking", 10, 20, 0)


def folder_of(path: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (path / f"{name}.txt").write_text(text)
    return path


def remarks(folder: Path, kind: str) -> list[Remark]:
    return [remark for remark in read_published(folder).remarks if remark.kind == kind]


def test_every_published_minute_is_a_row(tmp_path: Path) -> None:
    published = read_published(write_published(tmp_path / "p"))
    (tmp_path / "g.csv").write_text(to_csv(published.series))
    recordings = read_recordings(tmp_path / "g.csv").recordings
    assert [r.name for r in recordings] == [s.name for s in published.series]
    assert all(
        r.gains.tolist() == [list(g) for g in s.gains] for r, s in zip(recordings, published.series, strict=True)
    )
    assert {r.split for r in recordings} == {"dev", "eval1", "eval2"}


def test_a_recording_is_named_by_the_line_of_its_header(tmp_path: Path) -> None:
    text = published_text([("eating", ROWS), ("keyboard4", ROWS[:9])], blank_before="keyboard4")
    text = text.replace("keyboard4.mp4.wav", "keyboard4.mp4.wav 10 cm")
    names = [s.name for s in read_published(folder_of(tmp_path, new_data_10cm=text)).series]
    assert names == ["new_data_10cm:001:eating", "new_data_10cm:007:keyboard4"]


def spliced(minutes: int) -> str:
    before = published_text([("eating", ROWS[:5])] * 6) + "\n"
    return before + "\n" + published_text([("cooking", made_up_gains("cooking", 10, minutes, 2))])


def test_the_splice_is_cut_where_it_was_proved(tmp_path: Path) -> None:
    published = read_published(folder_of(tmp_path, old_data_10cm=spliced(51)))
    first, second = published.series[-2:]
    assert (first.name, first.distance_cm, len(first.gains)) == ("old_data_10cm:032a:cooking", 10, 34)
    assert (second.name, second.distance_cm, len(second.gains)) == ("old_data_10cm:032b:cooking", 25, 17)
    assert [r.minutes for r in published.remarks if r.kind == "splice"] == [51]


def test_another_recording_in_the_place_of_the_splice_is_not_cut(tmp_path: Path) -> None:
    published = read_published(folder_of(tmp_path, old_data_10cm=spliced(50)))
    assert published.series[-1].name == "old_data_10cm:032:cooking"
    assert "was expected here; not cut" in next(r.text for r in published.remarks if r.kind == "splice")


def test_a_misfiled_distance_is_the_one_of_its_header(tmp_path: Path) -> None:
    text = "\n" + published_text([("eating", ROWS)] * 8) + "\n" + published_text([("cooking3 50", ROWS)])
    series = read_published(folder_of(tmp_path, old_data_100cm=text)).series
    assert [(s.line, s.distance_cm) for s in series][-2:] == [(37, 100), (42, 50)]


def test_another_recording_in_its_place_keeps_the_distance_of_its_file(tmp_path: Path) -> None:
    text = "\n" + published_text([("eating", ROWS)] * 8) + "\n" + published_text([("cooking3", ROWS)])
    series = read_published(folder_of(tmp_path, old_data_100cm=text)).series
    assert (series[-1].line, series[-1].distance_cm) == (42, 100)


def test_recordings_that_stand_twice_and_spellings_that_are_dropped_are_told(tmp_path: Path) -> None:
    folder = folder_of(
        tmp_path,
        new_data_10cm=published_text([("punk_music3", ROWS), ("key_board3", ROWS[3:])]),
        old_data_10cm=published_text([("punk_music3", ROWS)]),
    )
    assert [r.recording for r in remarks(folder, "duplicate")] == ["old_data_10cm:001:punk_music3"]
    assert len(remarks(folder, "spelling")) == 3 and len(remarks(folder, "absent")) == 5
    assert [r.recording for r in remarks(folder, "video")] == ["old_data_10cm:001:punk_music3"]


def test_an_end_that_is_the_start_of_another_is_told(tmp_path: Path) -> None:
    rows = made_up_gains("cooking", 10, 60, 4)
    folder = folder_of(tmp_path, new_data_10cm=published_text([("eating", rows[:40]), ("cooking2", rows[20:])]))
    assert [(r.recording, r.minutes) for r in remarks(folder, "shared")] == [("new_data_10cm:001:eating", 20)]


def test_windows_over_joined_recordings_are_counted(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, new_data_10cm=published_text([("eating", ROWS), ("cooking2", ROWS[1:])]))
    assert remarks(folder, "straddling")[0].text.endswith("2 of 3 minutes, 6 of 7 minutes")


def test_a_video_nobody_knows_is_told_and_not_in_the_csv(tmp_path: Path) -> None:
    published = read_published(folder_of(tmp_path, new_data_10cm=published_text([("eating", ROWS), ("opera", ROWS)])))
    assert [s.video for s in published.series] == ["eating"]
    assert [(r.kind, r.minutes) for r in published.remarks if r.recording.endswith("opera")] == [("unknown", 20)]


WHOLE = published_text([("eating", ROWS)])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (WHOLE.replace("Mins", "Maxs"), "line 4: Maxs without a recording, or twice"),
        (WHOLE[: WHOLE.index("Mins")], "line 1: the file ends within this recording"),
        (WHOLE[: WHOLE.index("Mins")] + WHOLE, "line 4: a new recording before the one of line 1 is whole"),
        (WHOLE.replace("Mins:[", "Mins:[9, "), "line 1: series of"),
        (
            WHOLE.replace("Maxs:[", "Maxs:[3, ").replace("Means:[", "Means:[3, ").replace("Mins:[", "Mins:[3, "),
            "minute 0",
        ),
        ("Mins:[1]\n", "line 1: Mins without a recording"),
        (WHOLE.replace("Maxs:[", "Maxs:[,"), "line 2: not a series of whole numbers"),
        (WHOLE.replace("Maxs:[", "Maxs:[" + "9" * 5000 + ", "), "line 2: not a series"),
        (WHOLE.replace("Maxs:[", "Maxs:[" + "9, " * 7000), "line 2: more than 20,000 characters"),
        ("x/" + "a" * 4000 + "\\ b", "line 1: neither the path of a video"),
        ("a:b\n", "line 1: neither the path of a video"),
    ],
)
def test_a_block_that_is_not_whole_is_an_error_with_its_line(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        read_published(folder_of(tmp_path, new_data_10cm=text))


def test_more_recordings_than_anybody_published_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="more than 200 recordings"):
        read_published(folder_of(tmp_path, new_data_10cm=published_text([("eating", ROWS[:1])] * 201)))


def test_a_folder_without_any_of_the_files_is_the_operator_s_fault(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="none of new_data_10cm"):
        read_published(tmp_path)


@pytest.mark.shared
def test_the_development_recordings_come_out_as_they_were_published(shared: Path, tmp_path: Path) -> None:
    """Written back into the published form, line by line, the recordings of the CSV give the same CSV."""
    wanted = (shared / "data/webex/gain_minutes_development.csv").read_text()
    rows: dict[str, list[tuple[int, int, int]]] = {}
    for row in csv.DictReader(wanted.splitlines()):
        gains = (int(row["max_gain"]), int(row["mean_gain"]), int(row["min_gain"]))
        rows.setdefault(row["recording"], []).append(gains)
    for name, _, _ in FILES[:3]:
        lines: list[str] = []
        for recording, gains_of in rows.items():
            source, line, video = recording.split(":")
            if source == name:
                lines += [""] * (int(line) - 1 - len(lines)) + published_text([(video, gains_of)]).splitlines()
        (tmp_path / f"{name}.txt").write_text("\n".join(lines))
    assert to_csv(read_published(tmp_path).series) == wanted
