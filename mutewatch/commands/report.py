"""`mutewatch report`: what a store holds, as `scan` would print it."""

import json
from pathlib import Path

from mutewatch.commands.output import Format, check_files, open_output, print_findings
from mutewatch.config import LIVE_STATUS
from mutewatch.errors import OperatorError
from mutewatch.pipeline import Counts
from mutewatch.store import Store
from mutewatch.summary import InputSummary, Summary, add_counts


def report(location: Path | str, output_format: Format, output: Path | None, state: Path | None = None) -> None:
    """Print all findings of the store and what was read into it. OperatorError if there is no such store.

    `state`: where the live proxy keeps its counters if its store is no file beside them.
    """
    if isinstance(location, Path) and not location.is_file():
        raise OperatorError(f"no store at {location}: `mutewatch scan --store {location} FILE` makes one")
    check_files(output, [location] if isinstance(location, Path) else [], ())
    with Store(location) as store:
        findings = list(store.findings())
        expired = store.daily()
        inputs = [InputSummary(row["name"], row["counts"], row["error"]) for row in store.inputs()]
    beside = location.parent if isinstance(location, Path) else state
    counts = add_counts(Counts(), (given.counts for given in inputs))
    summary = Summary(inputs=inputs, counts=counts, live=_live_counters(beside / LIVE_STATUS) if beside else None)
    summary.take(findings)
    summary.take_expired(expired)
    with open_output(output) as file:
        print_findings(findings, summary, output_format, file)


def _live_counters(status: Path) -> dict[str, int] | None:
    """What the live proxy beside the store has counted; None if none has run here."""
    try:
        counted = json.loads(status.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return {name: number for name, number in counted.items() if isinstance(number, int)}
