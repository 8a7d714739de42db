"""Measure what `discover` costs and how often it is wrong.

    python -m bench.discover                    # an hour of 100 messages a minute with 200 fields; limit: a minute
    python -m bench.discover --runs 200         # also: made-up clients, and a recording of something else

A false run is one in which any field is significant though none has to do with the recording.
"""

import argparse
import time
from collections.abc import Iterator
from typing import Final

import numpy as np

from mutewatch.discover.correlate import CLOSE, SIGNIFICANT
from mutewatch.discover.gather import Gatherer
from mutewatch.discover.panel import Panel, panels
from mutewatch.discover.rank import rank
from mutewatch.discover.reference import Recording
from mutewatch.records import Exchange
from tests.discover_scene import RATE, START, meter, post, speech

MESSAGES: Final = 6_000
PERIOD: Final = 0.6  # seconds
OBJECTS: Final = 10
FIELDS: Final = 20  # of each object


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=0)
    runs = parser.parse_args().runs
    print("| step | seconds | of the limit |\n|---|---|---|")
    for name, seconds in costs():
        print(f"| {name} | {seconds:.1f} | {seconds / 60:.0%} |")
    if runs:
        false = [lowest_p(run) for run in range(runs)]
        print(f"\n| p below | false runs of {runs} |\n|---|---|")
        for level in (SIGNIFICANT, 0.05, 0.1):
            print(f"| {level} | {sum(p < level for p in false)} |")


def costs() -> Iterator[tuple[str, float]]:
    """Yield the steps of a large run, and how long each took."""
    exchanges = list(_large())
    recording = played(1)
    began = time.perf_counter()
    found = told(exchanges)
    gathered = time.perf_counter()
    yield "walk and gather", gathered - began
    rank(found, names=False)
    ranked = time.perf_counter()
    yield "rank by behaviour", ranked - gathered
    rank(found, recording, CLOSE, names=False)
    yield "rank by a recording", time.perf_counter() - ranked


def _large() -> Iterator[Exchange]:
    random = np.random.default_rng(1)
    values = random.normal(size=(MESSAGES, OBJECTS, FIELDS)).round(4)
    values[:, OBJECTS // 2 :] = np.abs(values[:, OBJECTS // 2 :]).cumsum(axis=0)
    for number, message in enumerate(values.tolist(), 1):
        body = {f"object{i}": {f"field{k}": value for k, value in enumerate(one)} for i, one in enumerate(message)}
        yield post(number * PERIOD, body)


def told(exchanges: Iterator[Exchange] | list[Exchange]) -> list[Panel]:
    gatherer = Gatherer(lambda _host: True)
    for exchange in exchanges:
        gatherer.add(exchange)
    return list(panels(gatherer))


def played(seed: int) -> Recording:
    power = (speech(seed, 3_600).reshape(-1, RATE // 20) ** 2).mean(axis=1)
    return Recording(power, START.timestamp())


def lowest_p(run: int) -> float:
    """Return the lowest p-value of a client's fields against a recording that it never heard."""
    ranking = rank(told(meter(speech(run, 3_600), run)), played(100_000 + run), CLOSE, names=False)
    return min(one.followed.p for one in ranking.fields if one.followed)


if __name__ == "__main__":
    main()
