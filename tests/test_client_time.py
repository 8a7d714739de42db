"""Times as clients write them are read, or refused; a series without a start is placed by its newest reading."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mutewatch.client_time import newest_of, parse_time, place
from mutewatch.errors import DecodeError

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)


def test_text_and_milliseconds_say_the_same_time() -> None:
    assert parse_time("2025-03-01T13:00:00+01:00") == parse_time(NOON.timestamp() * 1000) == NOON


@pytest.mark.parametrize("value", [True, None, {}, 1_000, 10**32, -1, 4_102_444_800_000, "1999-12-31", "x" * 41])
def test_what_is_no_time_of_this_century_is_refused(value: Any) -> None:
    with pytest.raises(DecodeError, match="time: "):
        parse_time(value)


def test_a_series_from_an_unknown_start_ends_at_its_newest() -> None:
    times = [18_084, None, 26_080, "x"]
    assert newest_of(times, is_relative=True) == 26_080
    assert place(18_084, 26_080, NOON) == NOON - timedelta(milliseconds=7_996)


def test_a_clock_that_was_never_set_is_an_unknown_start() -> None:
    assert newest_of([1_000, 6_000], is_relative=False) == 6_000
    assert newest_of([1_000, 1_700_000_000_000], is_relative=False) is None
    assert newest_of([], is_relative=True) is None


@pytest.mark.parametrize("value", [None, "18084", True, -(10**12)])
def test_a_reading_that_cannot_be_placed_is_refused(value: Any) -> None:
    with pytest.raises(DecodeError, match="time: "):
        place(value, 26_080, NOON)
