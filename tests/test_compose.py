"""The live recorder: what it was given is in the store once, whatever the store went through."""

from collections.abc import Collection, Hashable, Iterable, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy.exc import DatabaseError, OperationalError

from classifier.stream import load_model
from mutewatch import compose
from mutewatch.compose import PipelineOptions, Recorder, build_pipeline, build_recorder
from mutewatch.config import StateDirectory, open_state
from mutewatch.mitigate import OBSERVE_ALL
from mutewatch.records import Decoded, Exchange, Finding, Verdict
from mutewatch.retention import Periods
from mutewatch.signatures import load_signatures
from mutewatch.signatures.matcher import Matcher
from mutewatch.store import Store
from tests.facts import at, level_exchange, locus_exchange, tsa_exchange

NO_GUESSES = PipelineOptions(activity=False, show_clients=True)


class TroubledStore(Store):
    """A store that is away, or cannot keep one of the facts, when told so."""

    is_away = is_damaged = False
    refused: str | None = None  # SHA-256 of the body whose facts make it fail

    def record(
        self,
        facts: Iterable[Decoded],
        found: Iterable[Finding],
        counts: Mapping[str, dict[str, Any]] | None = None,
        inherited: Collection[Hashable] = (),
    ) -> None:
        facts = list(facts)
        if self.is_away:
            raise OperationalError("INSERT", {}, Exception("database is locked"))
        if self.is_damaged:
            raise DatabaseError("INSERT", {}, Exception("database disk image is malformed"))
        if any(decoded.source.body_sha256 == self.refused for decoded in facts):
            raise ValueError("not to be stored")
        super().record(facts, found, counts, inherited)


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    return open_state(tmp_path / "state")


def asked(exchange: Exchange) -> Exchange:
    """The exchange as the live door first has it: without its answer."""
    return replace(exchange, status=None)


MUTED = locus_exchange(0, True)
BATCH = [asked(MUTED), MUTED, asked(tsa_exchange(1))]  # the request, its answer, and a report


def kept(state: StateDirectory) -> tuple[int, dict[str, int]]:
    with Store(state.store) as store:
        return len(list(store.facts_since(at(-1000), 1000))), store.verdicts()


def test_what_is_recorded_is_there_when_the_call_returns(state: StateDirectory) -> None:
    recorder = build_recorder(state, NO_GUESSES, at(0))
    recorder.record(BATCH)
    assert kept(state) == (2, {"flagged": 1})


def test_while_the_store_is_away_nothing_is_lost_and_nothing_counted_twice(state: StateDirectory) -> None:
    recorder = Recorder(build_pipeline(state, NO_GUESSES), TroubledStore(state.store))
    recorder.store.is_away = True  # type: ignore[attr-defined]
    for _attempt in range(2):
        with pytest.raises(OperationalError):
            recorder.record(BATCH)
    recorder.store.is_away = False  # type: ignore[attr-defined]
    recorder.record(())
    recorder.record(BATCH)
    assert kept(state) == (2, {"flagged": 1})
    assert (recorder.pipeline.counts.exchanges, recorder.pipeline.counts.repeats) == (2, 0)


def test_a_damaged_store_is_no_fault_of_the_message(state: StateDirectory) -> None:
    recorder = Recorder(build_pipeline(state, NO_GUESSES), TroubledStore(state.store))
    recorder.store.is_damaged = True  # type: ignore[attr-defined]
    for _attempt in range(2):
        with pytest.raises(DatabaseError):
            recorder.record(BATCH)
    assert (recorder.pipeline.counts.exchanges, recorder.pipeline.counts.unstorable) == (2, 0)


def test_what_was_given_up_is_not_committed_later(state: StateDirectory) -> None:
    recorder = Recorder(build_pipeline(state, NO_GUESSES), TroubledStore(state.store))
    given_up, kept_on = asked(tsa_exchange(1)), asked(tsa_exchange(2))
    recorder.store.is_away = True  # type: ignore[attr-defined]
    with pytest.raises(OperationalError):
        recorder.record([given_up, kept_on])
    recorder.forget([given_up])
    recorder.store.is_away = False  # type: ignore[attr-defined]
    recorder.record([kept_on])
    assert kept(state)[0] == 1


def test_a_message_that_leaves_no_facts_is_in_the_counts_when_the_call_returns(state: StateDirectory) -> None:
    recorder = build_recorder(state, NO_GUESSES, at(0))
    recorder.record([replace(asked(tsa_exchange(1)), body=None)])
    with Store(state.store) as store:
        (live,) = store.inputs()
    assert (live["counts"]["exchanges"], live["counts"]["unread"]) == (1, 1)


def test_one_record_that_cannot_be_stored_costs_only_itself(state: StateDirectory) -> None:
    recorder = Recorder(build_pipeline(state, NO_GUESSES), TroubledStore(state.store))
    bad, good = asked(tsa_exchange(1)), asked(tsa_exchange(2))
    recorder.store.refused = recorder.pipeline.feed(bad)[0].source.body_sha256  # type: ignore[attr-defined]
    recorder.record([bad, good])
    assert kept(state) == (1, {"mute-unknown": 2})
    assert recorder.pipeline.counts.unstorable == 1


def test_a_restart_goes_on_with_the_mute_state_and_the_counts(state: StateDirectory) -> None:
    first = build_recorder(state, NO_GUESSES, at(0))
    first.record(BATCH)
    first.close()
    second = build_recorder(state, NO_GUESSES, at(2))
    second.record([asked(tsa_exchange(3))])
    second.close()
    assert kept(state) == (3, {"flagged": 2, "missing": 1})
    with Store(state.store) as store:
        (live,) = store.inputs()
    assert (live["name"], live["counts"]["exchanges"], live["counts"]["matched"]) == ("live", 3, 3)


def test_a_restart_that_finds_only_half_of_a_long_call_leaves_its_findings_alone(state: StateDirectory) -> None:
    with_all = build_recorder(state, NO_GUESSES, at(0))
    with_all.record(BATCH)
    with_all.close()
    build_recorder(state, NO_GUESSES, at(12 * 60 + 0.5)).close()  # the press of the button is too long ago
    assert kept(state) == (2, {"flagged": 1})


def test_a_restart_after_a_crash_judges_the_minutes_that_were_not_over(state: StateDirectory) -> None:
    muted = PipelineOptions(activity=False, show_clients=True, assume_muted=True)
    first = build_recorder(state, muted, at(0))
    first.record([level_exchange(seconds, seconds / 100) for seconds in (35, 45, 55, 65, 75)])
    first.store.close()
    assert kept(state)[1] == {"flagged": 1}
    second = build_recorder(state, muted, at(60))
    second.tick(at(60))
    assert kept(state)[1] == {"flagged": 2}
    second.close()
    third = build_recorder(state, NO_GUESSES, at(120))  # which would say "mute-unknown" of them
    third.close()
    assert kept(state)[1] == {"flagged": 2}


def test_a_minute_that_was_judged_too_early_is_judged_again_after_a_crash(state: StateDirectory) -> None:
    muted = PipelineOptions(activity=False, show_clients=True, assume_muted=True)
    for begins, levels in ((0, [(5, 0.0), (15, 0.0)]), (0.5, [(35, 0.3), (45, 0.2)])):
        recorder = build_recorder(state, muted, at(begins))
        recorder.record([level_exchange(seconds, level) for seconds, level in levels])
        if begins == 0:
            recorder.close()  # an orderly stop judges what goes on
            assert kept(state)[1] == {"inert": 1}
        else:
            recorder.store.close()
    build_recorder(state, muted, at(5)).close()
    assert kept(state)[1] == {"flagged": 1}


def test_a_restart_takes_no_longer_than_it_may(
    state: StateDirectory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first = build_recorder(state, NO_GUESSES, at(0))
    first.record(BATCH)
    first.close()
    monkeypatch.setattr(compose, "RESTORE_SECONDS", 0.0)
    second = build_recorder(state, NO_GUESSES, at(2))
    second.record([asked(tsa_exchange(3))])
    second.close()
    assert kept(state) == (3, {"flagged": 1, "mute-unknown": 1})
    assert "took up the newest 0 messages only" in caplog.text


def test_a_request_and_its_answer_are_one_message(state: StateDirectory) -> None:
    recorder = build_recorder(state, NO_GUESSES, at(0))
    recorder.record([asked(MUTED), asked(tsa_exchange(1))])
    assert kept(state)[1] == {"mute-unknown": 1}
    recorder.record([MUTED])
    assert kept(state) == (2, {"flagged": 1})
    assert recorder.pipeline.counts.exchanges == 2


def test_old_rows_are_deleted_for_the_periods_of_now(state: StateDirectory) -> None:
    recorder = build_recorder(state, NO_GUESSES, at(0), periods=Periods(minutes_days=9))
    recorder.record(BATCH)
    recorder.tidy(at(0))
    tomorrow = at(23 * 60)
    assert recorder.tidy(tomorrow).rows == 0
    recorder.use(OBSERVE_ALL, Periods(minutes_days=1), Matcher(load_signatures()))
    assert recorder.tidy(tomorrow).rows == 0
    assert recorder.tidy(tomorrow + timedelta(hours=2)).rows == 3
    assert kept(state) == (0, {})


def test_flags_need_no_model(
    state: StateDirectory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr("classifier.stream.load_model", partial(load_model, tmp_path))
    pipeline = build_pipeline(state, PipelineOptions())
    for one in (locus_exchange(0, muted=True), tsa_exchange(1), tsa_exchange(2)):
        pipeline.feed(one)
    findings = pipeline.finish()
    assert [finding.verdict for finding in findings] == [Verdict.FLAGGED] * 2
    assert all(f.guess and str(f.guess.reason).startswith("no model: ") and f.guess.label is None for f in findings)
    assert "no activity is guessed" in caplog.text and "No such file" in caplog.text
