"""Shared fixtures: where other people's measurements are, and what this machine can run."""

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of measurements that are not part of the project; tests that need it are skipped without it."""
    folder = Path(os.environ.get("MUTEWATCH_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no measurements at {folder} (set MUTEWATCH_SHARED)")
    return folder


@pytest.fixture(scope="session")
def tshark() -> str:
    """Path of tshark; tests that need it are skipped where it is not installed."""
    path = shutil.which("tshark")
    if path is None:
        pytest.skip("tshark is not installed")
    return path
