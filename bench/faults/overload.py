"""Ten times as many messages as the proxy can do."""

import json
import os
import subprocess
import threading
from pathlib import Path

from addons.recorder import QUEUE_SIZE
from bench.faults.blast import Blast, command
from bench.faults.stage import Lengths, Result, Stage, stage
from tests.live_support import ROOT

TIMES = 10
CONNECTIONS = 100
MEMORY = 512  # MiB that the proxy may take, at most
CLIENTS = 8  # that measure what it can do; and go on meanwhile


def overload(folder: Path, lengths: Lengths, *, strict: bool = False, queue: int = QUEUE_SIZE) -> Result:
    """Measure the rate of ordinary clients, offer ten times that, and see the books balance and the proxy recover.

    Each connection is served one message after the other, so the queue can only fill if it is short of connections.
    """
    with stage(folder, strict=strict, live={"queue_size": queue}, clients=CLIENTS) as running:
        running.run_for(lengths.normal)
        rate = _rate(running, max(lengths.normal, 1.0))
        blast = Blast(running.proxy.port, str(running.proxy.ca_file), CONNECTIONS, TIMES * rate, lengths.blast)
        with _PeakMemory(running.proxy.process.pid) as memory:
            outcomes = _offer(blast)
            running.load.outcomes.update(outcomes)
            running.measure_recovery()
        running.run_for(lengths.normal)
        running.all_arrives = False  # a client that goes away takes what is on its way with it
        running.settle()
        running.faults["MiB above the bound"] = max(0, memory.peak - MEMORY)
        running.remark = (
            f"{rate:,.0f} a second before, {len(outcomes) / lengths.blast:,.0f} offered by {CONNECTIONS} connections; "
            f"proxy {memory.peak} MiB at its peak"
        )
        return running.result("overload" if queue == QUEUE_SIZE else f"overload, queue of {queue}")


def _rate(running: Stage, seconds: float) -> float:
    before = len(running.upstream.received)
    running.run_for(seconds)
    return (len(running.upstream.received) - before) / seconds


def _offer(blast: Blast) -> dict[str, str]:
    arguments, settings = command(blast)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(arguments, input=settings, capture_output=True, check=True, env=environment)
    outcomes: dict[str, str] = json.loads(done.stdout)
    return outcomes


class _PeakMemory:
    """Watches the resident memory of a process, MiB, ten times a second."""

    def __init__(self, pid: int) -> None:
        self.peak = 0
        self._file, self._done = Path(f"/proc/{pid}/status"), threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "_PeakMemory":
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.1):
            line = next(line for line in self._file.read_text().splitlines() if line.startswith("VmRSS"))
            self.peak = max(self.peak, int(line.split()[1]) // 1024)
