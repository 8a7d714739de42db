"""Which signatures know a message: the one place that is asked for every message of a telemetry host."""

from collections.abc import Sequence
from functools import lru_cache

from mutewatch.records import Direction
from mutewatch.signatures.model import Message, Signature

HOSTS = 512  # of which it is remembered which signatures are for them

Match = tuple[Signature, tuple[Message, dict[str, str]]]  # with the named segments of the path


class Matcher:
    """Looks a message up in `signatures`. `left_out`: what the operator wants neither opened nor judged."""

    def __init__(self, signatures: Sequence[Signature], left_out: Sequence[Signature] = ()) -> None:
        self.signatures, self.left_out = signatures, left_out
        self.of_host = lru_cache(maxsize=HOSTS)(self._of_host)

    def match(
        self, method: str, host: str | None, path: str, direction: Direction = Direction.TO_SERVER
    ) -> list[Match]:
        """Return each signature that knows such a message, as `Signature.match`."""
        return [
            (signature, matched)
            for signature in self.of_host(host)
            if (matched := signature.match(method, host, path, direction))
        ]

    def wants_answer(self, method: str, host: str | None, path: str) -> bool:
        """Does a signature know the body of the response to such a request?"""
        return bool(self.match(method, host, path, Direction.TO_CLIENT))

    def is_left_out(self, method: str, host: str | None, path: str, direction: Direction = Direction.TO_SERVER) -> bool:
        """Does one that is left out know such a message? It may go to a host that another has opened."""
        return any(signature.match(method, host, path, direction) for signature in self.left_out)

    def _of_host(self, host: str | None) -> tuple[Signature, ...]:
        """The signatures for `host`; all for one that the door could not see."""
        return tuple(signature for signature in self.signatures if host is None or signature.is_for(host))
