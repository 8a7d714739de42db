"""The audit log: who looked at what, and when. `audit.log` in the state directory, as `log_file` keeps it.

Rules: clients stand in it under pseudonyms; nothing that was seen does, nor any token. What comes from outside is
written as ASCII JSON, so that it cannot break a line, and cut short.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from mutewatch import log_file
from mutewatch.errors import OperatorError

LOG: Final = "audit.log"
LOG_BYTES: Final = 8 << 20  # some 40,000 lines; then audit.log becomes audit.log.1
LONGEST_TEXT: Final = 200  # characters of one field


def audit(state: Path, at: datetime, who: str, what: str, details: Mapping[str, object] | None = None) -> None:
    """Append one line to the log in the directory `state`. OperatorError if that cannot be done."""
    told = {name: _short(value) for name, value in (details or {}).items() if value is not None}
    try:
        log_file.append(
            state / LOG, {"at": at.isoformat(), "who": _short(who), "what": what, **told}, log_bytes=LOG_BYTES
        )
    except OSError as error:
        raise OperatorError(f"cannot write the audit log {state / LOG}: {error.strerror}") from None


def _short(value: object) -> object:
    return value[:LONGEST_TEXT] if isinstance(value, str) else value
