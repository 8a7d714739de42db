"""The house files: what CI, installers and newcomers rely on."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_dependency_has_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for requirement in PROJECT["project"]["dependencies"]:
        line = next(line for line in text.splitlines() if f'"{requirement}"' in line)
        assert "#" in line, f"{requirement}: why?"


def test_the_wheel_holds_every_room_and_the_data_files(tmp_path: Path) -> None:
    hatchling = pytest.importorskip("hatchling", reason="hatchling is not installed (extra 'dev')")
    assert hatchling
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    listed = subprocess.run([sys.executable, "-m", "zipfile", "-l", wheel], capture_output=True, text=True, check=True)
    held = {line.split()[0] for line in listed.stdout.splitlines()[1:]}
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    expected = {str(path.relative_to(ROOT)) for name in packages for path in (ROOT / name).rglob("*.py")}
    expected |= {"mutewatch/sample/meeting.pcapng", "mutewatch/signatures/webex_tsa_v1.toml"}
    expected |= {str(path.relative_to(ROOT)) for path in (ROOT / "classifier/weights").iterdir()}
    expected |= {f"mutewatch/signatures/data/{name}.toml" for name in ("apps", "skeleton")}
    expected |= {"classifier/configuration.toml", "mutewatch/py.typed"}
    expected |= {f"mutewatch/serve/login.{kind}" for kind in ("html", "css", "js")}
    expected |= {str(path.relative_to(ROOT)) for path in (ROOT / "mutewatch/report").rglob("*.[jhc][2s]*")}
    expected |= {str(path.relative_to(ROOT)) for path in (ROOT / "mutewatch/discover/page").iterdir()}
    assert expected - held == set()


def test_the_changelog_names_the_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## ({re.escape(PROJECT['project']['version'])}|Unreleased)", changelog, re.MULTILINE)
