"""The files for a SIEM: whole lines, whatever the disk, a killed process or somebody's rotation does to them."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from addons import export_files
from addons.export_files import ExportFiles, ExportSettings
from addons.gateway_remarks import remarks
from addons.settings import Settings
from mutewatch.records import Finding
from tests.test_sinks_siem import GUESS, flagged

FIRST = flagged()


def minute(number: int) -> Finding:
    return replace(FIRST, minute=str(number))


@pytest.fixture
def eve(tmp_path: Path) -> Path:
    return tmp_path / "eve.json"


@pytest.fixture
def files(eve: Path) -> ExportFiles:
    return ExportFiles(ExportSettings(eve))


def minutes(path: Path) -> list[int]:
    """The minutes in a file; fails for one that holds anything but whole lines."""
    text = path.read_bytes().decode("ascii")
    assert text == "" or text.endswith("\n")
    return [int(json.loads(line)["alert"]["context"]["mutewatch"]["minute"]) for line in text.splitlines()]


def test_each_finding_is_a_line_in_each_file(tmp_path: Path) -> None:
    files = ExportFiles(ExportSettings(tmp_path / "eve.json", tmp_path / "ecs.json"))
    files.write([minute(1), minute(2)])
    files.write([minute(3)])
    assert minutes(tmp_path / "eve.json") == [1, 2, 3]
    documents = [json.loads(line) for line in (tmp_path / "ecs.json").read_text().splitlines()]
    assert [document["mutewatch"]["minute"] for document in documents] == ["1", "2", "3"]


def test_a_file_that_was_renamed_is_made_anew(files: ExportFiles, eve: Path) -> None:
    files.write([minute(1)])
    eve.rename(eve.with_suffix(".1"))
    files.write([minute(2)])
    assert (minutes(eve.with_suffix(".1")), minutes(eve)) == ([1], [2])


def test_a_file_that_was_replaced_is_written_to_and_keeps_its_mode(files: ExportFiles, eve: Path) -> None:
    files.write([minute(1)])
    eve.rename(eve.with_suffix(".1"))
    eve.touch(mode=0o640)
    eve.chmod(0o640)
    files.write([minute(2)])
    assert minutes(eve) == [2]
    assert stat.S_IMODE(eve.stat().st_mode) == 0o640


def test_a_file_that_was_emptied_begins_anew_without_a_hole(files: ExportFiles, eve: Path) -> None:
    files.write([minute(1), minute(2)])
    os.truncate(eve, 0)
    files.write([minute(3)])
    assert minutes(eve) == [3]


def test_half_a_line_of_a_killed_process_is_taken_back(files: ExportFiles, eve: Path) -> None:
    files.write([minute(1)])
    whole = eve.read_bytes()
    for kept in (b"", whole, whole * 200):
        eve.write_bytes(kept + whole[:100])
        ExportFiles(ExportSettings(eve)).write([minute(2)])
        assert minutes(eve) == [1] * kept.count(b"\n") + [2]


def test_a_file_that_holds_no_lines_is_left_alone(files: ExportFiles, eve: Path) -> None:
    content = b"x" * (export_files.LINE_BYTES + 1)
    eve.write_bytes(content)
    with pytest.raises(OSError, match="not a file of lines"):
        files.write([minute(1)])
    assert eve.read_bytes() == content


def test_half_a_batch_that_a_full_disk_took_is_taken_back_and_comes_again(
    files: ExportFiles, eve: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write([minute(1)])
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[: len(data) // 2]))
        with pytest.raises(OSError, match="No space left"):
            files.write([minute(2), minute(3)])
    assert minutes(eve) == [1]
    files.write([minute(2), minute(3)])
    assert minutes(eve) == [1, 2, 3]


def test_a_file_that_could_be_written_does_not_get_twice_what_another_missed(tmp_path: Path) -> None:
    ecs = tmp_path / "missing" / "ecs.json"
    files = ExportFiles(ExportSettings(tmp_path / "eve.json", ecs))
    for batch in ([minute(1)], [minute(1)], [minute(1), minute(2)]):
        with pytest.raises(FileNotFoundError):
            files.write(batch)
    assert minutes(tmp_path / "eve.json") == [1, 2]
    ecs.parent.mkdir()
    files.write([minute(1), minute(2)])
    assert minutes(tmp_path / "eve.json") == [1, 2]
    assert len(ecs.read_text().splitlines()) == 2


@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_a_new_file_has_the_mode_that_was_asked_for_whatever_the_umask(eve: Path, mode: int) -> None:
    before = os.umask(0o077)
    try:
        ExportFiles(ExportSettings(eve, mode=mode)).write([minute(1)])
    finally:
        os.umask(before)
    assert stat.S_IMODE(eve.stat().st_mode) == mode


@pytest.mark.parametrize(
    "put",
    [
        lambda path: path.symlink_to(path.with_name("elsewhere")),
        os.mkfifo,
        lambda path: path.mkdir(),
    ],
    ids=["link", "pipe", "directory"],
)
def test_what_is_no_file_is_not_written_to(files: ExportFiles, eve: Path, put: Callable[[Path], Any]) -> None:
    put(eve)
    with pytest.raises(OSError):
        files.write([minute(1)])
    assert not eve.with_name("elsewhere").exists()


@pytest.mark.parametrize("guesses", [False, True])
def test_guesses_are_in_the_files_only_where_asked_for(eve: Path, guesses: bool) -> None:
    ExportFiles(ExportSettings(eve, guesses=guesses)).write([replace(FIRST, guess=GUESS)])
    assert ('"activity":"music"' in eve.read_text()) is guesses


def test_lines_are_on_the_disk_before_the_store_forgets(files: ExportFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        files.write([minute(1)])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("eve.json", "flagged minutes are appended"),
        ("missing/eve.json", "there is no directory"),
        ("pipe", "not a file; links are not followed"),
        ("link", "not a file; links are not followed"),
    ],
)
def test_check_says_whether_a_file_can_be_written(tmp_path: Path, name: str, said: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "real").touch()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    settings = Settings.model_validate({"export": {"eve_file": tmp_path / name}})
    (remark,) = (one for one in remarks(settings, is_running=True) if one.name == "export")
    assert said in remark.text
    assert remark.is_good is (name == "eve.json")
    assert not remark.is_fault  # the gateway would start, and record
