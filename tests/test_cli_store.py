"""`mutewatch backup` and `forget`, and the other commands on a store that is named by URL."""

import json
import os
import re
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from mutewatch.commands.backup import backup
from mutewatch.commands.forget import forget_client
from mutewatch.commands.scan import ScanOptions, scan
from mutewatch.compose import PipelineOptions
from mutewatch.config import StateDirectory, open_state
from mutewatch.errors import OperatorError
from mutewatch.history import History
from mutewatch.identity import Names, load_or_create_key
from mutewatch.report.payload import SAMPLE
from mutewatch.store import Store
from mutewatch.uninspected import Passed, Tally, add_to
from tests.live_support import free_port
from tests.postgres_support import PostgreSQL
from tests.test_store_databases import FACTS, FINDING, named
from tests.test_store_hours import check

ROOT = Path(__file__).parents[1]
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
WIRE, OTHER = "alice@example.com", "bob"


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    return open_state(tmp_path / "state")


@pytest.fixture
def alice(state: StateDirectory) -> str:
    return Names(load_or_create_key(state.client_key)).pseudonym(WIRE)


def fill(store: Store, client: str, address: str, number: int = 100) -> None:
    """So many minutes of one client from one address, and a connection that was not inspected."""
    for minute in range(number):
        source = replace(FACTS.source, address=address, body_sha256=f"{client}-{minute}", seen_at=NOW)
        report = replace(FACTS.audio[0], source=source, client=client)
        ends_at = NOW + timedelta(minutes=minute)
        finding = replace(FINDING, client=client, minute=str(minute), source=source, ends_at=ends_at)
        store.record([replace(FACTS, source=source, audio=(report,))], [finding])
    tally = Tally(lambda name: name)
    tally.add(Passed(NOW, NOW, address, "tsa*.webex.com", "pinned"))
    with store.begin() as connection:
        add_to(connection, "live", tally)


@pytest.fixture
def filled(location: Path | str, alice: str) -> Iterator[Store]:
    with Store(location) as store:
        fill(store, alice, "client-a11ce0000000")
        fill(store, OTHER, "client-b0b000000000", 5)
        store.roll_up(NOW + timedelta(hours=2))
        yield store


def test_forget_takes_a_client_by_its_name_on_the_wire_and_nobody_else(
    filled: Store, state: StateDirectory, alice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    forget_client(WIRE, filled.location, state, dry_run=True)
    told = f"would delete 100 findings, 1 hourly, 100 messages of {alice}"
    assert told in capsys.readouterr().out
    assert filled.verdicts() == {"flagged": 105}
    forget_client(WIRE, filled.location, state, dry_run=False)
    told = capsys.readouterr().out
    assert f"deleted 100 findings, 1 hourly, 100 messages of {alice}" in told
    assert "from client-a11ce0000000: if nobody else uses that, forget it, too" in told
    assert filled.verdicts() == {"flagged": 5}
    check(filled, NOW - timedelta(days=1), NOW + timedelta(days=1))
    forget_client("client-a11ce0000000", filled.location, state, dry_run=False)
    assert "deleted 1 uninspected of client-a11ce0000000" in capsys.readouterr().out
    forget_client(WIRE, filled.location, state, dry_run=False)
    assert "nothing is known of alice@example.com" in capsys.readouterr().out
    with filled.begin() as connection:
        left = History(connection).uninspected(NOW, NOW + timedelta(days=1))
    assert [one.address for one in left] == ["client-b0b000000000"]


@pytest.mark.parametrize("nobody", ["", " "])
def test_nobody_is_nobody_to_forget(filled: Store, state: StateDirectory, nobody: str) -> None:
    with pytest.raises(OperatorError, match="name whom to forget"):
        forget_client(nobody, filled.location, state, dry_run=False)
    assert filled.verdicts() == {"flagged": 105}


def test_what_was_forgotten_is_in_no_byte_of_the_files(tmp_path: Path, state: StateDirectory, alice: str) -> None:
    with Store(tmp_path / "s.db") as store:
        fill(store, alice, "client-a11ce0000000")
        fill(store, OTHER, "client-b0b000000000", 5)
        store.roll_up(NOW + timedelta(hours=2))
        for name in (alice, "client-a11ce0000000"):
            forget_client(name, tmp_path / "s.db", state, dry_run=False)
        files = b"".join(path.read_bytes() for path in tmp_path.glob("s.db*"))
    assert b"client-b0b0" in files
    assert alice.encode() not in files
    assert b"client-a11ce" not in files


def test_forget_finds_a_name_whatever_stands_in_it(location: Path | str, state: StateDirectory) -> None:
    names = ["50%_\\", '"quoted"', "\ud800", "ünï", "a\x00b"]
    with Store(location) as store:
        for number, name in enumerate(names):
            facts, finding = named(name, number)
            store.record([facts], [finding])
        for left, name in enumerate(reversed(names)):
            assert sum(store.verdicts().values()) == len(names) - left
            forget_client(name, location, state, dry_run=False)
        assert (store.verdicts(), list(store.facts_since(NOW - timedelta(days=9999), 9))) == ({}, [])


def test_forget_names_the_calls_that_messages_without_an_address_tell_of(
    tmp_path: Path, state: StateDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "s.db"
    scan([SAMPLE / "meeting.har"], ScanOptions(state.root, store=path), PipelineOptions(activity=False))
    with Store(path) as store:
        (client,) = {finding.client for finding in store.findings()}
    names = re.compile(r"(?:client|call|participant)-[0-9a-f]{12,16}")
    left, forgotten = [client], set()
    while left:
        name = left.pop()
        capsys.readouterr()
        forget_client(name, path, state, dry_run=False)
        forgotten.add(name)
        left += sorted(set(names.findall(capsys.readouterr().out)) - forgotten - {*left})
    assert {name.partition("-")[0] for name in forgotten} == {"client", "call", "participant"}
    assert names.findall(path.read_bytes().decode("latin-1")) == []


def test_forget_takes_nobody_whose_name_differs_in_a_capital(location: Path | str, state: StateDirectory) -> None:
    with Store(location) as store:
        for number, name in enumerate(("Alice", "alice")):
            facts, finding = named(name, number)
            store.record([facts], [finding])
        forget_client("Alice", location, state, dry_run=False)
        assert [finding.client for finding in store.findings()] == ["alice"]
        assert [facts.audio[0].client for facts in store.facts_since(NOW - timedelta(days=9999), 9)] == ["alice"]


@pytest.mark.parametrize("command", ["report", "export --format csv", "forget alice", "backup copy.db"])
def test_a_damaged_store_is_told_in_one_line(tmp_path: Path, command: str) -> None:
    path = tmp_path / "s.db"
    with Store(path) as store:
        store.record((), [replace(FINDING, minute=str(number), reason="x" * 900) for number in range(400)])
    damaged = bytearray(path.read_bytes())
    damaged[30 * 4096 :] = bytes(len(damaged) - 30 * 4096)
    path.write_bytes(damaged)
    line = [sys.executable, "-m", "mutewatch", *command.split(), "--store", str(path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run(line, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert (ran.returncode, ran.stderr.count("\n")) == (2 if command.startswith("backup") else 3, 1)
    assert "mutewatch: " in ran.stderr


WRITER = """
import sys
from pathlib import Path
from msgspec.structs import replace
from mutewatch.store import Store
from tests.test_store_databases import FACTS, FINDING
with Store(Path(sys.argv[1])) as store:
    for number in range(100_000):
        store.record([FACTS], [replace(FINDING, minute=str(number))])
        print(number, flush=True)
"""


def test_a_backup_is_whole_and_private_while_somebody_writes(tmp_path: Path) -> None:
    source, copy = tmp_path / "s.db", tmp_path / "copy.db"
    copy.write_text("what was there before")
    command = [sys.executable, "-c", WRITER, str(source)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as writer:
        assert writer.stdout is not None
        for _ in range(50):
            written = int(writer.stdout.readline())
        backup(source, copy)
        writer.kill()
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir() if "copy" in path.name or "backup" in path.name) == [
        "copy.db"
    ]
    with closing(sqlite3.connect(copy)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    with Store(copy) as store:
        assert store.verdicts()["flagged"] > written


def test_a_backup_replaces_nothing_that_it_should_not(tmp_path: Path) -> None:
    with Store(tmp_path / "s.db") as store:
        store.record([FACTS], [FINDING])
    with pytest.raises(OperatorError, match="is one of the inputs"):
        backup(tmp_path / "s.db", tmp_path / "s.db")
    with pytest.raises(OperatorError, match="no store at"):
        backup(tmp_path / "none.db", tmp_path / "copy.db")
    with pytest.raises(OperatorError, match=r"cannot write .*copy.db: No such file or directory$"):
        backup(tmp_path / "s.db", tmp_path / "none" / "copy.db")
    with pytest.raises(OperatorError, match="is no file"):
        backup(tmp_path / "s.db", tmp_path)
    assert [path.name for path in tmp_path.iterdir() if "backup" in path.name] == []


def test_a_backup_of_postgresql_is_pg_dumps(postgresql: PostgreSQL, tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="pg_dump"):
        backup(postgresql.new_place(), tmp_path / "copy.db")


def command(state: Path, *words: str, **environment: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MUTEWATCH_STATE": str(state), **environment}
    line = [sys.executable, "-m", "mutewatch", *words]
    return subprocess.run(line, env=environment, capture_output=True, text=True, timeout=90, check=True).stdout


def test_commands_take_a_url_as_option_and_from_the_environment(postgresql: PostgreSQL, tmp_path: Path) -> None:
    url, state = postgresql.new_place(), tmp_path / "state"
    assert "answers" in command(state, "check", MUTEWATCH_STORE_URL=url, MUTEWATCH_LISTEN_PORT=str(free_port()))
    command(state, "scan", str(SAMPLE / "meeting.har"), "--store", url, "--no-activity")
    by_option = command(state, "report", "--store", url, "--format", "jsonl")
    by_environment = command(state, "report", "--format", "jsonl", MUTEWATCH_STORE_URL=url)
    assert by_option == by_environment
    assert json.loads(by_option.splitlines()[-1])["minutes"]["flagged"] == 16
    assert "35 messages and 20 findings" in command(state, "prune", "--dry-run", "--store", url)
    assert not (state / "mutewatch.db").exists()
