"""What is held to be true of a client's mute state, and on whose word.

`MuteTracker` takes `MuteEvent`s in any order and says how an interval divides into muted, unmuted and
unknown seconds. Its rules:

- a call has two switches, the client's own and the remote one; it is muted if either one is, and unmuted
  only if its own switch is known to be open;
- each switch keeps its state from one event to the next; before the first event it is unknown;
- a remote mute is the participant's: it holds in every call that joins as this participant;
- an event that the server refused, or whose answer was not seen, changes nothing;
- where that is missing, the client's word on another connection from its address counts, if it can be nobody
  else's (`places.py`); then the operator's timeline, a hint in the payload, and the operator's assumption;
- events stamped by the capturing clock are moved to the client's clock, which the minutes are in.

It reads no clock; it matches, decodes and judges nothing.
"""

from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

from msgspec import Struct

from mutewatch.limits import DEFAULT_LIMITS, Limits
from mutewatch.places import Change, Claim, Places, touch
from mutewatch.records import Basis, MuteEvent, MuteSummary, Scope

EVERYONE = "*"  # the client name of a timeline entry that holds for all
CLOCK_JITTER = timedelta(seconds=2)  # closer than this clocks are taken to agree: delays on the way are smaller
# What may have waited tells of a clock that is behind only if it always seems to wait as long:
SAME_WAITS = 4  # so often,
WAITED_FOR = timedelta(minutes=1)  # and in so much time


class Stretch(Struct, frozen=True, gc=False):
    """A span of time in one mute state (None: not known), and on whose word."""

    starts_at: datetime
    ends_at: datetime
    state: bool | None
    basis: Basis | None
    is_disputed: bool  # the operator's timeline says otherwise
    is_address_shared: bool  # several clients were heard at the client's address


@dataclass(slots=True)
class _Waited:
    """For how long messages seem to have waited, at least; and when those were sent that waited so."""

    least: timedelta
    longest: timedelta  # for which one of them may wait, though the clocks agree
    sent: list[datetime] = field(default_factory=list)  # the first, the last, and two others

    def add(self, wait: timedelta, sent_at: datetime, longest: timedelta) -> None:
        self.least, self.longest = min(self.least, wait), max(self.longest, longest)
        if sent_at not in self.sent:
            insort(self.sent, sent_at)
            del self.sent[SAME_WAITS - 1 : -1]

    @property
    def offset(self) -> timedelta | None:
        """How far a clock is behind, if that is why they seem to have waited."""
        is_always = len(self.sent) == SAME_WAITS and self.sent[-1] - self.sent[0] >= WAITED_FOR
        return self.least if is_always and self.least > self.longest else None


@dataclass(slots=True)
class _Call:
    """What is known of one call: its own changes, and under which participant ids others may mute it."""

    changes: dict[Scope, list[Change]] = field(default_factory=lambda: {scope: [] for scope in Scope})
    participants: OrderedDict[str, bool] = field(default_factory=OrderedDict)
    difference: timedelta | None = None  # capturing clock minus client clock, at its smallest
    waited: _Waited | None = None
    clock_changes: int = 0

    @property
    def clock_offset(self) -> timedelta | None:
        """How far the capturing clock is ahead of the client's, as far as is known."""
        found = (self.difference, self.waited.offset if self.waited else None)
        return min((one for one in found if one is not None), default=None)


class MuteTracker:
    """Follows the mute state of every call. Knows at most `limits.calls` calls; the stalest goes first."""

    def __init__(
        self,
        timeline: Mapping[str, Iterable[tuple[datetime, bool]]] | None = None,
        assume: bool | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        """`timeline`: by client name (pseudonym) or EVERYONE, when the operator says it was muted."""
        self._timeline = {
            name: sorted(Change(at, muted, Basis.OPERATOR) for at, muted in entries)
            for name, entries in (timeline or {}).items()
        }
        self.unmet = set(self._timeline) - {EVERYONE}  # of its names those of nobody who was asked about
        self._assume = assume
        self._limits = limits
        self._calls: OrderedDict[str, _Call] = OrderedDict()
        self._participants: OrderedDict[str, dict[Scope, list[Change]]] = OrderedDict()
        self._calls_of: OrderedDict[str, OrderedDict[str, bool]] = OrderedDict()  # by participant
        self._places = Places(limits)

    def add(self, event: MuteEvent) -> set[str]:
        """Take in one event; return the calls whose state it may change. Repeats change nothing."""
        is_new = self._link(event.call, event.participant) if event.call and event.participant else False
        if event.effective is True:
            change = Change(event.at, event.muted, event.basis, event.by_client_clock)
            is_new |= self._insert(self._changes(event), change)
        calls = {event.call} if event.call else set(self._calls_of.get(event.participant or "", ()))
        return self._places.hear_event(event) | (calls if is_new else set())

    def hear(self, app: str, call: str, address: str | None, at: datetime) -> set[str]:
        """Note from which address a call was heard, by the capturing clock; return the calls that this may concern."""
        return self._places.hear_report(app, call, address, at) if address else set()

    def observe_clocks(self, call: str, client_time: datetime, seen_at: datetime | None) -> bool:
        """Compare the two clocks on a message that carries both times; return whether that changes the offset.

        Delays only ever enlarge the difference, so the smallest one seen is the best estimate.
        """
        if seen_at is None:
            return False
        known, offset = self._call(call), seen_at - client_time
        before = known.clock_offset
        known.difference = offset if known.difference is None else min(known.difference, offset)
        return self._has_changed(known, before)

    def observe_wait(self, call: str, client_time: datetime, seen_at: datetime, longest: timedelta) -> bool:
        """As `observe_clocks`, on a message that may have waited before it was sent, usually up to `longest`."""
        known, wait = self._call(call), seen_at - client_time
        before = known.clock_offset
        if known.waited is None or wait < known.waited.least - CLOCK_JITTER:  # those before did wait
            known.waited = _Waited(wait, longest)
        if wait <= known.waited.least + CLOCK_JITTER:
            known.waited.add(wait, seen_at, longest)
        return self._has_changed(known, before)

    def _has_changed(self, known: _Call, before: timedelta | None) -> bool:
        if abs((known.clock_offset or timedelta()) - (before or timedelta())) <= CLOCK_JITTER:
            return False
        known.clock_changes += 1  # a client whose clock races must not make us judge its call at each message
        return known.clock_changes <= self._limits.clock_changes_per_call

    def clock_offset(self, call: str) -> timedelta:
        """How far the capturing clock is ahead of the client's, zero where they agree within the jitter."""
        known = self._calls.get(call)
        offset = known.clock_offset if known else None
        return offset if offset is not None and abs(offset) > CLOCK_JITTER else timedelta()

    def summary(
        self, call: str, names: Collection[str], start: datetime, end: datetime, app: str | None = None
    ) -> MuteSummary:
        """Divide [start, end), in the client's clock, by mute state. `names`: the client's, for the timeline."""
        return summed(self.stretches(call, names, start, end, app), start, end)

    def stretches(
        self, call: str, names: Collection[str], start: datetime, end: datetime, app: str | None = None
    ) -> list[Stretch]:
        """Return how [start, end), in the client's clock, divides. Without an `app` no address is asked."""
        own, remote, hints = self._switches(call)
        self.unmet.difference_update(names)
        operator = sorted(change for name in (*names, EVERYONE) for change in self._timeline.get(name, ()))
        offset = self.clock_offset(call)
        claim = self._places.claim(app, call, end + offset) if app is not None else Claim()
        nearby = sorted(_shift(claim.changes, offset))
        switches = (own, remote, nearby, operator, hints)
        edges = sorted({start, end, *(at for changes in switches for at in _inside(changes, start, end))})
        found = []
        for left, right in pairwise(edges):
            state, basis = _effective(_at(own, left), _at(remote, left))
            if state is None and (word := _at(nearby, left)):
                state, basis = word.muted, word.basis
            is_shared = state is None and claim.is_shared
            said = _at(operator, left)
            is_disputed = state is not None and said is not None and said.muted is not state
            for word in (said, _at(hints, left)):
                if state is None and word is not None:
                    state, basis = word.muted, word.basis
            if state is None and self._assume is not None:
                state, basis = self._assume, Basis.ASSUMED
            found.append(Stretch(left, right, state, basis, is_disputed, is_shared))
        return found

    def forget_before(self, call: str, time: datetime) -> None:
        """Let go of changes before `time`, in the client's clock, but the last of each switch, which still holds."""
        known, offset = self._calls.get(call), self.clock_offset(call)
        for changes in known.changes.values() if known else ():
            dated = sorted(zip(_shift(changes, offset), changes, strict=True))
            gone = max(0, bisect_left(dated, time, key=lambda pair: pair[0].at) - 1)
            changes[:] = sorted(change for _shifted, change in dated[gone:])

    def forget_addresses(self, time: datetime) -> None:
        """Let go of addresses from which nothing was heard since `time`, by the capturing clock."""
        self._places.forget_before(time)

    def _switches(self, call: str) -> tuple[list[Change], list[Change], list[Change]]:
        """Changes of the own and the remote switch, and what only hints at either; by the client's clock, in order."""
        known = self._calls.get(call)
        if known is None:
            return [], [], []
        offset = self.clock_offset(call)
        kept = [known.changes, *(self._participants[p] for p in known.participants if p in self._participants)]
        own, remote = (
            sorted(change for changes in kept for change in _shift(changes[scope], offset)) for scope in Scope
        )
        hints = [change for change in own if change.basis is Basis.PAYLOAD_HINT]
        return [change for change in own if change.basis is not Basis.PAYLOAD_HINT], remote, hints

    def _changes(self, event: MuteEvent) -> list[Change]:
        """Where the changes of this event's switch are kept: with its call, or with its participant."""
        if event.call:
            return self._call(event.call).changes[event.scope]
        return touch(self._participants, event.participant or "", _no_changes, self._limits.calls)[event.scope]

    def _call(self, call: str) -> _Call:
        return touch(self._calls, call, _Call, self._limits.calls)

    def _link(self, call: str, participant: str) -> bool:
        """Note under which id others may mute this call's client; return whether that is news."""
        participants, most = self._call(call).participants, self._limits.neighbours
        is_news = participant not in participants
        touch(participants, participant, bool, most)
        calls: OrderedDict[str, bool] = touch(self._calls_of, participant, OrderedDict, 2 * self._limits.calls)
        touch(calls, call, bool, most)
        return is_news

    def _insert(self, changes: list[Change], change: Change) -> bool:
        position = bisect_left(changes, change)
        if position < len(changes) and changes[position] == change:
            return False
        insort(changes, change)
        if len(changes) > self._limits.mute_events_per_call:
            del changes[0]
        return True


def _no_changes() -> dict[Scope, list[Change]]:
    return {scope: [] for scope in Scope}


def summed(stretches: Iterable[Stretch], start: datetime, end: datetime) -> MuteSummary:
    """Return how [start, end) divides, of stretches that hold it."""
    seconds = {True: 0.0, False: 0.0, None: 0.0}
    bases, disputed, is_shared = set(), 0.0, False
    for stretch in stretches:
        lasts = (min(stretch.ends_at, end) - max(stretch.starts_at, start)).total_seconds()
        if lasts <= 0:
            continue
        seconds[stretch.state] += lasts
        disputed += lasts if stretch.is_disputed else 0
        is_shared |= stretch.is_address_shared
        if stretch.basis is not None:
            bases.add(stretch.basis)
    ordered = tuple(basis for basis in Basis if basis in bases)
    return MuteSummary(seconds[True], seconds[False], seconds[None], ordered, disputed, is_shared)


def is_muted(stretches: Sequence[Stretch], starts_at: datetime, ends_at: datetime) -> bool:
    """Is all of [starts_at, ends_at], and at least an instant before its end, held to be muted?"""
    covered = [one for one in stretches if one.starts_at < ends_at and one.ends_at > starts_at]
    is_whole = bool(covered) and covered[0].starts_at <= starts_at and covered[-1].ends_at >= ends_at
    return is_whole and all(one.state is True for one in covered)


def _shift(changes: Iterable[Change], offset: timedelta) -> Iterator[Change]:
    for change in changes:
        yield change if change.by_client_clock else Change(change.at - offset, change.muted, change.basis)


def _at(changes: list[Change], time: datetime) -> Change | None:
    position = bisect_right(changes, time, key=lambda change: change.at)
    return changes[position - 1] if position else None


def _inside(changes: list[Change], start: datetime, end: datetime) -> list[datetime]:
    first = bisect_right(changes, start, key=lambda change: change.at)
    last = bisect_left(changes, end, key=lambda change: change.at)
    return [change.at for change in changes[first:last]]


def _effective(own: Change | None, remote: Change | None) -> tuple[bool | None, Basis | None]:
    """Muted if either switch is; unmuted only on the client's own word."""
    if own is not None and own.muted:
        return True, own.basis
    if remote is not None and remote.muted:
        return True, remote.basis
    if own is not None:
        return False, own.basis
    return None, None
