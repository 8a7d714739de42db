"""A store with everything that a viewer may not see, and the served page's application before it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from mutewatch.audit import audit
from mutewatch.identity import Names
from mutewatch.records import (
    ActivityGuess,
    Basis,
    Finding,
    Information,
    MuteSummary,
    Origin,
    Samples,
    Source,
    Verdict,
)
from mutewatch.report.payload import Role
from mutewatch.serve.access import Access
from mutewatch.serve.app import build_app
from mutewatch.serve.desk import Desk, Settings
from mutewatch.serve.reading import ReadOnlyStore
from mutewatch.serve.tokens import TokenFile
from mutewatch.store import Store
from tests.facts import START, TSA, at, gains

NAMES = Names(b"k" * 32)
ANNA = NAMES.pseudonym("anna@example.org")
DAY = {"since": str(round(START.timestamp()) - 3600), "until": str(round(START.timestamp()) + 82_800)}
OWN_FORM = {"Sec-Fetch-Site": "same-origin"}
# What stands in the store and is not for viewers.
SECRETS = ("juggling", "secret-file.pcap", "secret-call", "b0d1e5", "46.5", "audioMaxGain", "client-addre55")


def finding(number: int, client: str = ANNA, call: str = "secret-call", **changes: Any) -> Finding:
    """One flagged minute, with values, evidence and a guess."""
    guess = ActivityGuess("m@1", "juggling", {"juggling": 0.75, "cooking": 0.25}, at(number - 7), at(number), 7, 0)
    origin = Origin("pcap", "secret-file.pcap", number, 4711)
    known: dict[str, Any] = {
        "verdict": Verdict.FLAGGED,
        "rule": "MW-MUTED",
        "rules_version": 1,
        "reason": "audio-derived data left while the client was muted",
        "client": client,
        "call": call,
        "minute": str(number),
        "signature": TSA,
        "starts_at": at(number - 1),
        "ends_at": at(number),
        "mute": MuteSummary(60, 0, 0, (Basis.CLIENT_REPORTED,)),
        "values": gains(46.5, 38, 20),
        "information": (Information("audioMaxGain", "dB", 0, 10, 4, 38, 46.5, 1.846),),
        "samples": Samples(6, 4, 6),
        "source": Source(TSA, origin, "b0d1e5" * 10, at(number), "client-addre55"),
        "guess": guess,
    }
    return Finding(**(known | changes))


def record(path: Path, *found: Finding) -> Path:
    """Keep the findings, by a writer of their own, as the gateway would."""
    with Store(path) as store:
        store.record((), found)
    return path


@dataclass
class Served:
    """The application over one store and state directory, at a time that a test can move."""

    folder: Path
    settings: Settings = Settings(("testserver", "localhost"), is_secure=False, is_behind_proxy=False)  # noqa: RUF009
    anonymous: Role | None = None
    now: datetime = START
    tokens: dict[Role, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.token_file = TokenFile(self.folder / "serve.tokens")
        self.store = self.folder / "mutewatch.db"
        self.access = Access(self.token_file, anonymous=self.anonymous)
        write = partial(audit, self.folder)
        desk = Desk(self.settings, ReadOnlyStore(self.store), self.access, NAMES, write, lambda: self.now)
        self.app = build_app(desk)

    def token(self, role: Role) -> str:
        """The token of the one person that has this role."""
        if role not in self.tokens:
            self.tokens[role] = self.token_file.add(role, f"the-{role}", self.now)
        return self.tokens[role]

    def client(self, role: Role | None = None, headers: Mapping[str, str] | None = None) -> TestClient:
        """Somebody who shows a token with each request; with None, nobody known."""
        shown = {"Authorization": f"Bearer {self.token(role)}"} if role else {}
        return TestClient(
            self.app,
            "https://testserver" if self.settings.is_secure else "http://testserver",
            follow_redirects=False,
            headers={**shown, **(headers or {})},
            raise_server_exceptions=False,
        )

    def log_in(self, secret: str) -> TestClient:
        """A browser that has sent the form."""
        browser = self.client()
        assert browser.post("/login", data={"token": secret}, headers=OWN_FORM).status_code == 303
        return browser

    def wait(self, **time: float) -> None:
        self.now += timedelta(**time)

    def audited(self) -> str:
        return (self.folder / "audit.log").read_text(encoding="ascii")
