"""`mutewatch backup`: the store in one file, whole, while the live proxy writes."""

import os
import sqlite3
from pathlib import Path
from tempfile import mkstemp

from mutewatch.commands.output import check_files
from mutewatch.errors import OperatorError
from mutewatch.store import Store


def backup(location: Path | str, destination: Path) -> None:
    """Copy the store at `location` to `destination`, mode 0600, which is replaced once the copy is whole.

    OperatorError if there is no store, it is in PostgreSQL, or the copy cannot be made.
    """
    if isinstance(location, Path) and not location.is_file():
        raise OperatorError(f"no store at {location}")
    if destination.exists() and not destination.is_file():
        raise OperatorError(f"{destination} is no file: name a new one")
    with Store(location) as store:
        check_files(destination, [store.path] if store.path else [], ())
        try:
            _copy(store, destination)
        except (OSError, sqlite3.Error) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise OperatorError(f"cannot write {destination}: {reason}") from None
        print(f"{store.name}: copied to {destination}, {destination.stat().st_size:,} bytes, and found whole")


def _copy(store: Store, destination: Path) -> None:
    descriptor, name = mkstemp(dir=destination.parent, prefix=".mutewatch-backup.")  # mode 0600
    made = Path(name)
    try:
        store.back_up(made)
        os.fsync(descriptor)
        made.replace(destination)
    finally:
        os.close(descriptor)
        made.unlink(missing_ok=True)
