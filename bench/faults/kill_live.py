"""What the faults share: messages that are told apart, the store they end up in, and SIGKILL at random moments.

`python -m bench.faults kill9` uses it. There the waiting time is a minute: a slow disk may make the proxy forward a
message unrecorded after its two seconds, by design and counted, and a kill then takes the count with it. With
`--record-timeout 0.001` messages leave before their commit, and many runs find some missing: the harness can.
"""

import base64
import contextlib
import gzip
import json
import random
import signal
import sqlite3
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.live_support import Proxy, Scene, wait_until

# where the store keeps what it recorded
STORE = "mutewatch.db"
TABLE = "messages"
COLUMN = "body_sha256"

LONGEST_RUN = 0.5  # seconds between the first message of a start and the kill
LONGEST_START = 1.5  # seconds; a start takes one to two
SLOWEST_START = 120.0  # seconds, on a machine that has more to do
WHILE_STARTING = 0.2  # of the kills, about
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


def recorded_hashes(state: Path) -> tuple[set[str], str]:
    """Return the hashes in the store, and SQLite's verdict on the file."""
    with contextlib.closing(sqlite3.connect(state / STORE)) as database:
        hashes = {row[0] for row in database.execute(f"SELECT {COLUMN} FROM {TABLE}")}  # noqa: S608  constants
        return hashes, database.execute("PRAGMA integrity_check").fetchone()[0]


def kill_at_random(live: Scene, proxy: Proxy, kills: int, chance: random.Random) -> None:
    """Kill and restart `kills` times, each time after traffic has flowed again, or while the proxy starts."""
    starting = False
    for _ in range(kills):
        if starting:
            time.sleep(chance.uniform(0, LONGEST_START))
        else:
            proxy.wait_ready(SLOWEST_START)
            seen = len(live.upstream.received)
            wait_until(lambda seen=seen: len(live.upstream.received) > seen, "traffic flows", SLOWEST_START)  # type: ignore[misc]
            time.sleep(chance.uniform(0, LONGEST_RUN))
        proxy.stop(signal.SIGKILL)
        proxy.start()
        starting = chance.random() < WHILE_STARTING
    proxy.wait_ready(SLOWEST_START)
