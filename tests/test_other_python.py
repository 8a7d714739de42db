"""The gateway under Python 3.12, which has mitmproxy 12; CI's own Python 3.11 ends with mitmproxy 11.0.2.

A choice of the live tests: `make test-live-312` runs all.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIVE = (
    *("tests/test_addons_live.py", "tests/test_gateway_clients.py", "tests/test_gateway_browser.py"),
    *("tests/test_same_door_websocket.py", "tests/test_addons_websocket.py", "tests/test_apps_end_to_end.py"),
    *("tests/test_addons_lean.py", "tests/test_addons_first_bytes.py", "tests/test_addons_mends.py"),
)


def python312() -> str:
    """An interpreter that has what the tests need: $MUTEWATCH_PYTHON312, or one that is made from python3.12."""
    if sys.version_info >= (3, 12):
        pytest.skip("this is Python 3.12 already")
    if chosen := os.environ.get("MUTEWATCH_PYTHON312"):
        return chosen
    found = shutil.which("python3.12")
    if found is None or subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode:
        pytest.skip("no python3.12 on PATH, and MUTEWATCH_PYTHON312 names none")
    subprocess.run([shutil.which("make") or "make", ".venv312/.test"], cwd=ROOT, check=True)
    return str(ROOT / ".venv312" / "bin" / "python")


@pytest.mark.python312
def test_the_gateway_works_under_python_3_12_with_mitmproxy_12() -> None:
    python = python312()
    asked = "import sys, mitmproxy.version as v; print(sys.version_info[:2] == (3, 12), v.VERSION.split('.')[0])"
    told = subprocess.run([python, "-c", asked], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["True", "12"]
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *LIVE]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    told = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout[-4000:]
