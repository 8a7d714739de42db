"""The live door's log and status file."""

import json
import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from addons.journal import Journal

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def test_a_log_that_has_grown_is_put_aside(tmp_path: Path) -> None:
    journal = Journal(tmp_path, log_bytes=100)
    for number in range(3):
        journal.event(NOW, "minute", {"number": number, "padding": "x" * 100})
    assert [json.loads((tmp_path / "live.log.1").read_text())["number"]] == [2]
    assert not (tmp_path / "live.log").exists()


def test_both_files_are_private(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.event(NOW, "started", {})
    journal.status(NOW, {})
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_a_link_put_in_place_of_the_log_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "live.log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        Journal(tmp_path).event(NOW, "started", {})
    assert not (tmp_path / "elsewhere").exists()


def test_an_almost_full_disk_leaves_no_half_of_a_line_or_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, write = Journal(tmp_path), os.write
    journal.event(NOW, "started", {})
    journal.status(NOW, {"messages": 1})
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[: len(data) // 2]))
        for attempt in (journal.event, lambda at, _event, fields: journal.status(at, fields)):
            with pytest.raises(OSError, match="No space left"):
                attempt(NOW, "minute", {"messages": 2})
    journal.event(NOW, "stopped", {})
    lines = [json.loads(line) for line in (tmp_path / "live.log").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["started", "stopped"]
    assert json.loads((tmp_path / "live_status.json").read_text())["messages"] == 1
