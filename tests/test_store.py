"""The store: what is written is there, once, whatever happens after."""

import contextlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mutewatch.database import WAL_BYTES
from mutewatch.errors import OperatorError
from mutewatch.identity import Names
from mutewatch.mute import MuteTracker
from mutewatch.pipeline import Pipeline
from mutewatch.records import Decoded, Finding
from mutewatch.signatures import load_signatures
from mutewatch.store import Store
from mutewatch.tables import metadata
from tests.facts import exchange, locus_exchange, tsa_exchange

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
MEETING = [locus_exchange(0.1, True), *(tsa_exchange(n) for n in (1, 2, 4)), exchange(b"no JSON"), tsa_exchange(2)]


def meeting() -> tuple[list[Decoded], list[Finding]]:
    through = Pipeline(load_signatures(), Names(b"k" * 32), MuteTracker())
    facts = [decoded for one in MEETING for decoded in through.feed(one)]
    return facts, through.finish()


def rows(location: Path | str) -> dict[str, list[tuple[object, ...]]]:
    with Store(location) as store, store.begin() as connection:
        return {
            name: sorted((tuple(row) for row in connection.execute(table.select())), key=repr)
            for name, table in metadata.tables.items()
        }


def test_findings_come_back_as_they_were(location: Path | str) -> None:
    facts, findings = meeting()
    with Store(location) as store:
        store.record(facts, findings)
        assert sorted(store.findings(), key=lambda f: f.key) == sorted(findings, key=lambda f: f.key)
        assert store.verdicts() == {"flagged": 3, "missing": 1, "undecoded": 1}


def test_the_same_traffic_again_changes_no_row(location: Path | str) -> None:
    facts, findings = meeting()
    with Store(location) as store:
        store.record(facts, findings)
        store.record_input("a.pcap", {"exchanges": 6}, None)
    before = rows(location)
    with Store(location) as store:
        store.record(facts, findings)
        store.record_input("a.pcap", {"exchanges": 6}, None)
    assert rows(location) == before


def test_a_missing_minute_that_came_after_all_is_no_longer_missing(location: Path | str) -> None:
    through = Pipeline(load_signatures(), Names(None), MuteTracker(assume=True))
    with Store(location) as store:
        for one in (tsa_exchange(1), tsa_exchange(3), tsa_exchange(2)):
            store.record(through.feed(one), through.finish())
        assert store.verdicts() == {"flagged": 3}


def test_old_facts_can_be_judged_again(location: Path | str) -> None:
    facts, findings = meeting()
    with Store(location) as store:
        store.record(facts, ())
        through = Pipeline(load_signatures(), Names(None), MuteTracker())
        for decoded in store.facts_since(LONG_AGO, limit=100):
            through.absorb(decoded)
    assert sorted(through.finish(), key=lambda f: f.key) == sorted(findings, key=lambda f: f.key)


def test_only_its_owner_can_read_it_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with Store(tmp_path / "s.db") as store:
            store.record(*meeting())
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(("s.db", "s.db-wal", "s.db-shm"), 0o600)


def test_names_and_bodies_stay_out_of_it(tmp_path: Path) -> None:
    with Store(tmp_path / "s.db") as store:
        store.record(*meeting())
    held = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"192.0.2.10" not in held
    assert b'"U1"' not in held
    assert b"gzipb64data" not in held


@pytest.mark.parametrize("content", [b"this is no database, but long enough to be looked at" * 20, b"\x00" * 4096])
def test_another_file_is_refused_in_one_line_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s.db"
    path.write_bytes(content)
    with pytest.raises(OperatorError) as caught:
        Store(path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == content


def test_a_store_of_another_version_is_refused(tmp_path: Path) -> None:
    with Store(tmp_path / "s.db"):
        pass
    with sqlite3.connect(tmp_path / "s.db") as database:
        database.execute("UPDATE meta SET value = '99'")
    with pytest.raises(OperatorError, match="a store of version 99"):
        Store(tmp_path / "s.db")


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="No such file or directory"):
        Store(tmp_path / "none" / "s.db")


WRITER = """
import sys
from pathlib import Path
from mutewatch.store import Store
from mutewatch.tables import metadata
from tests.facts import tsa_exchange
from mutewatch.identity import Names
from mutewatch.pipeline import Pipeline
from mutewatch.signatures import load_signatures
through = Pipeline(load_signatures(), Names(None))
store = Store(Path(sys.argv[1]))
for number in range(1, 1000):
    facts = through.feed(tsa_exchange(number))
    store.record(facts, through.finish())
    print(facts[0].source.body_sha256, flush=True)
"""


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    for count in (1, 20, 50):
        path = tmp_path / f"{count}.db"
        command = [sys.executable, "-c", WRITER, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            acknowledged = [writer.stdout.readline().strip() for _ in range(count)]
            writer.send_signal(signal.SIGKILL)
            acknowledged += writer.stdout.read().split()
        with sqlite3.connect(path) as database:
            kept = {sha for (sha,) in database.execute("SELECT body_sha256 FROM messages")}
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert set(acknowledged) <= kept


def test_a_reader_that_held_up_the_wal_leaves_no_large_file_behind(tmp_path: Path) -> None:
    path, wal = tmp_path / "s.db", tmp_path / "s.db-wal"
    with Store(path) as store:

        def write(times: int) -> None:
            for number in range(times):
                store.record_input("x", {"padding": str(number % 10) * (1 << 20)}, None)

        store.record_input("x", {}, None)
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM inputs").fetchone()
            write((WAL_BYTES >> 20) + 4)
            assert wal.stat().st_size > WAL_BYTES
        write((WAL_BYTES >> 20) + 4)
        assert wal.stat().st_size <= WAL_BYTES
