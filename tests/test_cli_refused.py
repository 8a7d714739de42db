"""What the system refuses, and names of files that would be obeyed by a terminal: one line each, no traceback."""

import errno
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mutewatch import cli
from mutewatch.errors import InputError, shown
from mutewatch.report.payload import SAMPLE

ROOT = Path(__file__).parents[1]
CAPTURE = SAMPLE / "meeting.pcapng"
NAME = "cut\x1b[31m\nname\x1b]0;title\x07\udcff.pcapng"  # the last is a byte that is no UTF-8
FULL = Path("/dev/full")
needs_dev_full = pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")


def run(*arguments: object, state: Path, out: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MUTEWATCH_STATE": str(state)}
    command: Sequence[str] = [sys.executable, "-m", "mutewatch.cli", *map(str, arguments)]
    with (out or Path(os.devnull)).open("w") as file:
        where = file if out else subprocess.PIPE
        return subprocess.run(
            command, env=environment, stdout=where, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )


@needs_dev_full
@pytest.mark.parametrize("form", ["table", "jsonl", "csv"])
def test_an_output_without_space_is_told_in_one_line(form: str, tmp_path: Path) -> None:
    done = run("scan", CAPTURE, "--format", form, state=tmp_path, out=FULL)
    assert (done.returncode, done.stderr) == (3, f"mutewatch: cannot write: {os.strerror(errno.ENOSPC)}\n")


def test_a_file_that_finds_no_space_is_named_and_what_was_there_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.html"
    out.write_text("what was there")

    def full() -> None:
        from mutewatch.commands.output import replacing

        with replacing(out):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cli, "app", full)
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    assert capsys.readouterr().err == f"mutewatch: cannot write {out}: {os.strerror(errno.ENOSPC)}\n"
    assert [path.read_text() for path in tmp_path.iterdir()] == ["what was there"]


def test_a_folder_that_may_not_be_looked_into_is_no_fault_of_ours(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed() -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/var/lib/mutewatch/mutewatch.db")

    monkeypatch.setattr(cli, "app", closed)
    with pytest.raises(SystemExit, match="3"):
        cli.main()
    told = f"mutewatch: /var/lib/mutewatch/mutewatch.db: {os.strerror(errno.EACCES)}\n"
    assert capsys.readouterr().err == told


def test_what_may_be_a_fault_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    monkeypatch.setattr(cli, "app", broken)
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        cli.main()


@pytest.mark.parametrize("form", ["table", "jsonl", "csv", "parquet", "eve", "ecs"])
def test_the_name_of_a_file_is_told_and_never_obeyed(form: str, tmp_path: Path) -> None:
    paths = [tmp_path / NAME, tmp_path / f"whole{NAME}"]
    paths[0].write_bytes(CAPTURE.read_bytes()[:30_000])
    paths[1].write_bytes(CAPTURE.read_bytes())
    out = tmp_path / "out"
    done = run("scan", *paths, "--format", form, "--output", out, state=tmp_path / "state")
    assert done.returncode == 3
    assert f"{tmp_path}/{shown(NAME)}: byte 29," in done.stderr
    assert "\x1b" not in done.stderr and "Traceback" not in done.stderr
    assert b"\x1b[31m" not in out.read_bytes()


def test_that_one_of_many_files_cannot_be_read_is_no_wrong_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # as it is asked before anything is read
    monkeypatch.setenv("MUTEWATCH_STATE", str(tmp_path / "state"))
    told = CliRunner().invoke(cli.app, ["scan", str(CAPTURE), str(tmp_path / "not there"), "--format", "csv"])
    assert told.exit_code == 3
    assert "not there: not found" in told.stderr and "FLAGGED" in told.stderr


def test_a_name_is_shown_as_it_is_where_it_can_be() -> None:
    assert str(InputError(Path("/a b/Übung.pcap"), "is empty")) == "/a b/Übung.pcap: is empty"
    assert shown(NAME) == r"cut\x1b[31m\nname\x1b]0;title\x07\udcff.pcapng"
