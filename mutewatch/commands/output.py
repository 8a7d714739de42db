"""How `scan`, `report` and `demo` print: a table for people, JSON Lines and CSV for programs."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from io import TextIOWrapper
from pathlib import Path
from tempfile import mkstemp
from typing import BinaryIO, Final, TextIO

from rich.console import Console

from mutewatch.errors import OperatorError, is_full
from mutewatch.ports import Sink
from mutewatch.records import Finding
from mutewatch.sinks.csv_file import CsvSink
from mutewatch.sinks.ecs import ecs_record
from mutewatch.sinks.eve import eve_record
from mutewatch.sinks.export import alerts
from mutewatch.sinks.flows import flow_record
from mutewatch.sinks.jsonl import JsonLinesSink
from mutewatch.sinks.rtp import rtp_record
from mutewatch.sinks.table import TableSink
from mutewatch.summary import Summary

_LONGEST_NAME = 200  # bytes of a file's name that are kept in that of the temporary one; 255 are possible


class Format(StrEnum):
    TABLE = "table"
    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"
    EVE = "eve"
    ECS = "ecs"


# What a SIEM reads: flagged minutes alone, redacted.
SIEM_RECORDS: Final = {Format.EVE: eve_record, Format.ECS: ecs_record}


def line_sink(output_format: Format, file: TextIO) -> Sink | None:
    """Return what writes findings as lines, for which nobody has to wait for the end; None for other formats."""
    if output_format in SIEM_RECORDS:
        return AlertSink(file, SIEM_RECORDS[output_format])
    return JsonLinesSink(file) if output_format is Format.JSONL else None


class AlertSink(JsonLinesSink):
    """Writes the flagged of what it is given, redacted."""

    def write(self, findings: Iterable[Finding]) -> None:
        super().write(alerts(findings))


def print_findings(findings: Sequence[Finding], summary: Summary, output_format: Format, file: TextIO) -> None:
    """Print findings and summary; where it has no place (CSV, Parquet, EVE, ECS), the summary goes to stderr."""
    if output_format is Format.JSONL:
        lines = JsonLinesSink(file)
        lines.write(findings)
        for flow in summary.flows:
            lines.write_record(flow_record(flow))
        for stream in summary.streams:
            lines.write_record(rtp_record(stream))
        lines.write_record(summary.record())
        lines.flush()
    elif output_format is Format.PARQUET:
        from mutewatch.sinks.parquet import write_rows

        write_rows(findings, file.buffer)
        print(*summary.lines(), sep="\n", file=sys.stderr)
    elif output_format is not Format.TABLE:
        sink = line_sink(output_format, file) or CsvSink(file)
        sink.write(findings)
        sink.flush()
        print(*summary.lines(), sep="\n", file=sys.stderr)
    else:
        console = Console(file=file, highlight=False)
        table = TableSink(console)
        table.write(findings)
        table.flush()
        console.print()
        for line in summary.lines():
            console.print(line, markup=False)


def write_parquet(findings: Iterable[Finding], path: Path) -> None:
    """Write findings to a Parquet file, mode 0600. OperatorError without pyarrow, or if the file cannot be made."""
    from mutewatch.sinks.parquet import write_rows

    with replacing(path) as file:
        write_rows(findings, file)


def check_format(output_format: Format, output: Path | None) -> None:
    """Raise OperatorError if Parquet is wanted and cannot be written: without pyarrow, or to a terminal."""
    if output_format is not Format.PARQUET:
        return
    from mutewatch.sinks.parquet import schema

    schema()
    if output is None:
        raise OperatorError("--format parquet writes a file: name it with --output FILE")


def check_store(location: Path | str) -> None:
    """Raise OperatorError if there is no store at this path; a database says so itself."""
    if isinstance(location, Path) and not location.is_file():
        raise OperatorError(f"no store at {location}: `mutewatch scan --store {location} FILE` makes one")


def check_files(output: Path | None, inputs: Iterable[Path], keylogs: Iterable[Path]) -> None:
    """Raise OperatorError if a key log cannot be read, or if `output` is one of the files that are read."""
    for keylog in keylogs:
        if not keylog.exists():
            raise OperatorError(f"{keylog}: there is no such key log")
        if keylog.is_dir():
            raise OperatorError(f"{keylog} is a directory: name the key log in it")
        if not keylog.is_file():
            raise OperatorError(f"{keylog} is a pipe: a key log is read more than once, so write it to a file")
    if output is None:
        return
    for path in (*inputs, *keylogs):
        if path.resolve() == output.resolve() or (path.is_file() and output.is_file() and path.samefile(output)):
            raise OperatorError(f"{output} is one of the inputs: choose another name")


@contextmanager
def open_output(path: Path | None, *, is_live: bool = False) -> Iterator[TextIO]:
    """Yield stdout, also for `-`, or what becomes the file at `path` (`replacing`)."""
    if path is None or path == Path("-"):
        yield sys.stdout
        return
    with replacing(path, is_live=is_live) as file, TextIOWrapper(file, "utf-8", "backslashreplace", newline="") as text:
        yield text


@contextmanager
def replacing(path: Path, *, is_live: bool = False) -> Iterator[BinaryIO]:
    """Yield a new file, readable for its owner only, that takes the place of `path` once it is whole.

    After an exception what was at `path` is still there. `is_live`: the file is there from the start, to be
    read while it grows. A device or pipe is written as it is. OperatorError if the file cannot be made.
    """
    path = path.resolve()
    try:
        device = path.open("wb") if path.exists() and not path.is_file() else None
        if device is None:
            descriptor, name = mkstemp(dir=path.parent, prefix=f".{path.name[:_LONGEST_NAME]}.")  # mode 0600
    except OSError as error:
        raise OperatorError(f"cannot write {path}: {error.strerror}") from None
    if device is not None:
        with device:
            yield device
        return
    made = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if is_live:
                made.replace(path)
            yield file
        if not is_live:
            made.replace(path)
    except OSError as error:
        if not is_full(error):
            raise
        raise OperatorError(f"cannot write {path}: {error.strerror}") from None
    finally:
        made.unlink(missing_ok=True)
