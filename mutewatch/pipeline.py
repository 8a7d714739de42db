"""The way through the house: exchanges in, findings out.

`feed` gathers the facts of one exchange; `advance` and `finish` draw the conclusions on every minute that
the facts since have touched. So the same facts give the same findings in whatever order and however often
they came. Nothing here opens a socket, reads a clock or knows a vendor.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from operator import attrgetter
from typing import Final

from msgspec.structs import replace

from mutewatch.audio_names import names_audio
from mutewatch.calls import LONG_AGO, Call, Group, group_of, key_of
from mutewatch.counts import Counts
from mutewatch.extract import extract, stats_states, unknown_message
from mutewatch.identity import CANARY, CanaryNames, Names
from mutewatch.judge import judge, judge_undecoded
from mutewatch.limits import DEFAULT_LIMITS, Limits
from mutewatch.messages import says_nothing
from mutewatch.minutes import CallMinutes
from mutewatch.mitigate import Mitigation, with_sent
from mutewatch.mute import MuteTracker, Stretch
from mutewatch.places import NEARBY
from mutewatch.ports import ActivityModel
from mutewatch.records import AudioReport, Decoded, Direction, Exchange, Finding, MuteEvent, MuteSummary, Verdict
from mutewatch.samples import AHEAD, CallSamples
from mutewatch.signatures.matcher import Matcher
from mutewatch.signatures.model import Signature, matched_pattern

GUESSES_AT_ONCE: Final = 4_096  # 3 kB each while they are made; more at once are no faster
LATENESS_MINUTES = 10  # how late a report may come in a running call and still find its neighbours
IDLE = timedelta(minutes=15)  # after this a call keeps only its last report, so that a gap still shows
FORGET = timedelta(hours=12)  # after this a call is over
TIDY_EVERY = timedelta(minutes=1)
BODILESS: Final = ("GET", "HEAD", "OPTIONS", "CONNECT")  # none was seen of these: that does not mean one was lost

# What could be inferred is part of what a leak means; of a minute that was not muted nothing is inferred.
GUESSED: Final = (Verdict.FLAGGED, Verdict.MUTE_UNKNOWN)

Judged = tuple[Finding, Sequence[AudioReport]]  # and the reports to guess from; none where nothing is guessed


class Pipeline:
    """Turns exchanges into findings. For one thread at a time."""

    def __init__(
        self,
        signatures: Sequence[Signature],
        names: Names,
        mute: MuteTracker | None = None,
        model: ActivityModel | None = None,
        limits: Limits = DEFAULT_LIMITS,
        left_out: Sequence[Signature] = (),
    ) -> None:
        self.counts = Counts()
        self.names, self._model, self._limits = names, model, limits
        self._mute = mute or MuteTracker(limits=limits)
        self._stats = stats_states(limits)
        self.use(Matcher(signatures, left_out))
        self._groups: OrderedDict[str, Group] = OrderedDict()
        self._dirty: dict[str, None] = {}  # ids of groups that await judgement, in order
        self._open: dict[str, None] = {}  # of these, and of others, those with a minute that still goes on
        self._ready: list[Judged] = []
        self.inherited: set[Hashable] = set()  # keys of findings that rest on nothing heard since a restart
        self._tidied_at = LONG_AGO

    def use(self, matcher: Matcher) -> None:
        """From the next message on, look for what `matcher` knows. Called on any thread."""
        self._matcher = matcher

    @property
    def model_id(self) -> str | None:
        """Which model guesses; None without one."""
        return self._model.model_id if self._model else None

    @property
    def apps(self) -> set[str]:
        """The apps whose telemetry is known."""
        return {signature.app for signature in self._matcher.signatures}

    def is_host(self, host: str) -> bool:
        """Is `host` (lower case, without port) one that a signature knows?"""
        return bool(self._matcher.of_host(host))

    def wants_answer(self, method: str, host: str | None, path: str) -> bool:
        """Does a signature know the body of the response to such a request?"""
        return self._matcher.wants_answer(method, host, path)

    def host_pattern(self, host: str) -> str | None:
        """Return the pattern of a signature that names `host`; None if there is none."""
        patterns = (pattern for signature in self._matcher.signatures for pattern in signature.hosts)
        return matched_pattern(patterns, host)

    def feed(self, exchange: Exchange, *, again: bool = False, mitigation: Mitigation | None = None) -> list[Decoded]:
        """Take in one exchange; return its facts, one record for each signature that it matches.

        `again`: the same exchange as before, now with its response's status; it is not counted twice, and
        looked at only where the answer matters. `mitigation` is asked what to send of it.
        """
        if not exchange.method:
            self.counts.dark += exchange.host is not None and self.is_host(exchange.host)
            return []
        if says_nothing(exchange):
            return []
        is_canary = exchange.origin.door == CANARY
        self.counts.canaries += is_canary and not again
        counts = Counts() if again or is_canary else self.counts
        names = CanaryNames() if is_canary else self.names
        counts.exchanges += 1
        matcher = self._matcher  # one for all of this message
        matches = matcher.match(exchange.method, exchange.host, exchange.path, exchange.direction)
        counts.matched += bool(matches)
        facts = []
        for signature, (message, segments) in matches:
            if again and not message.awaits_answer:
                continue
            counts.signatures[signature.id] += 1
            if exchange.body is None:
                counts.unread += 1
                if mitigation is not None:
                    mitigation.apply(signature, message, None, tuple)
                continue
            decoded = extract(exchange, signature, message, segments, names, self._limits, self._stats)
            counts.undecoded += bool(decoded.undecoded)
            counts.decoded += not decoded.undecoded
            counts.without_audio += not (decoded.audio or decoded.mute or decoded.undecoded)
            if mitigation is not None:
                mitigation.apply(signature, message, decoded, partial(map, self._mute_during, decoded.audio))
                decoded = with_sent(decoded, mitigation.decision)
            self.absorb(decoded, counts)
            if again and not is_canary:  # it was counted as unanswered when it was sent
                answers = [event.effective for event in decoded.mute if event.effective is not None]
                self.counts.mute_unanswered -= len(answers)
                self.counts.mute_refused += answers.count(False)
            facts.append(decoded)
        if not again and not any(signature.telling_names for signature, _ in matches):
            facts += self._unknown(matcher, exchange, names, counts, mitigation)
        return facts

    def _unknown(
        self, matcher: Matcher, exchange: Exchange, names: Names, counts: Counts, mitigation: Mitigation | None
    ) -> Iterator[Decoded]:
        """Look for audio-derived values in what was sent to a telemetry host and no signature knows."""
        if not exchange.body and (exchange.body == b"" or exchange.method in BODILESS):
            return
        if exchange.direction is Direction.TO_CLIENT or exchange.host is None:
            return
        if matcher.is_left_out(exchange.method, exchange.host, exchange.path):
            return
        for signature in matcher.of_host(exchange.host):
            if not signature.telling_names:
                continue
            counts.unmatched += 1
            wanted = signature.telling_names
            found = names_audio(exchange.body, exchange.content_encoding, wanted, self._limits)
            counts.unmatched_audio += found is True
            if mitigation is not None:
                mitigation.apply_unknown(signature, found)
            is_held_back = mitigation is not None and mitigation.decision.answer is not None
            if found or is_held_back:
                decoded = unknown_message(exchange, signature, names, found)
                decoded = decoded if mitigation is None else with_sent(decoded, mitigation.decision)
                self.absorb(decoded, counts)
                yield decoded
            return

    def absorb(self, decoded: Decoded, counts: Counts | None = None) -> None:
        """Take in facts that were decoded before, such as those kept from before a restart."""
        counts = counts or Counts()
        for report in sorted(decoded.audio, key=attrgetter("ends_at"), reverse=True):  # the newest tells of the clocks
            counts.repeats += not self._add_report(report, is_alone=len(decoded.audio) == 1)
        for event in decoded.mute:
            self._add_mute_event(event)
            counts.mute_events += 1
            counts.mute_refused += event.effective is False
            counts.mute_unanswered += event.effective is None
        self._ready += ((judge_undecoded(undecoded), ()) for undecoded in decoded.undecoded)

    def advance(self, now: datetime) -> list[Finding]:
        """Return what is newly known, and let go of what is long past at `now` (the capturing clock).

        A minute made of samples is judged when it is over: one reading more could take back what was told of it.
        """
        is_time_to_tidy = abs(now - self._tidied_at) > TIDY_EVERY  # in either direction: a clock may be set back
        if is_time_to_tidy:
            self._dirty |= self._open
        findings = self._conclude(now)
        if is_time_to_tidy:
            self._tidied_at = now
            self._tidy(now)
        return findings

    def take_as_judged(self, now: datetime) -> None:
        """What was absorbed was judged when it was heard: from here on only what is touched is judged again.

        But for minutes that may not have been over when something was heard for the last time.
        """
        heard = min(now, max((group.last_heard for group in self._groups.values()), default=now))
        for group_id in self._dirty:
            since = heard - self._mute.clock_offset(group_id) - AHEAD - 2 * TIDY_EVERY
            group = self._groups.get(group_id)
            for call in group.calls.values() if group else ():
                call.is_inherited = True
                call.dirty_after = since if call.minutes.open_since(since) is not None else None
                if call.dirty_after is not None:
                    self._open[group_id] = None
        self._dirty, self._ready = {}, []

    def finish(self) -> list[Finding]:
        """Return what is newly known; there is no more to come."""
        self._dirty |= self._open
        findings = self._conclude(None)
        every = [call.minutes for group in self._groups.values() for call in group.calls.values()]
        self.counts.missing_unlisted = sum(minutes.unlisted for minutes in every)
        return findings

    def _add_report(self, report: AudioReport, *, is_alone: bool) -> bool:
        group_id, source = group_of(report.call, report.client), report.source
        group = self._group(group_id, source.seen_at or report.ends_at)
        key = key_of(report)
        if key not in group.calls:
            kind = CallSamples if report.is_sample else CallMinutes
            group.calls[key] = Call(kind(report.client, report.call, source.signature, self._limits))
        minutes = group.calls[key].minutes
        addresses, excess = len(minutes.addresses), minutes.excess
        changed_after = minutes.add(report)
        self.counts.samples_excess += minutes.excess - excess
        has_moved = 0 < addresses < len(minutes.addresses)  # and may have another timeline
        if self._observe_clocks(group_id, report, is_alone=is_alone) or has_moved:
            self._touch(group_id, LONG_AGO)
        seen_at = source.seen_at or report.ends_at
        heard = [min(seen_at, report.ends_at) if report.is_sample else seen_at]  # it may have been sent late,
        heard += [seen_at] if seen_at - heard[0] > NEARBY else []  # or the clock is wrong
        for heard_at in heard:
            for concerned in self._mute.hear(source.signature.app, group_id, source.address, heard_at):
                self._touch(concerned, self._by_clock_of(concerned, heard_at) - NEARBY)
        if changed_after is None:
            return False
        group.calls[key].touch(changed_after)
        self._dirty[group_id] = None
        if minutes.is_full:  # none goes unjudged
            self._ready += self._judge_group(group_id, None)
            minutes.halve()
        return True

    def _observe_clocks(self, group_id: str, report: AudioReport, *, is_alone: bool) -> bool:
        """Compare the clocks on a report (a sample may have waited); True if minutes are to be judged again."""
        seen_at = report.source.seen_at
        if report.is_sample and seen_at is not None and seen_at >= report.ends_at:
            longest = timedelta() if is_alone else report.ends_at - report.starts_at
            return self._mute.observe_wait(group_id, report.ends_at, seen_at, longest)
        return self._mute.observe_clocks(group_id, report.ends_at, seen_at)

    def _add_mute_event(self, event: MuteEvent) -> None:
        heard_at = min(event.at, event.source.seen_at or event.at)
        for call in self._mute.add(event):
            # In the client's clock the change may lie elsewhere: judge again whatever it can reach.
            since = self._by_clock_of(call, heard_at) - NEARBY
            # A media request tells which of a participant's earlier remote mutes belong to the call.
            self._touch(call, LONG_AGO if event.call and event.participant else since)

    def _by_clock_of(self, call: str, time: datetime) -> datetime:
        """The earliest that `time`, by either clock, can be by the client's."""
        return time - max(self._mute.clock_offset(call), timedelta())

    def _touch(self, group_id: str, since: datetime) -> None:
        if group := self._groups.get(group_id):
            for call in group.calls.values():
                call.touch(since)
            self._dirty[group_id] = None

    def _group(self, group_id: str, heard_at: datetime) -> Group:
        group = self._groups.setdefault(group_id, Group())
        group.last_heard = max(group.last_heard, heard_at)
        self._groups.move_to_end(group_id)
        if len(self._groups) > self._limits.calls:
            stalest = next(iter(self._groups))
            self._ready += self._judge_group(stalest, None)
            del self._groups[stalest]
            self.counts.forgotten_calls += 1
        return group

    def _conclude(self, now: datetime | None) -> list[Finding]:
        self.counts.forgotten_connections = self._stats.forgotten
        judged = self._judged(now)
        last: dict[Hashable, Finding] = {}  # the last word on each minute
        while part := list(islice(judged, GUESSES_AT_ONCE)):
            last |= {finding.key: finding for finding in self._guessed(part)}
        return list(last.values())

    def _judged(self, now: datetime | None) -> Iterator[Judged]:
        ready, self._ready = self._ready, []
        dirty, self._dirty = self._dirty, {}
        yield from ready
        for group_id in dirty:
            self._open.pop(group_id, None)
            yield from self._judge_group(group_id, now)

    def _guessed(self, judged: Sequence[Judged]) -> Iterator[Finding]:
        """Yield the findings, each that has a window of minutes with what could be inferred from them."""
        windows = [window for _, window in judged if window]
        guesses = iter(self._model.guesses(windows) if self._model and windows else [])
        for finding, window in judged:
            yield replace(finding, guess=next(guesses)) if window else finding

    def _judge_group(self, group_id: str, now: datetime | None) -> Iterator[Judged]:
        """Judge what awaits it; at `now` not what still goes on, without one all."""
        group = self._groups.get(group_id)
        by_client = now - self._mute.clock_offset(group_id) if now is not None else None
        for call in group.calls.values() if group else ():
            if call.dirty_after is not None:
                since = call.dirty_after
                self._await_end(group_id, call, by_client)
                if since != call.dirty_after:
                    yield from self._judge_call(group_id, call, since, by_client)

    @property
    def unmet(self) -> list[str]:
        """Return the clients of the operator's record of mute states of whom no minute was judged, as it names them."""
        unmet = self._mute.unmet
        return sorted(name for name in unmet if self.names.pseudonym(name) in unmet)  # it stands there in both forms

    def _await_end(self, group_id: str, call: Call, now: datetime | None) -> None:
        """Have a call wait for the end of its newest minute, if that still goes on by the client's clock.

        An inherited one waits longer: a gateway that still hears it judges it first, and knows more.
        """
        now = now - AHEAD if now is not None and call.is_inherited else now
        call.dirty_after = call.minutes.open_since(now) if now is not None else None
        if call.dirty_after is not None:
            self._open[group_id] = None

    def _judge_call(self, group_id: str, call: Call, since: datetime, now: datetime | None) -> Iterator[Judged]:
        """Judge the minutes that end after `since`; those before serve the classifier as its window."""
        minutes, until = call.minutes, call.dirty_after
        names, app = (minutes.client, *minutes.addresses), minutes.signature.app

        def mute(start: datetime, end: datetime) -> list[Stretch]:
            return self._mute.stretches(group_id, names, start, end, app)

        for minute, window in minutes.judgeable(since, until, mute, self._model.horizon if self._model else 0):
            if minute.is_open and now is not None and now < minute.ends_at + AHEAD:
                call.await_judgement(minute.starts_at)
                self._open[group_id] = None
                continue
            finding = judge(minute)
            (self.inherited.add if call.is_inherited else self.inherited.discard)(finding.key)
            yield finding, window if finding.verdict in GUESSED else ()

    def _mute_during(self, report: AudioReport) -> MuteSummary:
        """The client's mute state in the minute that `report` is of, as far as it is known now."""
        group_id, app = group_of(report.call, report.client), report.source.signature.app
        group = self._groups.get(group_id)
        call = group.calls.get(key_of(report)) if group else None
        names = {report.client, *([report.source.address] if report.source.address else [])}
        names |= call.minutes.addresses if call else set()
        return self._mute.summary(group_id, names, report.starts_at, report.ends_at, app)

    def _tidy(self, now: datetime) -> None:
        """Keep of each call what later reports may still need."""
        horizon = self._model.horizon if self._model else 1
        for group_id, group in list(self._groups.items()):
            silent = now - group.last_heard
            if silent > FORGET:
                del self._groups[group_id]
                continue
            every = [call.minutes for call in group.calls.values()]
            for minutes in every:
                minutes.keep_last(1 if silent > IDLE else LATENESS_MINUTES + minutes.needed_before(horizon))
            late = self._by_clock_of(group_id, now) - timedelta(minutes=LATENESS_MINUTES)
            self._mute.forget_before(group_id, min((late, *(minutes.first_starts_at for minutes in every))))
        self._mute.forget_addresses(now - FORGET)
