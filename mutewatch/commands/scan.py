"""`mutewatch scan`: saved traffic in, findings out."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from mutewatch.commands.output import Format, open_output, print_findings
from mutewatch.compose import PipelineOptions, build_pipeline
from mutewatch.config import StateDirectory, default_state, open_state
from mutewatch.errors import InputError, OperatorError
from mutewatch.pipeline import Pipeline
from mutewatch.ports import ReadOptions
from mutewatch.records import Decoded, Finding, Verdict
from mutewatch.store import Store
from mutewatch.summary import InputSummary, Summary, counts_record, difference
from pcap_tools import reader_for

FACTS_AT_ONCE = 1000  # messages held before they are committed to the store


class Exit(IntEnum):
    """What a run ends with; documented in docs/output.md."""

    RAN = 0
    FLAGGED = 1
    USAGE = 2
    UNREADABLE = 3
    NOTHING_MATCHED = 4
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """How to scan, beside how to judge."""

    state: Path | None = None  # None: the default directory, and if that cannot be had, none
    keylogs: tuple[Path, ...] = ()
    format: Format = Format.TABLE
    output: Path | None = None
    store: Path | None = None
    fail_on_flagged: bool = False
    require_match: bool = False


def scan(paths: Sequence[Path], options: ScanOptions, judging: PipelineOptions) -> Exit:
    """Read all of `paths`, print what was found, and return the exit code. Ctrl-C keeps what was found so far."""
    for keylog in options.keylogs:
        if not keylog.is_file():
            raise OperatorError(f"{keylog}: there is no such key log")
    pipeline = build_pipeline(_open_state(options.state), judging)
    summary = Summary(counts=pipeline.counts, model=pipeline.model_id)
    with (
        open_output(options.output) as file,  # first: what was found must not be lost for want of a place
        Store(options.store) if options.store else nullcontext() as store,
    ):
        is_whole = _scan_files(paths, options, pipeline, store, summary)
        findings = sorted(pipeline.finish(), key=_order)
        summary.take(findings)
        if store:
            store.record((), findings)
            for given in summary.inputs:
                store.record_input(given.name, given.counts, given.error)
        print_findings(findings, summary, options.format, file)
    for error in summary.errors:
        print(f"mutewatch: {error}", file=sys.stderr)
    if dark := _dark(summary):
        print(f"mutewatch: from known endpoints, but not readable: {dark}", file=sys.stderr)
    return _exit_code(summary, options) if is_whole else Exit.INTERRUPTED


def _open_state(chosen: Path | None) -> StateDirectory | None:
    """The state directory holds the key of the pseudonyms; without one they hold for this run only."""
    try:
        return open_state(chosen or default_state())
    except OperatorError as error:
        if chosen is not None:
            raise
        print(f"mutewatch: {error}; so pseudonyms hold for this run only", file=sys.stderr)
        return None


def _scan_files(
    paths: Sequence[Path], options: ScanOptions, pipeline: Pipeline, store: Store | None, summary: Summary
) -> bool:
    """Feed all files; return False if Ctrl-C ended that early."""
    try:
        with _progress(paths) as begin:
            for path in paths:
                summary.inputs.append(InputSummary(str(path), {}, f"{path}: not read to its end: interrupted"))
                reading = ReadOptions(options.keylogs, begin(path))
                summary.inputs[-1] = _scan_file(path, pipeline, store, reading)
    except KeyboardInterrupt:
        return False
    return True


def _scan_file(path: Path, pipeline: Pipeline, store: Store | None, options: ReadOptions) -> InputSummary:
    before = counts_record(pipeline.counts)
    facts: list[Decoded] = []
    error = None
    try:
        for exchange in reader_for(path).read(path, options):
            facts += pipeline.feed(exchange)
            if store is None:
                facts.clear()
            elif len(facts) >= FACTS_AT_ONCE:
                store.record(facts, ())
                facts.clear()
    except InputError as fault:
        error = str(fault)
    if store is not None:
        store.record(facts, ())
    return InputSummary(str(path), difference(counts_record(pipeline.counts), before), error)


def _order(finding: Finding) -> tuple[str, str, str, float, str]:
    at = finding.ends_at.timestamp() if finding.ends_at else 0.0
    return (finding.client, finding.call, finding.signature.id, at, finding.minute)


def _dark(summary: Summary) -> str:
    """What is known to have been there and could not be read, in words."""
    counts = summary.counts
    parts = (
        (counts.undecoded, "messages that did not decode"),
        (counts.unread, "messages without a body"),
        (counts.dark, "connections that stayed closed"),
    )
    return ", ".join(f"{number} {what}" for number, what in parts if number)


def _exit_code(summary: Summary, options: ScanOptions) -> Exit:
    """The gravest first: what could not be read may hide what is asked for."""
    if summary.errors or _dark(summary):
        return Exit.UNREADABLE
    if options.fail_on_flagged and summary.verdicts[Verdict.FLAGGED.value]:
        return Exit.FLAGGED
    if options.require_match and not summary.counts.matched:
        return Exit.NOTHING_MATCHED
    return Exit.RAN


@contextmanager
def _progress(paths: Sequence[Path]) -> Iterator[Callable[[Path], Callable[[int], None]]]:
    """On a terminal, a bar on stderr over the bytes of all files.

    Yields what to call at the start of each file; it gives what the file's reader calls with its bytes consumed.
    """
    sizes = {path: path.stat().st_size if path.is_file() else 0 for path in paths}
    console = Console(stderr=True)
    columns = (TextColumn("reading"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("reading", total=sum(sizes[path] for path in paths))
        done = 0

        def begin(path: Path) -> Callable[[int], None]:
            nonlocal done
            before, done = done, done + sizes[path]
            return lambda consumed: progress.update(task, completed=before + consumed)

        yield begin
