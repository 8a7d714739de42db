"""What minutes made of samples cost: memory of many clients for an hour, and time of each sample.

    python -m bench.samples                           # 10,000 clients, a sample of two fields every ten seconds
    python -m bench.samples --clients 1000 --every 1  # as Chime's clients do

Facts are put into the pipeline as a live gateway does: a mute session of its own connection for each client, findings
asked for every second. Memory is what the process has taken since it began; exit code 1 if it still grows once the
pipeline holds as many minutes as it ever will. Times are CPU time.
"""

import argparse
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from mutewatch.identity import Names
from mutewatch.pipeline import Pipeline
from mutewatch.records import AudioValue, Decoded
from tests.facts import START, press, sample

MINUTES: Final = 60
FULL_AFTER: Final = 15  # minutes: what is held does not grow any more
MAX_GROWTH: Final = 1.05
MiB: Final = 1 << 20


@dataclass(slots=True)
class Spent:
    """CPU seconds, and what they were spent on."""

    samples: int = 0
    minutes: int = 0
    absorbing: float = 0.0
    judging: float = 0.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--every", type=int, default=10, help="seconds")
    parser.add_argument("--minutes", type=int, default=MINUTES)
    chosen = parser.parse_args()
    began, held = taken(), list[int]()

    def look(minute: int) -> None:
        if minute in (FULL_AFTER, chosen.minutes):
            held.append(taken() - began)

    spent = run(chosen.clients, chosen.every, chosen.minutes, look)
    us = (spent.absorbing + spent.judging) / spent.samples * 1e6
    rows = [
        (f"memory after {FULL_AFTER} minutes", f"{held[0] / MiB:.0f} MiB"),
        (f"memory after {chosen.minutes} minutes", f"{held[-1] / MiB:.0f} MiB"),
        ("of it, a client's", f"{held[-1] / chosen.clients / 1024:.1f} KiB"),
        ("absorbing one sample", f"{spent.absorbing / spent.samples * 1e6:.0f} µs"),
        ("judging one minute", f"{spent.judging / max(1, spent.minutes) * 1e6:.0f} µs"),
        ("both, a sample", f"{us:.0f} µs"),
    ]
    print(f"{chosen.clients:,} clients, a sample every {chosen.every} s\n\n| | |\n|---|--:|")
    for row in rows:
        print(f"| {row[0]} | {row[1]} |")
    return 0 if held[-1] <= MAX_GROWTH * held[0] else 1


def run(clients: int, every: int, minutes: int, look: Callable[[int], None]) -> Spent:
    """Put the facts of so many minutes through a pipeline; `look` after each."""
    through, spent = Pipeline((), Names(None)), Spent()
    for number in range(clients):
        through.absorb(said_of_button(number))
    for second in range(1, minutes * 60 + 1):
        facts = [reported(number, second) for number in range(second % every, clients, every)]
        made = time.process_time()
        for one in facts:
            through.absorb(one)
        absorbed = time.process_time()
        spent.minutes += len(through.advance(START + timedelta(seconds=second + 0.5)))
        spent.judging += time.process_time() - absorbed
        spent.absorbing += absorbed - made
        spent.samples += len(facts)
        if second % 60 == 0:
            look(second // 60)
    return spent


def taken() -> int:
    """Bytes of memory that this process has."""
    return int(re.findall(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())[0]) * 1024


def said_of_button(number: int) -> Decoded:
    event = press(0, number % 2 == 0, call=f"signalling of {number}", address=f"address of {number}")
    return Decoded(event.source, mute=(event,))


def reported(number: int, second: int) -> Decoded:
    """What a client's getStats says: a level and a total, no two alike."""
    levels = (
        AudioValue("audioLevel", (number * 7 + second * 13) % 1009 / 1009, "1", 0.0),
        AudioValue("totalAudioEnergy", second * 0.01 + second % 7 / 1000, "s", 0.0, is_cumulative=True),
    )
    who = {"call": f"call of {number}", "client": f"client {number}", "address": f"address of {number}"}
    one = sample(second, levels, **who, sha=f"{number:032x}{second:032x}")  # type: ignore[arg-type]
    return Decoded(one.source, (one,))


if __name__ == "__main__":
    sys.exit(main())
