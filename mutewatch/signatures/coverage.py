"""The page that says what is read of which app, and what is not: from the signatures, and `data/apps.toml`.

What is not covered is said as plainly as what is: an app without a row would look like one that tells nothing.
"""

import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Final, Literal

from mutewatch.records import Direction
from mutewatch.signatures.model import Audio, Confidence, Signature, Strict

APPS: Final = Path(__file__).parent / "data" / "apps.toml"
SHOWN_NAMES: Final = 3  # of values in one unit; `mutewatch signatures show` has them all
ANY_APP: Final = "Any app"

HEAD = """\
# Coverage

<!-- Made by `mutewatch signatures coverage > docs/coverage.md`: change the signatures or apps.toml, not this page. -->

What mutewatch reads of the ten apps that the paper looked at: the audio-derived values that a client sends, and what
it says of its mute button. Then, app by app, what is not read, why, and what can be shown all the same.

**Audio values**: by unit, and over which time one is taken. **Mute state**: whose switch, on whose word.
**Not covered**: no signature, mostly because nobody has published the format. **Not visible to a proxy**: it does not
travel in TLS that a proxy could open, or is encrypted once more inside.

**Doors**: live (`mutewatch live`), capture (pcap, with keys), HAR, flow dump (mitmproxy), exchange log (JSON Lines),
API log (of a hook). The engine tshark (`--engine tshark`) reads no websockets: where a capture's door says native,
only our own engine does.

**Confidence**: `captured`, a real payload was read; `code`, read in the client's open source; `3rd-party`, in
somebody else's client or notes; `documented`, by the vendor; `inferred`, none of these. No live service was tried.

| app | signature | audio values | mute state | doors | source | confidence | last checked |
|---|---|---|---|---|---|---|---|
"""
KINDS: Final = {
    "not visible": "Not visible to a proxy",
    "not covered": "Not covered",
    "limit": "To be known",
    "visible": "Seen in clear",
}


class Statement(Strict):
    """One thing that is known of an app beside what signatures say."""

    kind: Literal["not visible", "not covered", "limit", "visible"]
    text: str
    source: str
    confidence: Confidence
    last_checked: date


class App(Strict):
    """One app of the paper. `audio`, `mute`: what is said where no signature reads them."""

    name: str
    ids: tuple[str, ...]
    belief: str | None = None
    audio: str = "not covered"
    mute: str = "not covered"
    still: str
    statements: tuple[Statement, ...] = ()


class _Apps(Strict):
    apps: tuple[App, ...]


@dataclass(slots=True)
class _Sources:
    """Numbers what is cited, in the order in which it is."""

    texts: list[str] = field(default_factory=list)

    def cite(self, texts: Iterable[str]) -> str:
        numbers = []
        for text in texts:
            if text not in self.texts:
                self.texts.append(text)
            numbers.append(self.texts.index(text) + 1)
        return ", ".join(map(str, numbers))


def known_apps() -> tuple[App, ...]:
    """Return the apps of the paper, in its order, with what is known of them."""
    return _Apps.model_validate(tomllib.loads(APPS.read_text(encoding="utf-8"))).apps


def coverage_page(signatures: Sequence[Signature]) -> str:
    """Return the page, as Markdown."""
    apps, sources = known_apps(), _Sources()
    rows = [row for app in apps for row in _rows(app, [s for s in signatures if _family(s) in app.ids], sources)]
    of_apps = {word for app in apps for word in app.ids}
    rows += [_row(_other(s), s, sources) for s in signatures if _family(s) not in of_apps]
    sections = "".join(_section(app, sources) for app in apps)
    cited = "".join(f"{number}. {text}\n" for number, text in enumerate(sources.texts, 1))
    return f"{HEAD}{''.join(rows)}\n## App by app\n{sections}\n## Sources\n\n{cited}"


def _family(signature: Signature) -> str:
    return signature.id.partition(".")[0]


def _other(signature: Signature) -> str:
    """How an app is named that the paper did not look at."""
    return signature.app if signature.hosts else ANY_APP


def _rows(app: App, signatures: Sequence[Signature], sources: _Sources) -> Iterator[str]:
    """One for each signature, and one for what none of them reads."""
    for signature in signatures:
        yield _row(f"{app.name} ({app.belief})" if app.belief else app.name, signature, sources)
    messages = [message for signature in signatures for message in signature.messages]
    has_audio, has_mute = any(message.audio for message in messages), any(message.mute for message in messages)
    if not (has_audio and has_mute):
        missing = [one for one in app.statements if one.kind in ("not visible", "not covered")]
        told = sources.cite(one.source for one in missing) or "none"
        confidence = ", ".join(sorted({one.confidence for one in missing})) or "none"
        checked = min((str(one.last_checked) for one in missing), default="none")
        audio, mute = ("see above" if has_audio else app.audio), ("see above" if has_mute else app.mute)
        yield _cells(app.name, "none", audio, mute, "none", told, confidence, checked)


def _row(app: str, signature: Signature, sources: _Sources) -> str:
    return _cells(
        app,
        f"`{signature.id}`",
        _audio(signature) or "none",
        _mute(signature) or "none",
        _doors(signature),
        sources.cite(signature.source),
        signature.confidence,
        str(signature.last_checked),
    )


def _cells(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |\n"


def _audio(signature: Signature) -> str:
    told = {_values(message.audio): None for message in signature.messages if message.audio}
    return "; ".join(told)


def _values(audio: Audio) -> str:
    """The names of the values by unit, and the time that one stands for."""
    by_unit: dict[str, list[str]] = {}
    for group in audio.groups:
        for name, value in group.fields.items():
            by_unit.setdefault("no unit" if value.unit == "1" else value.unit, []).append(group.prefix + name)
    shown = []
    for unit, names in by_unit.items():
        rest = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
        shown.append(f"{', '.join(names[:SHOWN_NAMES])}{rest} ({unit})")
    return f"{', '.join(shown)}, each {audio.period_seconds:g} s"


def _mute(signature: Signature) -> str:
    told = {
        f"{mute.scope}, {mute.basis}{', once accepted' if mute.effective_on == '2xx' else ''}": None
        for message in signature.messages
        for mute in message.mute
    }
    return "; ".join(told)


def _doors(signature: Signature) -> str:
    """Where such messages come in: a hook sees requests without their hosts, tshark no websockets, a proxy no RTP."""
    methods = {method for message in signature.messages for method in message.method}
    if methods == {"RTP"}:
        return "capture (native)"
    capture = "capture (native)" if "WEBSOCKET" in methods else "capture"
    in_api_log = any(
        message.direction is Direction.TO_SERVER and "**" not in message.path and set(message.method) - {"WEBSOCKET"}
        for message in signature.messages
    )
    return f"live, {capture}, HAR, flow dump, exchange log{', API log' if in_api_log else ''}"


def _section(app: App, sources: _Sources) -> str:
    lines = [f"\n### {app.name}\n\n"]
    for one in app.statements:
        cited = f"Source {sources.cite([one.source])}, {one.confidence}, {one.last_checked}."
        lines.append(f"- **{KINDS[one.kind]}.** {one.text} {cited}\n")
    lines.append(f"- **Shown all the same.** {app.still}\n")
    return "".join(lines)
