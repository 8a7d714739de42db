"""What RTP tells of a client's sound while it sends its telemetry: `Heard`, a recording that nobody had to play.

The reader of captures makes of each minute of a stream a message with the level of each second (dBov), as far as that
travels in clear beside the sound (RFC 6464). A second without a packet is silence, as that of a microphone that is off.
"""

import json
from collections import defaultdict
from collections.abc import Collection
from typing import Any, Final

import numpy as np
from msgspec.structs import replace

from mutewatch.client_time import time_or_none
from mutewatch.decode import Budget, parse_json
from mutewatch.discover.panel import Array
from mutewatch.discover.reference import FRAME, Recording
from mutewatch.errors import DecodeError
from mutewatch.limits import DEFAULT_LIMITS
from mutewatch.records import Exchange

METHOD: Final = "RTP"
_SILENCE: Final = -127.0  # dBov
_LONGEST: Final = 24 * 3600  # seconds, as of a recording


class Heard:
    """Gathers the levels of clients' RTP streams, second by second."""

    def __init__(self) -> None:
        self._levels: defaultdict[str, dict[int, float]] = defaultdict(dict)  # by client and second since 1970

    def add(self, exchange: Exchange) -> Exchange:
        """Take the levels of a minute of a stream; return it without them, as they are no field of a message."""
        if exchange.method != METHOD:
            return exchange
        try:
            said = parse_json(exchange.body or b"", Budget(DEFAULT_LIMITS))
            starts_at, seconds = time_or_none(said["starts_at"]), said.pop("seconds")
        except (DecodeError, TypeError, KeyError, AttributeError):
            return exchange
        if starts_at is not None and isinstance(seconds, list):
            self._take(exchange.client or "", int(starts_at.timestamp()), seconds)
        return replace(exchange, body=json.dumps(said).encode())

    def recording(self, clients: Collection[str]) -> tuple[str, Recording] | None:
        """Return which of `clients` was heard for the longest, and its sound; None if nobody was."""
        heard = (client for client in clients if self._levels.get(client))
        whose = max(heard, key=lambda client: len(self._levels[client]), default=None)
        if whose is None:
            return None
        levels = self._levels[whose]
        first = min(levels)
        row: Array = np.full(min(max(levels) - first + 1, _LONGEST), _SILENCE)
        for second, level in levels.items():
            if second - first < len(row):
                row[second - first] = level
        return whose, Recording(np.repeat(10 ** (row / 10), round(1 / FRAME)), float(first))

    def _take(self, client: str, starts_at: int, seconds: list[Any]) -> None:
        levels = self._levels[client]
        for number, level in enumerate(seconds[:60], starts_at):
            if isinstance(level, int | float) and not isinstance(level, bool):
                levels[number] = max(float(np.clip(level, _SILENCE, 0)), levels.get(number, _SILENCE))
