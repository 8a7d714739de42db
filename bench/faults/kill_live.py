"""Kill the proxy with SIGKILL again and again under load, and look for a message that got away unrecorded.

    python -m bench.faults.kill_live --kills 20 --seed 1

Several keep-alive clients post unique bodies to a telemetry host through a real mitmdump. At random (seeded)
moments the proxy is killed and started again on the same store. At the end every body that the upstream
server received must be in the store, by SHA-256: exit code 1 if one is missing, or nothing was killed.

The waiting time is set to a minute here: a slow disk may make the proxy forward a message unrecorded after
its two seconds, by design and counted, and that is not what is measured. With `--record-timeout 0.001`
messages leave before their commit, and many runs find some missing: that shows that the harness can.
"""

import argparse
import base64
import contextlib
import gzip
import json
import random
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from addons.launch import addon_path
from tests.live_support import TELEMETRY, Proxy, Scene, scene, wait_until

# where the store keeps what it recorded
STORE = "mutewatch.db"
TABLE = "messages"
COLUMN = "body_sha256"

CLIENTS = 4
LONGEST_RUN = 0.5  # seconds between the first message of a start and the kill
PATH = "/metric/v1"
GAINS = ("audioMaxGain", "audioMeanGain", "audioMinGain")
FIRST = datetime(2026, 1, 5, 9, 1, tzinfo=UTC)


def telemetry_body(client: int, number: int, seed: int, minutes: int = 1, at: datetime | None = None) -> bytes:
    """Return a unique body as the Webex client sends it; every call of a client has so many `minutes`.

    With one, each message is a call of its own: many clients with a message each, not one whose clock races.
    `at`: what the client's clock says; else its calls begin at one time.
    """
    call, minute = f"call-{seed}-{client}-{number // minutes}", number % minutes
    at = at or FIRST + timedelta(minutes=minute)
    sent_at = f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"
    levels = dict(zip(GAINS, (41 + number % 5, 33 + number % 7, 20 + number % 9), strict=True))
    event = {
        "name": "client.mediaquality.event",
        "identifiers": {"correlationId": call, "webexUserId": f"user-{call}"},
        "intervals": [{"intervalNumber": minute + 1, "audioTransmit": [{"levels": levels}]}],
    }
    inner = json.dumps({"event": event, "originTime": {"sent": sent_at}}).encode()
    packed = base64.b64encode(gzip.compress(inner, mtime=0)).decode()
    element = {"cid": call, "t": "wmequality", "ts": sent_at, "v": {"gzipb64data": packed}}
    return json.dumps({"telemetrics": [element]}).encode()


@dataclass
class Load:
    """Clients that keep posting, whatever happens to the proxy."""

    proxy: Proxy
    seed: int
    stopping: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        self.threads = [threading.Thread(target=self._run, args=(client,)) for client in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join(30)

    def _run(self, client: int) -> None:
        number = 0
        while not self.stopping.is_set():
            with contextlib.suppress(OSError):
                connection = self.proxy.connect(TELEMETRY)
                try:
                    while not self.stopping.is_set():
                        number += 1
                        connection.request("POST", PATH, body=telemetry_body(client, number, self.seed))
                        connection.getresponse().read()
                finally:
                    connection.close()
            self.stopping.wait(0.02)


@dataclass(frozen=True)
class Result:
    kills: int
    received: int
    recorded: int
    missing: int
    cut_short: int
    unsent: int
    integrity: str
    seconds: float

    def table(self) -> str:
        rows = [
            ("kills", self.kills),
            ("bodies the upstream received", self.received),
            ("bodies recorded", self.recorded),
            ("headers received, body cut short", self.cut_short),
            ("received, not recorded", self.missing),
            ("recorded, not received (killed in between)", self.unsent),
            ("integrity of the store", self.integrity),
            ("seconds", f"{self.seconds:.0f}"),
        ]
        return "\n".join(f"{name:<44}{value:>12}" for name, value in rows)


def recorded_hashes(state: Path) -> tuple[set[str], str]:
    """Return the hashes in the store, and SQLite's verdict on the file."""
    with contextlib.closing(sqlite3.connect(state / STORE)) as database:
        hashes = {row[0] for row in database.execute(f"SELECT {COLUMN} FROM {TABLE}")}  # noqa: S608  constants
        return hashes, database.execute("PRAGMA integrity_check").fetchone()[0]


def kill_at_random(live: Scene, proxy: Proxy, kills: int, chance: random.Random) -> None:
    """Kill and restart `kills` times, each time after traffic has flowed again."""
    for _ in range(kills):
        seen = len(live.upstream.received)
        wait_until(lambda seen=seen: len(live.upstream.received) > seen, "traffic flows")  # type: ignore[misc]
        time.sleep(chance.uniform(0, LONGEST_RUN))
        proxy.stop(signal.SIGKILL)
        proxy.start()
        proxy.wait_ready()


def run(kills: int, seed: int, folder: Path, script: Path, record_timeout: float = 60) -> Result:
    """Do all of it in `folder`."""
    begun = time.monotonic()
    with scene(folder, folder / "ca") as live:
        proxy = live.make(script=script, live={"record_timeout": record_timeout, "activity": False})
        proxy.start()
        load = Load(proxy, seed)
        try:
            proxy.wait_ready()
            load.start()
            kill_at_random(live, proxy, kills, random.Random(seed))
            seen = len(live.upstream.received)
            wait_until(lambda: len(live.upstream.received) > seen, "traffic flows after the last kill")
        finally:
            load.stop()
            proxy.stop()
        received = set(live.upstream.hashes)
    recorded, integrity = recorded_hashes(proxy.state)
    return Result(
        kills,
        len(received),
        len(recorded),
        len(received - recorded),
        live.upstream.cut_short,
        len(recorded - received),
        integrity,
        time.monotonic() - begun,
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Kill the live proxy under load and look for lost messages.")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--record-timeout", type=float, default=60.0, help="seconds; with 0.001 most runs show losses")
    parser.add_argument("--script", type=Path, default=addon_path(), help="what mitmdump loads")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        result = run(chosen.kills, chosen.seed, Path(folder), chosen.script, chosen.record_timeout)
    print(result.table())
    return 1 if result.missing or not result.received or result.integrity != "ok" else 0


if __name__ == "__main__":
    sys.exit(main())
