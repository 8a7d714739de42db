"""Do faults to a running proxy under load, and see that its books balance.

    python -m bench.faults                      # all; an hour, most of it the kills
    python -m bench.faults disk-full locked
    python -m bench.faults --short              # as the tests do

A real mitmdump with the addon stands between TLS clients that keep posting and a TLS server. Each message has a body
of its own. In the end what the server got is compared, by SHA-256, with the store and with the counters: whatever
they do not account for is `unexplained`, and makes the exit code 1. A scenario that the machine cannot do is skipped
by name.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace

from bench.faults.scenarios import SCENARIOS, as_json, run_here, run_scenario
from bench.faults.stage import LONG, SHORT, Lengths, Result

HEAD = (
    "scenario", "sent", "delivered", "recorded", "counted exceptions", "unexplained", "recovery s", "slowest answer s",
    "store", "remark",
)  # fmt: skip


def row(result: Result) -> str:
    recovery = "" if result.recovery is None else f"{result.recovery:.1f}"
    numbers = (f"{number:,}" for number in (result.sent, result.delivered, result.recorded))
    fields = (
        result.name, *numbers, result.exceptions, str(result.unexplained), recovery, f"{result.slowest:.1f}",
        result.integrity, result.remark,
    )  # fmt: skip
    return f"| {' | '.join(fields)} |"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.faults", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join(SCENARIOS))
    parser.add_argument("--short", action="store_true", help="seconds, not minutes")
    parser.add_argument("--kills", type=int, help="of kill9")
    parser.add_argument("--record-timeout", type=float, help="of kill9; seconds; with 0.001 most runs show losses")
    parser.add_argument("--as-json", action="store_true", help="one scenario, run in this namespace; for ourselves")
    chosen = parser.parse_args(arguments)
    if strange := [name for name in chosen.scenarios if name not in SCENARIOS]:
        parser.error(f"no scenario {', '.join(strange)}; there are {', '.join(SCENARIOS)}")
    lengths = SHORT if chosen.short else LONG
    if chosen.as_json:
        print(as_json(run_here(chosen.scenarios[0], lengths)))
        return 0
    lengths = replace(
        lengths,
        kills=chosen.kills or lengths.kills,
        record_timeout=chosen.record_timeout or lengths.record_timeout,
    )
    return report(chosen.scenarios or list(SCENARIOS), lengths)


def report(names: Sequence[str], lengths: Lengths) -> int:
    """Run, and print the table as it grows; return the exit code."""
    print(f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}", flush=True)
    is_good = True
    for name in names:
        if (missing := SCENARIOS[name].needs()) is not None:
            print(f"{name}: skipped: {missing}", file=sys.stderr)
            continue
        try:
            result = run_scenario(name, lengths)
        except AssertionError as error:
            print(f"{name}: {error}", file=sys.stderr)
            is_good = False
            continue
        print(row(result), flush=True)
        for what, number in result.discrepancies.items():
            print(f"{name}: {what}: {number}", file=sys.stderr)
        is_good = is_good and result.is_good
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
