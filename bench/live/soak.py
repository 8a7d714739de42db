"""Run the live proxy for long under the load of a large site, and hold every message and megabyte against it.

    python -m bench.live.soak --minutes 60 --rate 167      # 10,000 clients with a message a minute
    python -m bench.live.soak --clients 500 --warm-up 12   # as many messages of few: what does memory owe to each?

The clients do not wait for each other: each message has its time, and its latency counts from that time on. At
the end messages sent, received upstream and recorded must be the same, and the counters of every exception zero.
Memory is fitted with a line behind the warm-up, which is as long as a call takes to reach its full size.
"""

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from addons.launch import addon_path
from bench.faults.kill_live import PATH, recorded_hashes, telemetry_body
from bench.live.__main__ import cpu_seconds
from tests.live_support import TELEMETRY, Proxy, scene

CONNECTIONS: Final = 64
SAMPLE_SECONDS: Final = 5
EXCEPTIONS: Final = ("unrecorded", "dropped", "lost", "refused", "streamed", "too_large", "cut", "hook_errors")


@dataclass
class Load:
    """Messages with a time each, spread over keep-alive connections."""

    proxy: Proxy
    clients: int
    rate: float
    seconds: float
    latencies: list[float] = field(default_factory=list)  # seconds since the message was due
    failures: list[str] = field(default_factory=list)

    def run(self) -> None:
        began = time.monotonic()
        threads = [threading.Thread(target=self._connection, args=(lane, began)) for lane in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _connection(self, lane: int, began: float) -> None:
        connection = self.proxy.connect(TELEMETRY)
        for number in range(lane, int(self.rate * self.seconds), CONNECTIONS):
            due = began + number / self.rate
            time.sleep(max(0.0, due - time.monotonic()))
            client, minute = number % self.clients, number // self.clients
            body = telemetry_body(client, minute, seed=1, minutes=10**6, at=datetime.now(UTC))
            try:
                connection.request("POST", PATH, body)
                status = connection.getresponse()
                status.read()
            except OSError as error:
                self.failures.append(type(error).__name__)
                connection.close()
                connection = self.proxy.connect(TELEMETRY)
            else:
                self.latencies.append(time.monotonic() - due)
        connection.close()


@dataclass
class Watch:
    """Memory of a process over time."""

    pid: int
    samples: list[tuple[float, float]] = field(default_factory=list)  # seconds, MiB
    stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        began = time.monotonic()
        while not self.stopping.wait(SAMPLE_SECONDS):
            pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
            self.samples.append((time.monotonic() - began, pages * 4096 / (1 << 20)))

    def every(self, seconds: float) -> str:
        """MiB after each so many seconds."""
        counted = [size for _, size in self.samples[:: max(1, round(seconds / SAMPLE_SECONDS))]]
        return ", ".join(f"{size:.1f}" for size in counted)

    def slope(self, warm_up: float) -> float:
        """MiB an hour behind the warm-up (seconds); not a number where too little is left."""
        times, sizes = np.array([sample for sample in self.samples if sample[0] > warm_up]).reshape(-1, 2).T
        return float(np.polyfit(times / 3600, sizes, 1)[0]) if len(times) > 2 else float("nan")


def soak(folder: Path, minutes: float, rate: float, warm_up: float, clients: int) -> bool:
    """Do all of it in `folder` and print the table; return whether the books balance."""
    confdir = folder / "ca"
    confdir.mkdir(mode=0o700)
    with scene(folder, confdir) as live, live.proxy(script=addon_path(), live={"activity": False}) as proxy:
        load = Load(proxy, clients=clients, rate=rate, seconds=minutes * 60)
        watch = Watch(proxy.process.pid)
        watching = threading.Thread(target=watch.run)
        watching.start()
        load.run()
        watch.stopping.set()
        watching.join()
        cpu = cpu_seconds(proxy.process.pid)
        status = proxy.wait_status(pending=0)
        proxy.stop()
        received = set(live.upstream.hashes)
    recorded, integrity = recorded_hashes(proxy.state)
    exceptions = {name: status[name] for name in EXCEPTIONS}
    p50, p99, most = np.percentile(load.latencies, [50, 99, 100]) * 1000
    rows = {
        "minutes, messages a second": f"{minutes:g}, {rate:g}",
        "answered": f"{len(load.latencies):,}",
        "received upstream": f"{len(received):,}",
        "recorded": f"{len(recorded):,}",
        "received, not recorded": f"{len(received - recorded):,}",
        "recorded, not received": f"{len(recorded - received):,}",
        "failures of clients": f"{len(load.failures):,} {sorted(set(load.failures))}",
        "exceptions counted": str({name: count for name, count in exceptions.items() if count} or "none"),
        "latency p50, p99, most": f"{p50:.0f}, {p99:.0f}, {most:.0f} ms",
        "commits": f"{status['commits']:,}",
        "CPU of the proxy": f"{cpu / (minutes * 60):.0%} of one core",
        "memory every 5 min": f"{watch.every(300)} MiB",
        f"memory slope behind {warm_up / 60:g} min": f"{watch.slope(warm_up):+.1f} MiB/h",
        "integrity of the store": integrity,
    }
    print("\n".join(f"| {name} | {value} |" for name, value in rows.items()))
    return received == recorded and not load.failures and not any(exceptions.values()) and integrity == "ok"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.live.soak", description="Run the live proxy for long.")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=float, default=167, help="messages a second")
    parser.add_argument("--clients", type=int, help="how many send them (default: as many as one a minute makes)")
    parser.add_argument("--warm-up", type=float, default=24, help="minutes before memory counts")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="mutewatch-soak-") as folder:
        clients = options.clients or max(1, round(options.rate * 60))
        return 0 if soak(Path(folder), options.minutes, options.rate, options.warm_up * 60, clients) else 1


if __name__ == "__main__":
    sys.exit(main())
