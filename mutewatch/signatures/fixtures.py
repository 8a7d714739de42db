"""Runs the fixtures that a signature brings with it, and writes facts as the lines they are compared by."""

import base64
import gzip
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from mutewatch.extract import extract
from mutewatch.identity import Names
from mutewatch.records import AudioReport, Decoded, Exchange, MuteEvent, Origin, Undecoded
from mutewatch.signatures.model import Fixture, Signature


@dataclass(frozen=True, slots=True)
class FixtureResult:
    """What came out of one fixture; it holds when that is what its author expected."""

    name: str
    expected: tuple[str, ...]
    got: tuple[str, ...]

    @property
    def holds(self) -> bool:
        return self.expected == self.got


def run_fixtures(signature: Signature) -> Iterator[FixtureResult]:
    """Decode every fixture of `signature` and compare its facts, line by line."""
    for fixture in signature.fixtures:
        yield FixtureResult(fixture.name, fixture.facts, tuple(_facts(signature, fixture)))


def fixture_exchange(signature: Signature, fixture: Fixture) -> Exchange:
    """Return the message of a fixture, as a door would give it."""
    first = signature.messages[0]
    return Exchange(
        sent_at=datetime.fromisoformat(fixture.sent_at),
        client=None,
        host=fixture.host or next((host.replace("*", "0") for host in signature.hosts), None),
        port=443,
        method=fixture.method or first.method[0],
        path=fixture.path or first.path,
        query="",
        body=_body(fixture),
        origin=Origin("fixture"),
        status=fixture.status,
    )


def _facts(signature: Signature, fixture: Fixture) -> Iterator[str]:
    exchange = fixture_exchange(signature, fixture)
    matched = signature.match(exchange.method, exchange.host, exchange.path)
    if matched is None:
        yield "no match"
        return
    yield from fact_lines(extract(exchange, signature, *matched, Names(key=None)))


def _body(fixture: Fixture) -> bytes:
    return pack(fixture.body, fixture.inner, fixture.encode)


def pack(body: str, inner: str | None, encode: Iterable[str]) -> bytes:
    """Return `body` with `inner`, encoded step by step, where it says {inner}."""
    if inner is None:
        return body.encode()
    packed = inner.encode()
    for step in encode:
        packed = gzip.compress(packed, mtime=0) if step == "gzip" else base64.b64encode(packed)
    return body.replace("{inner}", packed.decode()).encode()


def fact_lines(decoded: Decoded) -> Iterator[str]:
    """Write each fact as one line: audio reports, then mute events, then what was undecoded."""
    for report in decoded.audio:
        yield _audio_line(report)
    for event in decoded.mute:
        yield _mute_line(event)
    for undecoded in decoded.undecoded:
        yield _undecoded_line(undecoded)


def _audio_line(report: AudioReport) -> str:
    values = " ".join(f"{value.name}={value.value:g} {value.unit}" for value in report.values)
    number = "" if report.number is None else f" #{report.number}"
    span = f"{_iso(report.starts_at)} to {_iso(report.ends_at)}"
    version = f" by version {report.client_version}" if report.client_version else ""
    return f"audio {report.client} {report.call or '?'}{number} {span} {values}{version}"


def _mute_line(event: MuteEvent) -> str:
    who = " ".join(filter(None, (event.client, event.call or "?", event.participant)))
    answer = {True: "", False: ", refused", None: ", answer not seen"}[event.effective]
    state = "muted" if event.muted else "unmuted"
    return f"mute {who} {event.scope} {state} from {_iso(event.at)}, {event.basis}{answer}"


def _undecoded_line(undecoded: Undecoded) -> str:
    where = f" of call {undecoded.call}" if undecoded.call else ""
    when = f" at {_iso(undecoded.at)}" if undecoded.at else ""
    return f"undecoded element {undecoded.element}{where}{when}: {undecoded.reason}"


def _iso(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
