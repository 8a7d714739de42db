"""All scenarios by name, with what each needs of the machine, and the way to run one."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from bench.faults import network_faults, overload, process_faults, store_faults
from bench.faults.stage import LONG, Lengths, Result
from tests.live_support import ROOT

Run = Callable[[Path, Lengths], Result]
SHORT_QUEUE = 4  # exchanges; far fewer than connections


@dataclass(frozen=True)
class Scenario:
    """`needs` says why it cannot run here; None if it can."""

    run: Run
    needs: Callable[[], str | None] = lambda: None
    mounts: bool = False  # runs in a mount namespace of its own


def needs_mounts() -> str | None:
    return None if store_faults.can_mount() else "no mount namespace is to be had (unshare -rm)"


def needs_strace() -> str | None:
    return None if store_faults.can_trace() else "strace cannot look into other processes here"


SCENARIOS: dict[str, Scenario] = {
    "kill9": Scenario(process_faults.kill9),
    "kill9-strict": Scenario(partial(process_faults.kill9, strict=True)),
    "disk-full": Scenario(store_faults.disk_full, needs_mounts, mounts=True),
    "disk-full-strict": Scenario(partial(store_faults.disk_full, strict=True), needs_mounts, mounts=True),
    "disk-full-sigterm": Scenario(partial(store_faults.disk_full, then_stop=True), needs_mounts, mounts=True),
    "read-only": Scenario(store_faults.read_only, needs_strace),
    "read-only-strict": Scenario(partial(store_faults.read_only, strict=True), needs_strace),
    "read-only-start": Scenario(store_faults.read_only_start, needs_mounts, mounts=True),
    "locked": Scenario(store_faults.locked),
    "locked-strict": Scenario(partial(store_faults.locked, strict=True)),
    "locked-sigterm": Scenario(partial(store_faults.locked, then_stop=True)),
    "slow-upstream": Scenario(network_faults.slow_upstream),
    "upstream-down": Scenario(network_faults.upstream_down),
    "slow-clients": Scenario(network_faults.slow_clients),
    "clock-step": Scenario(process_faults.clock_step),
    "sigterm": Scenario(process_faults.sigterm),
    "rotation": Scenario(process_faults.rotation),
    "overload": Scenario(overload.overload),
    "overload-short-queue": Scenario(partial(overload.overload, queue=SHORT_QUEUE)),
    "overload-strict": Scenario(partial(overload.overload, strict=True, queue=SHORT_QUEUE)),
}


def run_scenario(name: str, lengths: Lengths) -> Result:
    """Run one scenario in a folder of its own. Raises AssertionError where something does not happen in time."""
    if SCENARIOS[name].mounts:
        return _run_apart(name, ["--short"] if lengths.fault < LONG.fault else [])
    return run_here(name, lengths)


def run_here(name: str, lengths: Lengths) -> Result:
    with tempfile.TemporaryDirectory(prefix="mutewatch-faults-") as folder:
        return SCENARIOS[name].run(Path(folder), lengths)


def _run_apart(name: str, length: list[str]) -> Result:
    """In a mount namespace of its own, so that nothing is mounted anywhere else."""
    command = ["unshare", "-rm", sys.executable, "-m", "bench.faults", name, "--as-json", *length]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    if done.returncode:
        raise AssertionError(done.stderr[-6000:])
    return Result(**json.loads(done.stdout))


def as_json(result: Result) -> str:
    return json.dumps(asdict(result))
