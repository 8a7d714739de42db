"""Opening the operator's files: every failure is one `InputError` that says what to do instead."""

from pathlib import Path
from typing import BinaryIO

from mutewatch.errors import InputError


def open_input(path: Path) -> BinaryIO:
    """Return `path` opened for reading bytes. Raises InputError where that is not possible."""
    try:
        if path.is_dir():
            raise InputError(path, f"is a directory: name the files in it, e.g. {path / '*.pcap'}")
        if path.is_fifo():
            raise InputError(path, "is a pipe: write - and feed it on standard input")
        return path.open("rb")
    except FileNotFoundError:
        raise InputError(path, "not found") from None
    except PermissionError:
        raise InputError(path, "no permission to read it") from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise InputError(path, f"cannot be opened: {getattr(error, 'strerror', None) or error}") from None
