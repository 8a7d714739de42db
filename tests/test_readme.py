"""The README is a promise: every command in it runs, and its output is real."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mutewatch.report.payload import SAMPLE

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [line[2:].partition("#")[0].strip() for line in README.splitlines() if line.startswith("$ ")]
# They run until they are stopped: tests/test_addons_live.py and tests/test_serve_process.py start them.
LIVE = [command for command in COMMANDS if command.startswith(("mutewatch live", "mutewatch serve"))]
MAKE = [command for command in COMMANDS if command.startswith("make ")]
PLAIN = [command for command in COMMANDS if command not in LIVE + MAKE]


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    program, *arguments = shlex.split(command)
    assert program == "mutewatch"
    environment = {"MUTEWATCH_STATE": str(folder / "state"), "PATH": "/usr/bin:/bin", "COLUMNS": "100"}
    environment["PYTHONPATH"] = str(ROOT)
    line = [sys.executable, "-m", "mutewatch.cli", *arguments]
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_every_command_of_the_readme_runs_in_its_order(tmp_path: Path) -> None:
    for name in ("meeting.pcapng", "meeting.har", "meeting.mitm"):
        shutil.copy(SAMPLE / name, tmp_path)
    assert len(PLAIN) >= 5
    for command in PLAIN:
        result = run(command, tmp_path)
        assert result.returncode == 0, f"{command}: {result.stderr}"


@pytest.mark.parametrize("command", MAKE)
def test_the_make_targets_of_the_readme_exist(command: str) -> None:
    assert f"\n{command.split()[1]}:" in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_the_output_in_the_readme_is_the_demos(tmp_path: Path) -> None:
    shown = re.search(r"```text\n(.*?)```", README, re.DOTALL)
    assert shown is not None
    printed = {line.rstrip() for line in run("mutewatch demo", tmp_path).stdout.splitlines()}
    assert [line for line in shown[1].splitlines() if line.rstrip() not in printed] == []


def test_the_ways_into_the_docs_lead_somewhere() -> None:
    links = re.findall(r"\]\((docs/[^)]*)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
