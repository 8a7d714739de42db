"""The real muted log, from its bytes to guesses."""

import random
from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest

from classifier.stream import load_model
from mutewatch.identity import Names
from mutewatch.mute import MuteTracker
from mutewatch.pipeline import Pipeline
from mutewatch.ports import ReadOptions
from mutewatch.records import ActivityGuess, Exchange
from mutewatch.signatures import load_signatures
from pcap_tools import reader_for

pytestmark = pytest.mark.shared
Guesses = dict[tuple[str, datetime | None], ActivityGuess | None]


@pytest.fixture(scope="module")
def exchanges(shared: Path) -> list[Exchange]:
    path = shared / "data/webex/xdbg_log_first_half.txt"
    return list(reader_for(path).read(path, ReadOptions()))


def guesses(exchanges: list[Exchange]) -> Guesses:
    """Return what the pipeline with the shipped model guesses, by call and minute."""
    through = Pipeline(load_signatures(), Names(None), MuteTracker(None, True), load_model())
    for exchange in exchanges:
        through.feed(exchange)
    return {(f.call, f.starts_at): f.guess for f in through.finish() if f.values}


def test_every_minute_of_the_log_has_a_guess_or_a_reason(exchanges: list[Exchange]) -> None:
    found = guesses(exchanges)
    assert len(found) == 619
    told = Counter(
        "label" if guess and guess.label else str(guess.reason if guess else None).partition(":")[0]
        for guess in found.values()
    )
    assert told.keys() <= {"label", "warming up", "gap", "quiet", "still", "unfamiliar", "uncertain"}
    assert (told["warming up"], told["gap"]) == (17, 13)


def test_shuffled_and_doubled_messages_give_the_same_guesses(exchanges: list[Exchange]) -> None:
    doubled = [*exchanges, *exchanges]
    random.Random(5).shuffle(doubled)
    assert guesses(doubled) == guesses(exchanges)


def test_a_cut_log_gives_the_same_guesses_where_the_window_is_whole(exchanges: list[Exchange]) -> None:
    whole = guesses(exchanges)
    chance = random.Random(6)
    cut = [exchange for exchange in exchanges if chance.random() > 0.1]
    found = guesses(cut)
    lost = sorted((call, start) for call, start in whole if (call, start) not in found and start)
    model = load_model()
    checked = 0
    for (call, start), guess in found.items():
        assert guess is not None and (guess.label is None) == (guess.reason is not None)
        within = [s for c, s in lost if c == call and start and 0 <= (start - s).total_seconds() <= 60 * 20]
        if not within:
            assert guess == whole[call, start]
            checked += 1
    assert checked > 30 and model.horizon < 20
