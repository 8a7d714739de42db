"""The measurements of the live proxy run, and balance; what they measure is in docs/performance.md."""

import subprocess
import sys

import pytest

from tests.live_support import ROOT


@pytest.mark.live
def test_the_books_of_a_short_soak_balance() -> None:
    command = [sys.executable, "-m", "bench.live.soak", "--minutes", "0.05", "--rate", "30", "--warm-up", "0"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "| answered | 90 |" in told.stdout
    assert "| received, not recorded | 0 |" in told.stdout


@pytest.mark.live
def test_what_a_message_costs_is_told_for_every_way() -> None:
    command = [sys.executable, "-m", "bench.live", "--messages", "32", "--rounds", "2"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    ways = [line.split("|")[1].strip() for line in told.stdout.splitlines() if line.count("|") == 6][2:]
    assert ways == [
        f"{kind}, {whose}" for kind in ("intercepted", "pass-through") for whose in ("bare mitmdump", "mutewatch")
    ]
    assert "times the CPU of bare mitmdump" in told.stdout
