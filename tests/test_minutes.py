"""The minutes of a call: order, resends, gaps, and counts that begin anew."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutewatch.limits import Limits
from mutewatch.minutes import CallMinutes
from mutewatch.records import AudioReport
from tests.facts import TSA, at, gains, report


def minutes(reports: list[AudioReport], limits: Limits | None = None) -> CallMinutes:
    call = CallMinutes("U1", "C1", TSA, limits or Limits())
    for one in reports:
        call.add(one)
    return call


def shape(reports: list[AudioReport], limits: Limits | None = None) -> list[str]:
    """The minutes by identity; missing ones in brackets."""
    return [slot.minute if slot.report else f"({slot.minute})" for slot in minutes(reports, limits).slots()]


@pytest.mark.parametrize(
    ("reports", "expected"),
    [
        pytest.param([report(1), report(2), report(3)], ["1", "2", "3"], id="in order"),
        pytest.param([report(3), report(1), report(2)], ["1", "2", "3"], id="out of order"),
        pytest.param([report(1), report(2), report(2)], ["1", "2"], id="a resend is the same minute"),
        pytest.param([report(2), report(2, ends=2.5)], ["2"], id="a resend with a new stamp too"),
        pytest.param([report(11), report(13)], ["11", "(12)", "13"], id="a number skipped is a minute missing"),
        pytest.param([report(5), report(9)], ["5", "(6)", "(7)", "(8)", "9"], id="several"),
        pytest.param([report(11), report(13), report(12)], ["11", "12", "13"], id="it came late"),
        pytest.param([report(7)], ["7"], id="nothing is known before the first"),
        pytest.param([report(8), report(1, ends=9), report(2, ends=10)], ["8", "1", "2"], id="the count begins anew"),
        pytest.param([report(1), report(2), report(1, ends=5)], ["1", "2", "1.1"], id="and the numbers are told apart"),
        pytest.param(
            [report(4), report(6), report(4, ends=20), report(6, ends=22)],
            ["4", "(5)", "6", "4.1", "(5.1)", "6.1"],
            id="missing ones too",
        ),
        pytest.param([report(None, ends=1), report(None, ends=1)], ["2026-03-02T09:01:00.000+00:00"], id="no count"),
        pytest.param(
            [report(1), report(10**8, ends=3)], ["1", "(2)", "(3)", "(4)", str(10**8)], id="a count that lies"
        ),
    ],
)
def test_reports_become_minutes(reports: list[AudioReport], expected: list[str]) -> None:
    assert shape(reports) == expected
    assert shape(reports[::-1]) == expected


def test_a_missing_minute_lies_between_its_neighbours() -> None:
    slot = list(minutes([report(11), report(13)]).slots())[1]
    assert (slot.starts_at, slot.ends_at) == (at(11), at(12))


def test_what_one_gap_lists_is_bounded_and_the_rest_is_counted() -> None:
    call = minutes([report(1), report(101)], Limits(minutes_per_gap=10))
    assert len(list(call.slots())) == 12
    assert call.unlisted == 89


def test_of_a_resend_with_other_values_the_earlier_stands() -> None:
    early, late = report(2, values=gains(40, 30, 20)), report(2, ends=2.2, values=gains(1, 1, 1))
    for order in ([early, late], [late, early]):
        assert [slot.report for slot in minutes(order).slots()] == [early]


def test_constant_minutes_are_counted_and_a_gap_begins_anew() -> None:
    same = gains(50, 47, 44)
    reports = [report(n, values=same) for n in (1, 2, 3, 5, 6)] + [report(7)]
    assert [slot.constant_minutes for slot in minutes(reports).slots()] == [1, 2, 3, 0, 1, 2, 1]


def test_a_call_is_bounded_and_the_oldest_goes() -> None:
    assert shape([report(n) for n in range(1, 6)], Limits(minutes_per_call=3)) == ["3", "4", "5"]


def test_what_was_let_go_and_comes_again_is_a_repeat() -> None:
    call = minutes([report(n) for n in (1, 2, 4, 5, 6, 7)])
    call.keep_last(2)
    assert call.add(report(2)) is None
    assert [slot.minute for slot in call.slots()] == ["6", "7"]


def test_what_comes_when_its_neighbours_were_let_go_makes_nothing_missing() -> None:
    call = minutes([report(n) for n in (1, 2, 4, 5, 6, 7)])
    call.keep_last(2)
    assert call.add(report(3)) is not None
    assert [slot.minute for slot in call.slots()] == ["3", "6", "7"]


def test_a_minute_keeps_its_name_when_others_of_its_number_are_let_go() -> None:
    call = minutes([report(n) for n in (1, 2, 4)])
    for number in (1, 2, 3, 4):
        call.add(report(number, ends=10 + number))
    call.keep_last(4)
    assert [slot.minute for slot in call.slots()] == ["1.1", "2.1", "3.1", "4.1"]


def test_a_missing_minute_keeps_its_name_before_a_later_one_of_its_number() -> None:
    call = minutes([report(4), report(6)])
    assert [slot.minute for slot in call.slots()] == ["4", "5", "6"]
    call.add(report(5, ends=21))
    assert [slot.minute for slot in call.slots()] == ["4", "5", "6", "5.1"]
    call.keep_last(2)
    assert [slot.minute for slot in call.slots()] == ["6", "5.1"]


def test_constant_minutes_that_were_let_go_still_count() -> None:
    call = minutes([report(n, values=gains(50, 47, 44)) for n in range(1, 10)])
    for count in (5, 2):
        call.keep_last(count)
    assert [slot.constant_minutes for slot in call.slots()] == [8, 9]


def test_numbers_let_go_are_remembered_as_runs_and_their_number_is_bounded() -> None:
    call = minutes([report(n) for n in range(1, 40, 2)], Limits(runs_per_call=3))
    call.keep_last(1)
    assert call.add(report(37)) is None
    assert call.add(report(1)) is not None


def test_a_count_that_began_anew_may_rename_any_minute() -> None:
    call = minutes([report(4), report(6), report(4, ends=20)])
    assert call.add(report(5, ends=21)) == at(3)


def test_adding_tells_after_which_time_something_changed() -> None:
    call = minutes([])
    assert call.add(report(2)) == at(1)
    assert call.add(report(2)) is None
    assert call.add(report(6)) == at(2)
    assert call.add(report(1)) == at(0)


@given(
    st.lists(st.tuples(st.integers(0, 30), st.floats(-0.5, 0.5)), max_size=20),
    st.randoms(use_true_random=False),
)
def test_order_and_repetition_change_nothing(numbers: list[tuple[int, float]], chance: random.Random) -> None:
    reports = [report(number, ends=number + jitter / 2) for number, jitter in numbers]
    again = chance.sample(reports, len(reports)) + reports[:5]
    assert list(minutes(reports).slots()) == list(minutes(again).slots())


@given(st.lists(st.integers(0, 200), max_size=20))
def test_every_number_between_the_first_and_the_last_is_there_once(numbers: list[int]) -> None:
    expected = [str(n) for n in range(min(numbers), max(numbers) + 1)] if numbers else []
    assert [name.strip("()") for name in shape([report(n) for n in numbers])] == expected


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 60), st.integers(1, 2)), max_size=20),
    st.integers(1, 20),
    st.floats(0, 61),
)
def test_the_last_minutes_are_the_end_of_all_minutes(
    numbers: list[tuple[int, int, int]], kept: int, since: float
) -> None:
    call = minutes([report(number, ends=ends, values=gains(value, value, value)) for number, ends, value in numbers])
    call.keep_last(kept)
    everything, last = list(call.slots()), list(call.slots(at(since)))
    earlier = [slot for slot in everything if slot.ends_at <= at(since)]
    assert last == everything[len(everything) - len(last) :]
    assert len(last) >= len(everything) - len(earlier)
