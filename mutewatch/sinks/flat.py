"""A finding as one flat row of typed values: for tables that programs read, such as Parquet and DataFrames.

Beside the columns of the three gains stands `values`, JSON with every audio-derived value and its unit.
"""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from mutewatch.errors import OperatorError
from mutewatch.records import Finding, Role
from mutewatch.sinks.record import finding_record, sound

if TYPE_CHECKING:
    import pandas as pd

# Columns by name, with the type of what they hold; every one but `verdict` may be empty.
COLUMNS: Final[dict[str, type]] = {
    "verdict": str,
    "rule": str,
    "rules_version": int,
    "reason": str,
    "app": str,
    "signature": str,
    "signature_version": int,
    "confidence": str,
    "client": str,
    "client_version": str,
    "call": str,
    "minute": str,
    "starts_at": datetime,
    "ends_at": datetime,
    "seen_at": datetime,
    "muted_seconds": float,
    "unmuted_seconds": float,
    "unknown_seconds": float,
    "disputed_seconds": float,
    "mute_basis": str,
    "max_gain": float,
    "mean_gain": float,
    "min_gain": float,
    "values": str,
    "information": str,
    "samples": int,
    "guess": str,
    "guess_probability": float,
    "guess_model": str,
    "door": str,
    "file": str,
    "frame": int,
    "tcp_stream": int,
    "wireshark_filter": str,
    "ordinal": int,
    "offset": int,
    "address": str,
    "body_sha256": str,
    "sent": str,
    "sent_sha256": str,
}
_TIMES: Final = tuple(name for name, kind in COLUMNS.items() if kind is datetime)


def to_frame(findings: Iterable[Finding]) -> "pd.DataFrame":
    """Return a pandas DataFrame with these columns; whole numbers may be missing, too. OperatorError without pandas."""
    try:
        import pandas as pd
    except ImportError:
        raise OperatorError("to_frame() needs pandas: pip install 'mutewatch[table]'") from None
    kinds = {str: "object", int: "Int64", float: "float64", datetime: "datetime64[us, UTC]"}
    frame = pd.DataFrame.from_records([flat_row(finding) for finding in findings], columns=list(COLUMNS))
    return frame.astype({name: kinds[kind] for name, kind in COLUMNS.items()})


def flat_row(finding: Finding) -> dict[str, Any]:
    """Return the value of each of `COLUMNS`; times are datetimes in UTC, None is "not known"."""
    record = finding_record(finding)
    guess = record["guess"] or {}
    by_role = {value.role: float(value.value) for value in finding.values if value.role}
    seen_at = finding.source.seen_at if finding.source else None
    row = {
        **record,
        **(record["origin"] or {}),
        **dict(zip(_TIMES, (finding.starts_at, finding.ends_at, seen_at), strict=True)),
        "mute_basis": " ".join(record["mute_basis"]) or None,
        "max_gain": by_role.get(Role.MAX_GAIN),
        "mean_gain": by_role.get(Role.MEAN_GAIN),
        "min_gain": by_role.get(Role.MIN_GAIN),
        "values": json.dumps(record["values"], separators=(",", ":")),
        "information": json.dumps(record["information"], separators=(",", ":")),
        "samples": finding.samples.number if finding.samples else None,
        "guess": guess.get("label"),
        "guess_probability": guess.get("probabilities", {}).get(guess.get("label")),
        "guess_model": guess.get("model"),
    }
    return {name: sound(cell) if isinstance(cell := row.get(name), str) else cell for name in COLUMNS}
