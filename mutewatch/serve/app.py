"""The application: the page of `mutewatch report`, live, with what stands before it.

| module | does |
|---|---|
| `tokens`, `access` | who may look: tokens, sessions |
| `guard` | what holds for every request: size, host, origin, headers |
| `desk` | who asks, and the audit log |
| `login` | logging in and out |
| `api` | the data and the exports |
| `page` | the page itself, its scripts and styles |
| `reading` | the store, read-only |
"""

import logging

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from mutewatch.errors import OperatorError
from mutewatch.serve.api import data_routes
from mutewatch.serve.desk import Desk
from mutewatch.serve.guard import Guard, problem
from mutewatch.serve.login import login_routes
from mutewatch.serve.page import KEPT, Assets, page_routes
from mutewatch.serve.reading import StoreAwayError

logger = logging.getLogger("mutewatch.serve")


def build_app(desk: Desk) -> ASGIApp:
    """Return the application that answers at this desk."""
    assets = Assets()
    pages = [*page_routes(desk, assets), *login_routes(desk, assets)]
    app = Starlette(
        routes=[*pages, *data_routes(desk), Route("/healthz", _healthz), Route("/favicon.ico", _no_icon)],
        exception_handlers={
            HTTPException: _refused,
            StoreAwayError: _store_away,
            OperatorError: _not_in_order,
            Exception: _fault,
        },
    )
    return Guard(app, desk.settings.hosts)


async def _healthz(_request: Request) -> Response:
    """It answers; whether there is a store is another matter, and not everybody's."""
    return JSONResponse({"status": "ok"})


async def _no_icon(_request: Request) -> Response:
    """Browsers ask for one unbidden."""
    return Response(status_code=204, headers=KEPT)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    if error.status_code == 401 and request.url.path == "/" and "authorization" not in request.headers:
        return RedirectResponse("/login", 303)
    return problem(error.status_code, error.detail, error.headers)


async def _store_away(_request: Request, error: Exception) -> Response:
    return problem(503, str(error), {"Retry-After": "10"})


async def _not_in_order(_request: Request, error: Exception) -> Response:
    """Tokens or the audit log cannot be used: nobody sees anything that is not written down."""
    logger.error("mutewatch: %s", error)
    return problem(503, "The server's own files are not in order; its operator has been told.", {"Retry-After": "10"})


async def _fault(_request: Request, _error: Exception) -> Response:
    return problem(500, "That is our own fault; its operator has been told.")
