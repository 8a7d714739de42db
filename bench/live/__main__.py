"""Measure what a message through the live proxy costs, beside bare mitmdump, in turns within one run.

    python -m bench.live                       # ratios of CPU, rate and latency, as in docs/performance.md

Keep-alive clients post telemetry messages over TLS through the proxy to a TLS server, all on this machine. All
proxies stand side by side, and take a burst of messages each, in turns, so that a slow minute of the machine is
slow for all. The proxy's own CPU time is the steadier number: rates suffer from everything else here. `pass-through`
are the same messages to a host that is none of ours, once without and once with the addon.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from addons.gate import allow_hosts
from addons.launch import addon_path
from bench.faults.kill_live import PATH, telemetry_body
from mutewatch.signatures import telemetry_hosts
from tests.live_support import OTHER, TELEMETRY, Proxy, Scene, scene

CLIENTS: Final = 32
WARM_UP: Final = 20  # messages of each client before the first burst, a minute each
LONG_CALL: Final = 10**6  # minutes; it does not end here


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
    """CPU time of a process so far, by its own clock (clock_getcpuclockid(3)): /proc counts in ticks of 10 ms."""
    return time.clock_gettime((~pid << 3) | 2)


@contextmanager
def bare(live: Scene, *options: str) -> Iterator[Proxy]:
    """Mitmdump without the addon; `options`: further ones of mitmproxy, "name=value"."""
    proxy = live.make()
    proxy.start_bare([f"--set={option}" for option in options])
    try:
        proxy.wait_ready()
        yield proxy
    finally:
        proxy.end()


class Clients:
    """Keep-alive connections through one proxy, each with a thread and a long call of its own."""

    def __init__(self, proxy: Proxy, host: str, trusting: Path | None) -> None:
        self.proxy = proxy
        self._connections = [proxy.connect(host, trusting) for _ in range(CLIENTS)]
        self._sent = 0  # by each
        self.burst(WARM_UP, behind=timedelta(minutes=WARM_UP))

    def burst(self, each: int, behind: timedelta = timedelta()) -> Load:
        """Send `each` messages from all clients together; return what that took.

        `behind`: the first is of a minute so long ago, the others of the minutes after it.
        """
        load, first = Load(), self._sent
        self._sent += each

        def client(number: int) -> list[float]:
            latencies = []
            for count in range(each):
                at = datetime.now(UTC) - max(timedelta(), behind - timedelta(minutes=count))
                body = telemetry_body(number, first + count, seed=1, minutes=LONG_CALL, at=at)
                began = time.perf_counter()
                self._connections[number].request("POST", PATH, body)
                self._connections[number].getresponse().read()
                latencies.append(time.perf_counter() - began)
            return latencies

        began, cpu = time.perf_counter(), cpu_seconds(self.proxy.process.pid)
        with ThreadPoolExecutor(CLIENTS) as pool:
            load.latencies = [latency for latencies in pool.map(client, range(CLIENTS)) for latency in latencies]
        load.wall, load.cpu = time.perf_counter() - began, cpu_seconds(self.proxy.process.pid) - cpu
        return load

    def close(self) -> None:
        for connection in self._connections:
            connection.close()


@contextmanager
def all_ways(live: Scene) -> Iterator[dict[str, Clients]]:
    """Every proxy that is measured, side by side, with its clients."""
    outside = live.upstream.ca_file
    gates = [f"allow_hosts={regex}" for regex in allow_hosts(telemetry_hosts())]
    with ExitStack() as stack:
        ways = {
            "intercepted, bare mitmdump": (stack.enter_context(bare(live)), TELEMETRY, None),
            "intercepted, mutewatch": (stack.enter_context(ours(live, "intercepts")), TELEMETRY, None),
            "pass-through, bare mitmdump": (stack.enter_context(bare(live, *gates)), OTHER, outside),
            "pass-through, mutewatch": (stack.enter_context(ours(live, "passes")), OTHER, outside),
        }
        clients = {name: Clients(*way) for name, way in ways.items()}
        for one in clients.values():
            stack.callback(one.close)
        yield clients


def ours(live: Scene, name: str, *options: str) -> AbstractContextManager[Proxy]:
    """The addon as it ships, with a state directory of its own, called `name`."""
    apart = replace(live, folder=live.folder / name)
    apart.folder.mkdir()
    return apart.proxy(script=addon_path(), live={"activity": False}, extra=options)


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
    parser.add_argument("--messages", type=int, default=1_280, help="in each burst")
    parser.add_argument("--rounds", type=int, default=9, help="of one burst through each proxy")
    options = parser.parse_args(arguments)
    rounds = []
    with tempfile.TemporaryDirectory(prefix="mutewatch-bench-") as folder:
        confdir = Path(folder) / "ca"
        confdir.mkdir(mode=0o700)
        with scene(Path(folder), confdir) as live, all_ways(live) as ways:
            for number in range(options.rounds):
                rounds.append({name: clients.burst(options.messages // CLIENTS) for name, clients in ways.items()})
                print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
    report(rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
