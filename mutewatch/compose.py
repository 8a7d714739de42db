"""Puts the rooms together: what `cli.py` and the live addon build their pipelines from.

With `cli.py` and `commands/` this is the composition root: only here does the core know the rooms around
it, and each is imported inside the function that needs it.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy.exc import OperationalError, StatementError

from mutewatch.config import StateDirectory
from mutewatch.errors import OperatorError
from mutewatch.identity import KEY_BYTES, Names, load_or_create_key
from mutewatch.mitigate import FORWARD, OBSERVE_ALL, Decision, Mitigation, Policies
from mutewatch.mute import MuteTracker
from mutewatch.pipeline import FORGET, Pipeline
from mutewatch.ports import ActivityModel
from mutewatch.records import Decoded, Exchange, Finding
from mutewatch.retention import FOR_A_WHILE, Periods, Retention, Tidied
from mutewatch.signatures import load_signatures
from mutewatch.store import Store
from mutewatch.summary import add_counts, counts_record
from mutewatch.timeline import load_timeline

LIVE = "live"  # the name of the proxy among the inputs of a store
RESTORED_MESSAGES = 200_000  # at most, on a restart: seconds of start-up, hours of a large site's mute states


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    """What an operator may choose about judging."""

    mute_file: Path | None = None
    assume_muted: bool | None = None
    activity: bool = True
    show_clients: bool = False
    signatures: tuple[Path, ...] = ()


def build_pipeline(state: StateDirectory | None, options: PipelineOptions) -> Pipeline:
    """Return a pipeline as the operator wants it; without a state directory its pseudonyms are its own.

    OperatorError for what cannot be had.
    """
    key = load_or_create_key(state.client_key) if state else secrets.token_bytes(KEY_BYTES)
    names = Names(None if options.show_clients else key)
    timeline = load_timeline(options.mute_file, names) if options.mute_file else None
    return Pipeline(
        load_signatures(*options.signatures),
        names,
        MuteTracker(timeline, options.assume_muted),
        load_activity_model() if options.activity else None,
    )


def load_activity_model() -> ActivityModel:
    """Return the shipped model. OperatorError, with the way around, if its file is not whole."""
    from classifier.manifest import ModelError
    from classifier.stream import load_model

    try:
        return load_model()
    except ModelError as error:
        raise OperatorError(f"{error} (--no-activity goes on without guesses)") from None


def authority_expires_at(confdir: Path, now: datetime) -> datetime | None:
    """Return when the certificate of the CA in `confdir` expires; None if there is none that can be read."""
    from certs.authority import describe

    found = describe(confdir, now)
    return found.expires_at if found and found.fingerprint else None


class Recorder:
    """Feeds live exchanges to the pipeline and commits what they said. For one thread."""

    def __init__(
        self, pipeline: Pipeline, store: Store, policies: Policies = OBSERVE_ALL, periods: Periods = FOR_A_WHILE
    ) -> None:
        self.pipeline, self.store = pipeline, store
        self.policies = policies
        self.retention = Retention(store, periods)
        self._facts: list[Decoded] = []
        self._findings: list[Finding] = []
        # by identity: of calls that failed, and not seen again since, with what was decided
        self._fed: dict[int, tuple[Exchange, Decision]] = {}

    def restore(self, now: datetime) -> None:
        """Take up the calls, and the counts, where an earlier process left them."""
        add_counts(self.pipeline.counts, (row["counts"] for row in self.store.inputs() if row["name"] == LIVE))
        for decoded in self.store.facts_since(now - FORGET, RESTORED_MESSAGES):
            self.pipeline.absorb(decoded)
        self.pipeline.advance(now)  # judged when their facts were committed, by all that was known then

    def record(self, exchanges: Sequence[Exchange]) -> list[Decision]:
        """Commit the facts of `exchanges` and the findings that follow, in one transaction.

        Returns what is to become of each. What is committed says so, too.
        Raises sqlalchemy's OperationalError while the store is away; nothing is lost then: the same exchanges
        may come again, and whatever comes next brings what this call could not commit.
        """
        decisions = [self._feed(exchange) for exchange in exchanges]
        times = [exchange.sent_at for exchange in exchanges if exchange.sent_at]
        self._findings += self.pipeline.advance(max(times)) if times else ()
        try:
            self._commit()
        except OperationalError:
            decided = zip(exchanges, decisions, strict=True)
            self._fed |= {id(exchange): (exchange, decision) for exchange, decision in decided}
            raise
        return decisions

    def _feed(self, exchange: Exchange) -> Decision:
        """Take one exchange in, unless it was before; return what is to become of it."""
        known = self._fed.pop(id(exchange), None)
        if known is not None:
            return known[1]
        if exchange.status is not None:  # the response comes as the same exchange; it was counted as a request
            self._facts += self.pipeline.feed(exchange, again=True)
            return FORWARD
        mitigation = Mitigation(self.policies, exchange)
        self._facts += self.pipeline.feed(exchange, mitigation=mitigation)
        return mitigation.decision

    def _commit(self) -> None:
        """All or nothing while the store is away; but one record that cannot be stored must not hold up the rest."""
        try:
            self.store.record(self._facts, self._findings)
        except OperationalError:  # locked, full, read-only: it will come back
            raise
        except (StatementError, TypeError, ValueError):
            self._commit_one_by_one()
        self._facts, self._findings = [], []

    def _commit_one_by_one(self) -> None:
        singly: list[tuple[list[Decoded], list[Finding]]] = [([fact], []) for fact in self._facts]
        for facts, findings in singly + [([], [finding]) for finding in self._findings]:
            try:
                self.store.record(facts, findings)
            except OperationalError:
                raise
            except (StatementError, TypeError, ValueError):
                self.pipeline.counts.unstorable += 1

    def use(self, policies: Policies, periods: Periods) -> None:
        """From now on, decide by these policies, and keep for these periods."""
        self.policies, self.retention.periods = policies, periods

    def tick(self, now: datetime) -> None:
        """Let go of calls that are over; call about once a minute."""
        self._findings += self.pipeline.advance(now)
        self.store.record_input(LIVE, counts_record(self.pipeline.counts), None)
        self._commit()

    def tidy(self, now: datetime) -> Tidied:
        """Delete a few rows that have been kept for long enough; call about once a second."""
        return self.retention.step(now)

    def close(self) -> None:
        """Commit what is left and close the store."""
        try:
            self._findings += self.pipeline.finish()
            self.store.record_input(LIVE, counts_record(self.pipeline.counts), None)
            self._commit()
        finally:
            self.store.close()


def build_recorder(
    state: StateDirectory,
    options: PipelineOptions,
    now: datetime,
    policies: Policies = OBSERVE_ALL,
    periods: Periods = FOR_A_WHILE,
) -> Recorder:
    """Return what the live proxy records with, its memory restored from the store."""
    recorder = Recorder(build_pipeline(state, options), Store(state.store), policies, periods)
    recorder.restore(now)
    return recorder
