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
