"""What the readings of a minute could tell: which of them count, and how much they carry.

The line between `inert` and `flagged` is drawn here and in `judge.py`; docs/output.md says how it was tested. Rules:

- a reading is one field's number, and the span of time that it speaks of; it is evidence of a muted client only if
  it was muted for all of that span (a reading that straddles the press of the button is not);
- readings while muted count, or all of the minute where there is none;
- a field that told one number fewer than three times is looked at together with its readings directly before, as
  long as these were muted, too: a single number is neither constant nor varying;
- of once-a-minute reports, information is that of the last ten.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
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


def weigh(own: Sequence[Reading], before: Sequence[Reading], is_muted: IsMuted) -> Evidence:
    """Return what the readings of a minute, in order of time, amount to; `before`: some of those before it."""
    muted = [one for one in own if is_muted(one.starts_at, one.ends_at)]
    counted = muted or own
    fields: defaultdict[Field, list[Number]] = defaultdict(list)
    for one in counted:
        fields[one.field].append(one.number)
    information = []
    for field, own_numbers in fields.items():
        numbers = own_numbers
        is_single = len(numbers) < CONSTANT_READINGS and len(set(numbers)) == 1 and numbers[0] != field.floor
        if muted and is_single:
            earlier = [one for one in before if one.field == field]
            numbers = [*_directly_before(earlier, is_muted, CONSTANT_READINGS - len(numbers)), *numbers]
        information.append(inform(field, numbers))
    values = tuple(value for field, numbers in fields.items() for value in _summary(field, numbers))
    return Evidence(values, tuple(information), frozenset(one.ends_at for one in counted), bool(muted))


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


def _directly_before(readings: Sequence[Reading], is_muted: IsMuted, wanted: int) -> list[Number]:
    """The numbers of the last readings that were muted without one between them that was not, at most `wanted`."""
    found: list[Number] = []
    for reading in reversed(readings):
        if len(found) == wanted or not is_muted(reading.starts_at, reading.ends_at):
            break
        found.append(reading.number)
    return found[::-1]


def _summary(field: Field, numbers: Sequence[Number]) -> Iterator[AudioValue]:
    lowest, highest = min(numbers), max(numbers)
    mean = lowest if lowest == highest else math.fsum(number / len(numbers) for number in numbers)
    for what, number in zip(STATISTICS, (highest, mean, lowest), strict=True):
        yield AudioValue(f"{field.name}.{what}", number, field.unit, field.floor)
