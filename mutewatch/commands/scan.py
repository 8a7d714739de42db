"""`mutewatch scan`: saved traffic in, findings out."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from mutewatch.compose import PipelineOptions, build_pipeline
from mutewatch.config import open_state
from mutewatch.errors import InputError, OperatorError
from mutewatch.pipeline import Pipeline
from mutewatch.ports import ReadOptions, Sink
from mutewatch.records import Decoded, Finding, Verdict
from mutewatch.sinks.csv_file import CsvSink
from mutewatch.sinks.jsonl import JsonLinesSink
from mutewatch.sinks.table import TableSink
from mutewatch.store import Store
from mutewatch.summary import InputSummary, Summary, counts_record, difference
from pcap_tools import reader_for

FACTS_AT_ONCE = 1000  # messages held before they are committed to the store


class Format(StrEnum):
    TABLE = "table"
    JSONL = "jsonl"
    CSV = "csv"


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

    state: Path
    keylogs: tuple[Path, ...] = ()
    format: Format = Format.TABLE
    output: Path | None = None
    store: Path | None = None
    fail_on_flagged: bool = False
    require_match: bool = False


def scan(paths: Sequence[Path], options: ScanOptions, judging: PipelineOptions) -> Exit:
    """Read all of `paths`, print what was found, and return the exit code. Ctrl-C keeps what was found so far."""
    pipeline = build_pipeline(open_state(options.state), judging)
    store = Store(options.store) if options.store else None
    summary = Summary(counts=pipeline.counts)
    interrupted = False
    try:
        with _progress(paths) as advance:
            for path in paths:
                summary.inputs.append(InputSummary(str(path), {}, "not read to its end: interrupted"))
                summary.inputs[-1] = _scan_file(path, pipeline, store, ReadOptions(options.keylogs, advance))
    except KeyboardInterrupt:
        interrupted = True
    findings = sorted(pipeline.finish(), key=_order)
    summary.take(findings)
    if store:
        store.record((), findings)
        for given in summary.inputs:
            store.record_input(given.name, given.counts, given.error)
        store.close()
    with _output(options.output) as file:
        _print(findings, summary, options, file)
    for error in summary.errors:
        print(f"mutewatch: {error}", file=sys.stderr)
    return Exit.INTERRUPTED if interrupted else _exit_code(summary, options)


def _scan_file(path: Path, pipeline: Pipeline, store: Store | None, options: ReadOptions) -> InputSummary:
    before = counts_record(pipeline.counts)
    facts: list[Decoded] = []
    error = None
    try:
        for exchange in reader_for(path).read(path, options):
            facts += pipeline.feed(exchange)
            if len(facts) >= FACTS_AT_ONCE or not store:
                if store:
                    store.record(facts, ())
                facts.clear()
    except InputError as fault:
        error = str(fault)
    if store:
        store.record(facts, ())
    return InputSummary(str(path), difference(counts_record(pipeline.counts), before), error)


def _order(finding: Finding) -> tuple[str, str, str, float, str]:
    at = finding.ends_at.timestamp() if finding.ends_at else 0.0
    return (finding.client, finding.call, finding.signature.id, at, finding.minute)


def _print(findings: Sequence[Finding], summary: Summary, options: ScanOptions, file: TextIO) -> None:
    if options.format is Format.TABLE:
        console = Console(file=file, highlight=False)
        sink: Sink = TableSink(console)
        sink.write(findings)
        sink.flush()
        console.print()
        for line in summary.lines():
            console.print(line, markup=False)
    elif options.format is Format.CSV:
        sink = CsvSink(file)
        sink.write(findings)
        sink.flush()
        for line in summary.lines():
            print(line, file=sys.stderr)
    else:
        lines = JsonLinesSink(file)
        lines.write(findings)
        lines.write_record(summary.record())
        lines.flush()


def _exit_code(summary: Summary, options: ScanOptions) -> Exit:
    """The gravest first: what could not be read may hide what is asked for."""
    if summary.errors or summary.verdicts[Verdict.UNDECODED.value]:
        return Exit.UNREADABLE
    if options.fail_on_flagged and summary.verdicts[Verdict.FLAGGED.value]:
        return Exit.FLAGGED
    if options.require_match and not summary.counts.matched:
        return Exit.NOTHING_MATCHED
    return Exit.RAN


@contextmanager
def _output(path: Path | None) -> Iterator[TextIO]:
    if path is None:
        yield sys.stdout
        return
    try:
        file = path.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise OperatorError(f"cannot write {path}: {error.strerror}") from None
    with file:
        yield file


@contextmanager
def _progress(paths: Sequence[Path]) -> Iterator[Callable[[int], None]]:
    """On a terminal, a bar on stderr over the bytes of all files; yields what readers call with bytes consumed."""
    total = sum(path.stat().st_size for path in paths if path.is_file())
    console = Console(stderr=True)
    columns = (TextColumn("reading"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("reading", total=total)
        yield lambda count: progress.advance(task, count)
