"""What the readings of a minute could tell: which of them count, and how much they carry.

The line between `inert` and `flagged` is drawn here and in `judge.py`; docs/output.md says how it was tested. Rules:

- a reading is one field's number, and the span of time that it speaks of; it is evidence of a muted client only if
  it was muted for all of that span (a reading that straddles the press of the button is not);
- readings while muted count, or all of the minute where there is none;
- a field that told one number fewer than three times is looked at together with its readings directly before and
  after, as long as these were muted, too: a single number is neither constant nor varying;
- of once-a-minute reports, information is that of the last ten.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice, takewhile
from typing import Final

from msgspec import Struct

from mutewatch.records import AudioValue, Information

# Twice the longest run of equal minutes (5) among 3,897 of real sound, see docs/architecture.md.
CONSTANT_MINUTES: Final = 10
CONSTANT_READINGS: Final = 3  # the fewest of which one can say that they do not vary
STATISTICS: Final = ("max", "mean", "min")  # of the readings of a field; the value is named field.max, and so on
_DIGITS: Final = 3  # of entropy

Number = int | float
IsMuted = Callable[[datetime, datetime], bool]  # throughout this span


class Field(Struct, frozen=True, gc=False):
    """What a reading is of. A running total is read as what it grew by: that is in `unit`."""

    name: str
    unit: str
    floor: float | None
    is_cumulative: bool = False


class Reading(Struct, frozen=True, gc=False):
    """What one field read in one span of time. Never a running total."""

    field: Field
    number: Number
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Evidence:
    """What counts of a minute's readings: their summary as values, what they carry, and when each was taken."""

    values: tuple[AudioValue, ...]
    information: tuple[Information, ...]
    counted_at: frozenset[datetime]
    is_of_muted: bool
    looks_ahead: bool  # what comes after is part of it, or would be
    is_open: bool  # and is still to come


def weigh(own: Sequence[Reading], before: Sequence[Reading], after: Sequence[Reading], is_muted: IsMuted) -> Evidence:
    """Return what the readings of a minute, in order of time, amount to; `before`, `after`: some of those around it."""
    muted = [one for one in own if is_muted(one.starts_at, one.ends_at)]
    counted = muted or own
    fields: defaultdict[Field, list[Number]] = defaultdict(list)
    for one in counted:
        fields[one.field].append(one.number)
    information = []
    looks_ahead = is_open = False
    for field, own_numbers in fields.items():
        numbers = own_numbers
        is_single = len(numbers) < CONSTANT_READINGS and len(set(numbers)) == 1 and numbers[0] != field.floor
        if muted and is_single:
            earlier = (one for one in reversed(before) if one.field == field)
            numbers = [*_while_muted(earlier, is_muted, CONSTANT_READINGS - len(numbers))[::-1], *numbers]
        if muted and is_single and (missing := CONSTANT_READINGS - len(numbers)):
            later = _while_muted((one for one in after if one.field == field), is_muted, missing)
            numbers = [*numbers, *later]
            looks_ahead, is_open = True, is_open or (len(later) < missing and len(set(numbers)) == 1)
        information.append(inform(field, numbers))
    values = tuple(value for field, numbers in fields.items() for value in _summary(field, numbers))
    counted_at = frozenset(one.ends_at for one in counted)
    return Evidence(values, tuple(information), counted_at, bool(muted), looks_ahead, is_open)


def inform(field: Field, numbers: Sequence[Number]) -> Information:
    """Return what `numbers`, at least one, carry."""
    counts = Counter(numbers)
    total = len(numbers)
    entropy = sum(count / total * math.log2(total / count) for count in counts.values())
    return Information(
        field.name,
        field.unit,
        field.floor,
        total,
        len(counts),
        min(counts),
        max(counts),
        round(entropy, _DIGITS),
    )


def of_reports(reports: Iterable[tuple[AudioValue, ...]]) -> tuple[Information, ...]:
    """Return what the fields of the last of `reports` carried in all of them."""
    numbers: dict[str, list[Number]] = defaultdict(list)
    last: tuple[AudioValue, ...] = ()
    for last in reports:
        for value in last:
            numbers[value.name].append(value.value)
    return tuple(inform(Field(value.name, value.unit, value.floor), numbers[value.name]) for value in last)


def _while_muted(readings: Iterable[Reading], is_muted: IsMuted, wanted: int) -> list[Number]:
    """The numbers of the first readings, up to one that was not muted, at most `wanted`."""
    muted = takewhile(lambda one: is_muted(one.starts_at, one.ends_at), readings)
    return [one.number for one in islice(muted, wanted)]


def _summary(field: Field, numbers: Sequence[Number]) -> Iterator[AudioValue]:
    lowest, highest = min(numbers), max(numbers)
    mean = lowest if lowest == highest else math.fsum(number / len(numbers) for number in numbers)
    for what, number in zip(STATISTICS, (highest, mean, lowest), strict=True):
        yield AudioValue(f"{field.name}.{what}", number, field.unit, field.floor)
