"""Real bodies through real proxies that redact: what the server got, and what a capture of its side shows.

Nothing here uses the code under test to look: texts are opened by brute force, names are read from the TOML files.
All 619 bodies go through the first proxy, each in one way; with MUTEWATCH_ALL_WAYS=1 each in every way, and through
all proxies (five minutes).
"""

import gzip
import os
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from mutewatch.mitigate import Action, Policy, When
from mutewatch.ports import ReadOptions
from mutewatch.redact import Blank
from mutewatch.store import Store
from pcap_tools.pcap import CaptureReader
from tests.brute_force import leaves, opened, parsed
from tests.captures.oracle import tshark_bodies
from tests.live_support import ROOT, sha256
from tests.meeting.server import Received
from tests.redact_scene import (
    WAYS,
    Capture,
    FarEnd,
    Sending,
    on_the_wire,
    redacting,
    send_all,
    sendings,
    why_not_captured,
)
from tests.webex_bodies import real_bodies

pytestmark = [pytest.mark.live, pytest.mark.shared]

SIGNATURE = tomllib.loads((ROOT / "mutewatch/signatures/webex_tsa_v1.toml").read_text(encoding="utf-8"))
AUDIO = {name for group in SIGNATURE["messages"][0]["audio"]["groups"] for name in group["fields"]}
IDENTIFIERS = [tuple(pattern.split(".")) for pattern in SIGNATURE["redact"]["identifiers"]]
GONE = object()
ALL_WAYS = os.environ.get("MUTEWATCH_ALL_WAYS") == "1"


@dataclass(frozen=True, slots=True)
class Way:
    """How one proxy is set. `every`: one in so many bodies is sent."""

    policy: Policy
    every: int = 5  # the ways are four: it takes turns
    assume: str = ""


PROXIES = {
    "zero": Way(Policy(Action.REDACT, When.ALWAYS), every=1),
    "remove": Way(Policy(Action.REDACT, When.ALWAYS, Blank.REMOVE)),
    "identifiers": Way(Policy(Action.REDACT, When.ALWAYS, identifiers=True)),
    "unmuted": Way(Policy(Action.REDACT, When.MUTED, identifiers=True), assume="unmuted"),
}


@dataclass(slots=True)
class Run:
    """One proxy's run: what was sent, answered, received, captured and kept."""

    kind: str
    sent: list[Sending]
    statuses: dict[str, int]
    far_end: FarEnd
    counters: dict[str, int]
    store: Path
    capture: Path | None
    received: dict[str, Received] = field(default_factory=dict)

    @property
    def pairs(self) -> Iterator[tuple[Sending, Received]]:
        """What was sent with what arrived of it."""
        return ((sending, self.received[sending.name]) for sending in self.sent)


Runs = Callable[[str], Run]


@pytest.fixture(scope="module")
def bodies(shared: Path) -> list[bytes]:
    found = real_bodies(shared / "data/webex/xdbg_log_first_half.txt")
    assert len(found) == 619
    return found


@pytest.fixture(scope="module")
def runs(bodies: list[bytes], tmp_path_factory: pytest.TempPathFactory, confdir: Path) -> Runs:
    """What a proxy's run gave, by its name; each runs once."""
    return cache(lambda kind: play(kind, bodies, tmp_path_factory.mktemp(kind), confdir))


def play(kind: str, bodies: list[bytes], folder: Path, confdir: Path) -> Run:
    """Start one proxy between clients and a server, and send all that is to be sent."""
    way = PROXIES[kind]
    sent = sendings(bodies if ALL_WAYS else bodies[:: way.every], WAYS, all_ways=ALL_WAYS)
    with redacting(folder, confdir, way.policy, way.assume) as (proxy, far_end):
        capture = None if why_not_captured() else Capture(folder / "far.pcapng", far_end.port)
        with capture.running() if capture else nullcontext():
            statuses = send_all(proxy, sent)
        proxy.wait_status(recorded=len(sent))
        assert proxy.stop() == 0
        counters = proxy.status()  # written last when it stopped
    path = capture.path if capture else None
    return Run(kind, sent, statuses, far_end, counters, proxy.state / "mutewatch.db", path, far_end.by_name())


# -- an independent look ----------------------------------------------------------------------------------------


def decoded(request: Received) -> bytes:
    """Return the body as the server's application would see it."""
    encoding = dict(request.headers).get("content-encoding")
    assert encoding in (None, "gzip")
    return gzip.decompress(request.body) if encoding else request.body


@cache
def keys_of(path: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(part for part in path if not part.isdigit())


def is_audio(path: tuple[str, ...]) -> bool:
    name = keys_of(path)[-1]
    return name in AUDIO or ("audio" in name.lower() and "gain" in name.lower())


@cache
def is_identifier(path: tuple[str, ...]) -> bool:
    """Does this leaf stand under one of the signature's identifiers?"""
    keys = keys_of(path)
    for end in range(1, len(keys) + 1):
        for pattern in IDENTIFIERS:
            last = keys[max(0, end - len(pattern)) : end]
            if len(last) == len(pattern) and all(want in ("*", key) for want, key in zip(pattern, last, strict=True)):
                return True
    return False


@cache
def told(body: bytes) -> dict[tuple[str, ...], Any]:
    """Return all leaves of a body, opened, in its order; no key stands twice."""
    found = list(leaves(opened(parsed(body))))
    assert len(dict(found)) == len(found)
    return dict(found)


def compared(before: bytes, after: bytes) -> dict[tuple[str, ...], tuple[Any, Any]]:
    """Return every leaf that differs, as it was and as it is; those that stay are in the client's order."""
    was, now = told(before), told(after)
    assert [path for path in now if path in was] == [path for path in was if path in now]
    return {path: (was.get(path, GONE), now.get(path, GONE)) for path in was | now if was.get(path) != now.get(path)}


# -- the claims -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", PROXIES)
def test_every_message_arrives_once_and_well_framed(runs: Runs, kind: str) -> None:
    run = runs(kind)
    assert set(run.statuses.values()) == {200}
    assert len(run.received) == len(run.sent) == len(run.statuses)
    for sending, request in run.pairs:
        names = [name for name, _ in request.headers]
        assert len(set(names)) == len(names)
        fields = dict(request.headers)
        assert ("content-encoding" in fields) is (sending.way == "gzip")
        if sending.way == "chunked":
            assert (fields["transfer-encoding"], "content-length" in fields) == ("chunked", False)
        elif sending.way != "h2" or "content-length" in fields:
            assert int(fields["content-length"]) == len(request.body)
        assert (":path" in fields) is (sending.way == "h2")
        parsed(decoded(request))


@pytest.mark.parametrize("kind", ["zero", "remove", "identifiers"])
def test_no_audio_derived_value_arrives(runs: Runs, kind: str) -> None:
    run = runs(kind)
    for sending, request in run.pairs:
        left = {path: value for path, value in told(decoded(request)).items() if is_audio(path)}
        assert set(left.values()) <= {"0", "0.0"}
        assert len(left) == (0 if run.kind == "remove" else 3)
        assert len([path for path in told(sending.body) if is_audio(path)]) == 3


@pytest.mark.parametrize("kind", ["zero", "remove", "identifiers"])
def test_nothing_else_changes(runs: Runs, kind: str) -> None:
    run = runs(kind)
    for sending, request in run.pairs:
        changed = compared(sending.body, decoded(request))
        assert {path for path in changed if not is_audio(path)} == {
            path for path in changed if run.kind == "identifiers" and is_identifier(path)
        }
        assert len([path for path in changed if is_audio(path)]) == 3
        assert run.kind == "identifiers" or len(changed) == 3


def test_no_identifier_is_left_anywhere(runs: Runs) -> None:
    run = runs("identifiers")
    for sending, request in run.pairs:
        original = told(sending.body).items()
        secrets = {str(value) for path, value in original if is_identifier(path) and len(str(value)) > 5}
        assert len(secrets) > 5
        arrived = told(decoded(request)).items()
        texts = [str(value) for _, value in arrived] + [key for path, _ in arrived for key in path]
        texts += [request.path, request.body.decode("latin-1"), *(value for _, value in request.headers)]
        everything = "\n".join(texts)
        assert {secret for secret in {*secrets, "ann.webex.example"} if secret in everything} == set()


def test_messages_of_unmuted_clients_leave_as_they_came(runs: Runs) -> None:
    run = runs("unmuted")
    assert run.counters["redacted"] == 0
    for sending, request in run.pairs:
        assert request.body == on_the_wire(sending)
        assert "sitename=ann.webex.example" in request.path


@pytest.mark.parametrize("kind", PROXIES)
def test_the_record_says_what_was_sent_instead(runs: Runs, kind: str) -> None:
    run = runs(kind)
    with Store(run.store) as store:
        sources = [finding.source for finding in store.findings()]
    left = {sha256(decoded(request)) for request in run.received.values()}
    came = {sha256(sending.body) for sending in run.sent}
    assert len(sources) >= len(run.sent) // (len(WAYS) if ALL_WAYS else 1) * 0.95  # a few were sent twice
    for source in sources:
        if source is None:  # a minute that the client counted, and nobody sent
            continue
        assert source.body_sha256 in came
        assert source.sent == ("forwarded" if run.kind == "unmuted" else "redacted")
        assert source.sent_sha256 is None if run.kind == "unmuted" else source.sent_sha256 in left
    assert run.counters["redacted"] == (0 if run.kind == "unmuted" else len(run.sent))
    assert {run.counters[name] for name in ("unredacted", "refused", "unrecorded", "unmatched", "lost")} == {0}


def captured(run: Run) -> tuple[Path, Path]:
    """The capture of the server's side, and the server's own keys."""
    if run.capture is None:
        pytest.skip(str(why_not_captured()))
    return run.capture, run.far_end.keylog


def targets(requests: Sequence[Received]) -> Counter[tuple[str, str, str, str]]:
    return Counter((r.method, r.host, r.path, sha256(r.body)) for r in requests)


@pytest.mark.parametrize("kind", PROXIES)
def test_a_capture_shows_that_this_is_what_left(runs: Runs, kind: str) -> None:
    run = runs(kind)
    path, keylog = captured(run)
    read = CaptureReader().read(path, ReadOptions(keylogs=(keylog,)))
    found = [exchange for exchange in read if exchange.method]
    seen = [Received(each.method, each.host or "", f"{each.path}?{each.query}", each.body or b"") for each in found]
    assert targets(seen) == targets(list(run.received.values()))


@pytest.mark.tshark
@pytest.mark.parametrize("kind", PROXIES)
def test_and_so_does_tshark(runs: Runs, kind: str, tshark: str) -> None:
    run = runs(kind)
    path, keylog = captured(run)
    found = Counter(map(sha256, tshark_bodies(path, keylog)))
    assert tshark
    assert Counter(sha256(request.body) for request in run.received.values()) - found == Counter()
