"""The operator's own record of when clients were muted: CSV or JSON Lines of time, client, muted.

The client may be named by its network address, by the id in its telemetry, by its pseudonym as findings
show it, or as `*` (or nothing) for all. A time without a zone is UTC.
"""

import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mutewatch.errors import OperatorError
from mutewatch.identity import Names
from mutewatch.mute import EVERYONE

Timeline = dict[str, list[tuple[datetime, bool]]]

FIELDS = ("time", "client", "muted")
WORDS = {
    **dict.fromkeys(("true", "1", "yes", "muted", "mute"), True),
    **dict.fromkeys(("false", "0", "no", "unmuted", "unmute"), False),
}


def load_timeline(path: Path, names: Names) -> Timeline:
    """Return the states in `path` by client name. OperatorError names file and line of the first fault."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise OperatorError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise OperatorError(f"{path}: byte {error.start:,}: not UTF-8 text") from None
    timeline: Timeline = {}
    for line, row in _json_rows(path, text) if text.lstrip().startswith("{") else _csv_rows(path, text):
        try:
            at, client, muted = _time(row["time"]), str(row["client"] or EVERYONE).strip(), _muted(row["muted"])
        except ValueError as error:
            raise OperatorError(f"{path}: line {line}: {error}") from None
        for name in {client, names.pseudonym(client)} - {""}:
            timeline.setdefault(name, []).append((at, muted))
    return timeline


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.reader(text.splitlines())
    header = [name.strip().lower() for name in next(reader, [])]
    if sorted(header) != sorted(FIELDS):
        raise OperatorError(f"{path}: line 1: the first line must be: time,client,muted")
    for cells in reader:
        if any(cell.strip() for cell in cells):
            if len(cells) != len(FIELDS):
                raise OperatorError(f"{path}: line {reader.line_num}: {len(cells)} fields instead of 3")
            yield reader.line_num, dict(zip(header, cells, strict=True))


def _json_rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise OperatorError(f"{path}: line {number}: not JSON: {error}") from None
            if not isinstance(row, dict) or not {"time", "muted"} <= row.keys():
                raise OperatorError(f"{path}: line {number}: needs the keys time, client, muted")
            yield number, {"client": EVERYONE, **row}


def _time(value: Any) -> datetime:
    """ISO 8601, or seconds since 1970."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
        time = datetime.fromisoformat(str(value).strip())
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"time {value!r} is not ISO 8601, such as 2026-03-02T09:15:00Z") from None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _muted(value: Any) -> bool:
    word = str(value).strip().lower()
    if word not in WORDS:
        raise ValueError(f"muted is {value!r}; write true or false")
    return WORDS[word]
