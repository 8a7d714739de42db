"""The audit log: private, one line for each thing, and what the command line writes into it."""

import fcntl
import json
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mutewatch import log_file
from mutewatch.audit import LONGEST_TEXT, audit
from mutewatch.cli import app
from mutewatch.commands.audited import audit_command
from mutewatch.errors import OperatorError
from tests.facts import START
from tests.serve_support import finding, record


def test_the_audit_log_is_private_and_its_fields_are_short(tmp_path: Path) -> None:
    audit(tmp_path, START, "x\n" * 400, "report", {"file": "y" * 400, "since": None})
    line = json.loads((tmp_path / "audit.log").read_text())
    assert (len(line["who"]), len(line["file"]), "since" in line) == (LONGEST_TEXT, LONGEST_TEXT, False)
    assert stat.S_IMODE((tmp_path / "audit.log").stat().st_mode) == 0o600


def test_an_audit_log_that_cannot_be_written_is_the_operators_to_mend(tmp_path: Path) -> None:
    (tmp_path / "audit.log").symlink_to("/dev/null")
    with pytest.raises(OperatorError, match="cannot write the audit log"):
        audit(tmp_path, START, "x", "report")


def test_a_log_that_somebody_has_put_aside_is_not_written_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, lock = tmp_path / "a.log", fcntl.flock
    log.touch()

    def locked_late(descriptor: int, how: int) -> None:
        lock(descriptor, how)
        if not (tmp_path / "a.log.1").exists():
            log.rename(tmp_path / "a.log.1")

    monkeypatch.setattr(fcntl, "flock", locked_late)
    log_file.append(log, {"line": 1})
    assert (log.read_text(), (tmp_path / "a.log.1").read_text()) == ('{"line": 1}\n', "")


def test_a_report_is_written_down_where_there_is_a_state_directory(tmp_path: Path) -> None:
    record(tmp_path / "mutewatch.db", finding(1))
    ran = CliRunner().invoke(app, ["report", "--state", str(tmp_path), "--format", "csv"])
    assert (ran.exit_code, "flagged" in ran.stdout) == (0, True)
    line = json.loads((tmp_path / "audit.log").read_text())
    assert (line["what"], line["by"], line["format"]) == ("report", "command line", "csv")


@pytest.mark.parametrize(
    "arguments",
    [["export", "--format", "csv"], ["backup", "copy.db"], ["forget", "nobody"], ["prune"]],
    ids=lambda a: a[0],
)
def test_what_takes_findings_out_or_away_is_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    record(tmp_path / "mutewatch.db", finding(1))
    CliRunner().invoke(app, [*arguments, "--state", str(tmp_path)])
    line = json.loads((tmp_path / "audit.log").read_text())
    assert (line["what"], line["by"]) == (arguments[0], "command line")
    assert "nobody" not in str(line)


def test_a_command_makes_no_state_directory_to_be_written_down_in(tmp_path: Path) -> None:
    audit_command(tmp_path / "none", "report")
    assert not (tmp_path / "none").exists()


def test_a_command_goes_on_where_it_cannot_be_written_down(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "audit.log").mkdir()
    audit_command(tmp_path, "report")
    assert "cannot write the audit log" in capsys.readouterr().err
