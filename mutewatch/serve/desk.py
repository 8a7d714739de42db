"""Who asks, and what is written down about it: the part of every answer that is the same.

Views that are repeated, as a page does that looks every few seconds, are one line of the audit log in a quarter of an
hour. Wrong tokens are counted by address (`access`), so that they cannot push everything else out of the log.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final, TypeVar

from anyio import CapacityLimiter, to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request

from mutewatch.history import History
from mutewatch.identity import Names
from mutewatch.report.payload import Role, shown_name
from mutewatch.serve.access import Access, TooManyError, Visitor
from mutewatch.serve.reading import ReadOnlyStore

T = TypeVar("T")
Audit = Callable[[datetime, str, str, dict[str, object]], None]  # when, who, what, details; raises OperatorError
REPEATED_WITHIN: Final = timedelta(minutes=15)
VIEWS_REMEMBERED: Final = 1000
LOOKS: Final = 4  # at the store at a time; a look may hold some ten MB


@dataclass(frozen=True, slots=True)
class Span:
    """[since, until)."""

    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Settings:
    """How the server is reached."""

    hosts: tuple[str, ...]  # that it is known by
    is_secure: bool  # browsers reach it by TLS: ours, or a reverse proxy's
    is_behind_proxy: bool
    guesses: bool = True
    poll_seconds: float = 10
    signatures: Path | None = None  # folder of the operator's own


class Desk:
    """Only the event loop's thread comes here, but for `store` and `names`, which any thread may use."""

    def __init__(
        self,
        settings: Settings,
        store: ReadOnlyStore,
        access: Access,
        names: Names,
        audit: Audit,
        now: Callable[[], datetime],
    ) -> None:
        self.settings, self.store, self.access, self.names, self.now = settings, store, access, names, now
        self._audit = audit
        self._limiter = CapacityLimiter(LOOKS)
        self._views: OrderedDict[tuple[object, ...], datetime] = OrderedDict()

    @property
    def cookie(self) -> str:
        """The name of the session's cookie: `__Host-` makes browsers refuse it from anybody else."""
        return "__Host-mutewatch" if self.settings.is_secure else "mutewatch"

    def visitor(self, request: Request) -> Visitor | None:
        """Return who asks; None for nobody known. HTTPException 401 or 429 for a wrong token."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return self.access.by_cookie(request.cookies.get(self.cookie), self.now())
        try:
            found = self.access.by_token(token.strip(), self.address(request), self.now())
        except TooManyError:
            raise too_many() from None
        if found is None:
            self.note(request, None, "wrong token", 401)
            raise HTTPException(401, "That token is not known.", {"WWW-Authenticate": "Bearer"})
        return found

    def require(self, request: Request, role: Role, what: str) -> Visitor:
        """Return who asks, if that one may. HTTPException 401, 403 or 429."""
        visitor = self.visitor(request)
        if visitor is None:
            raise HTTPException(401, "Log in first, or send Authorization: Bearer.", {"WWW-Authenticate": "Bearer"})
        if role is Role.ANALYST and visitor.role is not Role.ANALYST:
            self.note(request, visitor, what, 403)
            raise HTTPException(403, "Evidence is for analysts.")
        return visitor

    async def look(self, make: Callable[[History], T]) -> T:
        """Return what `make` makes of the store, on another thread. Raises StoreAwayError."""

        def look() -> T:
            with self.store.look() as history:
                return make(history)

        return await to_thread.run_sync(look, limiter=self._limiter)

    def note(
        self,
        request: Request,
        visitor: Visitor | None,
        what: str,
        result: int,
        client: str | None = None,
        span: Span | None = None,
        **more: object,
    ) -> None:
        """Write down who asked for what, from where, and what came of it. OperatorError if that cannot be done."""
        details: dict[str, object] = {
            "role": visitor.role.value if visitor else None,
            "client": shown_name(client, Role.VIEWER, self.names) if client is not None else None,
            "since": span.since.isoformat() if span else None,
            "until": span.until.isoformat() if span else None,
            **more,
            "result": result,
            "from": self.address(request),
            "proxy": _peer(request) if self.settings.is_behind_proxy else None,
        }
        self._audit(self.now(), visitor.name if visitor else "-", what, details)

    def note_view(
        self, request: Request, visitor: Visitor, what: str, client: str | None = None, span: Span | None = None
    ) -> None:
        """As `note`, but for what has been written down a short while ago."""
        hours = (span.since.replace(minute=0, second=0, microsecond=0), span.until - span.since) if span else ()
        key = (visitor, self.address(request), what, client, *hours)
        now = self.now()
        if key in self._views and now - self._views[key] < REPEATED_WITHIN:
            return
        self.note(request, visitor, what, 200, client, span)
        self._views.pop(key, None)
        self._views[key] = now
        while len(self._views) > VIEWS_REMEMBERED:
            self._views.popitem(last=False)

    def address(self, request: Request) -> str:
        """Return where a request comes from; behind a proxy what the proxy itself has added, if that is an address."""
        if self.settings.is_behind_proxy:
            told = ",".join(request.headers.getlist("x-forwarded-for")).rpartition(",")[2].strip()
            try:
                return str(ip_address(told))
            except ValueError:
                pass
        return _peer(request)


def too_many() -> HTTPException:
    return HTTPException(429, "Too many wrong tokens: wait a minute.", {"Retry-After": "60"})


def _peer(request: Request) -> str:
    return request.client.host if request.client else "-"
