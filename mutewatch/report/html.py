"""One HTML page for two uses: a file that stands alone, and the page that a server gives out beside `script`, `style`.

Rules: a file asks for nothing outside itself, and its Content-Security-Policy lets nothing run but what stands here,
by hash; no data stands in markup or script, only in blocks of JSON in which no `<` is left.
"""

import base64
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

FOLDER: Final = Path(__file__).parent
PAGE: Final = FOLDER / "page"
UPLOT: Final = FOLDER / "vendor/uplot"
# One scope: `state.js` before all that uses it while it loads, `page.js`, which begins, last.
PARTS: Final = (
    *("data.js", "draw.js", "day.js", "state.js"),
    *("answer.js", "clients.js", "minutes.js", "evidence.js", "words.js", "month.js", "page.js"),
)


def static_page(blocks: Iterable[tuple[str, Any]]) -> str:
    """Return a page that stands alone; `blocks`: ids and JSON-ready values, as `data.js` asks for them."""
    scripts = (_text(UPLOT / "uPlot.iife.min.js"), _own_script())
    return _template().render(
        mode="static",
        poll_ms=None,
        style_url=None,
        script_url=None,
        csp=content_policy(scripts, style()),
        style=Markup(style()),  # noqa: S704 (files of ours)
        scripts=[Markup(text) for text in scripts],  # noqa: S704
        blocks=((name, as_block(value)) for name, value in blocks),
    )


def content_policy(scripts: Iterable[str], sheet: str) -> Markup:
    """Return the Content-Security-Policy of a page in which nothing runs but these scripts, and loads nothing."""
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; "
        f"script-src {' '.join(map(_hash, scripts))}; style-src {_hash(sheet)}"
    )
    return Markup(policy)  # noqa: S704 (made of hashes)


def live_page(script_url: str, style_url: str, poll_ms: int = 10_000) -> str:
    """Return the page that asks its server for `api/overview`, `api/minutes` and `api/summary`, every `poll_ms`."""
    urls = {"script_url": script_url, "style_url": style_url}
    return _template().render(mode="live", poll_ms=poll_ms, csp=None, style=None, scripts=(), blocks=(), **urls)


@cache
def script() -> str:
    """Return all that runs in the served page."""
    return f"{_text(UPLOT / 'uPlot.iife.min.js')}\n{_own_script()}"


@cache
def style() -> str:
    """Return the style sheet of either page."""
    return _text(UPLOT / "uPlot.min.css") + _text(PAGE / "page.css")


def as_block(value: Any) -> Markup:
    """Return JSON that nothing in it can end: ASCII only, without `<`."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))  # noqa: S704 (no markup is left in it)


@cache
def _own_script() -> str:
    return '(() => {\n"use strict";\n' + "\n".join(_text(PAGE / name) for name in PARTS) + "})();\n"


def _template() -> Template:
    environment = Environment(loader=FileSystemLoader(PAGE), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("page.html.j2")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")
