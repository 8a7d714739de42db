"""Where mutewatch keeps what it must keep: the state directory, 0700, and the files in it, 0600."""

import os
from dataclasses import dataclass
from pathlib import Path

from mutewatch.errors import OperatorError

LIVE_STATUS = "live_status.json"  # the live proxy's counters, beside its store
STORE_URL = "MUTEWATCH_STORE_URL"  # of a PostgreSQL database; its password has no place in a file of settings
CANARY_RESULT = "canary.json"  # what the newest canary found, beside them


@dataclass(frozen=True, slots=True)
class StateDirectory:
    """The paths inside one state directory."""

    root: Path

    @property
    def store(self) -> Path:
        return self.root / "mutewatch.db"

    @property
    def store_location(self) -> Path | str:
        """Where the live proxy keeps its findings: the URL in $MUTEWATCH_STORE_URL, or `store`."""
        return os.environ.get(STORE_URL) or self.store

    @property
    def client_key(self) -> Path:
        """Key of the client pseudonyms."""
        return self.root / "client.key"

    @property
    def authority(self) -> Path:
        """The certificate authority that clients trust."""
        return self.root / "authority"

    @property
    def proxy_authority(self) -> Path:
        """mitmproxy's confdir. The authority that it makes there is trusted by nobody."""
        return self.root / "mitmproxy"


def store_location(text: str) -> Path | str:
    """Return what an operator named as a store: the URL of a database, or a path."""
    return text if "://" in text else Path(text)


def default_state() -> Path:
    """Return $MUTEWATCH_STATE, or `mutewatch` in the user's state folder (XDG Base Directory)."""
    if chosen := os.environ.get("MUTEWATCH_STATE"):
        return Path(chosen)
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "mutewatch"


def open_state(root: Path) -> StateDirectory:
    """Return the state directory at `root`, made if need be. OperatorError if it is not ours alone."""
    try:
        _make(root)
        status = root.stat()
    except OSError as error:
        raise OperatorError(f"cannot use the state directory {root}: {error.strerror}") from None
    if status.st_mode & 0o077:
        raise OperatorError(f"the state directory {root} is open to others: chmod 700 {root}")
    return StateDirectory(root)


def _make(folder: Path) -> None:
    """Make `folder` and what is missing above it, each for its owner alone: who can rename it could replace it."""
    if not folder.parent.exists():
        _make(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
