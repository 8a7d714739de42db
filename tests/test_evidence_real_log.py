"""Where the line between `inert` and `flagged` runs through the real muted log: docs/output.md has these figures."""

from collections import Counter, defaultdict
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest
from msgspec.structs import replace

from mutewatch.identity import Names
from mutewatch.mute import MuteTracker
from mutewatch.pipeline import Pipeline
from mutewatch.ports import ReadOptions
from mutewatch.records import AudioReport, AudioValue, Decoded, Finding
from mutewatch.signatures import load_signatures
from pcap_tools import reader_for
from tests.facts import START, TSA, source

pytestmark = pytest.mark.shared
Gains = tuple[int | float, ...]


@pytest.fixture(scope="module")
def minutes(shared: Path) -> list[Finding]:
    """The log as it stands, taken to be muted as its authors say."""
    path = shared / "data/webex/xdbg_log_first_half.txt"
    through = Pipeline(load_signatures(), Names(None), MuteTracker(assume=True))
    for exchange in reader_for(path).read(path, ReadOptions()):
        through.feed(exchange)
    return sorted((f for f in through.finish() if f.values), key=lambda f: (f.call, str(f.ends_at)))


def gains(minutes: list[Finding]) -> dict[str, list[Gains]]:
    """The three gains, minute by minute, by call."""
    calls: dict[str, list[Gains]] = defaultdict(list)
    for finding in minutes:
        calls[finding.call].append(tuple(value.value for value in finding.values))
    return calls


def test_no_minute_of_the_real_log_is_inert(minutes: list[Finding]) -> None:
    assert Counter(finding.rule for finding in minutes) == {"MW-MUTED": 619}


def test_the_gains_carry_what_the_document_says(minutes: list[Finding]) -> None:
    told = defaultdict(list)
    for information in (one for finding in minutes for one in finding.information if one.readings == 10):
        told[information.name].append(information)
    figures = {
        name: (
            min(one.entropy_bits for one in every),
            median(one.entropy_bits for one in every),
            max(one.entropy_bits for one in every),
            min(one.distinct for one in every),
            median(one.highest - one.lowest for one in every),
        )
        for name, every in told.items()
    }
    assert figures == {
        "audioMaxGain": (0.722, 1.761, 3.122, 2, 3),
        "audioMeanGain": (0.0, 0.922, 3.122, 1, 1),
        "audioMinGain": (0.722, 2.122, 3.322, 2, 4),
    }


def test_three_equal_minutes_are_rare_and_four_were_not_seen(minutes: list[Finding]) -> None:
    runs = Counter[int]()
    for call in gains(minutes).values():
        length = 1
        for before, now in pairwise([*call, ()]):
            if before == now:
                length += 1
                continue
            runs[length] += 1
            length = 1
    assert (runs[3], max(runs)) == (2, 3)


@pytest.mark.parametrize("is_constant", [False, True])
def test_taken_as_samples_the_gains_are_flagged_and_a_constant_is_inert(
    minutes: list[Finding], *, is_constant: bool
) -> None:
    """Six minutes of the log as the samples of one; the constant is audioMeanVolume, 27369 in all of the log."""
    through = Pipeline((), Names(None), MuteTracker(assume=True))
    sampled = 0
    for call, every in gains(minutes).items():
        for number, numbers in enumerate(every):
            values = tuple(AudioValue(f"gain{n}", value, "dB") for n, value in enumerate(numbers))
            if is_constant:
                values = (AudioValue("audioMeanVolume", 27369, "1"),)
            ends_at = START + timedelta(seconds=5 + 10 * number)
            one = AudioReport(
                replace(source(sha=f"{call}{number}"), signature=TSA),
                "U1",
                call,
                ends_at - timedelta(seconds=10),
                ends_at,
                None,
                values,
                is_sample=True,
            )
            through.absorb(Decoded(one.source, (one,)))
            sampled += number % 6 == 0
    rules = Counter(finding.rule for finding in through.finish())
    assert rules == {"MW-STILL" if is_constant else "MW-MUTED": sampled}
