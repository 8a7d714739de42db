"""Puts the rooms together: what `cli.py` and the live addon build their pipelines from.

With `cli.py` and `commands/` this is the composition root: only here does the core know the rooms around
it, and each is imported inside the function that needs it.
"""

import logging
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from platform import node
from time import monotonic

from sqlalchemy.exc import DBAPIError, StatementError

from mutewatch import outbox
from mutewatch.config import StateDirectory
from mutewatch.database import is_rows_fault
from mutewatch.identity import KEY_BYTES, Names, load_or_create_key
from mutewatch.judged import Judged
from mutewatch.mitigate import FORWARD, OBSERVE_ALL, Decision, Mitigation, Policies
from mutewatch.mute import MuteTracker
from mutewatch.pipeline import FORGET, Pipeline
from mutewatch.ports import ActivityModel
from mutewatch.records import Decoded, Direction, Exchange, Finding
from mutewatch.retention import FOR_A_WHILE, Periods, Retention, Tidied
from mutewatch.signatures import load_signatures
from mutewatch.signatures.choice import Choice, choose
from mutewatch.signatures.matcher import Matcher
from mutewatch.store import Store
from mutewatch.summary import add_counts, counts_record
from mutewatch.timeline import load_timeline
from mutewatch.uninspected import Passed, Reason, Tally, add_to

logger = logging.getLogger("mutewatch.live")

LIVE_LOCK_SECONDS = 0.5  # for somebody else's lock: the live door has a queue to wait in, and must be able to stop
LIVE = "live"  # the name of the proxy among the inputs of a store; in a database, with that of its host
DELIVERED_AT_ONCE = 100  # findings that an export is told of in one step: 40 ms of work for two files (0.4 ms each)
DELIVERED_AT_CLOSE = 10  # steps, before the store is closed: there are five seconds to stop
RESTORED_MESSAGES = 200_000  # at most, on a restart, the newest first: hours of a large site's mute states
RESTORE_SECONDS = 15.0  # at most: a start that takes longer than `WriterLimits.start_seconds` fails


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    """What an operator may choose about judging."""

    mute_file: Path | None = None
    assume_muted: bool | None = None
    activity: bool = True
    show_clients: bool = False
    signatures: tuple[Path, ...] = ()  # files beside the bundled ones
    without: tuple[str, ...] = ()  # ids and apps of those that are left out

    @property
    def choice(self) -> Choice:
        """Which signatures are used. OperatorError."""
        return choose(load_signatures(*self.signatures), self.without)


def build_pipeline(state: StateDirectory | None, options: PipelineOptions) -> Pipeline:
    """Return a pipeline as the operator wants it; without a state directory its pseudonyms are its own.

    OperatorError for what cannot be had.
    """
    key = load_or_create_key(state.client_key) if state else secrets.token_bytes(KEY_BYTES)
    names = Names(None if options.show_clients else key)
    timeline = load_timeline(options.mute_file, names) if options.mute_file else None
    choice = options.choice
    return Pipeline(
        choice.used,
        names,
        MuteTracker(timeline, options.assume_muted),
        load_activity_model() if options.activity else None,
        left_out=choice.left_out,
    )


def load_activity_model() -> ActivityModel:
    """Return the shipped model. If its file is not whole, say so, and return one that guesses nothing:
    a flag never depends on a guess."""
    from classifier.manifest import ModelError
    from classifier.stream import NoModel, load_model

    try:
        return load_model()
    except ModelError as error:
        logger.warning("mutewatch: no activity is guessed: %s", error)
        return NoModel()


@dataclass(frozen=True, slots=True)
class _Fed:
    """An exchange that was taken in, and what that gave."""

    exchange: Exchange
    decision: Decision
    facts: list[Decoded]


Export = Callable[[Sequence[Finding]], None]  # tells somebody of findings; raises OSError if it cannot


class Recorder:
    """Feeds live exchanges to the pipeline and commits what they said. For one thread.

    `export` is told of flagged minutes once they are committed, at least once each (see `outbox.py`). `name`: among
    the inputs of the store, of which each gateway is one.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        store: Store,
        policies: Policies = OBSERVE_ALL,
        periods: Periods = FOR_A_WHILE,
        export: Export | None = None,
        name: str = LIVE,
    ) -> None:
        self.pipeline, self.store, self.name = pipeline, store, name
        self.policies = policies
        self.retention = Retention(store, periods, waits=False)
        self.judged = Judged(pipeline.apps)
        self._export = export
        if export is not None:
            with store.begin() as connection:
                outbox.prepare(connection)
            store.before_findings = outbox.note
        self._facts: list[Decoded] = []
        self._findings: list[Finding] = []
        self._fed: dict[int, _Fed] = {}  # by identity: of calls that failed, and not seen again since
        self._tally = Tally(pipeline.names.pseudonym)
        self._has_only_counts = False  # of some message nothing but the counts will be kept

    def restore(self, now: datetime) -> None:
        """Take up the calls, and the counts, where an earlier process left them."""
        add_counts(self.pipeline.counts, (row["counts"] for row in self.store.inputs() if row["name"] == self.name))
        until = monotonic() + RESTORE_SECONDS
        for number, decoded in enumerate(self.store.facts_since(now - FORGET, RESTORED_MESSAGES)):
            if monotonic() >= until:
                logger.warning(
                    "mutewatch: took up the newest %d messages only; what was said before is unknown", number
                )
                break
            self.pipeline.absorb(decoded)
        self.pipeline.take_as_judged(now)  # when their facts were committed, by all that was known then

    def record(self, exchanges: Sequence[Exchange]) -> list[Decision]:
        """Commit the facts of `exchanges` and the findings that follow, in one transaction.

        Returns what is to become of each. What is committed says so, too.
        Raises sqlalchemy's DBAPIError while the store is away; nothing is lost then: the same exchanges
        may come again, and whatever comes next brings what this call could not commit.
        """
        fed = [self._feed(exchange) for exchange in exchanges]
        times = [exchange.sent_at for exchange in exchanges if exchange.sent_at]
        self._findings += self.pipeline.advance(max(times)) if times else ()
        try:
            self._commit()
        except DBAPIError:
            self._fed |= {id(one.exchange): one for one in fed}
            raise
        return [one.decision for one in fed]

    def forget(self, exchanges: Sequence[Exchange]) -> None:
        """These were given up: what they said is not to be committed later, as if they had been recorded."""
        given_up = [self._fed.pop(id(exchange), None) for exchange in exchanges]
        for exchange in exchanges:
            host = self.pipeline.host_pattern(exchange.host) if exchange.host else None
            if host and not _adds_status(exchange):
                at = exchange.sent_at
                self._tally.add(Passed(at, at, exchange.client, host, Reason.NOT_RECORDED))
        gone = {id(decoded) for one in given_up if one for decoded in one.facts}
        self._facts = [decoded for decoded in self._facts if id(decoded) not in gone]

    def _feed(self, exchange: Exchange) -> _Fed:
        """Take one exchange in, unless it was before; return what is to become of it."""
        known = self._fed.pop(id(exchange), None)
        if known is not None:
            return known
        if _adds_status(exchange):  # it was counted as a request
            fed = _Fed(exchange, FORWARD, self.pipeline.feed(exchange, again=True))
        elif exchange.direction is Direction.TO_CLIENT:  # it is on its way, and nothing leaves with it
            fed = _Fed(exchange, FORWARD, self.pipeline.feed(exchange))
        else:
            mitigation = Mitigation(self.policies, exchange)
            facts = self.pipeline.feed(exchange, mitigation=mitigation)
            fed = _Fed(exchange, mitigation.decision, facts)
        self._facts += fed.facts
        self._has_only_counts |= not fed.facts and not _adds_status(exchange)
        return fed

    def _commit(self, *, with_counts: bool = False) -> None:
        """All or nothing while the store is away; but one record that cannot be stored must not hold up the rest.

        The counts are for once a minute, but where they are all that is kept of a message: then they go with it.
        """
        counts = {self.name: counts_record(self.pipeline.counts)} if with_counts or self._has_only_counts else None
        try:
            self.store.record(self._facts, self._findings, counts, self.pipeline.inherited)
        except DBAPIError as error:
            if not is_rows_fault(error):
                raise
            self._commit_one_by_one()
        except (StatementError, TypeError, ValueError, OverflowError):
            self._commit_one_by_one()
        self.judged.hear(self._facts)
        self.judged.count(self._findings)
        self._facts, self._findings, self._has_only_counts = [], [], False

    def _commit_one_by_one(self) -> None:
        singly: list[tuple[list[Decoded], list[Finding]]] = [([fact], []) for fact in self._facts]
        for facts, findings in singly + [([], [finding]) for finding in self._findings]:
            try:
                self.store.record(facts, findings, inherited=self.pipeline.inherited)
            except DBAPIError as error:
                if not is_rows_fault(error):
                    raise
                self.pipeline.counts.unstorable += 1
            except (StatementError, TypeError, ValueError, OverflowError):
                self.pipeline.counts.unstorable += 1
        self.store.record((), (), {self.name: counts_record(self.pipeline.counts)})

    def note(self, passed: Sequence[Passed]) -> None:
        """Keep what was not inspected. Raises sqlalchemy's DBAPIError while the store is away; nothing is lost then."""
        for one in passed:
            self._tally.add(one)
        if self._tally.rows:
            with self.store.begin() as connection:
                add_to(connection, self.name, self._tally)
            self._tally.clear()

    def use(self, policies: Policies, periods: Periods, matcher: Matcher) -> None:
        """From now on, decide by these policies, keep for these periods, and look for what `matcher` knows."""
        self.policies, self.retention.periods = policies, periods
        self.pipeline.use(matcher)
        self.judged.expect(self.pipeline.apps)

    def tick(self, now: datetime) -> None:
        """Let go of calls that are over; call about once a minute."""
        self._findings += self.pipeline.advance(now)
        self._commit(with_counts=True)

    def tidy(self, now: datetime) -> Tidied:
        """Delete a few rows that have been kept for long enough; call about once a second."""
        return self.retention.step(now)

    def deliver(self) -> bool:
        """Tell the export of the next findings that wait; is there perhaps more? Raises OSError and DBAPIError."""
        if self._export is None:
            return False
        with self.store.begin() as connection:
            waiting = outbox.waiting(connection, DELIVERED_AT_ONCE)
        if not waiting:
            return False
        self._export([one.finding for one in waiting if one.finding is not None])
        with self.store.begin() as connection:
            outbox.cross_out(connection, waiting)
        return True

    def close(self) -> None:
        """Commit what is left, tell the export of it, and close the store."""
        try:
            self._findings += self.pipeline.finish()
            self._commit(with_counts=True)
            self.note(())
            with suppress(OSError, DBAPIError):  # what it cannot be told of now, it is at the next start
                for _ in range(DELIVERED_AT_CLOSE):
                    if not self.deliver():
                        break
        finally:
            self.store.close()


def _adds_status(exchange: Exchange) -> bool:
    """Is this a request that comes again, with the status of its response?"""
    return exchange.status is not None and exchange.direction is Direction.TO_SERVER


def build_recorder(
    state: StateDirectory,
    options: PipelineOptions,
    now: datetime,
    policies: Policies = OBSERVE_ALL,
    periods: Periods = FOR_A_WHILE,
    export: Export | None = None,
) -> Recorder:
    """Return what the live proxy records with, its memory restored from the store."""
    store = Store(state.store_location, LIVE_LOCK_SECONDS)
    name = LIVE if store.path else f"{LIVE} {node()}"  # several gateways may write into one database
    recorder = Recorder(build_pipeline(state, options), store, policies, periods, export, name)
    recorder.restore(now)
    return recorder
