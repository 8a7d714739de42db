"""The records that pass through mutewatch, from one message on the wire to one judged minute.

Up to `MuteEvent` a record says what was on the wire; `Finding` says what it means. Rules kept here:

- records are frozen; nothing in them is a live object of a library;
- they refer to each other in no circle, and the garbage collector does not look at them (`gc=False`): a gateway holds
  a million, and a look at each would stop all of its traffic for a second, every few minutes;
- times are UTC-aware; `None` means "not reported", zero is a reading;
- clients are already pseudonyms wherever a record calls a field `client` (see `identity.py`),
  except in `Exchange`, which is what the door saw.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from msgspec import Struct


class Direction(StrEnum):
    """Who sent a message: a client's own claim and a server's echo are different evidence."""

    TO_SERVER = "to-server"
    TO_CLIENT = "to-client"


class Origin(Struct, frozen=True, gc=False):
    """Where an exchange was read: what an analyst needs to find the same bytes again."""

    door: str  # the reader's name in READERS, or "live"
    file: str | None = None
    ordinal: int | None = None  # 1-based, among the exchanges of this file
    frame: int | None = None  # Wireshark's frame.number of the last frame of the message
    tcp_stream: int | None = None  # Wireshark's tcp.stream
    offset: int | None = None  # byte offset of the message in a text log


class Exchange(Struct, frozen=True, gc=False):
    """One HTTP request (with its response's status, where known), one websocket message, or the body of a response.

    A websocket message has the method WEBSOCKET, and host, path and query of the request that opened it. The body of
    a response is an exchange of its own, with the request's method and path, and `direction` TO_CLIENT.
    `body` has its transfer-encoding removed; `content_encoding` names what is still applied to it
    (None: nothing). `body` is None where the door knows that there was a message but could not read
    it: such an exchange is matched and counted, never dropped. Without a `method` it stands for a whole
    connection to `host` of which the door could open nothing.
    """

    sent_at: datetime | None  # when the request left, by the capturing clock
    client: str | None  # network address of the client, without port
    host: str | None  # Host, :authority or SNI; lower case, without port
    port: int | None
    method: str
    path: str  # without the query
    query: str
    body: bytes | None
    origin: Origin
    content_encoding: str | None = None
    status: int | None = None  # of the response; None: not seen (yet)
    direction: Direction = Direction.TO_SERVER
    connection: str | None = None  # a name of the connection, the same for all that one input holds of it
    client_port: int | None = None
    is_tls: bool | None = None  # None: the door does not say


class SignatureRef(Struct, frozen=True, gc=False):
    """Which signature, in which version, said so, and how well that signature is founded."""

    id: str
    version: int
    app: str
    confidence: str


class Sent(StrEnum):
    """What left of a message that passed the gateway."""

    FORWARDED = "forwarded"  # as it came
    REDACTED = "redacted"  # without its audio-derived values
    BLOCKED = "blocked"  # nothing: it was answered in the server's place
    REFUSED = "refused"  # nothing: it was to be redacted, and could not be


class Source(Struct, frozen=True, gc=False):
    """The evidence behind a fact: the message, by origin and SHA-256, and the signature that read it."""

    signature: SignatureRef
    origin: Origin
    body_sha256: str  # without content-encoding, and of `first_json_value` alone: the same at every door
    seen_at: datetime | None  # Exchange.sent_at
    address: str | None  # pseudonym of the client's network address
    sent: Sent = Sent.FORWARDED
    sent_sha256: str | None = None  # of the body that left instead, made as `body_sha256` is; None: none did


class Role(StrEnum):
    """What a value means to the activity classifier, whatever the vendor calls it."""

    MAX_GAIN = "max-gain"
    MEAN_GAIN = "mean-gain"
    MIN_GAIN = "min-gain"


class AudioValue(Struct, frozen=True, gc=False):
    """One audio-derived number under the vendor's name, in the unit its signature states."""

    name: str
    value: int | float
    unit: str
    floor: float | None = None  # the reading that carries no information, where one is known
    role: Role | None = None
    is_cumulative: bool = False  # a total since some beginning: what it grew by is the reading


class AudioReport(Struct, frozen=True, gc=False):
    """Audio-derived values that one message carried for one interval of time of one call.

    `is_sample`: one of several readings of which a minute is made, such as a level every ten seconds.
    """

    source: Source
    client: str
    call: str
    starts_at: datetime
    ends_at: datetime
    number: int | None  # the client's own count of intervals, from which gaps are known
    values: tuple[AudioValue, ...]
    client_version: str | None = None  # of the app, by its own word
    is_sample: bool = False


class Scope(StrEnum):
    """Which of the two switches moved: the effective state is muted if either one is."""

    LOCAL = "local"
    REMOTE = "remote"


class Basis(StrEnum):
    """Whose word a mute state rests on, strongest first."""

    CLIENT_REPORTED = "client-reported"
    SERVER = "server"
    ADDRESS = "client-address"  # the client's word, on another connection from its address: no id says that it is his
    OPERATOR = "operator"
    PAYLOAD_HINT = "payload-hint"
    ASSUMED = "assumed"


class MuteEvent(Struct, frozen=True, gc=False):
    """Something on the wire that said what the mute state is from `at` on.

    `effective` is False where the server refused the request and None where its answer was not seen:
    neither changes the state, both are counted.
    """

    source: Source
    client: str | None
    call: str | None
    participant: str | None  # the id under which others may mute this client
    at: datetime
    muted: bool
    scope: Scope
    basis: Basis
    effective: bool | None
    by_client_clock: bool  # False: `at` is the capturing clock's time


class Undecoded(Struct, frozen=True, gc=False):
    """A message (or one element of it) that matched a signature and could not be read."""

    source: Source
    reason: str
    size: int  # bytes of the body
    element: int  # 0-based position in the message
    client: str | None = None
    call: str | None = None
    at: datetime | None = None


class Decoded(Struct, frozen=True, gc=False):
    """All facts of one exchange under one signature."""

    source: Source
    audio: tuple[AudioReport, ...] = ()
    mute: tuple[MuteEvent, ...] = ()
    undecoded: tuple[Undecoded, ...] = ()


class MuteSummary(Struct, frozen=True, gc=False):
    """How an interval divides into muted, unmuted and unknown seconds, and on whose word.

    `disputed_seconds`: for how long the operator's timeline says otherwise than the client.
    `is_address_shared`: somebody at the client's address spoke, but several clients were heard there.
    """

    muted_seconds: float
    unmuted_seconds: float
    unknown_seconds: float
    bases: tuple[Basis, ...]
    disputed_seconds: float = 0
    is_address_shared: bool = False


class Information(Struct, frozen=True, gc=False):
    """How much one field told: its readings while muted where there are any (`evidence.py`), and what they carry."""

    name: str
    unit: str
    floor: float | None
    readings: int
    distinct: int
    lowest: int | float
    highest: int | float
    entropy_bits: float  # Shannon's, of how often each value occurred; to a thousandth


class Samples(Struct, frozen=True, gc=False):
    """What a minute rests on that is made of samples."""

    number: int
    muted: int  # of these, with a reading whose whole span of time was muted
    messages: int


class ClientMinute(Struct, frozen=True, gc=False):
    """All that is known of one client in one call in one minute.

    `report` is None for a minute that the client's own count shows to have existed and that was not seen; for a
    minute made of samples its values are their summary, and its source that of the last sample that counts.
    `constant_minutes` counts this minute and those before it, without a gap, that carried the same values.
    """

    client: str
    call: str
    signature: SignatureRef
    minute: str  # identity within (client, call, signature): the interval number, or the time
    starts_at: datetime
    ends_at: datetime
    report: AudioReport | None
    mute: MuteSummary
    constant_minutes: int
    information: tuple[Information, ...] = ()
    samples: Samples | None = None  # None: one report told all of it
    is_open: bool = False  # readings that are still to come may show that it told nothing


class ActivityGuess(Struct, frozen=True, gc=False):
    """What the classifier would infer from the last minutes. The flag never depends on it.

    `label` is None when the model declines; `reason` then says why. `probabilities` are empty unless the model
    was asked: they are told beside a label, and where it could not decide.
    """

    model: str
    label: str | None
    probabilities: Mapping[str, float]
    window_starts_at: datetime
    window_ends_at: datetime
    minutes: int
    minutes_missing: int
    reason: str | None = None


class Verdict(StrEnum):
    """What a minute means. `inert`: present, but constant or at its floor, so it carries no information."""

    FLAGGED = "flagged"
    UNMUTED = "unmuted"
    INERT = "inert"
    MUTE_UNKNOWN = "mute-unknown"
    MISSING = "missing"
    UNDECODED = "undecoded"


class Finding(Struct, frozen=True, gc=False):
    """One judged client minute, or one undecoded message, with everything the judgement rests on."""

    verdict: Verdict
    rule: str
    rules_version: int
    reason: str
    client: str
    call: str
    minute: str
    signature: SignatureRef
    starts_at: datetime | None
    ends_at: datetime | None
    mute: MuteSummary | None
    values: tuple[AudioValue, ...]
    source: Source | None
    guess: ActivityGuess | None = None
    client_version: str | None = None  # of the app, by its own word
    information: tuple[Information, ...] = ()
    samples: Samples | None = None

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What makes two findings the same row, however often their traffic is read again."""
        return (self.client, self.call, self.signature.id, self.minute)
