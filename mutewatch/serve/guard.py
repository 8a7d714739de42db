"""What holds for every request, whoever sends it: its size, its host, where it comes from, and the answer's headers.

| rule | stops |
|---|---|
| Host is a name that this server is known by | DNS rebinding: a page of another site that had its name point here |
| no request for data from a page of another site (Sec-Fetch-Site) | what it could learn from the time that takes |
| POST only from our own pages (Origin, Sec-Fetch-Site) | being logged in or out by another site |
| heads of at most 16 KiB; bodies of at most 4 KiB, with their length told | memory |
| Content-Security-Policy: nothing but our own files | script in a name from the wire; anything that leaves the page |
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_BYTES: Final = 4096  # a token of 43 characters and its name
HEAD_BYTES: Final = 16 << 10  # browsers send one or two KiB
DATA_PATHS: Final = ("/api/", "/export.")
LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with no-referrer a browser keeps the Origin of our own forms to itself
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Guard:
    """Refuses by the rules above, and gives every answer its headers."""

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...]) -> None:
        """`hosts`: the names that this server is known by."""
        self._app = TrustedHostMiddleware(app, allowed_hosts=hosts, www_redirect=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refused = _refusal(scope, Headers(scope=scope))
        await (refused or self._app)(scope, receive, send_guarded)


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return an error as RFC 9457 has it: what it is called, and one line that helps."""
    content = {"title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return JSONResponse(content, status, headers, media_type="application/problem+json")


def _refusal(scope: Scope, headers: Headers) -> Response | None:
    method, path = scope["method"], scope["path"]
    if len(path) + len(scope["query_string"]) + sum(len(name) + len(value) for name, value in headers.raw) > HEAD_BYTES:
        return problem(431, f"Addresses and headers have at most {HEAD_BYTES} bytes.", {"Connection": "close"})
    length = headers.get("content-length", "0")
    if "transfer-encoding" in headers or not length.isdecimal() or int(length) > BODY_BYTES:
        return problem(413, f"Bodies have at most {BODY_BYTES} bytes.", {"Connection": "close"})
    if path.startswith(DATA_PATHS) and headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        return problem(403, "No page of another site may ask for this.")
    if method == "POST" and not _is_own_form(headers):
        return problem(403, "Log in and out on this server's own pages; programs send Authorization: Bearer.")
    return None


def _is_own_form(headers: Headers) -> bool:
    """Browsers say where a form is from; what does not is no browser, and has no use for a session."""
    try:
        own = urlsplit(headers.get("origin", "")).netloc == headers.get("host", "") != ""
    except ValueError:
        own = False
    return own or headers.get("sec-fetch-site") == "same-origin"
