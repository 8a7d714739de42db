"""A running proxy under load, for one fault to happen to; at the end, its books."""

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from addons.launch import addon_path
from bench.faults.books import ANSWERED, Books
from bench.faults.kill_live import COLUMN, STORE, TABLE
from bench.faults.load import Load
from tests.live_support import Proxy, Scene, Upstream, scene, sha256, wait_until

RECOVERY_SECONDS = 60.0  # the goal: within it, without an operator
STOP_SECONDS = 10.0


@dataclass(frozen=True)
class Lengths:
    """How long a scenario takes. The short form is for tests, the long one for figures."""

    normal: float  # seconds of load without a fault, before and after it
    fault: float  # seconds of the fault
    kills: int
    blast: float  # seconds of overload
    crowd: int  # idle connections, of clients that do nothing
    record_timeout: float = 60.0  # of kill9: what leaves earlier and dies with the proxy is counted nowhere


SHORT = Lengths(normal=0.3, fault=1.0, kills=2, blast=2.0, crowd=20)
LONG = Lengths(normal=3.0, fault=15.0, kills=200, blast=20.0, crowd=200)


@dataclass
class Result:
    """One row of the table."""

    name: str
    sent: int
    delivered: int
    recorded: int
    exceptions: str
    discrepancies: dict[str, int]
    recovery: float | None  # seconds; None: nothing to recover from
    slowest: float
    integrity: str
    remark: str = ""

    @property
    def unexplained(self) -> int:
        return sum(self.discrepancies.values())

    @property
    def is_good(self) -> bool:
        within = self.recovery is None or self.recovery <= RECOVERY_SECONDS
        return not self.unexplained and self.delivered > 0 and self.integrity == "ok" and within


@dataclass
class Stage:
    scene: Scene
    proxy: Proxy
    load: Load
    strict: bool
    recovery: float | None = None
    all_arrives: bool = True
    counters: dict[str, int] | None = None
    faults: dict[str, int] = field(default_factory=dict)
    remark: str = ""

    @property
    def upstream(self) -> Upstream:
        return self.scene.upstream

    def run_for(self, seconds: float) -> None:
        """Let traffic flow; fail if none arrives at all."""
        before, began = len(self.upstream.received), time.monotonic()
        wait_until(lambda: len(self.upstream.received) > before, "traffic flows")
        time.sleep(max(0.0, began + seconds - time.monotonic()))

    def measure_recovery(self) -> None:
        """From now, how long until a new message is again in the store before it is answered?"""
        began = time.monotonic()
        wait_until(self.load.probe, "a new message is recorded in time again", RECOVERY_SECONDS)
        self.recovery = time.monotonic() - began

    def settle(self) -> None:
        """End the load, wait until nothing is pending, stop the proxy."""
        self.load.stop()
        wait_until(lambda: self.proxy.status().get("pending") == 0, "nothing is pending")
        self.stop_proxy()

    def stop_proxy(self) -> None:
        """SIGTERM: an orderly end in ten seconds is part of every scenario."""
        code = self.proxy.stop(seconds=STOP_SECONDS)
        self.faults["exit code of the proxy"] = abs(code)
        self.counters = {name: number for name, number in self.proxy.status().items() if isinstance(number, int)}

    def final_counters(self) -> dict[str, int]:
        """The counters of the proxy that ended last."""
        assert self.counters is not None
        return self.counters

    def note_sent(self, body: bytes) -> None:
        """This message was sent beside the load, and answered."""
        self.load.outcomes[sha256(body)] = ANSWERED

    def result(self, name: str) -> Result:
        """Compare everything; the proxy has ended."""
        wait_until(lambda: self.upstream.in_progress == 0, "the server is done with what it got")
        hashes, integrity = read_store(self.proxy.state)
        books = Books(
            self.load.outcomes,
            self.upstream.hashes,
            hashes,
            self.counters,
            self.all_arrives,
            self.strict,
            self.faults,
        )
        return Result(
            name + (" (strict)" if self.strict else ""),
            len(books.outcomes),
            len(books.delivered),
            len(books.recorded),
            books.exceptions(),
            {what: number for what, number in books.discrepancies() if number},
            self.recovery,
            self.load.slowest,
            integrity,
            self.remark,
        )


@contextmanager
def stage(
    folder: Path,
    *,
    strict: bool = False,
    live: dict[str, Any] | None = None,
    clients: int = 6,
    pause: float = 0.0,
    extra: Sequence[str] = (),
    environment: dict[str, str] | None = None,
    script: Path | None = None,
) -> Iterator[Stage]:
    """A proxy that runs, with clients that post; all is gone afterwards. `live`: fields of LiveSettings."""
    (folder / "ca").mkdir(mode=0o700, exist_ok=True)
    with scene(folder, folder / "ca") as live_scene:
        proxy = live_scene.make(
            script=script or addon_path(),
            live={"activity": False, "strict": strict, **(live or {})},
            extra=extra,
            environment=environment or {},
        )
        proxy.start()
        load = Load(proxy, clients, pause)
        try:
            proxy.wait_ready()
            load.start()
            yield Stage(live_scene, proxy, load, strict)
        except AssertionError as error:
            raise AssertionError(f"{error}\n--- the proxy said:\n{proxy.text()[-4000:]}") from error
        finally:
            load.stop()
            proxy.end()


def read_store(state: Path) -> tuple[frozenset[str], str]:
    """Return the hashes of the messages in the store, and SQLite's verdict on the file."""
    with closing(sqlite3.connect(state / STORE)) as database:
        hashes = [row[0] for row in database.execute(f"SELECT {COLUMN} FROM {TABLE}")]  # noqa: S608  constants
        integrity = str(database.execute("PRAGMA integrity_check").fetchone()[0])
        return frozenset(hashes), integrity if len(hashes) == len(set(hashes)) else "a message is stored twice"


def log_lines(log: Path) -> list[dict[str, Any]]:
    """Return the lines of one of the proxy's logs; each must be whole."""
    return [json.loads(line) for line in log.read_text().splitlines()]
