"""What happens to the store: its disk is full or read-only, or somebody else holds its lock."""

import contextlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.faults.kill_live import STORE
from bench.faults.stage import Lengths, Result, Stage, stage
from tests.live_support import Proxy, wait_until

DISK = "12m"  # the store, its WAL of 4 MB at most, and something to fill
FAILED_COMMIT = "commit of"  # what the proxy logs of each failed commit
READ_ONLY_CALLS = "pwrite64,ftruncate,fallocate"  # with which SQLite changes files


def disk_full(folder: Path, lengths: Lengths, *, strict: bool = False, then_stop: bool = False) -> Result:
    """The file system of the state directory is full for a while. Needs a mount namespace of its own."""
    state = folder / "state"
    with tmpfs(state), stage(folder, strict=strict, live=quick(lengths)) as running:
        running.run_for(lengths.normal)
        with filled(state):
            fault(running, lengths.fault)
            if then_stop:
                return stopped_within(running, "disk-full, SIGTERM")
        recovered(running, lengths)
        return running.result("disk-full")


def locked(folder: Path, lengths: Lengths, *, strict: bool = False, then_stop: bool = False) -> Result:
    """Another process holds the lock of the store, for longer than SQLite waits for it."""
    with stage(folder, strict=strict, live=quick(lengths)) as running:
        running.run_for(lengths.normal)
        with lock(running.proxy.state / STORE):
            fault(running, lengths.fault)
            if then_stop:
                return stopped_within(running, "locked, SIGTERM")
        recovered(running, lengths)
        return running.result("locked")


def read_only(folder: Path, lengths: Lengths, *, strict: bool = False) -> Result:
    """Writing to the store's files fails with EROFS. A remount is not possible while they are open for writing."""
    with stage(folder, strict=strict, live=quick(lengths)) as running:
        running.run_for(lengths.normal)
        with unwritable(running.proxy):
            fault(running, lengths.fault)
        recovered(running, lengths)
        return running.result("read-only")


def read_only_start(folder: Path, lengths: Lengths) -> Result:
    """A proxy on a read-only state directory must say so and end, and not forward anything; later it starts."""
    state = folder / "state"
    with tmpfs(state), stage(folder) as running:
        running.run_for(lengths.normal)
        running.stop_proxy()
        counters = running.final_counters()
        subprocess.run(["mount", "-o", "remount,ro", state], check=True)
        seen, said = len(running.upstream.received), len(running.proxy.text())
        running.proxy.start()
        code = running.proxy.process.wait(30)
        told = re.findall(r"OptionsError: (.*)", running.proxy.text()[said:])
        running.faults["started all the same, or did not say why"] = int(code == 0 or not told)
        running.faults["forwarded without a store"] = len(running.upstream.received) - seen
        subprocess.run(["mount", "-o", "remount,rw", state], check=True)
        running.proxy.start()
        running.proxy.wait_ready()
        recovered(running, lengths)
        running.counters = dict(Counter(counters) + Counter(running.final_counters()))
        running.counters = dict.fromkeys(counters, 0) | running.counters
        running.remark = told[-1].replace(str(state), "STATE") if told else ""
        return running.result("read-only start")


def quick(lengths: Lengths) -> dict[str, float]:
    """Messages must wait in vain also in the short form."""
    return {"record_timeout": min(2.0, lengths.fault / 3)}


def fault(running: Stage, seconds: float) -> None:
    """Wait until the fault bites, then as long as it is to last."""
    wait_until(lambda: FAILED_COMMIT in running.proxy.text(), "a commit fails")
    running.load.slowest = 0.0
    time.sleep(seconds)


def recovered(running: Stage, lengths: Lengths) -> None:
    running.measure_recovery()
    running.run_for(lengths.normal)
    running.settle()


def stopped_within(running: Stage, name: str) -> Result:
    """SIGTERM while the store is away: what cannot be recorded any more must be counted somewhere that lasts."""
    running.all_arrives = False  # some of what is lost never left: its connection ended first
    running.stop_proxy()
    running.load.stop()
    told = re.findall(r"counters at the stop: (\{.*\})", running.proxy.text())
    if told:  # where the status file cannot be written
        running.counters = json.loads(told[-1])
    return running.result(name)


@contextmanager
def tmpfs(folder: Path) -> Iterator[None]:
    """A small file system of its own at `folder`. Only inside a mount namespace (see `__main__.py`)."""
    folder.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=0700", "none", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """No byte is left in the file system of `folder`."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"\0" * 4096):
            pass
    try:
        yield
    finally:
        ballast.unlink()


@contextmanager
def lock(database: Path) -> Iterator[None]:
    with contextlib.closing(sqlite3.connect(database, isolation_level=None, timeout=30)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield


@contextmanager
def unwritable(proxy: Proxy) -> Iterator[None]:
    """Each attempt of the proxy to change a file of the store fails with EROFS, as on a disk gone read-only."""
    files = [str(proxy.state / (STORE + suffix)) for suffix in ("", "-wal", "-shm")]
    paths = [argument for file in files for argument in ("-P", file)]
    inject = ["-e", f"trace={READ_ONLY_CALLS}", "-e", f"inject={READ_ONLY_CALLS}:error=EROFS"]
    tracer = subprocess.Popen(
        ["strace", "-f", "-q", "-o", os.devnull, *paths, *inject, "-p", str(proxy.process.pid)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        tracer.terminate()
        tracer.wait(20)


def can_mount() -> bool:
    """May this user have a mount namespace of its own?"""
    return shutil.which("unshare") is not None and _works(["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"])


def can_trace() -> bool:
    """May strace look into a process that it did not start?"""
    if shutil.which("strace") is None:
        return False
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        tracer = ["strace", "-q", "-o", os.devnull, "-p", str(other.pid)]
        with subprocess.Popen(tracer, stderr=subprocess.DEVNULL) as tracing:
            time.sleep(0.3)
            works = tracing.poll() is None
            tracing.terminate()
        other.communicate(b"\n")
    return works


def _works(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
