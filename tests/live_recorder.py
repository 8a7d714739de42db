"""A recorder for tests of the live door: SHA-256 of each body in SQLite, synchronous=FULL, with switches.

The switches are files in the state directory, so that a test can throw them from another process:
`block` (record does not return while it exists) and `fail` (record raises while it exists).
"""

import hashlib
import sqlite3
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from addons.recorder import LiveSettings
from mutewatch.judged import Judged
from mutewatch.mitigate import FORWARD, Decision, Policies
from mutewatch.records import Exchange
from mutewatch.retention import Periods, Tidied
from mutewatch.signatures.matcher import Matcher
from mutewatch.uninspected import Passed

STORE = "store.sqlite"
HOSTS = ("tsa*.webex.com", "locus-*.wbx2.com")


class SqliteRecorder:
    """Commits one row per exchange: (body_sha256, host, path, status)."""

    def __init__(self, settings: LiveSettings) -> None:
        self.state = settings.state
        self.judged = Judged()
        self.database = sqlite3.connect(self.state / STORE)
        self.database.execute("PRAGMA journal_mode=WAL")
        self.database.execute("PRAGMA synchronous=FULL")
        self.database.execute(
            "CREATE TABLE IF NOT EXISTS messages (body_sha256 TEXT, host TEXT, path TEXT, status INTEGER)"
        )
        self.database.commit()

    def record(self, exchanges: Sequence[Exchange]) -> list[Decision]:
        while (self.state / "block").exists():
            time.sleep(0.01)
        if (self.state / "fail").exists():
            raise sqlite3.OperationalError("database or disk is full")
        rows = [
            (hashlib.sha256(e.body).hexdigest() if e.body is not None else None, e.host, e.path, e.status)
            for e in exchanges
        ]
        with self.database:
            self.database.executemany("INSERT INTO messages VALUES (?, ?, ?, ?)", rows)
        return [FORWARD] * len(rows)

    def forget(self, exchanges: Sequence[Exchange]) -> None:
        pass

    def use(self, policies: Policies, periods: Periods, matcher: Matcher) -> None:
        pass

    def note(self, passed: Sequence[Passed]) -> None:
        pass

    def tidy(self, now: datetime) -> Tidied:
        return Tidied()

    def deliver(self) -> bool:
        return False

    def tick(self, now: datetime) -> None:
        pass

    def close(self) -> None:
        self.database.close()


def recorded(state: Path) -> list[tuple[str | None, str, str, int | None]]:
    """Return all rows of the store in `state`, as another process sees them."""
    database = sqlite3.connect(f"file:{state / STORE}?mode=ro", uri=True)
    try:
        return list(database.execute("SELECT body_sha256, host, path, status FROM messages ORDER BY rowid"))
    finally:
        database.close()
