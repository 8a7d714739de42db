"""Times as clients write them: ISO 8601, milliseconds since 1970, or milliseconds since nobody knows when."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from mutewatch.decode import describe_type
from mutewatch.errors import DecodeError

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_YEAR_2000_MS: Final = 946_684_800_000
_LONGEST_MS: Final = 48 * 3_600_000  # between the first and the last reading of one message


def parse_time(value: Any) -> datetime:
    """ISO 8601 text, or a number of milliseconds since 1970, to UTC; a time without a zone is taken as UTC.

    Years 2000 to 2099; DecodeError for any other.
    """
    if _is_number(value):
        if not _YEAR_2000_MS <= value < 4_102_444_800_000:
            raise DecodeError("time: a number that is not of milliseconds since 1970 in the years 2000 to 2099")
        return _EPOCH + timedelta(milliseconds=value)
    if not isinstance(value, str) or len(value) > 40:
        raise DecodeError(f"time: {describe_type(value)} instead of ISO 8601 text")
    try:
        time = datetime.fromisoformat(value)
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise DecodeError(f"time: {len(value)} characters that are not ISO 8601") from None
    if not 2000 <= time.year < 2100:
        raise DecodeError(f"time: the year {time.year}")
    return time


def time_or_none(value: Any) -> datetime | None:
    """As `parse_time`; None where that raises."""
    try:
        return parse_time(value)
    except DecodeError:
        return None


def is_plausible(time: datetime) -> bool:
    """Can the difference of two such times be added to a third? From 1970, where a gateway without a clock begins."""
    return 1970 <= time.year < 2200


def newest_of(times: Iterable[Any], *, is_relative: bool) -> float | None:
    """Return the newest of the times of one message if they have no known start, else None.

    That is so if the signature says it, and for a clock that was never set: all of its times are before 2000.
    """
    numbers = [time for time in times if _is_number(time)]
    newest = max(numbers, default=None)
    return newest if newest is not None and (is_relative or newest < _YEAR_2000_MS) else None


def place(value: Any, newest: float, newest_at: datetime) -> datetime:
    """Return when the reading at `value` was taken, if that at `newest` was taken at `newest_at`."""
    if not _is_number(value):
        raise DecodeError(f"time: {describe_type(value)} instead of milliseconds")
    if newest - value > _LONGEST_MS:
        raise DecodeError("time: more than two days before the newest of its message")
    return newest_at - timedelta(milliseconds=newest - value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
