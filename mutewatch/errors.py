"""Errors by whose fault they are.

The traffic's faults are not here: they become `Undecoded` records. Our own faults are built-in exceptions.
"""

from pathlib import Path


class OperatorError(Exception):
    """Something the operator wrote is wrong. One line says what, and what to write instead (exit code 2)."""


class InputError(Exception):
    """An input could not be read, or not to its end (exit code 3). What came before it stands."""

    def __init__(self, path: Path | str, reason: str, offset: int | None = None) -> None:
        self.path, self.reason, self.offset = str(path), reason, offset
        super().__init__(str(self))

    def __str__(self) -> str:
        where = self.path if self.offset is None else f"{self.path}: byte {self.offset:,}"
        return f"{where}: {self.reason}"


class DecodeError(ValueError):
    """A body did not decode; the message is the reason as it is shown. Never leaves the pipeline."""
