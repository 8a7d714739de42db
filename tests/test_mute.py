"""The mute state over an interval, as a table: what was said, and how the minute divides."""

import random
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutewatch.limits import Limits
from mutewatch.mute import EVERYONE, MuteTracker
from mutewatch.records import Basis, MuteEvent, MuteSummary, Scope
from tests.facts import at, mute_event

P = "P1"


def minute(tracker: MuteTracker, number: int = 5, names: tuple[str, ...] = ("U1",)) -> MuteSummary:
    """The summary of minute `number`, which ends that many minutes after START."""
    return tracker.summary("C1", names, at(number - 1), at(number))


def seconds(tracker: MuteTracker, number: int = 5) -> tuple[float, float, float]:
    summary = minute(tracker, number)
    return (summary.muted_seconds, summary.unmuted_seconds, summary.unknown_seconds)


def remote(minutes: float, muted: bool, effective: bool | None = True) -> MuteEvent:
    """A moderator's word on participant P."""
    return mute_event(minutes, muted, call=None, participant=P, scope=Scope.REMOTE, effective=effective)


def own(minutes: float, muted: bool, effective: bool | None = True) -> MuteEvent:
    """The client's own word, as participant P."""
    return mute_event(minutes, muted, participant=P, effective=effective)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param([], (0, 0, 60), id="nothing said: unknown"),
        pytest.param([mute_event(1, True)], (60, 0, 0), id="a state lasts until the next word"),
        pytest.param([mute_event(1, False)], (0, 60, 0), id="unmuted"),
        pytest.param([mute_event(4.5, True)], (30, 0, 30), id="before the first word: unknown"),
        pytest.param([mute_event(1, True), mute_event(4.25, False)], (15, 45, 0), id="a minute divides"),
        pytest.param(
            [mute_event(1, True), mute_event(4.25, False), mute_event(4.5, True)], (45, 15, 0), id="on and off again"
        ),
        pytest.param([mute_event(5, True)], (0, 0, 60), id="at its end: the next minute's"),
        pytest.param([mute_event(4, True)], (60, 0, 0), id="at its start: this minute's"),
        pytest.param([mute_event(1, False), mute_event(2, True, effective=False)], (0, 60, 0), id="refused: no change"),
        pytest.param(
            [mute_event(1, False), mute_event(2, True, effective=None)], (0, 60, 0), id="unanswered: no change"
        ),
        pytest.param([mute_event(1, True, call="C2")], (0, 0, 60), id="another call: not ours"),
        pytest.param([mute_event(1, True), mute_event(1, True)], (60, 0, 0), id="said twice: said once"),
        pytest.param([mute_event(3, True), mute_event(3, False)], (60, 0, 0), id="both at one instant: muted"),
        pytest.param([mute_event(1, False, participant=P), remote(2, True)], (60, 0, 0), id="muted by a moderator"),
        pytest.param(
            [mute_event(1, False, participant=P), remote(2, True), remote(4.5, False)],
            (30, 30, 0),
            id="and released again",
        ),
        pytest.param(
            [mute_event(1, True, participant=P), remote(2, False)],
            (60, 0, 0),
            id="released by a moderator, still muted by itself",
        ),
        pytest.param(
            [own(1, False), remote(2, True), mute_event(3, False, call=None, participant=P)],
            (60, 0, 0),
            id="its own switch opened without naming the call: still muted by a moderator",
        ),
        pytest.param(
            [own(1, False), mute_event(2, True, call=None, participant=P), own(4.5, False)],
            (30, 30, 0),
            id="its own switch closed without naming the call: opened by naming it",
        ),
        pytest.param([remote(2, True)], (0, 0, 60), id="a participant that nobody links to the call"),
        pytest.param(
            [mute_event(2, True, participant=P, effective=False), remote(3, False)],
            (0, 0, 60),
            id="only the remote switch known, and open: unknown",
        ),
        pytest.param(
            [remote(0, True), mute_event(1, False, participant=P)],
            (60, 0, 0),
            id="a remote mute is the participant's, and holds in its next call too",
        ),
    ],
)
def test_a_minute_divides_by_what_was_said(events: list[MuteEvent], expected: tuple[float, float, float]) -> None:
    for order in (events, events[::-1]):
        tracker = MuteTracker()
        for event in order:
            tracker.add(event)
        assert seconds(tracker) == expected


def test_the_basis_is_whose_word_counted() -> None:
    tracker = MuteTracker()
    tracker.add(mute_event(1, False, participant=P))
    tracker.add(remote(4.5, True))
    assert minute(tracker).bases == (Basis.CLIENT_REPORTED, Basis.SERVER)


@pytest.mark.parametrize("name", ["U1", EVERYONE])
def test_the_operators_timeline_speaks_where_the_client_does_not(name: str) -> None:
    tracker = MuteTracker(timeline={name: [(at(1), True), (at(4.5), False)]})
    assert minute(tracker) == MuteSummary(30, 30, 0, (Basis.OPERATOR,))


def test_the_client_is_believed_before_the_operator_and_the_dispute_is_told() -> None:
    tracker = MuteTracker(timeline={"U1": [(at(1), True)]})
    tracker.add(mute_event(4.25, False))
    assert minute(tracker) == MuteSummary(15, 45, 0, (Basis.CLIENT_REPORTED, Basis.OPERATOR), disputed_seconds=45)


def test_an_assumption_fills_only_what_nobody_knows() -> None:
    tracker = MuteTracker(assume=True)
    tracker.add(mute_event(4.25, False))
    assert minute(tracker) == MuteSummary(15, 45, 0, (Basis.CLIENT_REPORTED, Basis.ASSUMED))


def test_a_capturing_clock_that_is_an_hour_ahead_is_set_right() -> None:
    ahead = timedelta(hours=1)
    tracker = MuteTracker()
    tracker.observe_clocks("C1", at(3), at(3) + ahead + timedelta(seconds=20))  # delayed on its way
    tracker.observe_clocks("C1", at(4), at(4) + ahead)
    tracker.add(mute_event(60 + 4.5, True, by_client_clock=False))
    tracker.add(mute_event(2, False))
    assert seconds(tracker) == (30, 30, 0)


def test_clocks_that_differ_by_less_than_the_jitter_agree() -> None:
    tracker = MuteTracker()
    tracker.observe_clocks("C1", at(4), at(4) + timedelta(seconds=1.5))
    assert tracker.clock_offset("C1") == timedelta()


def test_what_is_forgotten_leaves_the_state_that_still_holds() -> None:
    tracker = MuteTracker()
    for number, muted in enumerate((True, False, True)):
        tracker.add(mute_event(number, muted))
    tracker.forget_before("C1", at(4))
    assert seconds(tracker) == (60, 0, 0)
    assert seconds(tracker, 2) == (0, 0, 60)


def test_what_is_forgotten_is_old_by_the_clients_clock() -> None:
    tracker = MuteTracker()
    tracker.observe_clocks("C1", at(63), at(3))  # the capturing clock is an hour behind
    for minutes, muted in ((1, False), (4.25, True), (4.75, False)):
        tracker.add(mute_event(minutes, muted, by_client_clock=False))
    tracker.forget_before("C1", at(64))
    assert seconds(tracker, 65) == (30, 30, 0)


def test_a_moderators_word_outlives_the_clients_first_that_was_forgotten() -> None:
    tracker = MuteTracker()
    for event in (own(0, False), remote(1, True), own(2, True), own(3, False)):
        tracker.add(event)
    tracker.forget_before("C1", at(4))
    assert seconds(tracker) == (60, 0, 0)


def test_the_number_of_calls_is_bounded_and_the_stalest_goes_first() -> None:
    tracker = MuteTracker(limits=Limits(calls=2))
    for call in ("C1", "C2", "C1", "C3"):
        tracker.add(mute_event(1, True, call=call))
    assert tracker.summary("C1", (), at(4), at(5)).muted_seconds == 60
    assert tracker.summary("C2", (), at(4), at(5)).unknown_seconds == 60


moments = st.floats(0, 10, allow_nan=False)
effects = st.sampled_from([True, True, False, None])
events = st.builds(own, moments, st.booleans(), effects) | st.builds(remote, moments, st.booleans(), effects)


@given(st.lists(events, max_size=12), st.integers(1, 10), st.randoms(use_true_random=False))
def test_order_and_repetition_change_nothing_and_no_second_is_lost(
    said: list[MuteEvent], number: int, chance: random.Random
) -> None:
    first, second = MuteTracker(), MuteTracker()
    for event in said:
        first.add(event)
    for event in chance.sample(said, len(said)) + said[:3]:
        second.add(event)
    assert minute(first, number) == minute(second, number)
    assert sum(seconds(first, number)) == pytest.approx(60)


def test_an_event_names_the_calls_it_may_change() -> None:
    tracker = MuteTracker()
    assert tracker.add(remote(2, True)) == set()
    assert tracker.add(mute_event(1, False, participant=P)) == {"C1"}
    assert tracker.add(mute_event(1, False, participant=P)) == set()
    assert tracker.add(remote(3, False)) == {"C1"}


def test_times_are_compared_across_zones() -> None:
    assert datetime.fromisoformat("2026-03-02T10:04:30+01:00") == at(4.5)


def test_a_racing_clock_is_corrected_a_bounded_number_of_times() -> None:
    tracker = MuteTracker(limits=Limits(clock_changes_per_call=3))
    news = [tracker.observe_clocks("C1", at(n), at(0)) for n in range(1, 9)]
    assert news == [True] * 3 + [False] * 5


def test_of_many_participants_of_one_call_and_calls_of_one_participant_the_newest_count() -> None:
    tracker = MuteTracker(limits=Limits(neighbours=2))
    for number in range(3):
        tracker.add(mute_event(0, False, participant=f"P{number}"))
        tracker.add(mute_event(0, False, call=f"C{number + 1}", participant="P"))
    assert tracker.add(mute_event(1, True, call=None, participant="P", scope=Scope.REMOTE)) == {"C2", "C3"}
    for number, muted in enumerate((0, 60, 60)):
        tracker = MuteTracker(limits=Limits(neighbours=2))
        for other in range(3):
            tracker.add(mute_event(0, False, participant=f"P{other}"))
        tracker.add(mute_event(1, True, call=None, participant=f"P{number}", scope=Scope.REMOTE))
        assert tracker.summary("C1", (), at(1), at(2)).muted_seconds == muted
