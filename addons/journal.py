"""The live door's own log and status file, in the state directory, mode 0600.

`live.log` is one JSON object a line: time, event, counters. `live_status.json` is the newest state, replaced
as a whole. Neither holds anything a client sent. Rules: only the writer's thread writes here; a failure (disk
full) is counted by the caller and never stops recording.
"""

import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from mutewatch import log_file
from mutewatch.config import LIVE_STATUS

LOG = "live.log"
LOG_BYTES = 8 << 20  # about a week of one line a minute; then live.log becomes live.log.1


class Journal:
    """Writes events and the newest status to `folder`."""

    def __init__(self, folder: Path, *, log_bytes: int = LOG_BYTES) -> None:
        self._folder, self._log_bytes = folder, log_bytes

    def event(self, at: datetime, event: str, fields: Mapping[str, object]) -> None:
        """Append one line. Raises OSError."""
        record = {"at": at.isoformat(), "event": event, **fields}
        log_file.append(self._folder / LOG, record, log_bytes=self._log_bytes)

    def status(self, at: datetime, fields: Mapping[str, object]) -> None:
        """Replace the status file. Raises OSError."""
        text = json.dumps({"at": at.isoformat(), **fields}, indent=1) + "\n"
        new = self._folder / f".{LIVE_STATUS}.new"
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            log_file.write_all(descriptor, text.encode())
        finally:
            os.close(descriptor)
        new.replace(self._folder / LIVE_STATUS)
