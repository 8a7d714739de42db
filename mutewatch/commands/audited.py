"""Commands that show or change what was recorded, in the audit log."""

import os
import pwd
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from mutewatch.audit import audit
from mutewatch.errors import OperatorError


def audit_command(state: Path, what: str, details: Mapping[str, object] | None = None) -> None:
    """Write down in the state directory, if there is one, that the user of this terminal did `what`.

    A log that cannot be written is told on stderr and stops nobody: who has the store's file needs no leave of ours.
    """
    if not state.is_dir():
        return
    try:
        audit(state, datetime.now(UTC), _user(), what, {"by": "command line", **(details or {})})
    except OperatorError as error:
        print(f"mutewatch: {error}", file=sys.stderr)


def _user() -> str:
    """Who is logged in, also behind sudo; what they are by number where they have no name."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    return os.environ.get("SUDO_USER", name) if name == "root" else name
