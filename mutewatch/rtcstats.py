"""getStats reports that clients send compressed against the one before: what is left out has not changed.

A client polls its peer connections every few seconds and sends what differs, so that a microphone level which stays
the same is in the first report only. `StatsStates` remembers, for each connection, the readings of its local audio
sources (W3C webrtc-stats, RTCAudioSourceStats: `media-source` of kind `audio`) and fills in what a report leaves out.
Three dialects of this compression are known; they differ in what a report that is not there at all means.

State is bounded: so many connections, the stalest goes first and is counted; so many peers and sources of each, of
which the stalest peer goes first (a client makes one anew whenever its way to the others changes). A
change to a report whose beginning was not seen is a fault that is told, not a reading; and so is each message of a peer
connection whose beginning was not seen, until all is known of a microphone: its level, too, is left out if it stays.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from mutewatch.decode import Budget, describe_type, parse_json
from mutewatch.errors import DecodeError

# Reports of these types carry levels, too, but of sound that was received; a change to one does not repeat its type.
_OTHER_AUDIO: Final = ("inbound-rtp", "track", "receiver", "sender")
# These always say their kind: without it a report is a change, in the dialect whose changes repeat the type.
_OF_A_KIND: Final = ("media-source", "inbound-rtp", "outbound-rtp")
_UNSEEN: Final = "a change to a report whose beginning was not seen"


class Dialect(StrEnum):
    WEBEX = "webex"  # a list of JSON texts with id and type; a report that has not changed may be missing
    JITSI = "jitsi"  # an object by id; a report that is missing has ended
    WHEREBY = "whereby"  # an object by id; a report that is missing has not changed


@dataclass(slots=True)
class _Peer:
    """One peer connection: what is known of its audio sources, in the order in which they appeared."""

    sources: dict[str, dict[str, Any]] = field(default_factory=dict)
    others: set[int] = field(default_factory=set)  # hashes of the ids of streams that are received
    is_headless: bool | None = None  # its beginning was not seen, nor all of a microphone since; None: nothing was


@dataclass(slots=True)
class _Connection:
    peers: OrderedDict[str, _Peer] = field(default_factory=OrderedDict)
    positions: dict[tuple[str, str], int] = field(default_factory=dict)  # of a source among those of all peers
    id: str | None = None  # by which the client names it, and what it makes in its place

    def peer(self, name: str, limit: int) -> _Peer:
        """Return the peer, made if need be, now the freshest."""
        if name not in self.peers:
            self.peers[name] = _Peer()
            if len(self.peers) > limit:
                self.peers.popitem(last=False)
        self.peers.move_to_end(name)
        return self.peers[name]

    def place(self, peer: str, source: str, limit: int) -> int:
        """Return the position of a source: as long as there are any, one that none had before."""
        if (peer, source) not in self.positions:
            if len(self.positions) >= limit:
                self.positions = {key: at for key, at in self.positions.items() if self._goes_on(*key)}
            taken = set(self.positions.values())
            fresh = max(taken, default=-1) + 1
            position = fresh if fresh < limit else min(set(range(limit)) - taken, default=limit)
            if position == limit:
                raise DecodeError(f"more than {limit} audio sources")
            self.positions[peer, source] = position
        return self.positions[peer, source]

    def _goes_on(self, peer: str, source: str) -> bool:
        return peer in self.peers and source in self.peers[peer].sources


class StatsStates:
    """What the reports so far have said, by connection. Feed reports of one connection in their order."""

    def __init__(self, connections: int, sources: int) -> None:
        """Remember at most so many connections, and so many peers and sources of each."""
        self.forgotten = 0  # connections let go to stay within the limit
        self._limit, self._sources = connections, sources
        self._connections: OrderedDict[str, _Connection] = OrderedDict()

    def __len__(self) -> int:
        return len(self._connections)

    def name(self, connection: str, id_: str) -> None:
        """Remember by which id a client names a connection."""
        self._connection(connection).id = id_

    def id_of(self, connection: str) -> str | None:
        """Return the id by which the client has named a connection, if it has."""
        known = self._connections.get(connection)
        return known.id if known else None

    def fill_in(
        self, connection: str, peer: str, dialect: Dialect, reports: Any, wanted: Collection[str], budget: Budget
    ) -> tuple[list[dict[str, Any] | None], list[str]]:
        """Return the `wanted` readings of each audio source after `reports`, and what was wrong with them.

        A source keeps its position in the list; None stands for one that is not this peer's, or has ended.
        """
        known = self._connection(connection)
        state = known.peer(peer, self._sources)
        faults: set[str] = set()
        named: set[str] = set()
        rows = list(_each(reports, dialect, budget))
        has_changes = any(_is_change(report, dialect) for _, report in rows)
        if state.is_headless is None and rows:
            state.is_headless = has_changes
        for name, report in rows:
            named.add(name)
            if fault := self._take(known, state, name, report, wanted):
                faults.add(fault)
        is_known = any(len(readings) == len(wanted) for readings in state.sources.values())
        state.is_headless = state.is_headless and has_changes and not is_known
        if state.is_headless:
            faults.add(_UNSEEN)
        if dialect is Dialect.JITSI:
            for name in state.sources.keys() - named:
                del state.sources[name]
            state.others &= set(map(hash, named))
        return _placed(known, peer, state, 4 * self._sources), sorted(faults)

    def _connection(self, name: str) -> _Connection:
        known = self._connections.setdefault(name, _Connection())
        self._connections.move_to_end(name)
        if len(self._connections) > self._limit:
            self._connections.popitem(last=False)
            self.forgotten += 1
        return known

    def _take(
        self, known: _Connection, state: _Peer, name: str, report: Mapping[str, Any], wanted: Collection[str]
    ) -> str | None:
        """Take in one report, whole or changed; return why it could not be used, if it could not."""
        readings = {key: _kept(report[key]) for key in wanted if key in report}
        kind = report.get("type")
        if name in state.sources:
            state.sources[name].update(readings)
            return None
        if kind is None:
            return _UNSEEN if readings and hash(name) not in state.others else None
        if kind == "media-source":
            # Only sound has these readings: that the kind is left out does not matter.
            if report.get("kind", "audio") != "audio" or not (readings or "kind" in report):
                return None
            if sum(len(peer.sources) for peer in known.peers.values()) >= self._sources:
                return f"more than {self._sources} audio sources"
            state.sources[name] = readings
        elif kind in _OTHER_AUDIO and report.get("kind") != "video":
            if sum(len(peer.others) for peer in known.peers.values()) >= 16 * self._sources:
                return f"more than {16 * self._sources} streams received"
            state.others.add(hash(name))
        return None


def _each(reports: Any, dialect: Dialect, budget: Budget) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield id and content of each report, as the dialect writes them."""
    if dialect is Dialect.WEBEX:
        if not isinstance(reports, list):
            raise DecodeError(f"stats: {describe_type(reports)} instead of an array")
        parsed = (parse_json(text, budget) for text in reports)
        pairs = [(report.get("id") if isinstance(report, dict) else None, report) for report in parsed]
    elif isinstance(reports, dict):
        pairs = list(reports.items())
    else:
        raise DecodeError(f"stats: {describe_type(reports)} instead of an object")
    for name, report in pairs:
        if isinstance(name, str) and isinstance(report, dict):
            yield name, report  # beside the reports stands the time of the newest, a number


def _is_change(report: Mapping[str, Any], dialect: Dialect) -> bool:
    """Does `report` tell by its looks that it is not whole?"""
    if dialect is Dialect.WEBEX:
        return "kind" not in report and report.get("type") in _OF_A_KIND
    return "type" not in report


def _kept(value: Any) -> Any:
    """Return what is remembered of a reading: of one that is no number, of what type it was."""
    return type(value)() if isinstance(value, str | list | dict) else value


def _placed(known: _Connection, peer: str, state: _Peer, limit: int) -> list[dict[str, Any] | None]:
    at = {known.place(peer, name, limit): dict(readings) for name, readings in state.sources.items()}
    return [at.get(position) for position in range(max(known.positions.values(), default=-1) + 1)]
