"""`mutewatch export`: what a store holds, for a SIEM, a spreadsheet or a program, redacted (`sinks/export.py`)."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TextIO

from mutewatch.commands.output import Format, check_files, check_format, check_store, open_output, write_parquet
from mutewatch.commands.span import parse_time
from mutewatch.history import History
from mutewatch.ports import Sink
from mutewatch.records import Finding, Verdict
from mutewatch.sinks.csv_file import CsvSink
from mutewatch.sinks.ecs import ecs_record
from mutewatch.sinks.eve import eve_record
from mutewatch.sinks.export import redacted
from mutewatch.sinks.jsonl import JsonLinesSink
from mutewatch.store import Store

# A new format of text is one more line here, and in the command's choices.
FORMATS: Final[Mapping[str, Callable[[TextIO], Sink]]] = {
    "eve": lambda file: JsonLinesSink(file, eve_record),
    "ecs": lambda file: JsonLinesSink(file, ecs_record),
    "jsonl": JsonLinesSink,
    "csv": CsvSink,
}


def export(
    location: Path | str,
    output_format: str,
    output: Path | None,
    *,
    since: str | None = None,
    until: str | None = None,
    verdicts: Sequence[Verdict] = (Verdict.FLAGGED,),
    with_guesses: bool = False,
) -> None:
    """Write the findings of the span with these verdicts, in order of time. OperatorError if there is no such store."""
    check_store(location)
    if output_format == Format.PARQUET:
        check_format(Format.PARQUET, output)
    check_files(output, [location] if isinstance(location, Path) else [], ())
    now = datetime.now(UTC)
    span = [None if text is None else parse_time(text, now) for text in (since, until)]
    with Store(location) as store, store.look() as connection:
        found = History(connection).findings(span[0], span[1], verdicts)
        written = _Counted(redacted(finding, with_guesses=with_guesses) for finding in found)
        if output_format == Format.PARQUET and output is not None:
            write_parquet(written, output)
        else:
            with open_output(output) as file:
                sink = FORMATS[output_format](file)
                sink.write(written)
                sink.close()
    print(f"mutewatch: {written.number} findings exported", file=sys.stderr)


class _Counted:
    """Findings on their way, and how many went by."""

    def __init__(self, findings: Iterator[Finding]) -> None:
        self.number = 0
        self._findings = findings

    def __iter__(self) -> Iterator[Finding]:
        for finding in self._findings:
            self.number += 1
            yield finding
