"""What comes with a request: the body of its answer, and the messages of the websocket that it opens.

Each is an exchange of its own, with what is known of the request. Every door makes them here, so that they are alike.
What is damaged in one costs only that: a time that is none is not reported, and a body that is none was not read.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec.structs import replace

from mutewatch.records import Direction, Exchange

WEBSOCKET: Final = "WEBSOCKET"
_APART: Final = timedelta(microseconds=1)  # the finest step of a datetime
_TIMES: Final = 16  # that one connection remembers: what a packet ends is given at once, from either side


def answer_to(
    request: Exchange, sent_at: datetime | None, body: bytes | None, content_encoding: str | None
) -> Exchange:
    """Return the body of the response to `request`, whose status is there already."""
    return replace(
        request, sent_at=sent_at, body=body, content_encoding=content_encoding, direction=Direction.TO_CLIENT
    )


def says_nothing(exchange: Exchange) -> bool:
    """Is it an answer without a body, or to a request that was refused?"""
    if exchange.direction is Direction.TO_SERVER or exchange.method == WEBSOCKET:
        return False
    return exchange.body == b"" or (exchange.status is not None and not 200 <= exchange.status < 300)


def websocket_message(request: Exchange, sent_at: datetime | None, body: bytes | None, sender: Direction) -> Exchange:
    """Return one message of the websocket that `request` opened; `sender`: which way it went."""
    return replace(
        request,
        sent_at=sent_at,
        method=WEBSOCKET,
        body=body,
        content_encoding=None,
        status=None,
        direction=sender,
    )


def utc_or_none(seconds: object) -> datetime | None:
    """Return the time so many seconds after 1970; None for what is no such number."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


class Apart:
    """Gives the messages of one connection times of their own: those of one packet are a microsecond apart.

    So they keep their order, and two equal ones are two: facts are kept by signature, body and time.
    """

    def __init__(self) -> None:
        self._given: dict[datetime, datetime] = {}  # by the time of the packet: the last that was given

    def time(self, at: datetime | None) -> datetime | None:
        """Return `at`, or so many microseconds later as there were messages at that time."""
        if at is None:
            return None
        last = self._given.pop(at, None)
        given = at if last is None else min(last, datetime.max.replace(tzinfo=UTC) - _APART) + _APART
        self._given[at] = given
        if len(self._given) > _TIMES:
            del self._given[next(iter(self._given))]
        return given
