"""Chromium with a page in it, watched: what it asks for and complains of, and whether what should not run ran."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")


@dataclass
class Watched:
    """One page. `faults`: errors of console and script, dialogs; `requests`: URLs."""

    page: Any
    faults: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def open(self, path: Path) -> None:
        """Open a file and wait until it has drawn itself."""
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("body[data-ready]", timeout=60_000)

    def expect(self, selector: str) -> Any:
        """What playwright waits for, without evaluating texts in the page: its policy forbids that."""
        from playwright.sync_api import expect

        return expect(self.page.locator(selector))

    def texts(self, selector: str) -> list[str]:
        return [text.strip() for text in self.page.locator(selector).all_inner_texts()]


@contextmanager
def browser() -> Iterator[Any]:
    """A browser; skipped by name where playwright or Chromium is not installed."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra 'test')")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=list(CHROMIUM))
        yield started
        started.close()


@contextmanager
def watched(started: Any, **options: Any) -> Iterator[Watched]:
    """A page in a context of its own. `options`: as playwright has them, for example color_scheme."""
    context = started.new_context(**{"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"} | options)
    page = context.new_page()
    it = Watched(page)
    page.on("console", lambda message: it.faults.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: it.faults.append(str(error)))
    page.on("request", lambda request: it.requests.append(request.url))

    def refuse(dialog: Any) -> None:
        it.faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    page.on("dialog", refuse)
    yield it
    context.close()
