"""Blanks audio-derived values in a telemetry message, and if asked identifiers: `redact`, `redact_query`.

Values are found by their keys, wherever they stand: in every element, interval and event, and in every text that
is packed in another (the signature's steps; JSON in a string). That is more than the paths of a signature lead to,
never less: `extract` reads a value by a key of the same table. All other characters stay as the client wrote them.

It fails closed. Refused is what does not decode within the limits; what two parsers may read differently (a key
twice, text after the end); a value in a shape that the signature does not know (no number, a name inside a text, a
packed text where none is known); and a result in which the same search, or `extract`, still finds something or
cannot read everything. The caller must let nothing through that raised anything at all.

A signature without any audio-derived value, and without identifiers where they are asked for, has nothing to
blank: its messages are given back unread. A mute request that were refused would leave its user unmuted.
"""

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import Enum, StrEnum, auto
from typing import Final
from urllib.parse import unquote_plus

from mutewatch import decode
from mutewatch.audio_names import name_pattern
from mutewatch.decode import Budget
from mutewatch.encode import add_content_encoding, undo_steps
from mutewatch.errors import DecodeError
from mutewatch.extract import UNREAD, extract
from mutewatch.identity import Names
from mutewatch.json_text import Edit, Span, apply, locate, quote, removals, unquote
from mutewatch.limits import DEFAULT_LIMITS, Limits
from mutewatch.protobuf_places import PlacedFloat, PlacedInt, placed_protobuf, zeroed
from mutewatch.readings import payloads_of
from mutewatch.records import Exchange, Origin
from mutewatch.signatures.model import Message, Signature

_JSON_STEPS: Final = ("json", "json_in_string", "first_json_value")
_GZIP_IN_BASE64: Final = "H4sI"  # the first three bytes of every gzip file (RFC 1952, 2.3) with deflate in it
_MAY_BEGIN_JSON: Final = re.compile(r'[ \t\r\n]*[{\["]')  # numbers alone tell nothing: no name stands by them
_ZEROS: Final = ("0", "0.0")
_NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_NUMBERS: Final = re.compile(rf'"(?:{_NUMBER.pattern}(?:,{_NUMBER.pattern})*+)?+"')  # a series, as one text


class Blank(StrEnum):
    """What becomes of a value: zero keeps the shape of the message (of an identifier: the empty string)."""

    ZERO = "zero"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Redacted:
    """A body without what it told, and how much was blanked in it. What was zero before is not counted.

    `sha256`: of the body without content-encoding, as a reader of the server's side gives it; "" if nothing was read.
    """

    body: bytes
    values: int
    identifiers: int
    sha256: str = field(default="", compare=False)


class RedactionError(Exception):
    """The message cannot be redacted and must not leave; the text says why, and nothing of the message."""


def redact(
    body: bytes,
    content_encoding: str | None,
    signature: Signature,
    message: Message,
    *,
    blank: Blank,
    identifiers: bool,
    limits: Limits = DEFAULT_LIMITS,
) -> Redacted:
    """Return `body`, in the same content-encoding, with every audio-derived value zeroed or removed.

    `identifiers`: also what the signature says identifies a person, a place or a device. The very same bytes if
    there was nothing to blank. RedactionError for whatever cannot be done and checked.
    """
    try:
        return _redact(body, content_encoding, signature, message, blank, identifiers, limits)
    except DecodeError as error:
        fault = str(error)
    except RecursionError:
        fault = "JSON: nested too deeply"
    raise RedactionError(fault)  # out here, so that it does not carry the parser's error and, in it, the text


def redact_query(query: str, signature: Signature, *, blank: Blank) -> tuple[str, int]:
    """Return the query of a URL without what identifies somebody, and how many parameters that were."""
    parts, count = [], 0
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if unquote_plus(name) not in signature.redact.query or (blank is Blank.ZERO and not value):
            parts.append(part)
            continue
        count += 1
        if blank is Blank.ZERO:
            parts.append(f"{name}=")
    return "&".join(parts), count


def _redact(
    body: bytes,
    encoding: str | None,
    signature: Signature,
    message: Message,
    blank: Blank,
    identifiers: bool,
    limits: Limits,
) -> Redacted:
    wanted = _Wanted(signature, identifiers)
    if not wanted:
        return Redacted(body, 0, 0)
    first = _Blanker(wanted, message, blank, limits)
    redacted = Redacted(first.message(body, encoding), first.values, first.identifiers)
    if redacted.body != body:
        second = _Blanker(wanted, message, blank, limits)
        if second.message(redacted.body, encoding) != redacted.body:
            raise DecodeError("something to blank is found in the redacted message")
    return replace(redacted, sha256=_check(redacted.body, encoding, signature, message, limits))


def _check(body: bytes, encoding: str | None, signature: Signature, message: Message, limits: Limits) -> str:
    """Return the SHA-256 of `body`, decoded; DecodeError unless all of it is read, with no reading but zero."""
    exchange = Exchange(
        sent_at=datetime(2000, 1, 1, tzinfo=UTC),  # any: when it was sent does not matter here
        client=None,
        host=None,
        port=None,
        method=message.method[0],
        path=message.path,
        query="",
        body=body,
        origin=Origin("redact"),
        content_encoding=encoding,
    )
    decoded = extract(exchange, signature, message, {}, Names(key=None), limits)
    if message.audio is None:
        return decoded.source.body_sha256
    faults = [one for one in decoded.undecoded if one.reason != UNREAD]  # what is nowhere else was found by its name
    if faults and message.stats is None:  # what a report leaves out is in no one message
        raise DecodeError(f"element {faults[0].element} cannot be read in full")
    zeros: dict[str, set[float]] = {}
    for group in message.audio.groups:
        for key, known in group.fields.items():
            zeros.setdefault(group.prefix + key, set()).add(known.offset)
    for report in decoded.audio:
        if any(value.value not in zeros[value.name.partition("[")[0]] for value in report.values):
            raise DecodeError("an audio-derived value is left in the redacted message")
    return decoded.source.body_sha256


class _Wanted:
    """What to blank, by keys."""

    def __init__(self, signature: Signature, identifiers: bool) -> None:
        names = {(name,) for name in signature.audio_names}
        values = {tuple(pattern.split(".")) for pattern in signature.redact.values} - names
        others = {tuple(p.split(".")) for p in signature.redact.identifiers} if identifiers else set()
        self._by_last_key: dict[str, list[tuple[tuple[str, ...], _What]]] = {}
        for patterns, what in ((names, _What.AUDIO), (values, _What.SERIES), (others, _What.IDENTIFIER)):
            for pattern in patterns:
                self._by_last_key.setdefault(pattern[-1], []).append((pattern, what))
        self._in_text = name_pattern(signature.telling_names)
        self._longest = max(map(len, names | values | others), default=1)
        self._known: dict[tuple[str, ...], _What] = {}  # of one message, so it is bounded

    def __bool__(self) -> bool:
        return bool(self._by_last_key)

    def what(self, trail: list[str]) -> "_What":
        """Return what stands under these keys, from the outermost to its own."""
        keys = tuple(trail[-self._longest :])
        if (known := self._known.get(keys)) is None:
            known = self._known[keys] = self._what(keys)
        return known

    def _what(self, keys: tuple[str, ...]) -> "_What":
        for last in (keys[-1], "*"):
            for pattern, what in self._by_last_key.get(last, ()):
                if len(keys) >= len(pattern) and all(map(_is_key, pattern, keys[-len(pattern) :])):
                    return what
        return _What.STRANGE if self.is_named_in(keys[-1]) else _What.OTHER

    def is_named_in(self, text: str) -> bool:
        """Does the name of an audio-derived value stand in a text?"""
        return self._in_text is not None and self._in_text.search(text) is not None


def _is_key(pattern: str, key: str) -> bool:
    return pattern in ("*", key)


class _What(Enum):
    AUDIO = auto()
    SERIES = auto()  # it, too, and perhaps many of it, as a text of numbers
    IDENTIFIER = auto()
    STRANGE = auto()  # an audio-derived value's name is in its name
    OTHER = auto()


class _Blanker:
    """One walk through one message; holds what is counted on the way and what is left of the limits."""

    def __init__(self, wanted: _Wanted, message: Message, blank: Blank, limits: Limits) -> None:
        self.wanted, self.kind, self.blank = wanted, message, blank
        self.budget, self.nodes, self.layers = Budget(limits), limits.redact_nodes, limits.redact_layers
        self.values = self.identifiers = 0
        self.trail: list[str] = []  # keys that lead to where the walk is

    def message(self, body: bytes, encoding: str | None) -> bytes:
        """Return the body of the message without what is wanted; as it is if nothing is."""
        if len(body) > self.budget.limits.body:
            raise DecodeError(f"a body of {len(body):,} bytes, limit {self.budget.limits.body:,}")
        if None in self.kind.packed:
            raise DecodeError("the signature does not say under which key its steps find their text")
        plain = decode.remove_content_encoding(body, encoding, self.budget)
        new = self._unpacked(plain, self.kind.steps)
        return body if new is None else add_content_encoding(new, encoding)

    def _unpacked(self, value: str | bytes, steps: tuple[str, ...]) -> bytes | None:
        """Return `value`, blanked inside its steps; None if nothing has changed."""
        steps = tuple(step for step in steps if not step.startswith("json_in_string "))  # every such text is opened
        if steps[:1] == ("gzip_if_magic",) and not decode.is_gzip(value):
            steps = steps[1:]  # it goes on as it came: nobody announces that it is compressed
        if steps[-1:] == ("ndjson",):
            text = decode.as_text(decode.run_steps(value, steps[:-1], self.budget))
            new = "\n".join(self._text(line) if line.strip() else line for line in text.split("\n"))
            return None if new == text else undo_steps(new.encode("utf-8", "surrogatepass"), steps[:-1])
        if steps and steps[-1].startswith("protobuf "):
            return self._protobuf(value, steps)
        if not steps or steps[-1] not in _JSON_STEPS:
            raise DecodeError("the signature's steps do not end in JSON: there is no way back through them")
        text = decode.as_text(decode.run_steps(value, steps[:-1], self.budget))
        new = self._text(text)
        # A lone surrogate can stand in the text of a string; where it cannot be written again, the check says so.
        return None if new == text else undo_steps(new.encode("utf-8", "surrogatepass"), steps[:-1])

    def _protobuf(self, value: str | bytes, steps: tuple[str, ...]) -> bytes | None:
        """Return a message in protobuf with the numbers zeroed that it is read for: its map names all it can tell."""
        if self.blank is Blank.REMOVE:
            raise DecodeError("a number in protobuf is zeroed, not removed")
        if not isinstance(value, bytes) or not all(step.startswith("strip_prefix 0x") for step in steps[:-1]):
            raise DecodeError("there is no way back through the signature's steps")
        data = decode.run_steps(value, steps[:-1], self.budget)
        name = steps[-1].partition(" ")[2]
        document = placed_protobuf(data, name, self.kind.protobuf_messages, self.budget.limits)
        payloads = list(payloads_of(self.kind, document, {}, (), self.budget))
        found = [reading.raw for payload in payloads for reading in payload.readings if reading.raw]
        if not all(isinstance(number, PlacedInt | PlacedFloat) for number in found):
            raise DecodeError("an audio-derived value that stands nowhere in the message")
        self.values += len(found)
        changed = zeroed(data, (number.place for number in found))  # type: ignore[union-attr]  # checked above
        return value[: len(value) - len(data)] + changed if found else None

    def _text(self, text: str) -> str:
        decode.parse_json(text, self.budget)
        whole, count = locate(text)
        self.nodes -= count
        if self.nodes < 0:
            raise DecodeError(f"JSON: more than {self.budget.limits.redact_nodes:,} values, layers and all")
        edits: list[Edit] = []
        self._value(text, whole, edits)
        return apply(text, edits)

    def _value(self, text: str, span: Span, edits: list[Edit]) -> bool:
        """Blank what is in one value, or all of it; return whether it goes, with its key."""
        if span.key is not None:
            what = self.wanted.what(self.trail)
            if what in (_What.AUDIO, _What.SERIES):
                return self._audio(text, span, edits, may_be_text=what is _What.SERIES)
            if what is _What.IDENTIFIER:
                return self._identifier(text, span, edits)
            if what is _What.STRANGE:
                raise DecodeError("the name of an audio-derived value inside another name")
        if span.items is not None:
            goes = []
            for item in span.items:
                if item.key is not None:
                    self.trail.append(item.key)
                goes.append(self._value(text, item, edits))
                if item.key is not None:
                    self.trail.pop()
            if any(goes):
                edits += removals(span.items, goes)
        elif text[span.start] == '"':
            self._string(text, span, edits)
        elif self.trail and self.trail[-1] in self.kind.packed and text[span.start] != "n":
            raise DecodeError("no string where a packed text belongs")
        return False

    def _audio(self, text: str, span: Span, edits: list[Edit], *, may_be_text: bool) -> bool:
        token = text[span.start : span.end]
        if may_be_text and _NUMBERS.fullmatch(token):
            zeros = _NUMBER.sub("0", token)
            if self.blank is Blank.ZERO and token != zeros:
                edits.append((span.start, span.end, zeros))
                self.values += 1
            self.values += self.blank is Blank.REMOVE
            return self.blank is Blank.REMOVE
        if span.items is not None or token[0] not in "-0123456789":
            raise DecodeError("an audio-derived value that is not a number")
        if self.blank is Blank.ZERO and token not in _ZEROS:
            edits.append((span.start, span.end, "0" if token.lstrip("-").isdigit() else "0.0"))
            self.values += 1
        self.values += self.blank is Blank.REMOVE
        return self.blank is Blank.REMOVE

    def _identifier(self, text: str, span: Span, edits: list[Edit]) -> bool:
        if self.blank is Blank.REMOVE:
            self.identifiers += 1
            return True
        for item in span.items or ():
            self._identifier(text, item, edits)
        token = text[span.start : span.end]
        empty = '""' if token[0] == '"' else "0" if token[0] in "-0123456789" else None
        if empty is not None and token != empty:
            edits.append((span.start, span.end, empty))
            self.identifiers += 1
        return False

    def _string(self, text: str, span: Span, edits: list[Edit]) -> None:
        token = text[span.start : span.end]
        said = unquote(token)
        steps = self.kind.packed.get(self.trail[-1]) if self.trail else None
        if steps is None and not self._holds_json(said):
            if said.startswith(_GZIP_IN_BASE64):
                raise DecodeError("a packed text where the signature knows none")
            if self.wanted.is_named_in(said):
                raise DecodeError("the name of an audio-derived value inside a text")
            return
        self.layers -= 1
        if self.layers < 0:
            raise DecodeError(f"more than {self.budget.limits.redact_layers} texts within texts")
        new = self._unpacked(said, steps or ("json_in_string",))
        self.layers += 1
        if new is not None:
            edits.append((span.start, span.end, quote(new.decode("utf-8", "surrogatepass"), like=token)))

    def _holds_json(self, said: str) -> bool:
        if not _MAY_BEGIN_JSON.match(said):
            return False
        try:
            decode.parse_json(said, self.budget)
        except DecodeError:
            return False
        return True
