"""The live door's log and status file."""

import json
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
