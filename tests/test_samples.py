"""Minutes made of samples: which readings count, what they carry, and what that makes of the minute."""

import io
import json
import random
from collections.abc import Hashable, Iterable, Sequence
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from mutewatch.identity import Names
from mutewatch.limits import Limits
from mutewatch.minutes import CallMinutes
from mutewatch.mute import MuteTracker
from mutewatch.pipeline import Pipeline
from mutewatch.records import AudioReport, AudioValue, Basis, Decoded, Finding, MuteEvent, Samples, Verdict
from mutewatch.samples import CallSamples
from mutewatch.sinks.record import finding_from_record, finding_record
from mutewatch.sinks.table import TableSink
from tests.facts import START, STATS, at, decoded, press, sample

Fact = AudioReport | MuteEvent


def pipeline(limits: Limits | None = None, mute: MuteTracker | None = None) -> Pipeline:
    return Pipeline((), Names(None), mute, limits=limits or Limits())


def findings(facts: Iterable[Fact], limits: Limits | None = None, mute: MuteTracker | None = None) -> list[Finding]:
    """What is found when all is known, oldest first."""
    through = pipeline(limits, mute)
    for one in decoded(*facts):
        through.absorb(one)
    return sorted(through.finish(), key=lambda f: (f.client, f.call, f.minute))


def samples(levels: Sequence[float], first: float = 5, **others: str) -> list[Fact]:
    """One every ten seconds."""
    return [sample(first + 10 * position, level, **others) for position, level in enumerate(levels)]  # type: ignore[arg-type]


def total(energy: float) -> tuple[AudioValue, ...]:
    return (AudioValue("totalAudioEnergy", energy, "s", 0.0, is_cumulative=True),)


def temperature(number: float) -> tuple[AudioValue, ...]:
    """A field of which no floor is known."""
    return (AudioValue("noise", number, "dBFS"),)


MUTED: Fact = press(-60, True)
UNMUTED: Fact = press(-60, False)
MOVING = [0.1, 0.32, 0.08, 0.11, 0.2, 0.05]


@pytest.mark.parametrize(
    ("facts", "rule"),
    [
        pytest.param([MUTED, *samples(MOVING)], "MW-MUTED", id="moving while muted"),
        pytest.param([MUTED, *samples([0.0] * 6)], "MW-FLOOR", id="at the floor while muted"),
        pytest.param([MUTED, *samples([0.2] * 6)], "MW-STILL", id="constant while muted"),
        pytest.param([MUTED, *samples([0.2] * 3, 35)], "MW-STILL", id="three readings are enough to say so"),
        pytest.param([MUTED, *samples([0.2] * 2, 45)], "MW-MUTED", id="two are not"),
        pytest.param([MUTED, *samples([0.2] * 3, 45)], "MW-STILL MW-STILL", id="but with those directly around them"),
        pytest.param(
            [UNMUTED, press(42, True), *samples([0.3, 0.4, 0.1, 0.3, 0.2, 0.2, 0.2, 0.2])],
            "MW-STILL MW-STILL",
            id="one reading after the press, and nothing else from then on",
        ),
        pytest.param(
            [UNMUTED, press(42, True), *samples([0.3, 0.4, 0.1, 0.3, 0.2, 0.2, 0.2, 0.2, 0.1])],
            "MW-STILL MW-MUTED",
            id="until it moves",
        ),
        pytest.param(
            [MUTED, *(sample(30 * n, 0.2) for n in range(2, 5))], "MW-STILL MW-STILL", id="one each half minute"
        ),
        pytest.param(
            [MUTED, *(sample(n, 0.2) for n in (5, 125, 185, 190))], "MW-MUTED MW-STILL MW-STILL", id="too far on"
        ),
        pytest.param([MUTED, *samples([0.3, 0.2], 55)], "MW-MUTED MW-MUTED", id="unless that told something else"),
        pytest.param([MUTED, *samples([0.3, 0.3, 0.0], 45)], "MW-MUTED MW-FLOOR", id="the floor needs no company"),
        pytest.param([MUTED, *samples([0.2, 0.0, 0.2])], "MW-MUTED", id="between the floor and one other number"),
        pytest.param([MUTED, sample(5, 0.2)], "MW-MUTED", id="a single reading off its floor"),
        pytest.param([UNMUTED, *samples(MOVING)], "MW-UNMUTED", id="moving while unmuted"),
        pytest.param([UNMUTED, *samples([0.2] * 6)], "MW-UNMUTED", id="constant while unmuted"),
        pytest.param([UNMUTED, *samples([0.0] * 6)], "MW-FLOOR", id="at the floor, whatever the state"),
        pytest.param(samples(MOVING), "MW-UNKNOWN", id="nobody spoke of the button"),
        pytest.param(
            [UNMUTED, press(20, True), *samples([0.4, 0.3, 0.5, 0.0, 0.0, 0.0])],
            "MW-FLOOR",
            id="moving until the press, at the floor after it",
        ),
        pytest.param(
            [UNMUTED, press(20, True), *samples([0.4, 0.3, 0.5, 0.1, 0.2, 0.1])],
            "MW-MUTED-PART",
            id="moving before the press and after",
        ),
        pytest.param(
            [UNMUTED, press(52, True), press(58, False), *samples(MOVING)],
            "MW-STRADDLED",
            id="muted between two readings only",
        ),
        pytest.param([MUTED, press(2, False), sample(5, 0.3)], "MW-STRADDLED", id="unmuted within the only reading"),
        pytest.param([press(20, True), *samples([0.3, 0.2, 0.1, 0, 0, 0])], "MW-UNKNOWN", id="unknown before"),
        pytest.param([press(20, True), *samples([0, 0, 0, 0.3, 0.1, 0.2])], "MW-MUTED-PART", id="known after it"),
        pytest.param(
            [MUTED, *(sample(5 + 10 * n, temperature(-41.8)) for n in range(6))], "MW-STILL", id="no floor, constant"
        ),
        pytest.param(
            [MUTED, *(sample(5 + 10 * n, temperature(-41.8 - n)) for n in range(6))], "MW-MUTED", id="no floor, varying"
        ),
        pytest.param(
            [MUTED, *(sample(5 + 10 * n, (*temperature(-40 - n), AudioValue("level", 0, "1", 0))) for n in range(6))],
            "MW-MUTED",
            id="one field at its floor, and another varies",
        ),
    ],
)
def test_what_samples_told_while_muted_decides(facts: Iterable[Fact], rule: str) -> None:
    assert " ".join(finding.rule for finding in findings(facts)) == rule


def test_a_minute_says_what_its_readings_carried_and_how_many_there_were() -> None:
    (finding,) = findings([UNMUTED, press(20, True), *samples([0.9, 0.8, 0.7, 0.1, 0.3, 0.1])])
    (told,) = finding.information
    assert (told.readings, told.distinct, told.lowest, told.highest, told.entropy_bits) == (3, 2, 0.1, 0.3, 0.918)
    assert finding.samples == Samples(6, 3, 6)
    assert {v.name: (v.value, v.unit, v.floor) for v in finding.values} == {
        "audioLevel.max": (0.3, "1", 0.0),
        "audioLevel.mean": (pytest.approx(0.5 / 3), "1", 0.0),
        "audioLevel.min": (0.1, "1", 0.0),
    }
    assert finding.reason.endswith("(client-reported); 3 of 6 samples while muted; audioLevel: 3 readings, 0.9 bits")
    assert finding.minute == "2026-03-02T09:00:00.000+00:00"
    assert (finding.starts_at, finding.ends_at) == (at(0), at(1))


def test_a_single_reading_is_said_to_be_one() -> None:
    assert findings([MUTED, sample(5, 0.2)])[0].reason.endswith("1 of 1 samples while muted; audioLevel: one reading")


def test_the_source_is_the_message_with_the_last_reading_that_counts() -> None:
    (finding,) = findings([MUTED, press(30, False), *samples(MOVING)])
    assert finding.source and finding.source.body_sha256 == "C1-U1-25"


def test_a_sample_on_the_full_minute_belongs_to_the_minute_that_begins() -> None:
    assert [f.starts_at for f in findings([sample(59.9, 0.1), sample(60, 0.1)])] == [at(0), at(1)]


def test_a_running_total_becomes_what_it_grew_by_in_a_second() -> None:
    facts = [MUTED, *(sample(5 + 10 * n, total(energy)) for n, energy in enumerate([2.0, 2.5, 2.5, 2.7]))]
    (finding,) = findings(facts)
    assert [(v.name.partition(".")[2], v.value, v.unit) for v in finding.values] == [
        ("max", 0.05, "1"),
        ("mean", pytest.approx(0.07 / 3), "1"),
        ("min", 0.0, "1"),
    ]


@pytest.mark.parametrize(
    ("energies", "rule"),
    [
        pytest.param([5.0] * 6, "MW-FLOOR", id="it does not grow"),
        pytest.param([5.0, 5.1, 5.3, 5.35], "MW-MUTED", id="it grows"),
        pytest.param([0.1, 0.2, 0.3, 0.4, 0.5], "MW-STILL", id="it grows steadily, but for last bits"),
        pytest.param([9.0, 0.0, 0.0], "MW-FLOOR", id="it began anew"),
        pytest.param([5.0], "MW-STRADDLED", id="once is no reading"),
    ],
)
def test_growth_is_the_evidence_of_a_total(energies: list[float], rule: str) -> None:
    facts = [MUTED, *(sample(5 + 10 * n, total(energy)) for n, energy in enumerate(energies))]
    assert [finding.rule for finding in findings(facts)] == [rule]


def test_growth_over_the_press_of_the_button_is_no_evidence() -> None:
    facts = [UNMUTED, press(12, True), *(sample(5 + 20 * n, total(n), lasts=1) for n in range(2))]
    assert [finding.rule for finding in findings(facts)] == ["MW-STRADDLED"]


def test_growth_is_of_the_time_since_the_sample_before_even_in_another_minute() -> None:
    facts = [MUTED, sample(55, total(1)), sample(65, total(1.5))]
    assert findings(facts)[1].values[0].value == 0.05


def test_a_series_that_came_in_one_message_is_judged_at_the_time_it_was_measured() -> None:
    series = [sample(8 * n, -40 - n % 5, lasts=8, seen_after=8 * (400 - n) + 90, sha="one") for n in range(400)]
    told = Decoded(series[0].source, tuple(series))
    through = pipeline()
    for one in [*decoded(press(-60, False), press(1200, True), press(1800, False)), told]:
        through.absorb(one)
    rules = [f.rule for f in sorted(through.finish(), key=lambda f: f.minute)]
    assert rules[:20] == ["MW-UNMUTED"] * 20
    assert set(rules[20:30]) == {"MW-MUTED"}
    assert set(rules[31:]) == {"MW-UNMUTED"}


def test_a_series_told_again_in_a_longer_one_is_not_counted_twice() -> None:
    once = [sample(10 * n, n / 10, sha="short") for n in range(6)]
    again = [sample(10 * n, n / 10, sha="long") for n in range(6)]
    assert findings([MUTED, *once, *again]) == findings([MUTED, *again, *once, *once])
    assert findings([MUTED, *once, *again])[0].samples == Samples(6, 6, 1)


def test_samples_beyond_the_limit_of_a_minute_are_counted_and_the_newest_stay() -> None:
    facts = [MUTED, *samples([0.9, 0.0, 0.0, 0.0])]
    through = pipeline(Limits(samples_per_minute=3))
    for one in decoded(*facts):
        through.absorb(one)
    assert [f.rule for f in through.finish()] == ["MW-FLOOR"]
    assert through.counts.samples_excess == 1


def test_of_a_call_beyond_the_limit_the_older_half_is_judged_and_let_go() -> None:
    facts = [MUTED, *(sample(30 * n, n % 7 / 10) for n in range(100))]
    held = findings(facts, Limits(samples_per_call=40))
    assert [(f.minute, f.rule) for f in held] == [(f.minute, f.rule) for f in findings(facts)]


def test_a_minute_that_goes_on_is_not_judged_until_it_is_over() -> None:
    through = pipeline()
    for one in decoded(MUTED, sample(55, 0.2), sample(65, 0.3)):
        through.absorb(one)
    assert [f.starts_at for f in through.advance(at(1.2))] == [at(0)]
    assert through.advance(at(1.9)) == []
    assert [f.starts_at for f in through.advance(at(3))] == [at(1)]
    assert through.finish() == []


def test_after_a_restart_the_minute_that_went_on_is_judged() -> None:
    through = pipeline()
    for one in decoded(MUTED, sample(55, 0.2), sample(65, 0.3)):
        through.absorb(one)
    through.take_as_judged(at(1.2))
    assert [f.starts_at for f in through.advance(at(3))] == [at(0)]  # again: the store keeps what it has
    # of what went on another gateway may hear more: it judges first
    assert [f.starts_at for f in through.advance(at(4.1))] == [at(1)]


@pytest.mark.parametrize("back_at", [1.6, 2.5, 90])
def test_after_a_crash_what_was_over_meanwhile_is_judged(back_at: float) -> None:
    through = pipeline()
    for one in decoded(MUTED, sample(5, 0.2), sample(15, 0.4), sample(65, 0.3), sample(75, 0.4)):
        through.absorb(one)
    through.take_as_judged(at(back_at))
    found = [one for minute in (0.1, 1.2, 2.3, 3.4) for one in through.advance(at(back_at + minute))]
    assert [(f.starts_at, f.rule) for f in found] == [(at(0), "MW-MUTED"), (at(1), "MW-MUTED")]
    assert through.inherited == {one.key for one in found}


@pytest.mark.parametrize("is_restarted", [False, True])
@pytest.mark.parametrize(("level", "rule"), [(0.2, "MW-STILL"), (0.3, "MW-MUTED")])
def test_a_minute_with_one_reading_waits_for_those_after_it(level: float, rule: str, is_restarted: bool) -> None:
    through = pipeline()
    for one in decoded(MUTED, sample(55, 0.2)):
        through.absorb(one)
    if is_restarted:
        through.take_as_judged(at(1.1))
    assert through.advance(at(1.2)) == []
    for one in decoded(sample(85, level), sample(115, level)):
        through.absorb(one)
    assert [f.rule for f in through.advance(at(1.95))] == [rule]
    assert [(f.starts_at, f.rule) for f in through.advance(at(2.3))] == [(at(1), rule)]


def test_a_reading_two_minutes_after_a_minute_is_too_far_on_whenever_it_comes() -> None:
    first, second, third = decoded(sample(5, 0.2), sample(125, 0.3), sample(180, 0.2))
    through = pipeline()
    last: dict[Hashable, Finding] = {}
    for one in [*decoded(MUTED), first, second, third]:
        through.absorb(one)
        last |= {finding.key: finding for finding in through.advance(at(3))}
    last |= {finding.key: finding for finding in through.finish()}
    assert [f.information[0].readings for f in sorted(last.values(), key=lambda f: f.minute)] == [2, 3, 3]
    assert list(last.values()) == findings([MUTED, sample(5, 0.2), sample(125, 0.3), sample(180, 0.2)])


def test_a_minute_with_one_reading_does_not_wait_for_ever() -> None:
    through = pipeline()
    for one in decoded(MUTED, sample(55, 0.2)):
        through.absorb(one)
    assert [f for minute in (1, 2) for f in through.advance(at(minute))] == []
    assert [f.rule for f in through.advance(at(3.1))] == ["MW-MUTED"]
    for one in decoded(sample(175, 0.2), sample(176, 0.2)):  # late on their way, and before others that were
        through.absorb(one)
    assert [f.rule for f in through.finish()] == ["MW-STILL", "MW-STILL"]


@pytest.mark.parametrize("kind", [CallSamples, CallMinutes])
def test_of_a_call_that_comes_from_very_many_addresses_some_are_remembered(
    kind: type[CallSamples] | type[CallMinutes],
) -> None:
    call = kind("U1", "C1", STATS, Limits(neighbours=3))
    for number in range(9):
        call.add(sample(number, 0.1, address=f"A{number}"))
    assert call.addresses == {"A0", "A1", "A2"}


def test_a_minute_that_was_let_go_stays_as_it_was_judged() -> None:
    call = CallSamples("U1", "C1", STATS)
    for number in range(60):
        call.add(sample(5 + 10 * number, 0.1))
    call.keep_last(2)
    assert call.add(sample(7, 0.9)) is None
    assert call.add(sample(60 * 9 + 7, 0.9)) == at(9)
    assert call.add(sample(-90, 0.9)) == at(-2)


def test_letting_go_leaves_what_the_minutes_after_it_need() -> None:
    def judged(*, is_let_go: bool) -> list[tuple[str, str, object]]:
        through = pipeline()
        for one in decoded(MUTED, *(sample(40 * n, (*total(n), *temperature(-40))) for n in range(30))):
            through.absorb(one)
        told = {f.key: f for f in through.advance(at(21))} if is_let_go else {}
        for one in decoded(press(19 * 60, False), press(19 * 60 + 1, True)):
            through.absorb(one)
        told |= {f.key: f for f in through.finish()}
        return [(f.minute, f.rule, f.information) for f in sorted(told.values(), key=lambda f: f.minute)]

    assert judged(is_let_go=True) == judged(is_let_go=False)


def test_the_state_at_the_start_of_the_first_minute_that_is_held_is_kept() -> None:
    through = pipeline()
    facts = decoded(press(-60, False), press(1, True), sample(12, 0.1))
    for one in facts:
        through.absorb(one)
    (judged,) = through.advance(at(3))
    for one in decoded(press(55, True)):
        through.absorb(one)
    (again,) = through.finish()
    assert judged.mute and again.mute and judged.mute == again.mute


def test_a_sample_that_comes_minutes_late_still_finds_what_was_said_of_the_button() -> None:
    through = pipeline()
    for one in decoded(press(0, False), press(1, False), sample(60, 0.1), sample(61, 0.1)):
        through.absorb(one)
    through.advance(at(4))
    for one in decoded(sample(20, 0.1)):
        through.absorb(one)
    assert [f.mute.unknown_seconds for f in through.finish() if f.mute and f.starts_at == at(0)] == [0]


def test_a_client_whose_samples_wait_is_not_taken_to_have_a_slow_clock() -> None:
    late = [sample(5 + 10 * n, level, seen_after=25) for n, level in enumerate([0.3, 0.2, 0.4, 0, 0, 0])]
    assert [f.rule for f in findings([UNMUTED, press(22, True), *late])] == ["MW-FLOOR"]


def test_a_clock_that_is_ahead_is_set_right() -> None:
    ahead = [sample(3605 + 10 * n, level, seen_after=-3600) for n, level in enumerate([0.3, 0.2, 0.4, 0, 0, 0])]
    assert [f.rule for f in findings([UNMUTED, press(30, True), *ahead])] == ["MW-FLOOR"]


@pytest.mark.parametrize("behind", [15, 3600 * 7])
def test_a_clock_that_is_behind_is_set_right_where_each_reading_is_sent_alone(behind: float) -> None:
    levels = [0.0, 0.0, 0.0, 0.3, 0.1, 0.4, 0.2, 0.5, 0.3]
    alone = [sample(5 - behind + 10 * n, level, seen_after=behind) for n, level in enumerate(levels)]
    found = findings([MUTED, press(30, False), *alone])
    assert [f.verdict for f in found if f.verdict is Verdict.FLAGGED] == []
    assert sum(f.samples.muted for f in found if f.samples) == 3  # and those after the press are of an unmuted client


def test_batches_that_wait_for_each_other_tell_of_no_clock() -> None:
    tracker = MuteTracker()
    for minute in range(9):
        for seconds in (1, 6, 11):
            sent_at = at(minute) + timedelta(seconds=11 + 4.9)
            assert not tracker.observe_wait(
                "C1", at(minute) + timedelta(seconds=seconds), sent_at, timedelta(seconds=5)
            )
    assert tracker.clock_offset("C1") == timedelta()


@pytest.mark.parametrize("longest", [0, 10])
def test_a_clock_is_not_behind_by_more_than_one_message_waited(longest: float) -> None:
    tracker = MuteTracker()
    for n in range(9):
        taken = at(n / 2)
        is_news = tracker.observe_wait("C1", taken, taken + timedelta(seconds=30), timedelta(seconds=longest))
        assert is_news is (n == 3)
    assert tracker.clock_offset("C1") == timedelta(seconds=30)
    assert tracker.observe_wait("C1", at(5), at(5) + timedelta(seconds=0.1), timedelta(seconds=longest))
    assert tracker.clock_offset("C1") == timedelta()


def test_one_reading_sent_alone_does_not_make_batches_that_wait_tell_of_a_clock() -> None:
    tracker = MuteTracker()
    for n in range(9):
        longest = timedelta(seconds=0 if n == 0 else 60)
        assert not tracker.observe_wait("C1", at(n), at(n) + timedelta(seconds=30), longest)
    assert tracker.clock_offset("C1") == timedelta()


@given(st.permutations([*range(8), 0, 3]))
def test_a_clock_that_is_behind_is_found_in_whatever_order_the_messages_come(order: list[int]) -> None:
    tracker = MuteTracker()
    for n in order:
        tracker.observe_wait("C1", at(n), at(n + 7) + timedelta(seconds=n % 3 / 2), timedelta(seconds=10))
    assert tracker.clock_offset("C1") == timedelta(minutes=7)


@pytest.mark.parametrize("number", [1e308, -1e308, 10**31])
def test_no_number_is_too_large_for_a_summary(number: float) -> None:
    facts = [MUTED, *(sample(5 + 10 * n, (*total(number * n % 3), *temperature(number))) for n in range(6))]
    assert len(findings(facts)) == 1


def test_reports_of_minutes_and_samples_of_one_call_stand_side_by_side() -> None:
    whole = AudioReport(sample(60, 0.2).source, "U1", "C1", at(0), at(1), 1, temperature(-40))
    assert [f.minute for f in findings([MUTED, whole, sample(5, 0.2)])] == ["1", "2026-03-02T09:00:00.000+00:00"]


levels = st.sampled_from([0.0, 0.0, 0.1, 0.2])
moments = st.integers(0, 400).map(float)
heard = st.builds(sample, moments, levels | levels.map(total))
pressed = st.builds(press, moments, st.booleans(), effective=st.sampled_from([True, True, False, None]))
facts_of_a_call = st.lists(heard | pressed, max_size=40)


@settings(deadline=None, max_examples=50)
@given(facts_of_a_call, st.randoms(use_true_random=False))
def test_order_and_repetition_change_nothing(said: list[Fact], chance: random.Random) -> None:
    assert findings(chance.sample(said, len(said)) + said[:5]) == findings(said)


@settings(deadline=None, max_examples=50)
@given(facts_of_a_call, st.randoms(use_true_random=False))
def test_judged_as_it_comes_the_last_word_is_the_same(said: list[Fact], chance: random.Random) -> None:
    through = pipeline()
    last: dict[Hashable, Finding] = {}
    said = sorted(said, key=lambda one: _at(one) + timedelta(seconds=chance.choice((0, 0, 200))))
    for one in said:
        through.absorb(decoded(one)[0])
        last |= {finding.key: finding for finding in through.advance(_at(one))}
    last |= {finding.key: finding for finding in through.finish()}
    assert sorted(last.values(), key=lambda f: (f.client, f.call, f.minute)) == findings(said)


def _at(fact: Fact) -> datetime:
    return fact.ends_at if isinstance(fact, AudioReport) else fact.at


@settings(deadline=None, max_examples=50)
@given(st.lists(st.builds(press, moments, st.booleans())), st.lists(moments), st.lists(st.tuples(moments, levels)))
def test_samples_at_their_floor_while_muted_or_any_while_not_flag_nothing(
    pressed: list[MuteEvent], quiet: list[float], loud: list[tuple[float, float]]
) -> None:
    """Whether a span of time was muted is asked of the tracker, second by second."""
    tracker = MuteTracker()
    for one in pressed:
        tracker.add(one)

    def touches_mute(moment: float) -> bool:
        end = START + timedelta(seconds=moment)
        return tracker.summary("C1", (), end - timedelta(seconds=10), end).muted_seconds > 0

    said = [sample(moment, 0.0) for moment in quiet]
    said += [sample(moment, level) for moment, level in loud if not touches_mute(moment)]
    assert Verdict.FLAGGED not in {finding.verdict for finding in findings([*pressed, *said])}


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(moments, levels), min_size=1))
def test_a_minute_is_muted_on_somebodys_word_or_nothing_is_flagged(said: list[tuple[float, float]]) -> None:
    facts = [sample(moment, level) for moment, level in said]
    assert {f.verdict for f in findings(facts)} <= {Verdict.MUTE_UNKNOWN, Verdict.INERT}
    assumed = findings(facts, mute=MuteTracker(assume=True))
    assert all(f.mute and f.mute.bases == (Basis.ASSUMED,) for f in assumed)
    assert all((f.verdict is Verdict.INERT) or any(i.highest > 0 for i in f.information) for f in assumed)


@pytest.mark.parametrize(
    "facts", [[MUTED, *samples(MOVING)], [press(20, True), *samples([0.0] * 6)], [UNMUTED, *samples([3])]]
)
def test_a_record_of_it_holds_all_that_was_found(facts: list[Fact]) -> None:
    (finding,) = findings(facts)
    assert finding_from_record(json.loads(json.dumps(finding_record(finding)))) == finding


def test_the_table_shows_the_first_field() -> None:
    console = Console(file=io.StringIO(), width=100)
    sink = TableSink(console)
    sink.write(findings([MUTED, *(sample(5 + 10 * n, temperature(-41.8 - n)) for n in range(3))]))
    sink.flush()
    assert "flagged  60 s   -41.8/-42.8/-43.8 dBFS" in console.file.getvalue()  # type: ignore[attr-defined]
