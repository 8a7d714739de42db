"""The memory that long messages may take together while they come in, from whomever.

Each is bounded by itself, but a client has as many connections as it likes, and a hundred requests in each with HTTP/2.
"""

from typing import Any, Final
from weakref import WeakKeyDictionary

from mitmproxy.options import Options

MOST_HELD: Final = 256 << 20  # bytes
SHORT: Final = 64 << 10  # bytes: up to that nobody asks for room; telemetry has some ten KiB


class Room:
    """Counts the bytes of what is held, by who holds it."""

    def __init__(self, most: int = MOST_HELD) -> None:
        self.taken, self._most = 0, most
        self._shares: WeakKeyDictionary[object, _Share] = WeakKeyDictionary()

    def fits(self, holder: object, size: int) -> bool:
        """Give `holder` room for `size` bytes in all, until it is gone. False: there is none, and it must let go."""
        self._shares.pop(holder, None)  # what it had is free again
        if size <= SHORT:
            return True
        if self.taken + size > self._most:
            return False
        self._shares[holder] = _Share(self, size)
        return True


class _Share:
    """What one holds. Goes with it, whatever its end."""

    def __init__(self, room: Room, size: int) -> None:
        self._room, self._size = room, size
        room.taken += size

    def __del__(self) -> None:
        self._room.taken -= self._size


class HoldingNothing:
    """The options as they are, but for what may be held of a body where that has a limit: nothing more."""

    def __init__(self, options: Options) -> None:
        self._options = options

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._options, name)
        return "1" if value and name in ("stream_large_bodies", "body_size_limit") else value
