"""docs/analysts.md is a promise: its commands and its code run, in their order, on the sample."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mutewatch.report.payload import SAMPLE
from mutewatch.sinks.flat import COLUMNS
from tests.test_readme import run

PAGE = (Path(__file__).parents[1] / "docs/analysts.md").read_text(encoding="utf-8")
COMMANDS = [line[2:].partition("#")[0].strip() for line in PAGE.splitlines() if line.startswith("$ ")]


def commands(program: str) -> list[str]:
    return [command for command in COMMANDS if command.startswith(f"{program} ")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(SAMPLE / "meeting.pcapng", tmp_path)
    return tmp_path


def test_every_command_is_tried_here() -> None:
    assert len(COMMANDS) == len(commands("pip") + commands("mutewatch") + commands("tshark")) == 5


@pytest.mark.parametrize("command", commands("mutewatch scan"))
def test_a_command_runs(command: str, folder: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'table')")
    result = run(command, folder)
    assert (result.returncode, "FLAGGED" in result.stderr) == (0, True), result.stderr
    assert (folder / shlex.split(command)[-1]).stat().st_size > 1_000


def test_it_shows_the_values_of_the_frame(folder: Path) -> None:
    (command,) = commands("mutewatch show")
    assert "audioMaxGain" in run(command, folder).stdout


def test_the_code_runs_block_by_block_and_leads_to_the_packet(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pandas", reason="pandas is not installed (extra 'table')")
    program = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
    environment = {"MUTEWATCH_STATE": str(folder / "state"), "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "35 messages from telemetry endpoints; all of it was read" in done.stdout
    assert re.search(r"meeting\.pcapng in Wireshark: frame\.number == \d+ or tcp\.stream == \d+\n$", done.stdout)


@pytest.mark.tshark
@pytest.mark.usefixtures("tshark")
def test_tshark_shows_the_body_of_the_frame(folder: Path) -> None:
    (command,) = commands("tshark")
    shown = subprocess.run(shlex.split(command), cwd=folder, capture_output=True, text=True, check=True).stdout
    assert re.match(r"54\t(\{|7b)", shown)


def test_the_columns_it_names_are_there() -> None:
    table = PAGE[PAGE.index("| column |") : PAGE.index("| all others |")]
    named = [name for row in table.splitlines()[2:] for name in re.findall(r"`([a-z_]+)`", row.split("|")[1])]
    assert set(named) < set(COLUMNS)
    assert len(named) == 16
