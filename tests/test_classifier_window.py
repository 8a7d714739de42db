import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from classifier.window import GAP_POLICY, gains_of, is_plausible, is_readable, window_of
from tests.classifier_minutes import call_of, real_calls, report_of


def test_seven_minutes_in_a_row_are_a_window_in_the_order_max_mean_min() -> None:
    window = window_of([report_of(n, (40 + n, 30 + n, 20 + n)) for n in range(7)])
    assert window.reason is None and window.minutes_missing == 0
    assert window.values is not None
    assert window.values.dtype == np.float32 and window.values.shape == (7, 3)
    assert window.values[0].tolist() == [40, 30, 20] and window.values[-1].tolist() == [46, 36, 26]


def test_only_the_last_seven_readings_count() -> None:
    assert window_of(call_of(range(30))).readings == window_of(call_of(range(23, 30))).readings


@pytest.mark.parametrize(
    ("numbers", "length", "missing"),
    [
        (range(3), 3, 0),
        (range(6), 3, 0),
        (range(7), 7, 0),
        ([0, 1, 2, 4, 5, 6], 3, 0),
        ([0, 1, 3], 3, 1),
        ([0, 1, 2, 4, 5, 6, 7], 7, 1),
        ([0, 2, 3, 4, 5, 6, 7], 7, 1),
        ([0, 1, 2, 3, 4, 5, 7], 7, 1),
        ([0, 1, 3, 4, 6, 7, 8], 3, 0),
        ([0, 1, 2, 5, 6, 7, 8], 3, 0),
        ([0, 1, 2, 3, 7, 8, 9], 3, 0),
        ([*range(20), *range(40, 47)], 7, 0),
    ],
)
def test_the_longest_window_that_the_gaps_allow(numbers: list[int], length: int, missing: int) -> None:
    window = window_of(call_of(numbers))
    assert window.reason is None and window.values is not None
    assert (len(window.values), len(window.readings), window.minutes_missing) == (length, length, missing)


@pytest.mark.parametrize(
    ("numbers", "missing", "reason"),
    [
        ([0], 0, "warming up: 1 of 3 minutes"),
        (range(2), 0, "warming up: 2 of 3 minutes"),
        ([0, 1, 2, 3, 7, 8], 0, "warming up: 2 of 3 minutes after a gap of 4 minutes"),
        ([0, 2, 4], 2, "gap: 2 minutes missing between the last 3 readings, at most 1 tolerated"),
        ([*range(9), 11], 2, "gap: 2 minutes missing between the last 3 readings, at most 1 tolerated"),
    ],
)
def test_gaps(numbers: list[int], missing: int, reason: str) -> None:
    window = window_of(call_of(numbers))
    assert (window.values, window.minutes_missing, window.reason) == (None, missing, reason)


def test_a_minute_without_gains_is_skipped() -> None:
    listed = [report_of(n, () if n == 3 else (46, 38, 27)) for n in range(8)]
    assert window_of(listed).readings == window_of([one for one in listed if gains_of(one)]).readings


def test_the_horizon_holds_every_window() -> None:
    assert GAP_POLICY.horizon == 8
    assert window_of(call_of([0, 1, 2, 4, 5, 6, 7])[-GAP_POLICY.horizon :]).values is not None


def test_no_minutes_no_window() -> None:
    assert window_of([]).values is None
    assert window_of([report_of(0, ())]).reason == "no minute carries the three gains"


def test_seconds_of_jitter_are_no_gap() -> None:
    late = [report_of(n, after=25.0 if n % 2 else 0.0) for n in range(7)]
    assert window_of(late).minutes_missing == 0


@pytest.mark.parametrize(
    "gains",
    [
        (56, 40, 30),
        (50, 40, 3.9),
        (30, 40, 20),
        (40, 30, 35),
        (0, 0, 0),
        (97, 97, 97),
        (float("nan"), 30, 20),
        (float("inf"), 30, 20),
        (40, 30, float("-inf")),
        (10**400, 30, 20),
    ],
)
def test_one_strange_reading_in_reach_and_there_is_no_window(gains: tuple[float, float, float]) -> None:
    minutes = [report_of(n, gains if n == 4 else (46, 38, 27)) for n in range(7)]
    assert "outside what the model was trained on" in str(window_of(minutes).reason)


@pytest.mark.parametrize("gains", [(55, 55, 55), (4, 4, 4), (55, 30, 4)])
def test_the_ends_of_the_range_belong_to_it(gains: tuple[float, float, float]) -> None:
    assert is_plausible(gains)


@given(arrays(np.float32, (5, 3, 3), elements=st.integers(2, 57) | st.just(math.nan)))
def test_a_window_is_readable_if_each_of_its_minutes_is_plausible(windows: np.ndarray) -> None:
    minutes = [[is_plausible((float(a), float(b), float(c))) for a, b, c in window] for window in windows]
    assert is_readable(windows).tolist() == [all(window) for window in minutes]


def test_gains_need_all_three_roles() -> None:
    assert gains_of(report_of(0, (46, 38))) is None


@given(st.lists(st.integers(0, 40), min_size=1, max_size=30), st.randoms())
def test_order_and_repeats_change_nothing(numbers: list[int], chance: object) -> None:
    minutes = [report_of(n, (40 + n % 5, 30, 20)) for n in numbers]
    shuffled = minutes + minutes[::2]
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert window_of(shuffled).readings == window_of(sorted(minutes, key=lambda m: m.starts_at)).readings


@given(st.lists(st.integers(0, 30), unique=True, min_size=1))
def test_a_window_never_spans_more_than_the_horizon(numbers: list[int]) -> None:
    window = window_of(call_of(numbers))
    if window.values is not None:
        span = window.readings[-1].ends_at - window.readings[0].starts_at
        assert span.total_seconds() <= 60 * GAP_POLICY.horizon


@pytest.mark.shared
def test_real_telemetry_with_holes_yields_the_windows_that_its_interval_numbers_allow(shared: Path) -> None:
    calls = real_calls(shared / "data/webex/xdbg_log_first_half.txt")
    assert sum(map(len, calls)) == 619
    counts: Counter[int | str] = Counter()
    for call in calls:
        numbers = [number for number, _minute in call]
        for i in range(len(call)):
            window = window_of([minute for _, minute in call[max(0, i + 1 - GAP_POLICY.horizon) : i + 1]])
            allowed = [n for n in (7, 3) if i + 1 >= n and numbers[i] - numbers[i + 1 - n] <= n]
            found = 0 if window.values is None else len(window.values)
            assert found == (allowed[0] if allowed else 0), (numbers[max(0, i - 7) : i + 1], window)
            counts[str(window.reason).split(":")[0] if window.reason else found] += 1
    assert counts == {7: 485, 3: 104, "gap": 13, "warming up": 17}
