"""Who looks, and as what: by a token in the request, or by a session that was begun with one.

| limit | value | on hit |
|---|---|---|
| wrong tokens from one address | 10 a minute | none is looked at until the minute is over |
| addresses remembered for that | 1,000 | the one longest without a wrong token is forgotten |
| sessions | 1,000 | the oldest ends |
| life of a session | 12 h | ends: a working day |

Sessions are kept in memory: a restart ends them all. The link that is printed at the start holds good once.
"""

import hmac
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from mutewatch.report.payload import Role
from mutewatch.serve.tokens import TokenFile, digest

WRONG_TOKENS: Final = 10
WRONG_FOR: Final = timedelta(minutes=1)
ADDRESSES: Final = 1000
SESSIONS: Final = 1000
SESSION_LIFE: Final = timedelta(hours=12)
LINK_NAME: Final = "link"  # who came by the link of the start, in the audit log
NOBODY: Final = "-"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who looks. `token`: digest of the token that this rests on, None for none."""

    name: str
    role: Role
    token: str | None = None


@dataclass(frozen=True, slots=True)
class _Session:
    visitor: Visitor
    ends_at: datetime


class TooManyError(Exception):
    """Too many wrong tokens from this address: none is looked at for a while."""


class Access:
    """Tokens, sessions, and whoever needs neither: `anonymous` is what visitors without a token are, None nobody."""

    def __init__(self, tokens: TokenFile, *, anonymous: Role | None = None) -> None:
        self._tokens, self._anonymous = tokens, anonymous
        self._sessions: OrderedDict[str, _Session] = OrderedDict()  # by digest of the cookie
        self._wrong: OrderedDict[str, list[datetime]] = OrderedDict()  # by address
        self._link: str | None = None

    @property
    def has_tokens(self) -> bool:
        """Are there tokens, or is the link of the start the only way in?"""
        return bool(self._tokens.tokens())

    def make_link(self) -> str:
        """Return a secret that `log_in` takes once, for an analyst."""
        secret = secrets.token_urlsafe(32)
        self._link = digest(secret)
        return secret

    def log_in(self, token: str, address: str, now: datetime) -> tuple[str, Visitor] | None:
        """Return a new session's cookie and whose it is; None for a wrong token. Raises TooManyError."""
        visitor = self._by_secret(token, address, now)
        if visitor is None:
            return None
        cookie = secrets.token_urlsafe(32)
        self._sessions[digest(cookie)] = _Session(visitor, now + SESSION_LIFE)
        while len(self._sessions) > SESSIONS:
            self._sessions.popitem(last=False)
        return cookie, visitor

    def by_token(self, token: str, address: str, now: datetime) -> Visitor | None:
        """Return who shows a token with each request; None for a wrong one. Raises TooManyError."""
        self._check(address, now)
        found = self._tokens.find(token)
        if found is None:
            self._note_wrong(address, now)
            return None
        return Visitor(found.name, found.role, found.digest)

    def by_cookie(self, cookie: str | None, now: datetime) -> Visitor | None:
        """Return whose session that is, as long as it and its token hold; else what anybody is."""
        key = digest(cookie or "")
        session = self._sessions.get(key)
        if session and now < session.ends_at and self._holds(session.visitor):
            return session.visitor
        self._sessions.pop(key, None)
        return Visitor(NOBODY, self._anonymous) if self._anonymous else None

    def log_out(self, cookie: str | None) -> None:
        self._sessions.pop(digest(cookie or ""), None)

    def _by_secret(self, token: str, address: str, now: datetime) -> Visitor | None:
        if self._link and hmac.compare_digest(self._link, digest(token)):
            self._link = None
            return Visitor(LINK_NAME, Role.ANALYST)
        return self.by_token(token, address, now)

    def _holds(self, visitor: Visitor) -> bool:
        if visitor.token is None:
            return True
        return any((one.digest, one.role) == (visitor.token, visitor.role) for one in self._tokens.tokens())

    def _check(self, address: str, now: datetime) -> None:
        recent = [at for at in self._wrong.get(address, ()) if now - at < WRONG_FOR]
        if len(recent) >= WRONG_TOKENS:
            raise TooManyError

    def _note_wrong(self, address: str, now: datetime) -> None:
        recent = [at for at in self._wrong.pop(address, ()) if now - at < WRONG_FOR]
        self._wrong[address] = [*recent, now]
        while len(self._wrong) > ADDRESSES:
            self._wrong.popitem(last=False)
