"""What a signature may say: the model behind every `<app>_<endpoint>.toml`, and its JSON Schema.

A signature is data: hosts and paths to match, steps to decode, JMESPath expressions to find values, and
the evidence that all of this is so. Expressions are evaluated on one object with these keys:

- `document`: the decoded body; `element`: one of `each`; `payload`: what the element's steps give;
- `interval`: one of `intervals` (audio only); `path`: the named segments of the matched path;
- `readings`: what `stats` filled in, an array of `{"at": ..., "sources": [...]}`.
"""

import re
from collections.abc import Iterable
from datetime import date
from functools import cached_property
from typing import Annotated, Literal, Self

import jmespath
from jmespath.exceptions import JMESPathError
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from mutewatch.decode import STEPS, STEPS_WITH_ARGUMENT
from mutewatch.protobuf import SCALARS, Messages, messages_of, parse_field
from mutewatch.records import Basis, Direction, Role, Scope, SignatureRef
from mutewatch.rtcstats import Dialect

HOST_LABEL = r"[a-z0-9-]*"


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, ignored_types=(cached_property,))


def _expression(text: str) -> str:
    try:
        jmespath.compile(text)
    except JMESPathError as error:
        raise ValueError(f"not a JMESPath expression: {str(error).splitlines()[0]}") from None
    return text


def _step(text: str) -> str:
    name, _, argument = text.partition(" ")
    if argument and name not in STEPS_WITH_ARGUMENT:
        raise ValueError(f"step {name!r} takes no argument; those that do are {', '.join(STEPS_WITH_ARGUMENT)}")
    if not argument and name in STEPS_WITH_ARGUMENT and name not in STEPS:
        raise ValueError(f"step {name!r} needs an argument after a space")
    if not argument and name not in STEPS:
        raise ValueError(f"no step {name!r}; there are {', '.join(sorted({*STEPS, *STEPS_WITH_ARGUMENT}))}")
    if name == "strip_prefix" and argument.startswith("0x") and not re.fullmatch("0x([0-9a-f]{2})+", argument):
        raise ValueError("bytes to strip are written as 0x and hexadecimal digits")
    return text


def _host_pattern(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9*-]+(\.[a-z0-9*-]+)+", text) or not re.search(r"(^|\.)[a-z0-9-]+\.[a-z]+$", text):
        raise ValueError("a host is lower-case labels; `*` stands inside one label, never in the last two")
    return text


def _path_template(text: str) -> str:
    if not re.fullmatch(r"(/([A-Za-z0-9._~-]+|\{[a-z]+\}|\*\*))+", text) or text.count("**") > 1:
        raise ValueError(
            "a path is literal segments and {named} ones, such as /loci/{locus}/controls; one ** is any number of them"
        )
    return text


def _key_pattern(text: str) -> str:
    keys = text.split(".")
    if "" in keys or set(keys) == {"*"} or any("*" in key and key != "*" for key in keys):
        raise ValueError("a value to blank is named by its key, or by its last keys with `.` between; `*` is any key")
    return text


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else value


_ANY_PATH = "/**"
_ANY_SEGMENTS = re.escape(_ANY_PATH)

Method = Literal["POST", "PUT", "PATCH", "WEBSOCKET", "RTP"]


def _protobuf_field(text: str) -> str:
    parse_field(text)
    return text


ProtobufText = Annotated[str, AfterValidator(_protobuf_field)]
Expression = Annotated[str, AfterValidator(_expression)]
StepName = Annotated[str, AfterValidator(_step)]
HostPattern = Annotated[str, AfterValidator(_host_pattern)]
PathTemplate = Annotated[str, AfterValidator(_path_template)]
KeyPattern = Annotated[str, AfterValidator(_key_pattern)]
SignatureId = Annotated[str, Field(pattern=r"^[a-z0-9]+(\.[a-z0-9]+)+$")]
Confidence = Literal["captured", "code", "3rd-party", "documented", "inferred"]


class Payload(Strict):
    """One way to get from an element to its payload; the first whose `path` finds something is taken."""

    path: Expression
    steps: tuple[StepName, ...] = ()
    key: str | None = Field(None, description="the key of what `steps` decode, where `path` does not end with it")


class ValueField(Strict):
    """One audio-derived number: value = reading * scale + offset, in `unit`."""

    unit: str
    meaning: str
    scale: float = 1
    offset: float = 0
    floor: float | None = Field(None, description="the value that carries no information, in `unit`")
    role: Role | None = None
    is_cumulative: bool = Field(False, description="a total: what it grew by, per second, is the reading")


class FieldGroup(Strict):
    """Audio-derived numbers that stand side by side in each object that `objects` finds."""

    objects: Expression
    prefix: str = Field("", description="stands before the names of its values, where those of two groups are the same")
    fields: dict[str, ValueField]


class Audio(Strict):
    """Where the audio-derived values of a payload are, and which interval of time they describe."""

    when: Expression = Field("`true`", description="only payloads for which this is true carry intervals")
    intervals: Expression
    is_sample: bool = Field(False, description="each is one of several readings of which a minute is made")
    number: Expression | None = Field(None, description="the client's own count of intervals")
    ends_at: Expression = Field(description="end of the interval by the client's clock: ISO 8601, or milliseconds")
    is_relative: bool = Field(False, description="`ends_at` has an unknown start; the newest is at `newest_at`")
    newest_at: Expression | None = Field(None, description="without it the time of the message")
    period_seconds: float = Field(ge=1, le=3600)
    call: Expression | None = Field(None, description="without it the connection, of a websocket")
    client: Expression | None = Field(None, description="without it the client's address")
    client_version: Expression | None = Field(None, description="version of the client's app; by itself, no name in it")
    groups: tuple[FieldGroup, ...] = Field(min_length=1)


class Mute(Strict):
    """What a payload says of the mute state."""

    when: Expression
    muted: Expression = Field(description="gives true or false")
    at: Expression | None = Field(None, description="time of the change; without it the time of the message")
    call: Expression | None = Field(None, description="without it the connection, of a websocket")
    client: Expression | None = None
    participant: Expression | None = Field(None, description="id under which others may mute this client")
    scope: Scope = Scope.LOCAL
    basis: Basis = Basis.CLIENT_REPORTED
    effective_on: Literal["sent", "2xx"] = "sent"


class Stats(Strict):
    """getStats reports that leave out what has not changed: state is kept for each connection (`rtcstats.py`)."""

    dialect: Dialect
    when: Expression
    reports: Expression = Field(description='gives an array of {"at": ..., "peer": ..., "reports": ...}')
    connection: Expression | None = Field(None, description="whose reports follow each other; else the connection")


class Message(Strict):
    """One kind of message: how it is recognised, opened, and what it says."""

    method: Annotated[tuple[Method, ...], BeforeValidator(_as_tuple), Field(min_length=1)]
    direction: Direction = Field(Direction.TO_SERVER, description="who sends it; a server's word is an echo")
    path: PathTemplate
    skip: tuple[str, ...] = Field((), description="beginnings of bodies that are no message of this kind")
    steps: tuple[StepName, ...] = ("json",)
    each: Expression = Field(description="elements of the document; an object counts as one element")
    each_required: bool = Field(True, description="a message without any is undecoded, not empty")
    payload: tuple[Payload, ...] = Field(min_length=1)
    call: Expression | None = Field(None, description="for a damaged payload: call, as the envelope has it")
    at: Expression | None = Field(None, description="for a damaged payload: time, as the envelope has it")
    connection_id: Expression | None = Field(
        None, description="finds the id by which the client names this connection, and what it makes in its place"
    )
    stats: Stats | None = None
    audio: Audio | None = None
    mute: tuple[Mute, ...] = ()
    protobuf: dict[str, dict[str, ProtobufText]] = Field(
        {}, description="messages of the step `protobuf`, and their fields: `uint64 1`, `repeated Metric 2`"
    )

    @model_validator(mode="after")
    def _has_its_protobuf(self) -> Self:
        steps = (*self.steps, *(step for way in self.payload for step in way.steps))
        named = {argument for step in steps for name, _, argument in [step.partition(" ")] if name == "protobuf"}
        types = {field.type for fields in self.protobuf_messages.values() for _, field in fields.values()}
        missing = (named | types) - self.protobuf.keys() - SCALARS.keys() - {"string", "bytes"}
        if missing:
            raise ValueError(f"protobuf: no message {', '.join(sorted(missing))}")
        return self

    @cached_property
    def protobuf_messages(self) -> Messages:
        """The field map, parsed."""
        return messages_of(self.protobuf)

    @cached_property
    def skipped(self) -> tuple[bytes, ...]:
        return tuple(text.encode() for text in self.skip)

    @cached_property
    def audio_keys(self) -> frozenset[str]:
        """Every key under which it carries an audio-derived number."""
        return frozenset(key for group in (self.audio.groups if self.audio else ()) for key in group.fields)

    @cached_property
    def packed(self) -> dict[str | None, tuple[StepName, ...]]:
        """Steps by the key of the text they decode; the key is None if nothing says it."""
        is_line = self.steps[-1:] == ("ndjson",)  # what its payload is made of is the message itself
        ways = (way for way in self.payload if way.steps and not (is_line and way.path == "element"))
        return {way.key or _last_key(way.path if way.path != "element" else self.each): way.steps for way in ways}

    @cached_property
    def awaits_answer(self) -> bool:
        """Does what it says hold only once the server has answered?"""
        return any(mute.effective_on == "2xx" for mute in self.mute)

    @cached_property
    def path_pattern(self) -> re.Pattern[str]:
        """The template as a regular expression without ambiguity: one segment a group, linear time."""
        segments = re.sub(r"\\{([a-z]+)\\}", r"(?P<\1>[^/]+)", re.escape(self.path).replace(r"\-", "-"))
        return re.compile(f"{segments.replace(_ANY_SEGMENTS, '(?:/[^/]+)*')}/?")

    @cached_property
    def _in_any_case(self) -> re.Pattern[str]:
        return re.compile(self.path_pattern.pattern, re.IGNORECASE)

    def match_path(self, path: str) -> dict[str, str] | None:
        """Return the named segments of `path`; None if it is another. In any case, as some servers take it."""
        found = self.path_pattern.fullmatch(path) or self._in_any_case.fullmatch(path)  # the second is slower
        return found.groupdict() if found else None


def _last_key(expression: str) -> str | None:
    """Return the key that a plain path such as `document.list[].text` ends with; None for any other expression."""
    found = re.fullmatch(r"(?:\w+(?:\[\*?\])*\.)+(\w+)(?:\[\*?\])*", expression)
    return found[1] if found else None


class Redaction(Strict):
    """What is blanked in these messages besides the fields of `audio`, which always are.

    A value is named by its key or by the last of the keys that lead to it, through whatever is packed in whatever:
    `identifiers.*` is each member of every object called identifiers. Positions in arrays do not count.
    """

    values: tuple[KeyPattern, ...] = Field((), description="audio-derived numbers that no field of `audio` names")
    identifiers: tuple[KeyPattern, ...] = Field(description="what identifies a person, a place or a device")
    query: tuple[str, ...] = Field((), description="parameters of the URL that do")


class Fixture(Strict):
    """One message and the facts that must come out of it; `inner` is packed by `encode` into `{inner}`.

    `then`: bodies of messages that follow on the same connection. `is_hex`: bodies are hexadecimal digits.
    """

    name: str
    method: str | None = None
    host: str | None = None
    path: str | None = None
    status: int | None = 200
    sent_at: str = "2025-01-01T00:00:02Z"
    direction: Direction = Direction.TO_SERVER
    body: str
    then: tuple[str, ...] = ()
    is_hex: bool = False
    inner: str | None = None
    encode: tuple[Literal["gzip", "base64"], ...] = ("gzip", "base64")
    kind: Literal["typical", "negative", "damaged"] = "typical"
    facts: tuple[str, ...] = Field(description="as `mutewatch signatures test` prints them")


class Canary(Strict):
    """What `mutewatch canary` sends: text with {call}, {at} (now) and {earlier} (before the minute) to fill in."""

    tells: Literal["mute", "audio"] = Field(description="of one app, a mute is sent before the audio")
    host: str
    method: Literal["POST", "PUT", "PATCH"] = "POST"
    path: str = Field(description="with its query")
    body: str
    inner: str | None = None
    encode: tuple[Literal["gzip", "base64"], ...] = ("gzip", "base64")
    values: tuple[str, ...] = Field((), description="names of the audio-derived values that must be found in it")


class Signature(Strict):
    """How to recognise and decode the telemetry or signalling endpoints of one app, and why we believe it."""

    id: SignatureId
    version: int = Field(ge=1)
    app: str
    title: str
    confidence: Confidence
    source: tuple[str, ...] = Field(min_length=1, description="where what is said here was seen")
    client_versions: str
    last_checked: date
    hosts: tuple[HostPattern, ...] = Field(description="none where no message has a host, as in RTP")
    overlaps: tuple[str, ...] = Field((), description="ids of signatures that read the same messages, on purpose")
    redact: Redaction
    messages: tuple[Message, ...] = Field(min_length=1)
    canary: Canary | None = None
    fixtures: tuple[Fixture, ...] = Field(min_length=5)

    @model_validator(mode="after")
    def _has_hard_fixtures(self) -> Self:
        missing = {"negative", "damaged"} - {fixture.kind for fixture in self.fixtures}
        if missing:
            raise ValueError(f"fixtures: none is {' or '.join(sorted(missing))}")
        return self

    @model_validator(mode="after")
    def _knows_its_canary(self) -> Self:
        canary = self.canary
        if canary and not self.match(canary.method, canary.host, canary.path.partition("?")[0]):
            raise ValueError("canary: its method, host and path are none of this signature's messages")
        return self

    @cached_property
    def audio_names(self) -> frozenset[str]:
        """Every key under which a message of this signature carries an audio-derived number."""
        return frozenset(key for message in self.messages for key in message.audio_keys)

    @cached_property
    def telling_names(self) -> frozenset[str]:
        """Names that say by themselves that an audio-derived number stands by them."""
        return self.audio_names | {pattern for pattern in self.redact.values if not set(".*") & set(pattern)}

    @cached_property
    def ref(self) -> SignatureRef:
        return SignatureRef(self.id, self.version, self.app, self.confidence)

    @cached_property
    def host_pattern(self) -> re.Pattern[str]:
        """All hosts as one anchored expression; `*` never crosses a dot."""
        return re.compile("|".join(host_expression(host) for host in self.hosts))

    def is_for(self, host: str | None) -> bool:
        """Is `host` (lower case, without port) one of this signature's?"""
        return host is not None and self.host_pattern.fullmatch(host) is not None

    def match(
        self, method: str, host: str | None, path: str, direction: Direction = Direction.TO_SERVER
    ) -> tuple[Message, dict[str, str]] | None:
        """Return the message that this is, with its named path segments, or None.

        A host that the door could not see (None: hook logs have none) is taken to match, unless any path would.
        """
        if host is not None and not self.is_for(host):
            return None
        for message in self.messages:
            if method not in message.method or direction is not message.direction:
                continue
            if host is None and _ANY_PATH in message.path:
                continue
            if (segments := message.match_path(path)) is not None:
                return message, segments
        return None


def host_expression(pattern: str) -> str:
    """Return a host pattern such as `tsa*.webex.com` as an unanchored regular expression."""
    return re.escape(pattern).replace(r"\*", HOST_LABEL).replace(r"\-", "-")


def match_host(pattern: str, host: str) -> bool:
    """Is `host`, in any case and with or without a trailing dot, one that `pattern` names?"""
    return re.fullmatch(host_expression(pattern), host.lower().rstrip(".")) is not None


def matched_pattern(patterns: Iterable[str], host: str) -> str | None:
    """Return the first of `patterns` that names `host`; None if none does."""
    return next((pattern for pattern in patterns if match_host(pattern, host)), None)
