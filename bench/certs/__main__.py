"""What a handshake costs the proxy, with our leaves and with those that mitmproxy mints, in turns within one run.

    python -m bench.certs

Clients connect by CONNECT, finish the handshake and go: to one host, whose leaf is there, and to ever new hosts, for
each of which one is minted. The proxies stand side by side and take turns; none connects to a server.
"""

import argparse
import itertools
import ssl
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bench.live.__main__ import bare, cpu_seconds, ours
from tests.live_support import TELEMETRY, Proxy, scene

LAZY: Final = "connection_strategy=lazy"
WARM_UP: Final = 20


def handshake_ms(proxy: Proxy, hosts: Iterator[str], count: int) -> float:
    """CPU time of the proxy for one connection, in milliseconds."""
    context = ssl.create_default_context(cafile=str(proxy.ca_file))
    began = cpu_seconds(proxy.process.pid)
    for host in itertools.islice(hosts, count):
        proxy.tunnel(host, host, context).close()
    return (cpu_seconds(proxy.process.pid) - began) / count * 1000


def new_hosts() -> Iterator[str]:
    return (f"tsa{number}.webex.com" for number in itertools.count(100))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.certs", description="Measure handshakes.")
    parser.add_argument("--connections", type=int, default=200, help="in each turn")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args(arguments)
    found: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="mutewatch-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        (folder / "ca").mkdir(mode=0o700)
        live = stack.enter_context(scene(folder, folder / "ca"))
        running = {
            "mitmdump": stack.enter_context(bare(live, LAZY)),
            "mutewatch": stack.enter_context(ours(live, "ours", LAZY)),
        }
        hosts = {
            (who, kind): itertools.repeat(TELEMETRY) if kind == "known" else new_hosts()
            for who in running
            for kind in ("known", "new")
        }
        for proxy in running.values():
            handshake_ms(proxy, itertools.repeat(TELEMETRY), WARM_UP)
        for _ in range(options.rounds):
            for (who, kind), names in hosts.items():
                found.setdefault((who, kind), []).append(handshake_ms(running[who], names, options.connections))
    print("| host | mitmdump, CPU ms a handshake | mutewatch | ratio (median of the rounds) |\n|---|--:|--:|--:|")
    for kind in ("known", "new"):
        bare_ms, our_ms = found["mitmdump", kind], found["mutewatch", kind]
        ratio = statistics.median(one / other for one, other in zip(our_ms, bare_ms, strict=True))
        print(f"| {kind} | {statistics.median(bare_ms):.2f} | {statistics.median(our_ms):.2f} | {ratio:.2f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
