"""Messages in the making: requests on their way from their first byte to the end of their response.

- a `Body` keeps at most one byte more than the limit, and nothing once something of it is lost;
- `Waiting` gives messages in the order of their requests; one without its response holds the later ones
  back, up to the limits: then it goes without.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pcap_tools.http.account import Account
from pcap_tools.http.limits import HttpLimits
from pcap_tools.http.message import Headers, HttpMessage, Protocol, Response
from pcap_tools.stream import Side, Stamp


@dataclass(slots=True)
class Held:
    """How many bytes of bodies a connection holds."""

    size: int = 0


class Body:
    """Collects one body. `limit` None: it is read over, not kept."""

    __slots__ = ("_held", "_limit", "_parts", "lost", "size")

    def __init__(self, limit: int | None, held: Held) -> None:
        self._limit, self._held, self._parts = limit, held, bytearray()
        self.size = 0  # bytes seen
        self.lost: str | None = None if limit is not None else "not kept"

    def add(self, data: bytes) -> None:
        self.size += len(data)
        if self.lost is None and self._limit is not None:
            part = data[: self._limit + 1 - len(self._parts)]
            self._parts += part
            self._held.size += len(part)

    def lose(self, reason: str) -> None:
        """Not all of it is there; the first reason stands."""
        if self.lost is None:
            self.lost = reason
            self.close()

    def close(self) -> None:
        """Hold nothing any more."""
        self._held.size -= len(self._parts)
        self._parts = bytearray()

    def result(self) -> bytes | None:
        return bytes(self._parts) if self.lost is None else None


@dataclass(slots=True, eq=False)
class Answer:
    """A final response in the making."""

    status: int
    headers: Headers
    body: Body
    first: Stamp
    last: Stamp
    complete: bool = False
    after_loss: bool = False  # something is missing between the response before it and this one

    def end(self, last: Stamp) -> None:
        self.complete, self.last = True, last

    def response(self) -> Response:
        return Response(self.status, self.headers, self.body.result(), self.first, self.last)


@dataclass(slots=True, eq=False)
class Draft:
    """A request in the making."""

    protocol: Protocol
    method: str
    target: str
    authority: str | None
    version: str
    headers: Headers
    body: Body
    first: Stamp
    last: Stamp
    scheme: str | None = None
    stream_id: int | None = None
    index: int | None = None  # HTTP/1: 0-based, in the connection; None: not known, after a loss
    after_loss: bool = False  # HTTP/1: something is missing between the request before it and this one
    next: "Draft | None" = None  # HTTP/1: the request after it
    complete: bool = False
    answer: Answer | None = None
    hopeless: bool = False  # no answer will be found
    given: bool = False
    upgrades: set[str] = field(default_factory=set)  # HTTP/1: what the client offers to change to

    def end(self, last: Stamp) -> None:
        self.complete, self.last = True, last

    @property
    def is_done(self) -> bool:
        return self.complete and (self.hopeless or (self.answer is not None and self.answer.complete))

    def message(self) -> HttpMessage:
        """Return the message as far as it is there."""
        if not self.complete:
            self.body.lose("its end was not seen")
        if self.answer is not None and not self.answer.complete:
            self.answer.body.lose("its end was not seen")
        return HttpMessage(
            protocol=self.protocol,
            side=Side.CLIENT,
            method=self.method,
            target=self.target,
            authority=self.authority,
            scheme=self.scheme,
            version=self.version,
            headers=self.headers,
            body=self.body.result(),
            first=self.first,
            last=self.last,
            response=self.answer.response() if self.answer else None,
            stream_id=self.stream_id,
            lost=self.body.lost,
        )


# Is the body of the response to this request to be kept? None: nobody knows yet which request it answers.
Keeps = Callable[[Draft | None], bool]


def keep_all(_request: Draft | None) -> bool:
    return True


def keep_none(_request: Draft | None) -> bool:
    return False


class Waiting:
    """The requests not yet given, oldest first."""

    def __init__(self, limits: HttpLimits, account: Account) -> None:
        self.held = Held()
        self._limits, self._account = limits, account
        self._drafts: deque[Draft] = deque()

    def add(self, draft: Draft) -> None:
        self._drafts.append(draft)

    def ready(self) -> Iterator[HttpMessage]:
        """Yield from the oldest on while they are done, or while too many wait."""
        while self._drafts and (self._drafts[0].is_done or self._is_full()):
            yield self._pop()

    def rest(self) -> Iterator[HttpMessage]:
        """Yield all that is left, as far as it is there."""
        while self._drafts:
            yield self._pop()

    def _is_full(self) -> bool:
        return len(self._drafts) > self._limits.waiting or self.held.size > self._limits.waiting_bytes

    def _pop(self) -> HttpMessage:
        draft = self._drafts.popleft()
        draft.given = True
        message = draft.message()
        draft.body.close()
        draft.body.lose("given")
        if draft.answer is not None:
            draft.answer.body.close()
            draft.answer.body.lose("given")
        self._account.messages += 1
        self._account.bodies_lost += message.body is None
        self._account.unanswered += message.response is None
        return message
