"""CSV (RFC 4180) for spreadsheets: one finding a row, formulas defused."""

import csv
from collections.abc import Iterable
from typing import Any, Final, TextIO

from mutewatch.records import Finding
from mutewatch.sinks.record import Record, finding_record, sound

COLUMNS: Final = (
    *(
        "verdict",
        "rule",
        "reason",
        "app",
        "signature",
        "confidence",
        "client",
        "client_version",
        "call",
        "minute",
        "starts_at",
        "ends_at",
    ),
    *("muted_seconds", "unmuted_seconds", "unknown_seconds", "mute_basis", "values", "information_bits", "guess"),
    "guess_probability",
    *("file", "frame", "tcp_stream", "wireshark_filter", "ordinal", "offset", "body_sha256", "sent"),
)
FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")


class CsvSink:
    """Writes to an open text file, which stays the caller's; the header comes first."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._writer = csv.DictWriter(file, COLUMNS)
        self._writer.writeheader()

    def write(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            row = _row(finding_record(finding))
            self._writer.writerow({column: _cell(row.get(column)) for column in COLUMNS})

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self.flush()


def _row(record: Record) -> Record:
    guess = record["guess"] or {}
    values, information = record["values"].items(), record["information"].items()
    return {
        **record,
        **(record["origin"] or {}),
        "mute_basis": " ".join(record["mute_basis"]),
        "values": "; ".join(f"{name}={value['value']:g} {value['unit']}" for name, value in values),
        "information_bits": "; ".join(f"{name}={told['entropy_bits']:g}" for name, told in information),
        "guess": guess.get("label"),
        "guess_probability": guess.get("probabilities", {}).get(guess.get("label")),
    }


def _cell(value: Any) -> Any:
    """A spreadsheet would run text that begins like a formula; an apostrophe makes it text again."""
    if not isinstance(value, str):
        return value
    return sound(f"'{value}" if value.startswith(FORMULA_STARTS) else value)
