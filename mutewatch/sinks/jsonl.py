"""JSON Lines: one finding a line; in the fields that docs/output.md documents, unless another record is asked for."""

import json
from collections.abc import Callable, Iterable
from typing import TextIO

from mutewatch.records import Finding
from mutewatch.sinks.record import Record, finding_record


def json_line(record: Record) -> str:
    """Return one line; ASCII only, so that no terminal or log reader is led astray."""
    return json.dumps(record, separators=(",", ":")) + "\n"


class JsonLinesSink:
    """Writes to an open text file, which stays the caller's. `record`: how a finding becomes a line's fields."""

    def __init__(self, file: TextIO, record: Callable[[Finding], Record] = finding_record) -> None:
        self._file, self._record = file, record

    def write(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            self.write_record(self._record(finding))

    def write_record(self, record: Record) -> None:
        """Write one line."""
        self._file.write(json_line(record))

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self.flush()
