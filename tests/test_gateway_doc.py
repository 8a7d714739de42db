"""docs/gateway.md is a promise: its file is a settings file, and its commands run on it."""

import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from addons.settings_changes import RELOADABLE
from addons.settings_launch import policies
from addons.settings_sources import load
from mutewatch.config import StateDirectory
from mutewatch.mitigate import Action, Policy
from mutewatch.store import Store
from tests.live_support import free_port

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "gateway.md").read_text(encoding="utf-8")
COMMANDS = [line[2:] for line in TEXT.splitlines() if line.startswith("$ ")]
FILE = re.search(r"```toml\n(.*?)```", TEXT, re.DOTALL)


def run(command: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    program, *arguments = shlex.split(command)
    assert program == "mutewatch"
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "COLUMNS": "120", **variables}
    line = [sys.executable, "-m", "mutewatch", *arguments]
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the file of the document is, and a state directory with a store in it."""
    assert FILE is not None
    text = FILE[1].replace("port = 8080", f"port = {free_port()}")
    (tmp_path / "mutewatch.toml").write_text(text)
    (tmp_path / "state").mkdir(mode=0o700)
    with Store(StateDirectory(tmp_path / "state").store):
        pass
    (tmp_path / "state" / "mutewatch.db").chmod(0o600)
    return tmp_path


UNITS = [command for command in COMMANDS if re.search("--print-(canary-)?unit", command)]


@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in UNITS])
def test_the_commands_of_the_document_run(folder: Path, command: str) -> None:
    told = run(command, folder, MUTEWATCH_STATE=str(folder / "state"))
    assert told.returncode == 0, told.stdout + told.stderr


@pytest.mark.parametrize("command", UNITS)
def test_a_unit_is_for_a_program_and_a_file_that_a_service_can_see(folder: Path, command: str) -> None:
    told = run(command, folder)
    assert told.returncode == 0 or "a service cannot see" in told.stderr or "pip install it first" in told.stderr


def test_both_units_and_the_timer_are_in_the_document() -> None:
    printed = set(re.findall(r"--print-\S+", " ".join(COMMANDS)))
    assert printed >= {"--print-unit", "--print-canary-unit", "--print-canary-timer", "--print-pac", "--print-firewall"}


def test_every_piece_of_a_settings_file_is_one(tmp_path: Path) -> None:
    for text in re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL):
        (tmp_path / "m.toml").write_text(text)
        load(tmp_path / "m.toml", {})


def test_the_table_says_what_a_running_gateway_takes() -> None:
    section = TEXT.split("This is taken while it runs:")[1].split("**What is kept.**")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", section, re.MULTILINE))
    for name, *key in RELOADABLE:
        assert f"`{key[0]}`" in rows[name] if key else re.match("all|`stale_after`", rows[name]), name
    assert set(rows) == {path[0] for path in RELOADABLE}


def test_check_says_where_each_value_is_from(folder: Path) -> None:
    told = run("mutewatch check --config mutewatch.toml --state state", folder, MUTEWATCH_LOG_LEVEL="info")
    lines = dict(re.findall(r"^(\S+) = .*?# (.*)$", told.stdout, re.MULTILINE))
    assert lines["listen.advertise"] == "mutewatch.toml"
    assert lines["log.level"] == "MUTEWATCH_LOG_LEVEL"
    assert lines["state.directory"] == "--state"
    assert lines["record.queue_size"] == "default"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("listen.port = 0", "listen.port is 0: write a port"),
        ('listen.mode = "transparent"', "no redirected client reaches 127.0.0.1"),
        ('listen.host = "192.0.2.1"', "cannot listen on 192.0.2.1, port 8080: Cannot assign requested address"),
        ('certificates.leaf_dir = "/nowhere"', "cannot read the leaves in /nowhere: No such file or directory"),
        ('certificates.passphrase_file = "/nowhere"', "cannot read /nowhere: No such file or directory"),
    ],
)
def test_check_ends_with_2_where_the_gateway_would_not_work(folder: Path, text: str, said: str) -> None:
    (folder / "mutewatch.toml").write_text(text)
    told = run("mutewatch check --config mutewatch.toml --state state", folder)
    assert (told.returncode, told.stderr) == (2, "")
    assert said in " ".join(told.stdout.split())


def test_check_finds_a_file_in_place_of_the_state_directory(folder: Path) -> None:
    told = run("mutewatch check --state mutewatch.toml", folder, MUTEWATCH_LISTEN_PORT=str(free_port()))
    assert told.returncode == 2
    assert "mutewatch.toml: Not a directory" in told.stdout


def test_check_finds_a_state_directory_that_is_open_to_others(folder: Path) -> None:
    (folder / "state").chmod(0o755)
    told = run("mutewatch check --state state", folder, MUTEWATCH_LISTEN_PORT=str(free_port()))
    assert told.returncode == 2
    assert "open to others: chmod go=" in told.stdout


@pytest.mark.parametrize(
    ("url", "code", "said"),
    [
        (
            "postgresql://u:secret@127.0.0.1:1/x",
            0,
            "none store postgresql+psycopg://u:***@127.0.0.1:1/x does not answer",
        ),
        ("here", 2, "FAULT store the store's URL cannot be read: write postgresql+psycopg://user@host/database"),
    ],
)
def test_check_tells_a_wrong_url_from_a_database_that_may_come_later(
    folder: Path, url: str, code: int, said: str
) -> None:
    variables = {"MUTEWATCH_LISTEN_PORT": str(free_port()), "MUTEWATCH_STORE_URL": url}
    told = run("mutewatch check --state state", folder, **variables)
    assert (told.returncode, "secret" in told.stdout) == (code, False)
    assert said in " ".join(told.stdout.split())


def test_check_finds_a_port_that_is_taken_unless_it_runs_already(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = "mutewatch check --state state"
        assert run(command, folder, MUTEWATCH_LISTEN_PORT=port).returncode == 2
        assert run(f"{command} --running", folder, MUTEWATCH_LISTEN_PORT=port).returncode == 0
        started = run("mutewatch live --state state", folder, MUTEWATCH_LISTEN_PORT=port)
        told = f"cannot listen on 127.0.0.1, port {port}: Address already in use; if that is mutewatch: check --running"
        assert (started.returncode, started.stderr) == (3, f"mutewatch: {told}\n")  # 2: it would not be started again
        metrics = {"MUTEWATCH_METRICS_LISTEN": f"127.0.0.1:{port}", "MUTEWATCH_LISTEN_PORT": str(free_port())}
        assert run(command, folder, **metrics).returncode == 2
        assert run(f"{command} --running", folder, **metrics).returncode == 0


def test_an_address_that_is_not_this_hosts_is_a_fault_of_a_running_gateway_too(folder: Path) -> None:
    told = run("mutewatch check --state state --running", folder, MUTEWATCH_LISTEN_HOST="192.0.2.1")
    assert told.returncode == 2


@pytest.mark.parametrize("option", ["--listen-port 0", "--mode regularly", "--record-timeout 0", "--mute nowhere.csv"])
def test_a_wrong_option_of_live_is_one_line(folder: Path, option: str) -> None:
    told = run(f"mutewatch live {option}", folder)
    assert told.returncode == 2
    assert told.stderr.startswith(f"mutewatch: {option.split(maxsplit=1)[0]} is ")
    assert len(told.stderr.splitlines()) == 1


def test_two_things_are_not_printed_at_once(folder: Path) -> None:
    told = run("mutewatch live --print-pac --print-unit", folder)
    assert (told.returncode, told.stdout) == (2, "")


def test_the_settings_of_the_document_on_mitigation_are_settings(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "mitigation.md").read_text(encoding="utf-8")
    found = re.search(r"```toml\n(.*?)```", text, re.DOTALL)
    assert found is not None
    file = tmp_path / "mutewatch.toml"
    file.write_text(found[1])
    chosen = policies(load(file, {}).settings.mitigation)
    assert (chosen.default, chosen.of("webex.tsa.v1")) == (Policy(Action.REDACT), Policy(Action.BLOCK))
