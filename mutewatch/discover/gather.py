"""Gathers what every number in the traffic of some hosts did over time: `Gatherer.add`, message by message.

A series is one field of one client: times and values as they came. A message has the capture's time; where a door has
none (hook logs), the first time of day in the message; else its place in the order, a minute apart.
"""

from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from mutewatch.decode import shorten
from mutewatch.discover.limits import DEFAULT_DISCOVER_LIMITS, DiscoverLimits
from mutewatch.discover.place import Place, path_template
from mutewatch.discover.walk import Walker
from mutewatch.records import Direction, Exchange

_UNTIMED_STEP = 60.0
_LONGEST_HOST, _LONGEST_METHOD = 253, 16  # characters; of a name in DNS, and twice the longest method


@dataclass(frozen=True, slots=True, order=True)
class Route:
    """Where messages of one kind go."""

    host: str
    method: str
    path: str
    direction: Direction

    def __str__(self) -> str:
        arrow = "" if self.direction is Direction.TO_SERVER else " (answers)"
        return f"{self.method} {self.host}{self.path}{arrow}"


@dataclass(slots=True)
class Series:
    """One field of one client: seconds since 1970, and values."""

    times: "array[float]" = field(default_factory=lambda: array("d"))
    values: "array[float]" = field(default_factory=lambda: array("d"))


@dataclass(slots=True)
class Stream:
    """What one client sent on one route: times of its messages, and its fields."""

    times: "array[float]" = field(default_factory=lambda: array("d"))
    fields: dict[Place, Series] = field(default_factory=dict)


@dataclass(slots=True)
class Left:
    """What was not looked at, and why."""

    messages: Counter[str] = field(default_factory=Counter)  # by the reason they, or a part of them, were not read
    untimed: int = 0  # messages that are placed by their order alone
    series: int = 0  # numbers of fields beyond `DiscoverLimits.series`
    readings: int = 0  # numbers beyond the limits of a message and a run
    panels: int = 0  # groups of fields of one rhythm
    names: int = 0  # objects that could not be told apart beyond the limit


class Gatherer:
    """Takes exchanges, in any order of clients, and keeps the series of the chosen hosts and directions."""

    def __init__(
        self,
        is_host: Callable[[str], bool],
        directions: frozenset[Direction] = frozenset({Direction.TO_SERVER}),
        limits: DiscoverLimits = DEFAULT_DISCOVER_LIMITS,
    ) -> None:
        self.streams: dict[tuple[str, Route], Stream] = {}  # by the client's address
        self.messages: Counter[Route] = Counter()
        self.left = Left()
        self._is_host, self._directions, self._limits = is_host, directions, limits
        self._walker = Walker(limits)
        self._series = self._readings = 0

    def add(self, exchange: Exchange) -> None:
        """Take the numbers of one exchange, if it has a body and is to or from a chosen host."""
        host = exchange.host or ""
        if not exchange.method or exchange.direction not in self._directions or not self._is_host(host):
            return
        if exchange.body is not None and not exchange.body:
            return
        names = shorten(host, _LONGEST_HOST), shorten(exchange.method, _LONGEST_METHOD)
        route = Route(*names, path_template(exchange.path), exchange.direction)
        self.messages[route] += 1
        client = exchange.client or ""
        walked = self._walker.walk(exchange, exchange.connection or client)
        if walked.fault:
            self.left.messages[walked.fault] += 1
        self.left.readings += walked.left_out
        self.left.names = self._walker.labels.forgotten
        if walked.readings:
            stream = self.streams.setdefault((client, route), Stream())
            time = exchange.sent_at.timestamp() if exchange.sent_at else walked.clock
            self._keep(stream, walked.readings, self._untimed(stream) if time is None else time)

    def _untimed(self, stream: Stream) -> float:
        self.left.untimed += 1
        return stream.times[-1] + _UNTIMED_STEP if stream.times else 0.0

    def _keep(self, stream: Stream, readings: list[tuple[Place, float, float]], time: float) -> None:
        stream.times.append(time)
        for place, value, before in readings:
            series = stream.fields.get(place)
            if series is None:
                if self._series >= self._limits.series:
                    self.left.series += 1
                    continue
                self._series += 1
                series = stream.fields[place] = Series()
            if self._readings >= self._limits.readings:
                self.left.readings += 1
                continue
            self._readings += 1
            series.times.append(time - before)
            series.values.append(value)


def report_of(place: Place) -> Place:
    """Return the report that a field is part of: what stands around the objects of its list or map."""
    marks = [position for position, part in enumerate(place) if part[0] in "[*{"]
    return place[: marks[-1]] if marks else ()
