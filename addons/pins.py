"""Remembers which clients do not accept our certificate for which hosts (pinning, or no CA installed).

Pure: no mitmproxy, no clock of its own. A client that refused once is let through untouched at its next
attempt, for a while; in strict mode it is refused each time, so that nobody dodges inspection by failing once.
Either way it is counted: what was not inspected is a result.
"""

from collections import OrderedDict
from dataclasses import dataclass

SUSPICION_SECONDS = 600  # some clients do not say that it is the certificate; anybody may fail once
MOST = 10_000  # clients and hosts remembered; the stalest goes first


@dataclass(frozen=True, slots=True)
class Pin:
    """One client that refused our certificate for one host. Times in seconds of a monotonic clock."""

    client: str
    host: str
    expires_at: float


class Pins:
    """The refusals that still count."""

    def __init__(self, ttl_seconds: float, most: int = MOST) -> None:
        self.ttl_seconds, self._most = ttl_seconds, most
        self._expiry: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._suspected: OrderedDict[tuple[str, str], float] = OrderedDict()  # when a handshake failed

    def suspect(self, client: str, host: str, began: float, now: float) -> bool:
        """A handshake with `client`, of a connection that `began` then, has failed. Is that the second time?

        Then it counts as a refusal. Connections that fail together, as the network goes, have failed once.
        """
        failed = self._suspected.pop((client, host), None)
        if failed is not None and failed <= began and now < failed + SUSPICION_SECONDS:
            self.add(client, host, now)
            return True
        self._suspected[client, host] = now
        if len(self._suspected) > self._most:
            self._suspected.popitem(last=False)
        return False

    def trust(self, client: str, host: str) -> None:
        """`client` accepted our certificate for `host`: what failed before was no refusal."""
        self._suspected.pop((client, host), None)

    def add(self, client: str, host: str, now: float) -> None:
        """`client` refused our certificate for `host`."""
        self._expiry[client, host] = now + self.ttl_seconds
        self._expiry.move_to_end((client, host))
        if len(self._expiry) > self._most:
            self._expiry.popitem(last=False)

    def holds(self, client: str, host: str, now: float) -> bool:
        """Did `client` refuse our certificate for `host`, not too long ago?"""
        expiry = self._expiry.get((client, host))
        if expiry is not None and expiry <= now:
            del self._expiry[client, host]
            return False
        return expiry is not None

    def list(self, now: float) -> list[Pin]:
        """Those that still count, the oldest first."""
        return [Pin(client, host, expiry) for (client, host), expiry in self._expiry.items() if expiry > now]

    def clear(self) -> int:
        """Forget all; return how many there were."""
        count = len(self._expiry)
        self._expiry.clear()
        return count
