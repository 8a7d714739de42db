"""What an app is to the tests: its connections, what is said on each, and what is to be found."""

from collections.abc import Iterable
from dataclasses import dataclass

from mutewatch.records import Basis

Payload = str | bytes


@dataclass(frozen=True, slots=True)
class Said:
    """One message of a websocket."""

    seconds: float  # since the start
    payload: Payload
    from_client: bool = True


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, and how it is answered."""

    seconds: float
    method: str
    path: str  # with its query
    body: bytes
    status: int = 200
    answer: bytes = b"{}"


Message = Said | Asked


@dataclass(frozen=True, slots=True)
class Connection:
    """One TLS connection. With a `websocket`, the path and query that open it, it carries that; else requests."""

    host: str
    client: tuple[str, int]
    messages: tuple[Message, ...]
    websocket: str | None = None
    subprotocol: str | None = None


@dataclass(frozen=True, slots=True)
class App:
    """`fields`: what each report carries; none for an app that only tells of its button."""

    name: str
    signature: str
    connections: tuple[Connection, ...]
    fields: tuple[str, ...] = ()
    polled: tuple[float, ...] = ()
    period: float = 0
    basis: Basis = Basis.CLIENT_REPORTED

    @property
    def clients(self) -> set[str]:
        return {connection.client[0] for connection in self.connections}


def in_time(*several: Iterable[Said]) -> tuple[Said, ...]:
    """Messages of one connection, in the order of time."""
    return tuple(sorted((one for messages in several for one in messages), key=lambda one: one.seconds))
