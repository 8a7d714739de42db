"""`mutewatch report`: what a store holds, as `scan` would print it."""

import json
from pathlib import Path

from mutewatch.commands.output import Format, check_files, check_format, check_store, open_output, print_findings
from mutewatch.config import LIVE_STATUS
from mutewatch.counts import Counts
from mutewatch.records import Finding
from mutewatch.store import Store
from mutewatch.summary import InputSummary, Summary, add_counts
from mutewatch.uninspected import ids_left_out


def report(location: Path | str, output_format: Format, output: Path | None, state: Path | None = None) -> None:
    """Print all findings of the store and what was read into it. OperatorError if there is no such store.

    `state`: where the live proxy keeps its counters if its store is no file beside them.
    """
    check_format(output_format, output)
    check_files(output, [location] if isinstance(location, Path) else [], ())
    findings, summary = load(location, state)
    with open_output(output) as file:
        print_findings(findings, summary, output_format, file)


def load(location: Path | str, state: Path | None = None) -> tuple[list[Finding], Summary]:
    """Return all findings of a store, and what was read into it. OperatorError if there is no such store."""
    check_store(location)
    with Store(location) as store, store.look() as connection:
        findings = list(store.findings())
        expired = store.daily()
        left_out = ids_left_out(connection)
        inputs = [InputSummary(row["name"], row["counts"], row["error"]) for row in store.inputs()]
    beside = location.parent if isinstance(location, Path) else state
    counts = add_counts(Counts(), (given.counts for given in inputs))
    summary = Summary(inputs=inputs, counts=counts, live=_live_counters(beside / LIVE_STATUS) if beside else None)
    summary.left_out = left_out
    summary.take(findings)
    summary.model = next((found.guess.model for found in reversed(findings) if found.guess), None)
    summary.take_expired(expired)
    return findings, summary


def _live_counters(status: Path) -> dict[str, int] | None:
    """What the live proxy beside the store has counted; None if none has run here."""
    try:
        counted = json.loads(status.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return {name: number for name, number in counted.items() if isinstance(number, int)}
