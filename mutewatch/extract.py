"""From one exchange to its facts, as a signature says: `extract`; `unknown_message` where no signature says anything.

What cannot be read becomes an `Undecoded` with its reason; the elements beside it are kept. Nothing raises.
"""

import hashlib
import math
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.visitor import TreeInterpreter

from mutewatch import decode
from mutewatch.decode import Budget
from mutewatch.errors import DecodeError
from mutewatch.identity import Names
from mutewatch.limits import DEFAULT_LIMITS, Limits
from mutewatch.records import AudioReport, AudioValue, Decoded, Exchange, MuteEvent, Source, Undecoded
from mutewatch.signatures.model import Audio, FieldGroup, Message, Mute, Signature

Scope = dict[str, Any]
Fact = AudioReport | MuteEvent | Undecoded

UNKNOWN_CLIENT = "unknown"  # neither the message nor the door names a client
UNKNOWN_CALL = ""


def extract(
    exchange: Exchange,
    signature: Signature,
    message: Message,
    segments: dict[str, str],
    names: Names,
    limits: Limits = DEFAULT_LIMITS,
) -> Decoded:
    """Return all facts of a matched exchange whose body the door could read."""
    body, budget = exchange.body or b"", Budget(limits)
    document, fault = None, None
    try:
        if len(body) > limits.body:
            raise DecodeError(f"a body of {len(body):,} bytes, limit {limits.body:,}")
        body = decode.remove_content_encoding(body, exchange.content_encoding, budget)
        document = decode.run_steps(body, message.steps, budget)
    except DecodeError as error:
        fault = str(error)
    sha256 = hashlib.sha256(budget.first_value or body).hexdigest()
    address = names.pseudonym(exchange.client) if exchange.client else None
    seen_at = exchange.sent_at if exchange.sent_at and _is_plausible(exchange.sent_at) else None
    source = Source(signature.ref, exchange.origin, sha256, seen_at, address)
    reader = _MessageReader(exchange, message, source, names, budget)
    facts = list(reader.read(document, segments)) if fault is None else [reader.undecoded(fault)]
    return Decoded(
        source,
        tuple(fact for fact in facts if isinstance(fact, AudioReport)),
        tuple(fact for fact in facts if isinstance(fact, MuteEvent)),
        tuple(fact for fact in facts if isinstance(fact, Undecoded)),
    )


def unknown_message(exchange: Exchange, signature: Signature, names: Names, found: bool | None) -> Decoded:
    """Return the one fact of a message that no signature knows, sent to a host of `signature`: it was not read.

    `found`: does it name audio-derived values? None: it could not be searched.
    """
    body = exchange.body or b""
    with suppress(DecodeError):
        body = decode.remove_content_encoding(body, exchange.content_encoding, Budget(DEFAULT_LIMITS))
    address = names.pseudonym(exchange.client) if exchange.client else None
    seen_at = exchange.sent_at if exchange.sent_at and _is_plausible(exchange.sent_at) else None
    source = Source(signature.ref, exchange.origin, hashlib.sha256(body).hexdigest(), seen_at, address)
    what = "names audio-derived values" if found else "cannot be searched for audio-derived values"
    reason = f"{_method(exchange.method)} {_shape(exchange.path)}: no message of the signature, and it {what}"
    return Decoded(source, undecoded=(Undecoded(source, reason, len(exchange.body or b""), 0, address),))


# Of a path nobody knows, only these words are told; any other may be somebody's name.
_WORDS: Final = (
    *("api", "metric", "metrics", "telemetry", "telemetrics", "event", "events", "stat", "stats", "log", "logs"),
    *("report", "reports", "client", "clients", "clientmetrics", "media", "quality", "audio", "call", "calls"),
    *("meeting", "meetings", "conference", "locus", "loci", "participant", "participants", "controls", "user"),
    *("users", "device", "devices", "session", "sessions", "batch", "upload", "collect", "diagnostics", "trace"),
)
_VERSION_SEGMENT = re.compile(r"v\d{1,2}", re.IGNORECASE)
_METHODS: Final = ("POST", "PUT", "PATCH", "DELETE", "WEBSOCKET", *("GET", "HEAD", "OPTIONS"))


def _shape(path: str) -> str:
    """Return a path without the segments that may name somebody: all but common words and versions become `*`."""
    segments = [
        part if part.lower() in _WORDS or _VERSION_SEGMENT.fullmatch(part) else part and "*" for part in path.split("/")
    ]
    return decode.shorten("/".join(segments), 80)


def _method(name: str) -> str:
    return name if name in _METHODS else "*"


class _MessageReader:
    """Reads one message; holds what its facts have in common."""

    def __init__(self, exchange: Exchange, message: Message, source: Source, names: Names, budget: Budget) -> None:
        self.exchange, self.message, self.source = exchange, message, source
        self.names, self.budget = names, budget

    def undecoded(self, reason: str, element: int = 0, scope: Scope | None = None) -> Undecoded:
        call, at = None, None
        if scope is not None:
            call = self._call(self.message.call, scope)
            at = _time_or_none(_find(self.message.at, scope))
        client = self.source.address
        return Undecoded(self.source, reason, len(self.exchange.body or b""), element, client, call, at)

    def read(self, document: Any, segments: dict[str, str]) -> Iterator[Fact]:
        limit = self.budget.limits.elements
        try:
            elements = self._elements({"document": document, "path": segments})
        except DecodeError as error:
            yield self.undecoded(str(error))
            return
        for position, element in enumerate(elements[:limit]):
            scope = {"document": document, "path": segments, "element": element}
            try:
                scope["payload"] = self._payload(scope)
                yield from self._facts(scope, position)
            except DecodeError as error:
                yield self.undecoded(str(error), position, scope)
        if len(elements) > limit:
            yield self.undecoded(f"{len(elements):,} elements, limit {limit}", limit)

    def _elements(self, scope: Scope) -> list[Any]:
        found = search(self.message.each, scope)
        if found is None or found == []:
            if self.message.each_required:
                raise DecodeError(f"nothing at {self.message.each}")
            return []
        return found if isinstance(found, list) else [found]

    def _payload(self, scope: Scope) -> Any:
        for way in self.message.payload:
            found = search(way.path, scope)
            if found is not None:
                return decode.run_steps(found, way.steps, self.budget)
        raise DecodeError(f"nothing at {' or '.join(way.path for way in self.message.payload)}")

    def _facts(self, scope: Scope, position: int) -> Iterator[Fact]:
        for mute in self.message.mute:
            if search(mute.when, scope) is True:
                yield self._mute_event(mute, scope)
        audio = self.message.audio
        if audio is None or search(audio.when, scope) is not True:
            return
        intervals = search(audio.intervals, scope)
        if not isinstance(intervals, list):
            raise DecodeError(f"nothing at {audio.intervals}")
        for number, interval in enumerate(intervals[: self.budget.limits.elements], 1):
            # Assumed: of several intervals in one message the last ends at `ends_at`, each a period after the other.
            earlier = timedelta(seconds=audio.period_seconds) * (len(intervals) - number)
            try:
                yield from self._audio_report(audio, {**scope, "interval": interval}, position, earlier)
            except DecodeError as error:
                yield self.undecoded(str(error), position, scope)
        if len(intervals) > self.budget.limits.elements:
            fault = f"{len(intervals):,} intervals, limit {self.budget.limits.elements}"
            yield self.undecoded(fault, position, scope)

    def _audio_report(self, audio: Audio, scope: Scope, position: int, earlier: timedelta) -> Iterator[Fact]:
        values: list[AudioValue] = []
        for group in audio.groups:
            found, faults = values_of(group, scope)
            values += found
            for fault in faults:
                yield self.undecoded(fault, position, scope)
        if len(values) > self.budget.limits.values:
            yield self.undecoded(f"{len(values):,} values, limit {self.budget.limits.values}", position, scope)
        if not values:
            return
        ends_at = self._time(audio.ends_at, scope) - earlier
        yield AudioReport(
            self.source,
            self._client(audio.client, scope),
            self._call(audio.call, scope) or UNKNOWN_CALL,
            ends_at - timedelta(seconds=audio.period_seconds),
            ends_at,
            _interval_number(_find(audio.number, scope)),
            tuple(values[: self.budget.limits.values]),
            _version(_find(audio.client_version, scope)),
        )

    def _mute_event(self, mute: Mute, scope: Scope) -> MuteEvent:
        muted = search(mute.muted, scope)
        if not isinstance(muted, bool):
            raise DecodeError(f"{mute.muted}: {decode.describe_type(muted)} instead of true or false")
        participant = self._identifier(_find(mute.participant, scope))
        return MuteEvent(
            self.source,
            self._client(mute.client, scope),
            self._call(mute.call, scope),
            self.names.participant(participant) if participant else None,
            self._time(mute.at, scope),
            muted,
            mute.scope,
            mute.basis,
            self._is_effective(mute),
            by_client_clock=mute.at is not None,
        )

    def _is_effective(self, mute: Mute) -> bool | None:
        if mute.effective_on == "sent":
            return True
        status = self.exchange.status
        return None if status is None else 200 <= status < 300

    def _client(self, expression: str | None, scope: Scope) -> str:
        name = self._identifier(_find(expression, scope))
        return self.names.pseudonym(name) if name else self.source.address or UNKNOWN_CLIENT

    def _call(self, expression: str | None, scope: Scope) -> str | None:
        name = self._identifier(_find(expression, scope))
        return self.names.call(name) if name else None

    def _time(self, expression: str | None, scope: Scope) -> datetime:
        """The time at `expression`; without one, when the request was sent."""
        found = _find(expression, scope)
        if found is not None:
            return _parse_time(found)
        if self.source.seen_at is None:
            raise DecodeError("no time: neither the message nor the capture has one that can be")
        return self.source.seen_at

    def _identifier(self, value: Any) -> str | None:
        """A name from the wire as bounded, printable text; None if there is none."""
        if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
            return None
        limit = self.budget.limits.identifier
        # Control, bidirectional and surrogate characters could rewrite a log line, a terminal or a page.
        text = str(value)[: 8 * limit]
        if not text.isprintable():
            text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
        if len(text) > limit:  # keep it distinct from others with the same beginning
            text = f"{text[: limit - 17]}~{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        return text


# Digits first and few other characters, so that no name of a person, place or device passes for a version.
_VERSION = re.compile(r"\d[0-9A-Za-z.+-]{0,31}")


def _version(value: Any) -> str | None:
    """Return what a client says of the version of its app, if that can be one."""
    return value if isinstance(value, str) and _VERSION.fullmatch(value) else None


def values_of(group: FieldGroup, scope: Scope) -> tuple[list[AudioValue], list[str]]:
    """The numbers of a group, and what was wrong with those that are there and are no numbers."""
    found = search(group.objects, scope)
    objects = found if isinstance(found, list) else [found]
    values: list[AudioValue] = []
    strange = (item for item in objects if item is not None and not isinstance(item, dict))
    faults = [f"{group.objects}: {decode.describe_type(item)} instead of an object" for item in strange]
    readable = [item for item in objects if isinstance(item, dict)]
    for key, field in group.fields.items():
        for position, item in enumerate(readable):
            if key not in item:
                continue
            reading = item[key]
            if isinstance(reading, bool) or not isinstance(reading, int | float) or not math.isfinite(reading):
                faults.append(f"{key}: {decode.describe_type(reading)} instead of a finite number")
                continue
            value = reading if field.scale == 1 and not field.offset else reading * field.scale + field.offset
            name = key if position == 0 else f"{key}[{position}]"
            values.append(AudioValue(name, value, field.unit, field.floor, field.role if position == 0 else None))
    return values, sorted(set(faults))


_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # JMESPath's unquoted string


_INTERPRETER = TreeInterpreter()  # one for all: it learns how to visit each kind of node


@cache
def _compiled(expression: str) -> Any:
    return jmespath.compile(expression).parsed


@cache
def _plain_path(expression: str) -> tuple[str, ...] | None:
    """The keys of an expression that is nothing but keys; None for any other."""
    keys = tuple(expression.split("."))
    return keys if all(_PLAIN_KEY.fullmatch(key) for key in keys) else None


def search(expression: str, scope: Scope) -> Any:
    keys = _plain_path(expression)
    if keys is not None:  # most are, and looking keys up one by one is ten times as fast
        found: Any = scope
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        return found
    try:
        return _INTERPRETER.visit(_compiled(expression), scope)
    except (JMESPathError, TypeError, ValueError, RecursionError) as error:
        # The library's own words would quote what it was looking at.
        raise DecodeError(f"{expression}: {type(error).__name__}") from None


def _find(expression: str | None, scope: Scope) -> Any:
    return None if expression is None else search(expression, scope)


def _interval_number(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 10**9:
        raise DecodeError(f"interval number: {decode.describe_type(value)} instead of one from 0 to 10^9")
    return value


def _parse_time(value: Any) -> datetime:
    """ISO 8601 text to UTC; a time without a zone is taken as UTC. Years 2000 to 2099."""
    if not isinstance(value, str) or len(value) > 40:
        raise DecodeError(f"time: {decode.describe_type(value)} instead of ISO 8601 text")
    try:
        time = datetime.fromisoformat(value)
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise DecodeError(f"time: {len(value)} characters that are not ISO 8601") from None
    if not 2000 <= time.year < 2100:
        raise DecodeError(f"time: the year {time.year}")
    return time


def _is_plausible(time: datetime) -> bool:
    """Can the difference of two such times be added to a third? From 1970, where a gateway without a clock begins."""
    return 1970 <= time.year < 2200


def _time_or_none(value: Any) -> datetime | None:
    try:
        return _parse_time(value)
    except DecodeError:
        return None
