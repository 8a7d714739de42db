"""What is to be said against signatures that are valid: what two of them both read, and evidence that is missing.

Pure: the day is an argument. A fault would mislead whoever reads a finding; a remark is to be weighed, and may stay.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from mutewatch.records import Direction
from mutewatch.redact import Blank, RedactionError, redact
from mutewatch.signatures.fixtures import fixture_exchanges
from mutewatch.signatures.model import Message, Signature
from mutewatch.signatures.overlap import find_overlaps

STALE: Final = timedelta(days=365)  # clients of conferencing apps are replaced several times a year
# A version, a commit, a year, or where to look it up: what lets somebody else read the same.
_TRACEABLE: Final = re.compile(
    r"https?://\S+|\d+\.\d+|\b(19|20)\d\d\b|'\d\d\b|\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{7,64}\b", re.I
)
_CAPTURED: Final = re.compile(r"\b(captur\w*|pcap\w*|logs?|HAR|dumps?|record(ed|ings?)|traces?)\b", re.I)
_SECOND_LEVEL: Final = ("ac", "co", "com", "edu", "gov", "net", "org")  # below a country: co.uk is nobody's own


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing to be said of a signature, and where in its file. `is_fault`: it must not stay so."""

    signature: str
    field: str
    text: str
    is_fault: bool = False

    def __str__(self) -> str:
        return f"{self.signature}: {self.field}: {self.text}"


Rule = Callable[[Signature, date], Iterator[Remark]]


def lint(signatures: Sequence[Signature], today: date) -> tuple[Remark, ...]:
    """Return the remarks on each of `signatures` by itself, then on those that read the same messages."""
    alone = [remark for signature in signatures for rule in RULES for remark in rule(signature, today)]
    return (*alone, *_overlaps(signatures))


def _sources(signature: Signature, _today: date) -> Iterator[Remark]:
    for position, source in enumerate(signature.source):
        if not _TRACEABLE.search(source):
            text = f"{source[:60]!r} names no version, date, commit or URL: nobody else could look there"
            yield Remark(signature.id, f"source.{position}", text, is_fault=True)
    if signature.confidence == "captured" and not any(_CAPTURED.search(source) for source in signature.source):
        text = "is captured, and no source is a capture, a log or a dump"
        yield Remark(signature.id, "confidence", text, is_fault=True)


def _age(signature: Signature, today: date) -> Iterator[Remark]:
    checked = signature.last_checked
    if checked > today + timedelta(days=1):  # a day: there are time zones
        yield Remark(signature.id, "last_checked", f"{checked} is yet to come", is_fault=True)
    elif today - checked > STALE:
        text = f"{checked} is more than a year ago: look at the app again"
        yield Remark(signature.id, "last_checked", text)


def _hosts(signature: Signature, _today: date) -> Iterator[Remark]:
    for position, host in enumerate(signature.hosts):
        first, _, rest = host.partition(".")
        if first == "*" and _is_registered(rest):
            text = f"{host} has every host of {rest} opened: name what sends this, such as telemetry*.{rest}"
            yield Remark(signature.id, f"hosts.{position}", text)


def _is_registered(name: str) -> bool:
    """Is this a name that somebody registers, all of whose hosts are his? A guess: no list of suffixes is here."""
    labels = name.split(".")
    is_below_country = len(labels) == 3 and len(labels[2]) == 2 and labels[1] in _SECOND_LEVEL
    return "*" not in name and (len(labels) == 2 or is_below_country)


def _audio(signature: Signature, _today: date) -> Iterator[Remark]:
    for position, message in enumerate(signature.messages):
        for group in message.audio.groups if message.audio else ():
            for name, field in group.fields.items():
                place = f"messages.{position}.audio: {name}"
                if not field.unit.strip():
                    yield Remark(signature.id, place, 'has no unit: write "1" for a ratio or a count', is_fault=True)
                if field.floor is None:
                    text = "has no floor: a microphone that gives nothing cannot be told by it"
                    yield Remark(signature.id, place, text)


def _redaction(signature: Signature, _today: date) -> Iterator[Remark]:
    """Is there something to blank beside the values, and can any message like those of the fixtures be blanked?"""
    if not signature.hosts or not signature.audio_names:
        return
    if not signature.redact.identifiers:
        text = "is empty: is there nothing beside the audio that names a person, a place or a device?"
        yield Remark(signature.id, "redact.identifiers", text)
    reasons: dict[int, str] = {}  # by the message's position; "" once one could be
    for position, body, facts in _fixture_messages(signature):
        message = signature.messages[position]
        is_telling = message.direction is Direction.TO_SERVER and any(line.startswith("audio ") for line in facts)
        if is_telling and reasons.get(position) != "":
            reasons[position] = _why_not_redacted(body, signature, message)
    for position, reason in reasons.items():
        if reason:
            text = f"its values cannot be redacted ({reason}): such messages can be blocked only"
            yield Remark(signature.id, f"messages.{position}", text)


def _why_not_redacted(body: bytes, signature: Signature, message: Message) -> str:
    """Return why `body` cannot be redacted; "" if it can."""
    try:
        redact(body, None, signature, message, blank=Blank.ZERO, identifiers=True)
    except RedactionError as error:
        return str(error)
    return ""


def _fixtures(signature: Signature, _today: date) -> Iterator[Remark]:
    reached = {position for position, _, _ in _fixture_messages(signature)}
    for position, message in enumerate(signature.messages):
        if position not in reached:
            text = f"no fixture is {' or '.join(message.method)} {message.path}: nothing shows that it is read"
            yield Remark(signature.id, f"messages.{position}", text, is_fault=True)


def _fixture_messages(signature: Signature) -> Iterator[tuple[int, bytes, tuple[str, ...]]]:
    """The position of each fixture's message, its body and the facts it states, where it is one of the signature's."""
    for fixture in signature.fixtures:
        for exchange in fixture_exchanges(signature, fixture):
            matched = signature.match(exchange.method, exchange.host, exchange.path, exchange.direction)
            if matched is not None:
                position = next(place for place, message in enumerate(signature.messages) if message is matched[0])
                yield position, exchange.body or b"", fixture.facts


def _overlaps(signatures: Sequence[Signature]) -> Iterator[Remark]:
    """Of two signatures the later one is told."""
    for one in find_overlaps(signatures):
        place = f"messages.{one.second}"
        if one.left is one.right:
            text = f"reads what messages.{one.first} reads too ({one.what}): there the first of them is taken"
            yield Remark(one.right.id, place, text)
        elif one.right.id not in one.left.overlaps and one.left.id not in one.right.overlaps:
            text = (
                f"reads what {one.left.id} reads too ({one.what}), so that each such message counts twice: "
                f'if that is meant, write overlaps = ["{one.left.id}"]'
            )
            yield Remark(one.right.id, place, text, is_fault=True)


RULES: Final[tuple[Rule, ...]] = (_sources, _age, _hosts, _audio, _redaction, _fixtures)
