"""What a capture tells of flows that were looked into, beside the messages in them (`records.py`)."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class FlowOutcome(StrEnum):
    """What became of a flow in a capture that may be a telemetry client's."""

    DECRYPTED = "decrypted"
    PARTLY = "partly decrypted"
    CLEARTEXT = "cleartext"
    NO_KEY = "no key in log"
    BAD_KEY = "key does not fit"
    NO_HANDSHAKE = "handshake not seen"
    CUT = "cut by snap length"
    UNSUPPORTED = "cipher unsupported"
    QUIC = "QUIC"
    ECH = "ECH"
    NOT_HTTP = "not HTTP"
    EMPTY = "nothing was sent"


class Unidentified(StrEnum):
    """Why nobody can say whose flow it is: flows that are neither looked into nor left as somebody else's."""

    HELLO_CUT = "server name cut off or lost"
    HEADLESS = "began before the capture"


@dataclass(frozen=True, slots=True)
class Burst:
    """What the client of a flow sent at once, seen from outside: bytes of TCP or UDP payload."""

    at: datetime | None
    size: int


@dataclass(frozen=True, slots=True)
class Flow:
    """One flow of a capture that was chosen for a closer look, and what became of it.

    `bursts` show a beacon without its keys: times and sizes of what the client sent.
    """

    file: str
    client: str
    client_port: int
    server: str
    port: int
    host: str | None
    basis: str  # why it was chosen
    outcome: FlowOutcome
    detail: str
    first_frame: int
    last_frame: int
    started_at: datetime | None
    ended_at: datetime | None
    client_bytes: int  # payload, without what was never captured
    server_bytes: int
    messages: int  # HTTP messages found in it
    bursts: tuple[Burst, ...]


class Sender(StrEnum):
    """Whose RTP stream it is: what a client sends is its own sound, what it gets is the others'."""

    CLIENT = "client"
    SERVER = "server"
    UNKNOWN = "unknown"


class InClear(StrEnum):
    """What can be said of the audio level beside the encrypted payload of an RTP stream."""

    LEVEL = "level in clear"
    NO_LEVEL = "no level in clear"
    AMBIGUOUS = "perhaps a level in clear"
    NOT_AUDIO = "not audio"


@dataclass(frozen=True, slots=True)
class RtpStream:
    """One RTP stream of a capture: what one end sends to the other under one SSRC and payload type."""

    file: str
    source: str
    source_port: int
    target: str
    target_port: int
    ssrc: int
    payload_type: int
    sender: Sender
    in_clear: InClear
    detail: str  # why so
    level_id: int | None  # of the header extension that is the level
    first_frame: int
    last_frame: int
    started_at: datetime | None
    ended_at: datetime | None
    packets: int
    payload_bytes: int  # of RTP, with the tag of SRTP
    minutes: int  # that had a level
    silent_minutes: int  # without a packet, between others
