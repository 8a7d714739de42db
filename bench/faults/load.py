"""Clients that keep posting unique telemetry messages through a proxy, whatever happens to it, and remember each."""

import http.client
import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from bench.faults.books import ANSWERED, CUT, FAILED, REFUSED
from bench.faults.kill_live import COLUMN, PATH, STORE, TABLE, telemetry_body
from tests.live_support import TELEMETRY, Proxy, sha256

PROBE = 900  # the client number of probes, above those of clients


@dataclass
class Load:
    """`count` keep-alive clients; `pause` seconds between two messages of one."""

    proxy: Proxy
    count: int = 6
    pause: float = 0.0
    outcomes: dict[str, str] = field(default_factory=dict)  # by SHA-256 of the body; one thread writes each key
    slowest: float = 0.0  # seconds from a message to its answer
    _stopping: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _probes: int = 0

    def start(self) -> None:
        self._threads = [threading.Thread(target=self._run, args=(client,)) for client in range(self.count)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self._threads), "a client hangs"

    def _run(self, client: int) -> None:
        number = 0
        while not self._stopping.is_set():
            try:
                with closing(self.proxy.connect(TELEMETRY)) as connection:
                    while not self._stopping.is_set():
                        number += 1
                        self.post(connection, telemetry_body(client, number, seed=1))
                        self._stopping.wait(self.pause)
            except (OSError, http.client.HTTPException):
                self._stopping.wait(0.05)

    def post(self, connection: http.client.HTTPSConnection, body: bytes) -> str:
        """Send one message; return, and note, what became of it as far as the client knows."""
        digest, began = sha256(body), time.monotonic()
        if connection.sock is None:
            connection.connect()  # a message of which nothing left is none
        self.outcomes[digest] = CUT
        connection.request("POST", PATH, body=body)
        status = connection.getresponse()
        status.read()
        self.slowest = max(self.slowest, time.monotonic() - began)
        self.outcomes[digest] = outcome_of(status.status)
        return self.outcomes[digest]

    def probe(self) -> bool:
        """Send one message on a connection of its own: was it answered, and in the store by then?"""
        self._probes += 1
        body = telemetry_body(PROBE, self._probes, seed=1)
        try:
            with closing(self.proxy.connect(TELEMETRY)) as connection:
                outcome = self.post(connection, body)
        except (OSError, http.client.HTTPException):
            return False
        return outcome == ANSWERED and is_recorded(self.proxy.state, sha256(body))


def outcome_of(status: int) -> str:
    """What a response says became of its message."""
    if status == 503:
        return REFUSED
    return FAILED if status >= 400 else ANSWERED


def is_recorded(state: Path, digest: str) -> bool:
    """Is a message in the store, as another process sees it at this moment?"""
    with closing(sqlite3.connect(f"file:{state / STORE}?mode=ro", uri=True, timeout=0)) as database:
        query = f"SELECT 1 FROM {TABLE} WHERE {COLUMN} = ?"  # noqa: S608  constants
        return database.execute(query, (digest,)).fetchone() is not None
