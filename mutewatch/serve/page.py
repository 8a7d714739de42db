"""The page itself, and the scripts and styles of all pages: under names that hold their hash, so kept for good."""

import re
from hashlib import sha256
from html import escape
from importlib.resources import files
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from mutewatch.report.html import live_page, script, style
from mutewatch.report.payload import Role
from mutewatch.serve.desk import Desk
from mutewatch.serve.reading import StoreAwayError

KEPT: Final = {"Cache-Control": "public, max-age=31536000, immutable"}
AGAIN_SECONDS: Final = 10
LOGIN_REMARK: Final = "<!-- remark -->"


class Assets:
    """Files of our own that pages ask for, by name."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[bytes, str]] = {}
        self.page_script = self._add("page.js", script(), "text/javascript")
        self.page_style = self._add("page.css", style(), "text/css")
        self.login_script = self._add("login.js", own("login.js"), "text/javascript")
        self.login_style = self._add("login.css", own("login.css"), "text/css")

    def get(self, name: str) -> Response:
        """Return a file. HTTPException 404."""
        if name not in self._known:
            raise HTTPException(404, "There is no such file.")
        text, kind = self._known[name]
        return Response(text, media_type=kind, headers=KEPT)

    def _add(self, name: str, text: str, kind: str) -> str:
        """Return its address."""
        body = text.encode()
        hashed = f"{sha256(body).hexdigest()[:16]}-{name}"
        self._known[hashed] = (body, kind)
        return f"/static/{hashed}"


def page_routes(desk: Desk, assets: Assets) -> list[Route]:
    """Return the page, and what all pages ask for."""
    page = live_page(assets.page_script, assets.page_style, round(desk.settings.poll_seconds * 1000))

    async def show(request: Request) -> Response:
        visitor = desk.require(request, Role.VIEWER, "page")
        try:
            await desk.look(lambda _history: None)
        except StoreAwayError as away:
            return away_page(assets, str(away))
        desk.note_view(request, visitor, "page")
        return HTMLResponse(page)

    async def asset(request: Request) -> Response:
        return assets.get(request.path_params["name"])

    return [Route("/", show), Route("/static/{name}", asset)]


def login_page(assets: Assets, remark: str = "") -> str:
    """Return the page to log in with; `remark` is markup of ours."""
    page = own("login.html").replace("/static/page.css", assets.page_style)
    page = page.replace("/static/login.css", assets.login_style)
    return page.replace("/static/login.js", assets.login_script).replace(LOGIN_REMARK, remark)


def away_page(assets: Assets, reason: str) -> Response:
    """Say why there is nothing to see; the browser asks again by itself."""
    told = re.sub("`([^`]*)`", r"<code>\1</code>", escape(reason))
    styles = "".join(f'<link rel="stylesheet" href="{one}">' for one in (assets.page_style, assets.login_style))
    text = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>mutewatch: no store</title>'
        f'<meta http-equiv="refresh" content="{AGAIN_SECONDS}">{styles}<main><h1>Nothing to show just now</h1>'
        f"<p>{told}</p><p>This page tries again every {AGAIN_SECONDS} seconds.</p></main></html>"
    )
    return HTMLResponse(text, 503, {"Retry-After": str(AGAIN_SECONDS)})


def own(name: str) -> str:
    """Return a file that stands beside this module."""
    return files("mutewatch.serve").joinpath(name).read_text(encoding="utf-8")
