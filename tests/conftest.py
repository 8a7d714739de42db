"""Shared fixtures: where other people's measurements are, and what this machine can run."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.live_support import Scene, scene
from tests.postgres_support import PostgreSQL, running_postgresql

ROOT = Path(__file__).resolve().parents[1]

# No deadline: a busy machine is no fault of the code. The same examples each time, so that what fails is the change;
# `pytest --hypothesis-profile search` looks for new ones.
settings.register_profile("search", deadline=None)
settings.register_profile("same", deadline=None, derandomize=True)
settings.load_profile("same")


@pytest.fixture(scope="session", autouse=True)
def settings_of_nobody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whoever runs the tests may have signatures of his own: they are not looked for there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("settings")))
        patch.delenv("MUTEWATCH_SIGNATURES_FOLDER", raising=False)
        patch.delenv("MUTEWATCH_SIGNATURES_WITHOUT", raising=False)
        yield


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


@pytest.fixture(scope="session")
def confdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the proxies of the tests keep their CA, which takes a while to make."""
    return tmp_path_factory.mktemp("ca")


@pytest.fixture
def live(tmp_path: Path, confdir: Path) -> Iterator[Scene]:
    """Upstream and relay for one test, and proxies made to measure."""
    with scene(tmp_path, confdir) as it:
        yield it


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL server; tests that need it are skipped where it is not installed."""
    with running_postgresql() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Where a new store is to be, in one database and in the other."""
    return new_location(request, tmp_path)


def new_location(request: pytest.FixtureRequest, folder: Path) -> Path | str:
    """Where a new store is to be, in the database that the parameter names."""
    if request.param == "sqlite":
        return folder / "s.db"
    server: PostgreSQL = request.getfixturevalue("postgresql")
    return server.new_place()
