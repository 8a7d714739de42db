"""`mutewatch report`: what a store holds, as `scan` would print it."""

import json
from pathlib import Path

from mutewatch.commands.output import Format, check_files, check_format, open_output, print_findings
from mutewatch.config import LIVE_STATUS
from mutewatch.errors import OperatorError
from mutewatch.pipeline import Counts
from mutewatch.records import Finding
from mutewatch.store import Store
from mutewatch.summary import InputSummary, Summary, add_counts


def report(store_path: Path, output_format: Format, output: Path | None) -> None:
    """Print all findings of the store and what was read into it. OperatorError if there is no such store."""
    check_format(output_format, output)
    check_files(output, [store_path], ())
    findings, summary = load(store_path)
    with open_output(output) as file:
        print_findings(findings, summary, output_format, file)


def load(store_path: Path) -> tuple[list[Finding], Summary]:
    """Return all findings of a store, and what was read into it. OperatorError if there is no such store."""
    if not store_path.is_file():
        raise OperatorError(f"no store at {store_path}: `mutewatch scan --store {store_path} FILE` makes one")
    with Store(store_path) as store:
        findings = list(store.findings())
        expired = store.daily()
        inputs = [InputSummary(row["name"], row["counts"], row["error"]) for row in store.inputs()]
    counts = add_counts(Counts(), (given.counts for given in inputs))
    summary = Summary(inputs=inputs, counts=counts, live=_live_counters(store_path.with_name(LIVE_STATUS)))
    summary.take(findings)
    summary.take_expired(expired)
    return findings, summary


def _live_counters(status: Path) -> dict[str, int] | None:
    """What the live proxy beside the store has counted; None if none has run here."""
    try:
        counted = json.loads(status.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return {name: number for name, number in counted.items() if isinstance(number, int)}
