"""How `scan`, `report` and `demo` print: a table for people, JSON Lines and CSV for programs."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TextIO

from rich.console import Console

from mutewatch.errors import OperatorError
from mutewatch.records import Finding
from mutewatch.sinks.csv_file import CsvSink
from mutewatch.sinks.flows import flow_record
from mutewatch.sinks.jsonl import JsonLinesSink
from mutewatch.sinks.table import TableSink
from mutewatch.summary import Summary


class Format(StrEnum):
    TABLE = "table"
    JSONL = "jsonl"
    CSV = "csv"


def print_findings(findings: Sequence[Finding], summary: Summary, output_format: Format, file: TextIO) -> None:
    """Print findings and summary; beside CSV, which has no place for it, the summary goes to stderr."""
    if output_format is Format.JSONL:
        lines = JsonLinesSink(file)
        lines.write(findings)
        for flow in summary.flows:
            lines.write_record(flow_record(flow))
        lines.write_record(summary.record())
        lines.flush()
    elif output_format is Format.CSV:
        cells = CsvSink(file)
        cells.write(findings)
        cells.flush()
        print(*summary.lines(), sep="\n", file=sys.stderr)
    else:
        console = Console(file=file, highlight=False)
        table = TableSink(console)
        table.write(findings)
        table.flush()
        console.print()
        for line in summary.lines():
            console.print(line, markup=False)


@contextmanager
def open_output(path: Path | None) -> Iterator[TextIO]:
    """Yield stdout, or the file at `path`, made readable for its owner only. OperatorError if it cannot be made."""
    if path is None:
        yield sys.stdout
        return
    try:
        path.touch(mode=0o600)
        file = path.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise OperatorError(f"cannot write {path}: {error.strerror}") from None
    with file:
        yield file
