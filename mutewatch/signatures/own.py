"""An operator's own signatures: the folder that they are in, and what tells that it has changed."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from mutewatch.errors import OperatorError

FOLDER_VARIABLE = "MUTEWATCH_SIGNATURES_FOLDER"  # the gateway's setting signatures.folder reads it too


def own_files(folder: Path | None = None) -> tuple[Path, ...]:
    """Return the signature files (`*.toml`) of `folder`, ordered by name.

    Without `folder`: of $MUTEWATCH_SIGNATURES_FOLDER, or else of `mutewatch/signatures` in the user's folder of
    settings (XDG Base Directory), the only one that may be missing. OperatorError for one that cannot be read.
    """
    named = os.environ.get(FOLDER_VARIABLE)
    chosen = folder or (Path(named).expanduser() if named else None)
    place = chosen or _default_folder()
    try:
        if place is None or (chosen is None and not place.exists()):
            return ()
        return tuple(sorted(path for path in place.iterdir() if path.suffix == ".toml"))
    except OSError as error:
        raise OperatorError(f"the folder of signatures {place}: {error.strerror}") from None


def fingerprint(files: Iterable[Path]) -> str:
    """Return what differs whenever the names or the contents of `files` do. OperatorError."""
    digest = hashlib.sha256()
    for path in files:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise OperatorError(f"{path}: {error.strerror}") from None
        digest.update(f"{path}\0{len(content)}\0".encode(errors="surrogateescape") + content)
    return digest.hexdigest()


def _default_folder() -> Path | None:
    """None for a user without a home, as some services are."""
    try:
        base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    except RuntimeError:
        return None
    return Path(base) / "mutewatch" / "signatures"
