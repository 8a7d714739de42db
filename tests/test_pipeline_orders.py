"""Random meetings, judged as they come, all at once, and shuffled: the last word on each minute is the same.

The meetings have gaps, resends, counts that begin anew, refused and unanswered requests, remote mutes, messages
that come minutes late, and a capturing clock that is an hour off; judging as they come includes letting go. The
client joins with a media request, as clients do: what links a participant to its call long after the minutes
that it concerns were let go comes too late for them.
"""

import random
from collections.abc import Iterator
from datetime import timedelta

import pytest
from msgspec.structs import replace

from mutewatch.identity import Names
from mutewatch.pipeline import Pipeline
from mutewatch.records import Exchange, Finding
from mutewatch.signatures import load_signatures
from tests.facts import controls_exchange, locus_exchange, tsa_exchange

Key = tuple[str, str, str, str]
ANSWERS = (200, 200, 409, None)


def random_meeting(chance: random.Random) -> list[Exchange]:
    """In the order in which they were sent, by a capturing clock that may be off."""
    sent, number = [locus_exchange(0.5, chance.random() < 0.5, chance.choice(ANSWERS))], 1
    for minute in range(1, chance.choice((15, 60))):
        if chance.random() < 0.05:
            number = 1
        if chance.random() < 0.85:
            sent.append(tsa_exchange(number, minute))
        if chance.random() < 0.05:
            sent.append(tsa_exchange(number, minute))
        number += 1
        at = minute + round(chance.random(), 2)
        if chance.random() < 0.15:
            sent.append(locus_exchange(at, chance.random() < 0.5, chance.choice(ANSWERS)))
        if chance.random() < 0.1:
            sent.append(controls_exchange(at, chance.random() < 0.5, chance.choice(ANSWERS)))
    offset = timedelta(seconds=chance.choice((0, 0, -4000, 4000)))
    dated = [(one, one.sent_at + offset) for one in sent if one.sent_at]
    late = [timedelta(minutes=chance.choice((0, 0, 0, 5 * chance.random()))) for _one in dated]
    arrived = sorted(zip(dated, late, strict=True), key=lambda pair: pair[0][1] + pair[1])
    return [replace(one, sent_at=at) for (one, at), _late in arrived]


def pipeline() -> Pipeline:
    return Pipeline(load_signatures(), Names(None))


def all_at_once(exchanges: list[Exchange]) -> dict[Key, Finding]:
    through = pipeline()
    for one in exchanges:
        through.feed(one)
    return {finding.key: finding for finding in through.finish()}


def as_they_come(exchanges: list[Exchange]) -> dict[Key, Finding]:
    def findings() -> Iterator[Finding]:
        through = pipeline()
        for one in exchanges:
            assert one.sent_at is not None
            through.feed(one)
            yield from through.advance(one.sent_at)
        yield from through.finish()

    return {finding.key: finding for finding in findings()}


@pytest.mark.parametrize("seed", range(60))
def test_the_last_word_on_each_minute_does_not_depend_on_the_order(seed: int) -> None:
    chance = random.Random(seed)
    exchanges = random_meeting(chance)
    expected = all_at_once(exchanges)
    assert all_at_once(chance.sample(exchanges, len(exchanges))) == expected
    assert as_they_come(exchanges) == expected
