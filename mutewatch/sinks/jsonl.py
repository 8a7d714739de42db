"""JSON Lines: one finding a line, in the fields that docs/output.md documents."""

import json
from collections.abc import Iterable
from typing import TextIO

from mutewatch.records import Finding
from mutewatch.sinks.record import Record, finding_record


class JsonLinesSink:
    """Writes to an open text file, which stays the caller's."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            self.write_record(finding_record(finding))

    def write_record(self, record: Record) -> None:
        """Write one line; ASCII only, so that no terminal or log reader is led astray."""
        self._file.write(json.dumps(record, separators=(",", ":")) + "\n")

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self.flush()
