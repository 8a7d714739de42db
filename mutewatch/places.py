"""Which mute session belongs to which audio call where no id says so, but both were heard from one network address.

A session is whatever speaks of a client's own switch under one call id, one participant id, or on one address without
any. Words that share either id are of one session: a participant may have to connect anew. Rules:

- only a client's word on its own switch counts: what a server says of a participant may be anybody's;
- a session is taken to be a call's only while it is the only one heard from the call's addresses since the call was
  first heard, and the call is the only one of this app that was; else nobody can say whose it is;
- "while" reaches a little further (NEARBY) to both sides, since the two connections do not begin at once;
- times are the capturing clock's, as far as a message has one: clients' clocks are not compared.

What it keeps is bounded: addresses, calls and sessions at one address, and words of one session.
"""

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from msgspec import Struct

from mutewatch.limits import Limits
from mutewatch.records import Basis, MuteEvent, Scope
from mutewatch.runs import Runs

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

NEARBY: Final = timedelta(minutes=2)  # apps open their connections within seconds of each other


class Change(Struct, frozen=True, order=True, gc=False):
    """From `at` on, the switch is in this state. Ordered so that of two at one instant "muted" stands last."""

    at: datetime
    muted: bool
    basis: Basis
    by_client_clock: bool = True


Ids = tuple[str | None, str | None]  # of call and participant, as a word names them; without either the address
Session = list[tuple[datetime, Change]]  # when each was heard, in order


@dataclass(slots=True)
class _Place:
    """What was heard of one app from one address."""

    last_heard: datetime
    newest_call: datetime  # when the last of its calls to begin was first heard, or later
    sessions: OrderedDict[Ids, Session] = field(default_factory=OrderedDict)  # by the ids of their words
    calls: OrderedDict[str, Runs] = field(default_factory=OrderedDict)


@dataclass(frozen=True, slots=True)
class Claim:
    """What a call may be told by its addresses: the changes of the one session there, if it is the only one."""

    changes: tuple[Change, ...] = ()
    is_shared: bool = False  # sessions were heard there, but whose they are cannot be told


class Places:
    """Follows who was heard at which address. For one thread."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._places: OrderedDict[tuple[str, str], _Place] = OrderedDict()  # by app and address
        self._addresses: OrderedDict[tuple[str, str], OrderedDict[str, bool]] = OrderedDict()  # by app and call

    def hear_report(self, app: str, call: str, address: str, at: datetime) -> set[str]:
        """Note that `call` sent audio-derived values from `address`; return the calls that this may concern."""
        place = self._place(app, address, at)
        addresses = touch(self._addresses, (app, call), OrderedDict, self._limits.calls)
        touch(addresses, address, bool, self._limits.neighbours)
        runs = touch(place.calls, call, self._new_runs, self._limits.neighbours)
        if at in runs:
            return set()
        before, is_next = (runs.last, timedelta() < at - runs.last <= NEARBY) if runs else (at, False)
        runs.add(at)
        place.newest_call = max(place.newest_call, runs.first)
        if is_next:  # heard all along, as it mostly is: that concerns a call only if it began since
            begun = place.newest_call - NEARBY > before
            return {one for one in place.calls if begun and before < self._since(app, one) <= at}
        return {one for one in place.calls if self._since(app, one) <= at}

    def hear_event(self, event: MuteEvent) -> set[str]:
        """Note a client's word on its own switch; return the calls that it may concern."""
        app, address = event.source.signature.app, event.source.address
        is_own_word = event.scope is Scope.LOCAL and event.basis is Basis.CLIENT_REPORTED and event.effective is True
        if address is None or not is_own_word:
            return set()
        at = event.source.seen_at or event.at
        place = self._place(app, address, at)
        ids = (event.call, event.participant) if event.call or event.participant else (address, None)
        session = touch(place.sessions, ids, _no_words, self._limits.neighbours)
        word = (at, Change(event.at, event.muted, Basis.ADDRESS, event.by_client_clock))
        position = bisect_left(session, word)
        if position < len(session) and session[position] == word:
            return set()
        # Where it was nobody's before, one word more does not make it anybody's, unless it shows two to be one.
        joins = None not in ids
        concerned = {
            call
            for call in place.calls
            if self._since(app, call) <= at and (joins or not self.claim(app, call, at - NEARBY).is_shared)
        }
        session.insert(position, word)
        del session[: max(0, len(session) - self._limits.mute_events_per_call)]
        return concerned

    def claim(self, app: str, call: str, until: datetime) -> Claim:
        """Return what the addresses of `call` say of it before `until`."""
        since, until = self._since(app, call), until + NEARBY
        places = list(self._places_of(app, call))
        heard: dict[Ids, list[Session]] = {}
        for place in places:
            for ids, session in place.sessions.items():
                if ids[0] != call and _has_word(session, since, until):  # its own words need no address
                    heard.setdefault(ids, []).append(session)
        if not heard:
            return Claim()
        runs_of_others = (runs for place in places for other, runs in place.calls.items() if other != call)
        if not _is_one_session(heard) or any(runs.meet(since, until) for runs in runs_of_others):
            return Claim(is_shared=True)
        return Claim(tuple(sorted(change for sessions in heard.values() for one in sessions for _, change in one)))

    def forget_before(self, time: datetime) -> None:
        """Let go of addresses from which nothing was heard since `time`."""
        for key in [key for key, place in self._places.items() if place.last_heard < time]:
            del self._places[key]

    def _place(self, app: str, address: str, at: datetime) -> _Place:
        place = touch(self._places, (app, address), lambda: _Place(at, at), self._limits.calls)
        place.last_heard = max(place.last_heard, at)
        return place

    def _places_of(self, app: str, call: str) -> Iterator[_Place]:
        """The places where `call` was heard, as far as they are known."""
        for address in self._addresses.get((app, call), ()):
            place = self._places.get((app, address))
            if place and call in place.calls:
                yield place

    def _since(self, app: str, call: str) -> datetime:
        """From when on what is heard may belong to `call`."""
        return min((place.calls[call].first for place in self._places_of(app, call)), default=_NEVER) - NEARBY

    def _new_runs(self) -> Runs:
        return Runs(NEARBY, self._limits.runs_per_call)


_NEVER: Final = datetime(9999, 1, 1, tzinfo=UTC)


def touch(known: "OrderedDict[K, T]", key: K, make: Callable[[], T], limit: int) -> T:
    """The entry for `key`, made if need be, now the freshest; the stalest goes if there are too many."""
    if key not in known:
        known[key] = make()
        if len(known) > limit:
            known.popitem(last=False)
    known.move_to_end(key)
    return known[key]


def _is_one_session(heard: Iterable[Ids]) -> bool:
    """Does each of `heard`, at least one, share an id with another, and that in turn, until all are one?"""
    first, *others = heard
    calls, participants = {first[0]}, {first[1]}
    while others:
        joined = [ids for ids in others if ids[0] in calls - {None} or ids[1] in participants - {None}]
        if not joined:
            return False
        calls.update(ids[0] for ids in joined)
        participants.update(ids[1] for ids in joined)
        others = [ids for ids in others if ids not in joined]
    return True


def _no_words() -> Session:
    return []


def _has_word(session: Session, since: datetime, until: datetime) -> bool:
    position = bisect_left(session, since, key=lambda word: word[0])
    return position < len(session) and session[position][0] < until
