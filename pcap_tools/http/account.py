"""Counts what the HTTP layer made of one connection, so that nothing is left out without a word."""

from dataclasses import dataclass, field
from enum import StrEnum


class Found(StrEnum):
    """What a connection carries, as of now."""

    UNDECIDED = "undecided"
    HTTP1 = "HTTP/1"
    HTTP2 = "HTTP/2"
    WEBSOCKET = "websocket"
    TUNNEL = "tunnel"
    NOT_HTTP = "not HTTP"


@dataclass(slots=True)
class Account:
    """What was found in one connection, and what was lost of it. Sizes are bytes."""

    found: Found = Found.UNDECIDED
    messages: int = 0  # given
    bodies_lost: int = 0  # messages given with body None
    unanswered: int = 0  # requests given without a response
    responses_unpaired: int = 0  # responses of which the request is not known for certain
    client_skipped: int = 0  # bytes passed over unread
    server_skipped: int = 0
    unreadable: dict[int, int] = field(default_factory=dict)  # HTTP/2 stream: bytes of a request without its fields
    unreadable_more: int = 0  # the same streams, beyond those listed
    websocket_lost: int = 0  # times that websocket messages of one side were lost in a gap

    def lose_stream(self, stream: int, size: int, limit: int) -> None:
        """Count a request of HTTP/2 `stream` that cannot be read, with `size` more bytes of its body."""
        if stream in self.unreadable or len(self.unreadable) < limit:
            self.unreadable[stream] = self.unreadable.get(stream, 0) + size
        else:
            self.unreadable_more += 1

    def losses(self) -> list[str]:
        """What of the client's messages could not be read, in words."""
        unreadable = len(self.unreadable) + self.unreadable_more
        counts = (
            (self.bodies_lost, "messages without their body"),
            (unreadable, "HTTP/2 requests of which the fields are not known"),
            (self.websocket_lost, "gaps between websocket messages"),
            (self.client_skipped, "bytes of the client in no message"),
        )
        return [f"{what}: {number:,}" for number, what in counts if number]
