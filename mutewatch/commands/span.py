"""Times as an operator writes them: 2026-03-02, 2026-03-02T09:00, or 7d, 24h, 30m before now. UTC."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from mutewatch.errors import OperatorError

UNITS: Final = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_AGO: Final = re.compile(r"([0-9]{1,5})([mhdw])")


def parse_time(text: str, now: datetime) -> datetime:
    """Return the time that `text` names; one without an offset is UTC. Raises OperatorError."""
    if found := _AGO.fullmatch(text):
        return now - int(found[1]) * UNITS[found[2]]
    try:
        time = datetime.fromisoformat(text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise OperatorError(f"{text!r} is no time: write 2026-03-02, 2026-03-02T09:00 or 7d (days ago)") from None
