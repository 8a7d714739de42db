"""Errors by whose fault they are.

The traffic's faults are not here: they become `Undecoded` records. Our own faults are built-in exceptions.
"""

import errno
from pathlib import Path
from typing import Final

# What the system may refuse anybody at any file: no mistake in our code.
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED: Final = (*_FULL, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ENAMETOOLONG)


class OperatorError(Exception):
    """Something the operator wrote is wrong. One line says what, and what to write instead (exit code 2)."""


class InputError(Exception):
    """An input could not be read, or not to its end (exit code 3). What came before it stands."""

    def __init__(self, path: Path | str, reason: str, offset: int | None = None) -> None:
        self.path, self.reason, self.offset = shown(path), reason, offset
        super().__init__(str(self))

    def __str__(self) -> str:
        where = self.path if self.offset is None else f"{self.path}: byte {self.offset:,}"
        return f"{where}: {self.reason}"


def shown(text: object) -> str:
    """Return `text` fit for one line of a terminal: names of files may hold newlines, escapes, and no text at all."""
    told = str(text)
    return told if told.isprintable() else "".join(map(_shown, told))


def _shown(char: str) -> str:
    return char if char.isprintable() else char.encode("unicode_escape").decode()


def is_full(error: OSError) -> bool:
    """Is there no place left to write to?"""
    return error.errno in _FULL


def refusal(error: OSError) -> str | None:
    """What the system refused, in one line; None if it may be a fault of ours."""
    if error.errno not in _REFUSED:
        return None
    where = f"{error.filename}: " if error.filename else "cannot write: " if is_full(error) else ""
    return f"{where}{error.strerror}"


class DecodeError(ValueError):
    """A body did not decode; the message is the reason as it is shown. Never leaves the pipeline."""
