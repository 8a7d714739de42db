"""Measure what a message through the live proxy costs, beside bare mitmdump, in turns within one run.

    python -m bench.live                       # ratios of CPU, rate and latency, as in docs/performance.md

Keep-alive clients post telemetry messages over TLS through the proxy to a TLS server, all on this machine. The
proxy's own CPU time is the steadier number: rates suffer from everything else here. `pass-through` are the same
messages to a host that is none of ours, once without and once with the addon.
"""

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from addons.gate import allow_hosts
from addons.launch import addon_path
from addons.recorder import telemetry_hosts
from bench.faults.kill_live import PATH, telemetry_body
from tests.live_support import OTHER, TELEMETRY, Proxy, Scene, scene

CLIENTS: Final = 32
WARM_UP: Final = 20  # messages of each client before it counts
MINUTES: Final = 30  # of a call, each a message
TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass
class Load:
    """What the clients of one run saw, and what it cost the proxy."""

    latencies: list[float] = field(default_factory=list)  # seconds
    wall: float = 0
    cpu: float = 0

    @property
    def cpu_ms(self) -> float:
        """CPU time of the proxy for one message."""
        return self.cpu / len(self.latencies) * 1000

    def percentile_ms(self, percent: int) -> float:
        return statistics.quantiles(self.latencies, n=100)[percent - 1] * 1000


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / TICKS


@contextmanager
def bare(live: Scene, *, passes: bool) -> Iterator[Proxy]:
    """Mitmdump without the addon; `passes`: it opens the telemetry hosts only."""
    proxy = live.make()
    proxy.start_bare([f"--set=allow_hosts={regex}" for regex in allow_hosts(telemetry_hosts())] if passes else [])
    try:
        proxy.wait_ready()
        yield proxy
    finally:
        proxy.end()


def drive(proxy: Proxy, host: str, messages: int, trusting: Path | None) -> Load:
    """Send `messages` from all clients together; return what was measured behind the warm-up."""
    load, lock = Load(), threading.Lock()
    warm = threading.Barrier(CLIENTS + 1)

    def client(number: int) -> None:
        connection = proxy.connect(host, trusting)
        mine: list[float] = []
        for count in range(WARM_UP + messages // CLIENTS):
            if count == WARM_UP:
                warm.wait()
            body = telemetry_body(number, count, seed=1, minutes=MINUTES)
            began = time.perf_counter()
            connection.request("POST", PATH, body)
            connection.getresponse().read()
            mine.append(time.perf_counter() - began)
        connection.close()
        with lock:
            load.latencies += mine[WARM_UP:]

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    warm.wait()
    began, cpu = time.perf_counter(), cpu_seconds(proxy.process.pid)
    for thread in threads:
        thread.join()
    load.wall, load.cpu = time.perf_counter() - began, cpu_seconds(proxy.process.pid) - cpu
    return load


def measure(live: Scene, messages: int) -> dict[str, Load]:
    """One round: each way once."""
    found = {}
    outside = live.upstream.ca_file
    with bare(live, passes=False) as proxy:
        found["intercepted, bare mitmdump"] = drive(proxy, TELEMETRY, messages, None)
    with live.proxy(script=addon_path(), live={"activity": False}) as proxy:
        found["intercepted, mutewatch"] = drive(proxy, TELEMETRY, messages, None)
    with bare(live, passes=True) as proxy:
        found["pass-through, bare mitmdump"] = drive(proxy, OTHER, messages, outside)
    with live.proxy(script=addon_path(), live={"activity": False}) as proxy:
        found["pass-through, mutewatch"] = drive(proxy, OTHER, messages, outside)
    return found


def report(rounds: Sequence[dict[str, Load]]) -> None:
    print("\n| way | CPU ms a message | messages a second | p50 ms | p99 ms |\n|---|--:|--:|--:|--:|")
    for name in rounds[0]:
        loads = [one[name] for one in rounds]
        cpu = statistics.median(load.cpu_ms for load in loads)
        rate = statistics.median(len(load.latencies) / load.wall for load in loads)
        p50, p99 = (statistics.median(load.percentile_ms(percent) for load in loads) for percent in (50, 99))
        print(f"| {name} | {cpu:.3f} | {rate:,.0f} | {p50:.1f} | {p99:.1f} |")
    for kind in ("intercepted", "pass-through"):
        pairs = [(one[f"{kind}, bare mitmdump"], one[f"{kind}, mutewatch"]) for one in rounds]
        cpu = statistics.median(ours.cpu_ms / theirs.cpu_ms for theirs, ours in pairs)
        rate = statistics.median(theirs.wall / ours.wall for theirs, ours in pairs)
        print(f"\n{kind}: {cpu:.2f} times the CPU of bare mitmdump, {rate:.2f} times its rate (median of the rounds)")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.live", description="Measure the live proxy.")
    parser.add_argument("--messages", type=int, default=4_000, help="in each run")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    rounds = []
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory(prefix="mutewatch-bench-") as folder:
            confdir = Path(folder) / "ca"
            confdir.mkdir(mode=0o700)
            with scene(Path(folder), confdir) as live:
                rounds.append(measure(live, options.messages))
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
    report(rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
