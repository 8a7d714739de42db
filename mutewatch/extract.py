"""From one exchange to its facts, as a signature says: `extract`; `unknown_message` where no signature says anything.

What cannot be read becomes an `Undecoded` with its reason; the elements beside it are kept. Nothing raises.
"""

import hashlib
import math
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final

from mutewatch import decode
from mutewatch.audio_names import names_audio
from mutewatch.client_time import is_plausible, newest_of, parse_time, place, time_or_none
from mutewatch.decode import Budget
from mutewatch.errors import DecodeError
from mutewatch.expressions import Scope, find, search
from mutewatch.identity import Names
from mutewatch.limits import DEFAULT_LIMITS, Limits
from mutewatch.messages import WEBSOCKET
from mutewatch.records import AudioReport, AudioValue, Decoded, Direction, Exchange, MuteEvent, Source, Undecoded
from mutewatch.rtcstats import StatsStates
from mutewatch.signatures.model import Audio, FieldGroup, Message, Mute, Signature, Stats

Fact = AudioReport | MuteEvent | Undecoded

UNKNOWN_CLIENT = "unknown"  # neither the message nor the door names a client
UNKNOWN_CALL = ""
UNREAD: Final = "names audio-derived values, and none of them was found"


def extract(
    exchange: Exchange,
    signature: Signature,
    message: Message,
    segments: dict[str, str],
    names: Names,
    limits: Limits = DEFAULT_LIMITS,
    states: StatsStates | None = None,
) -> Decoded:
    """Return all facts of a matched exchange whose body the door could read.

    `states`: what earlier messages of its connection said; without it nothing is known of them.
    """
    body, budget = exchange.body or b"", Budget(limits)
    document, fault, is_skipped = None, None, False
    try:
        if len(body) > limits.body:
            raise DecodeError(f"a body of {len(body):,} bytes, limit {limits.body:,}")
        body = decode.remove_content_encoding(body, exchange.content_encoding, budget)
        is_skipped = body.startswith(message.skipped)
        document = None if is_skipped else decode.run_steps(body, message.steps, budget, message.protobuf_messages)
    except DecodeError as error:
        fault = str(error)
    sha256 = hashlib.sha256(budget.first_value or body).hexdigest()
    address = names.pseudonym(exchange.client) if exchange.client else None
    seen_at = exchange.sent_at if exchange.sent_at and is_plausible(exchange.sent_at) else None
    source = Source(signature.ref, exchange.origin, sha256, seen_at, address)
    if is_skipped:
        return Decoded(source)
    states = stats_states(limits) if states is None else states
    reader = _MessageReader(exchange, message, source, names, budget, states)
    facts = list(reader.read(document, segments)) if fault is None else [reader.undecoded(fault)]
    if not facts and reader.is_unread():
        facts.append(reader.undecoded(UNREAD))
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
    seen_at = exchange.sent_at if exchange.sent_at and is_plausible(exchange.sent_at) else None
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


def connection_name(exchange: Exchange) -> str:
    """Return a name of the connection that every door gives which knows both of its ends."""
    if exchange.client and exchange.client_port:
        return f"{exchange.client}:{exchange.client_port}>{exchange.host}"
    return exchange.connection or f"{exchange.client}>{exchange.host}{exchange.path}"


def stats_states(limits: Limits) -> StatsStates:
    return StatsStates(limits.stats_connections, limits.stats_sources)


class _MessageReader:
    """Reads one message; holds what its facts have in common."""

    def __init__(
        self,
        exchange: Exchange,
        message: Message,
        source: Source,
        names: Names,
        budget: Budget,
        states: StatsStates,
    ) -> None:
        self.exchange, self.message, self.source = exchange, message, source
        self.names, self.budget, self.states = names, budget, states
        self._connection = f"{source.signature.id} {connection_name(exchange)}"
        self._has_stats = False

    def is_unread(self) -> bool:
        """Of a message without facts: does it name values that it is read for? An event may have got another name.

        Statistics name the levels of what is received, too.
        """
        wanted = frozenset() if self._has_stats else self.message.audio_keys
        exchange = self.exchange
        return names_audio(exchange.body, exchange.content_encoding, wanted, self.budget.limits) is True

    def undecoded(self, reason: str, element: int = 0, scope: Scope | None = None) -> Undecoded:
        call, at = None, None
        if scope is not None:
            call = self._call(self.message.call, scope)
            at = time_or_none(find(self.message.at, scope))
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
                return decode.run_steps(found, way.steps, self.budget, self.message.protobuf_messages)
        raise DecodeError(f"nothing at {' or '.join(way.path for way in self.message.payload)}")

    def _facts(self, scope: Scope, position: int) -> Iterator[Fact]:
        if id_ := self._identifier(find(self.message.connection_id, scope)):
            self.states.name(self._connection, id_)
        for mute in self.message.mute:
            if search(mute.when, scope) is True:
                yield self._mute_event(mute, scope)
        stats = self.message.stats
        if stats is not None and search(stats.when, scope) is True:
            self._has_stats = True
            name = self._identifier(find(stats.connection, scope))
            connection = f"{self.source.signature.id} {name}" if name else self._connection
            scope["readings"], faults = readings(self.message, stats, scope, connection, self.states, self.budget)
            for fault in faults:
                yield self.undecoded(fault, position, scope)
        audio = self.message.audio
        if audio is not None and search(audio.when, scope) is True:
            yield from self._audio_reports(audio, scope, position)

    def _audio_reports(self, audio: Audio, scope: Scope, position: int) -> Iterator[Fact]:
        intervals = search(audio.intervals, scope)
        if not isinstance(intervals, list):
            raise DecodeError(f"nothing at {audio.intervals}")
        limit = self.budget.limits.samples if audio.is_sample else self.budget.limits.elements
        scopes = [{**scope, "interval": interval} for interval in intervals[:limit]]
        times = (find(audio.ends_at, inner) for inner in scopes) if audio.is_sample else ()
        newest = newest_of(times, is_relative=audio.is_relative)
        # Assumed: of several whole intervals in one message the last ends at `ends_at`, each a period after the other.
        step = timedelta() if audio.is_sample else timedelta(seconds=audio.period_seconds)
        for number, inner in enumerate(scopes, 1):
            try:
                yield from self._audio_report(audio, inner, position, newest, step * (len(intervals) - number))
            except DecodeError as error:
                yield self.undecoded(str(error), position, scope)
        if len(intervals) > limit:
            yield self.undecoded(f"{len(intervals):,} intervals, limit {limit:,}", position, scope)

    def _audio_report(
        self, audio: Audio, scope: Scope, position: int, newest: float | None, earlier: timedelta
    ) -> Iterator[Fact]:
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
        if newest is None:
            ends_at = self._time(audio.ends_at, scope) - earlier
        else:
            ends_at = place(search(audio.ends_at, scope), newest, self._time(audio.newest_at, scope))
        yield AudioReport(
            self.source,
            self._client(audio.client, scope),
            self._call(audio.call, scope) or UNKNOWN_CALL,
            ends_at - timedelta(seconds=audio.period_seconds),
            ends_at,
            _interval_number(find(audio.number, scope)),
            tuple(values[: self.budget.limits.values]),
            _version(find(audio.client_version, scope)),
            audio.is_sample,
        )

    def _mute_event(self, mute: Mute, scope: Scope) -> MuteEvent:
        muted = search(mute.muted, scope)
        if not isinstance(muted, bool):
            raise DecodeError(f"{mute.muted}: {decode.describe_type(muted)} instead of true or false")
        participant = self._identifier(find(mute.participant, scope))
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
        name = self._identifier(find(expression, scope))
        return self.names.pseudonym(name) if name else self.source.address or UNKNOWN_CLIENT

    def _call(self, expression: str | None, scope: Scope) -> str | None:
        """The call's id; where the signature knows none, what a client says on one websocket is of one call."""
        name = self._identifier(find(expression, scope))
        is_claim = self.exchange.method == WEBSOCKET and self.exchange.direction is Direction.TO_SERVER
        if expression is None and is_claim:
            name = self.states.id_of(self._connection) or connection_name(self.exchange)
        return self.names.call(name) if name else None

    def _time(self, expression: str | None, scope: Scope) -> datetime:
        """The time at `expression`; without one, when the request was sent."""
        found = find(expression, scope)
        if found is not None:
            return parse_time(found)
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


def readings(
    message: Message, stats: Stats, scope: Scope, connection: str, states: StatsStates, budget: Budget
) -> tuple[list[Scope], list[str]]:
    """What the getStats reports of one element say with what earlier ones said, and what was wrong with them."""
    entries = search(stats.reports, scope)
    if not isinstance(entries, list):
        raise DecodeError(f"nothing at {stats.reports}")
    found: list[Scope] = []
    faults: set[str] = set()
    for entry in entries[: budget.limits.samples]:
        at, peer, reports = (entry.get(key) for key in ("at", "peer", "reports"))
        name = peer[: budget.limits.identifier] if isinstance(peer, str) else ""
        try:
            sources, wrong = states.fill_in(connection, name, stats.dialect, reports, message.audio_keys, budget)
        except DecodeError as error:
            faults.add(str(error))
            continue
        faults.update(wrong)
        found.append({"at": at, "sources": sources})
    return found, sorted(faults)


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
    for key, field in group.fields.items():
        for position, item in enumerate(objects):
            if not isinstance(item, dict) or key not in item:
                continue
            reading = item[key]
            if isinstance(reading, bool) or not isinstance(reading, int | float) or not math.isfinite(reading):
                faults.append(f"{key}: {decode.describe_type(reading)} instead of a finite number")
                continue
            value = reading if field.scale == 1 and not field.offset else reading * field.scale + field.offset
            name = group.prefix + (key if position == 0 else f"{key}[{position}]")
            role = field.role if position == 0 else None
            values.append(AudioValue(name, value, field.unit, field.floor, role, field.is_cumulative))
    return values, sorted(set(faults))


def _interval_number(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():  # to JSON 5.0 is 5
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 10**9:
        raise DecodeError(f"interval number: {decode.describe_type(value)} instead of one from 0 to 10^9")
    return value
