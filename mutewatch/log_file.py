"""A private log of one JSON object a line, that neither grows without end nor holds half a line.

Mode 0600; a link in its place is not followed. A file that has grown is put aside as `.1`, in the place of the one
put aside before. Any number of processes may append: each holds the file's lock while it does.
"""

import errno
import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path


def append(log: Path, record: Mapping[str, object], *, log_bytes: int | None = None) -> None:
    """Append `record` as one line of ASCII, whole or not at all. Raises OSError.

    `log_bytes`: from which size on the file is put aside; None if it may grow.
    """
    line = json.dumps(record) + "\n"
    descriptor = _open_locked(log)
    try:
        before = os.fstat(descriptor).st_size
        try:
            write_all(descriptor, line.encode())
        except OSError:
            os.ftruncate(descriptor, before)  # half a line would spoil the next one too
            raise
        if log_bytes is not None and os.fstat(descriptor).st_size >= log_bytes:
            log.replace(log.with_name(f"{log.name}.1"))
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes) -> None:
    """A disk that is almost full takes a part of what it is given. Raises OSError then."""
    written = os.write(descriptor, data)
    if written < len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _open_locked(log: Path) -> int:
    """Open the file that has this name once its lock is ours: another process may have put it aside before."""
    while True:
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_named(descriptor, log):
                return descriptor
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_named(descriptor: int, log: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), log.lstat())
    except FileNotFoundError:
        return False
