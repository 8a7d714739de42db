"""`mutewatch serve` as its own process, and a Chromium that keeps a record of what it asked for."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Server:
    """A running server: where it is, and the link it printed, if it did."""

    url: str
    link: str | None
    process: "subprocess.Popen[str]"


def command(state: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "mutewatch", "serve", "--state", str(state), *options]


@contextmanager
def running(state: Path, *options: str, listen: str = "127.0.0.1:0") -> Iterator[Server]:
    """Start a server on a port of its own choice, and end it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = command(state, "--listen", listen, *options)
    with subprocess.Popen(started, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout
            first = process.stdout.readline()
            assert first.startswith("Serving at "), first
            has_link = "--no-token" not in options and not (state / "serve.tokens").exists()
            link = [process.stdout.readline() for _ in range(2)][1].strip() if has_link else None
            yield Server(first.split()[2].rstrip("/"), link, process)
        finally:
            process.terminate()
            process.wait(20)


@dataclass
class Watched:
    """A page of a browser of its own, what it asked for, and what it complained of."""

    page: "Page"
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@contextmanager
def chromium(**context: Any) -> Iterator[Watched]:
    """A real browser; skipped by name where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra 'test')")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("chromium is not installed")
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with playwright.sync_playwright() as drives:
        browser = drives.chromium.launch(executable_path=path, args=arguments)
        page = browser.new_context(**context).new_page()
        watched = Watched(page)
        page.on("request", lambda request: watched.requests.append(request.url))
        page.on("pageerror", lambda error: watched.complaints.append(str(error)))
        page.on("console", lambda said: watched.complaints.append(said.text) if said.type == "error" else None)
        yield watched
        browser.close()
