"""Logging in and out: a token becomes a session's cookie by a form, so that it is in no address and no history.

The link of the start carries its secret behind `#`, which browsers do not send; a script puts it into the form and
takes it out of the address. It holds good once, so the browser's history has no use for it.
"""

from typing import Final
from urllib.parse import parse_qs

from anyio import fail_after
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from mutewatch.serve.access import SESSION_LIFE, TooManyError
from mutewatch.serve.desk import Desk, too_many
from mutewatch.serve.page import Assets, login_page

BODY_SECONDS: Final = 5.0
WRONG: Final = '<p role="alert">That token is not known, or the link was used before.</p>'
LINK_AGAIN: Final = (
    '<p role="alert">The link was used before. Start <code>mutewatch serve</code> again for a new link.</p>'
)


def login_routes(desk: Desk, assets: Assets) -> list[Route]:
    """Return GET and POST /login, and POST /logout."""
    page, page_again, page_link = (login_page(assets, remark) for remark in ("", WRONG, LINK_AGAIN))

    async def show(_request: Request) -> Response:
        return HTMLResponse(page)

    async def log_in(request: Request) -> Response:
        token = (await _fields(request)).get("token", "").strip()
        try:
            begun = desk.access.log_in(token, desk.address(request), desk.now())
        except TooManyError:
            raise too_many() from None
        if begun is None:
            desk.note(request, None, "login", 401)
            return HTMLResponse(page_again if desk.access.has_tokens else page_link, 401)
        cookie, visitor = begun
        desk.note(request, visitor, "login", 200)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            desk.cookie,
            cookie,
            max_age=round(SESSION_LIFE.total_seconds()),
            secure=desk.settings.is_secure,
            httponly=True,
            samesite="strict",
        )
        return answer

    async def log_out(request: Request) -> Response:
        cookie = request.cookies.get(desk.cookie)
        visitor = desk.access.by_cookie(cookie, desk.now())
        desk.access.log_out(cookie)
        if visitor is not None:
            desk.note(request, visitor, "logout", 200)
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(desk.cookie, secure=desk.settings.is_secure, httponly=True, samesite="strict")
        return answer

    return [
        Route("/login", show, methods=["GET"]),
        Route("/login", log_in, methods=["POST"]),
        Route("/logout", log_out, methods=["POST"]),
    ]


async def _fields(request: Request) -> dict[str, str]:
    """Return the form's fields. HTTPException 400 for what is none, or comes too slowly."""
    try:
        with fail_after(BODY_SECONDS):
            body = await request.body()
        return {name: values[0] for name, values in parse_qs(body.decode("ascii"), max_num_fields=4).items()}
    except (ValueError, TimeoutError, ClientDisconnect):
        raise HTTPException(400, "That is no form of this server's.") from None
