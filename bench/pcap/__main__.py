"""Measure how fast a large capture is read, beside tshark, pyshark, tcpdump and `cat`, on the same file in one run.

    python -m bench.pcap                                # 700 MB, as in docs/performance.md
    python -m bench.pcap --sizes 100 700 3000 --only ours

Builds captures of these sizes (MB), as pcap and as pcapng, with 1,060 telemetry messages each; runs each
reader `--repeat` times in a process of its own and prints the best wall time, CPU time and peak memory, and
the ratios. The bodies that ours finds are compared with those that were sent: exit code 1 if any differ.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from bench.pcap.build import Built, build_both
from tests.captures.conversations import HOST

MB: Final = 10**6
FILTER: Final = "net 198.51.100.0/24 and tcp port 443"  # the addresses of the telemetry servers
OURS: Final = "mutewatch"


@dataclass(frozen=True, slots=True)
class Run:
    """What one reader took: seconds, and bytes at the peak."""

    wall: float
    cpu: float
    peak: int
    printed: bytes


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to read the capture."""

    name: str
    command: tuple[str, ...]

    @property
    def is_here(self) -> bool:
        return shutil.which(self.command[0]) is not None


def contenders(capture: Path, pcapng: Path, keylog: Path) -> Iterator[Contender]:
    """All ways, the fastest first."""
    python, keys = sys.executable, f"tls.keylog_file:{keylog}"
    yield Contender("cat", ("cat", str(capture)))
    yield Contender("tcpdump, one filter pass", ("tcpdump", "-n", "-r", str(capture), "-w", os.devnull, FILTER))
    native = (python, "-m", "bench.pcap.read_native")
    yield Contender(OURS, (*native, str(capture), str(keylog), HOST))
    yield Contender(f"{OURS}, pcapng", (*native, str(pcapng), str(keylog), HOST))
    wanted = "http.request or http2.headers.method"
    yield Contender(
        "tshark, one pass",
        ("tshark", "-r", str(capture), "-o", keys, "-Y", wanted, "-T", "fields", "-e", "http.file_data"),
    )
    yield Contender("pyshark", (python, "-m", "bench.pcap.read_pyshark", str(capture), str(keylog), wanted))


def builder() -> ProcessPoolExecutor:
    """Another process, so that this one stays small: a child's peak memory counts from what its parent had."""
    return ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn"))


def measure(contender: Contender, repeat: int) -> Run:
    """Run it `repeat` times and return the fastest. Raises CalledProcessError if it fails."""
    runs = []
    for _ in range(repeat):
        with tempfile.TemporaryFile() as printed:
            began = time.perf_counter()
            process = subprocess.Popen(
                contender.command, stdout=printed, stderr=subprocess.DEVNULL, env=_as_installed()
            )
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - began
            if status:
                raise subprocess.CalledProcessError(os.waitstatus_to_exitcode(status), contender.command)
            printed.seek(0)
            told = printed.read() if contender.name.startswith(OURS) else b""
            # of the process and of the children that it waited for
            runs.append(Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, told))
    return min(runs, key=lambda run: run.wall)


def _as_installed() -> dict[str, str]:
    """The environment of a reader: Python keeps its bytecode, as it does where a package is installed."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def is_exact(built: Built, printed: bytes) -> bool:
    """Did ours print the hashes of the bodies that were sent, each as often as it was sent, and no other?"""
    return Counter(printed.decode().split()) == Counter(sha256(body).hexdigest() for body in built.bodies)


def report(size: int, built: Built, runs: dict[str, Run]) -> None:
    """Print one table, in Markdown."""
    ours, share = runs[OURS], built.telemetry_bytes / size
    print(f"\n{size / MB:,.0f} MB, {built.packets:,} packets, {len(built.bodies):,} telemetry messages ({share:.1%})\n")
    print("| reader | wall s | CPU s | MB/s | peak MB | ours is faster by |\n|---|--:|--:|--:|--:|--:|")
    for name, run in runs.items():
        speed = size / MB / run.wall
        ratio = "" if name == OURS else f"{run.wall / ours.wall:.2f}"
        print(f"| {name} | {run.wall:.2f} | {run.cpu:.2f} | {speed:,.0f} | {run.peak / MB:.0f} | {ratio} |")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.pcap", description="Measure the capture engine.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[700], help="MB of the captures")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=[], help="beginnings of the names of the readers to run")
    options = parser.parse_args(arguments)
    only = tuple(OURS if name == "ours" else name for name in options.only)
    exact = True
    with tempfile.TemporaryDirectory(prefix="mutewatch-bench-") as made, builder() as pool:
        for megabytes in options.sizes:
            capture = Path(made) / f"{megabytes}.pcap"
            built = pool.submit(build_both, capture, megabytes * MB).result()
            runs = {}
            for contender in contenders(capture, capture.with_suffix(".pcapng"), capture.with_suffix(".keys")):
                if not contender.is_here or (only and not contender.name.startswith(only)):
                    continue
                repeat = options.repeat if contender.name.startswith((OURS, "cat", "tcpdump")) else 1
                runs[contender.name] = run = measure(contender, repeat)
                if contender.name.startswith(OURS) and not is_exact(built, run.printed):
                    exact = False
                    print(f"{contender.name}: NOT all messages, or not byte for byte")
            report(capture.stat().st_size, built, runs)
            for path in Path(made).iterdir():
                path.unlink()
    print("\nall messages were found, byte for byte" if exact else "")
    return 0 if exact else 1


if __name__ == "__main__":
    sys.exit(main())
