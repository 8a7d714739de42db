"""The files that a SIEM's shipper reads: flagged minutes as EVE or ECS, one line each, appended by the writer's thread.

Rules:

- a file is opened for each batch, so that whatever rotates it needs to tell nobody: renamed, it is made anew; emptied
  (copytruncate), it is appended to from its start;
- whole lines only: half a line, of a full disk or of a process that was killed, is taken back, and comes again;
- lines are on the disk (fsync) before the store forgets that they are to be written;
- a file that is made here is for its owner alone, or its group too (`mode`); one that is there keeps its mode;
- a link in its place is not followed, and nothing but a file is written to.
"""

import errno
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mutewatch.records import Finding
from mutewatch.sinks.ecs import ecs_record
from mutewatch.sinks.eve import eve_record
from mutewatch.sinks.export import event_id, redacted
from mutewatch.sinks.jsonl import json_line
from mutewatch.sinks.record import Record

LINE_BYTES: Final = 64 << 10  # how far back the beginning of a half line is looked for; a line of ours has about 1 KiB
FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """Which files, for whom, and with what in them."""

    eve_file: Path | None = None
    ecs_file: Path | None = None
    mode: int = 0o600  # of files that are made here
    guesses: bool = False  # are activity guesses in them?


NO_EXPORT: Final = ExportSettings()


class ExportFiles:
    """All files that the operator wants; false if there are none."""

    def __init__(self, settings: ExportSettings) -> None:
        wanted = ((settings.eve_file, eve_record), (settings.ecs_file, ecs_record))
        self._files = [ExportFile(path, record, settings.mode) for path, record in wanted if path is not None]
        self._with_guesses = settings.guesses

    def __bool__(self) -> bool:
        return bool(self._files)

    def write(self, findings: Sequence[Finding]) -> None:
        """Append a line for each finding to each file. Raises OSError if one could not be written.

        The same findings may come again then, with others behind them; a file that has them does not get them twice.
        """
        leaving = [redacted(finding, with_guesses=self._with_guesses) for finding in findings]
        errors: list[OSError] = []
        for file in self._files:
            try:
                file.write(leaving)
            except OSError as error:
                errors.append(error)
        if errors:
            raise errors[0]


class ExportFile:
    """One file."""

    def __init__(self, path: Path, record: Callable[[Finding], Record], mode: int) -> None:
        self._path, self._record, self._mode = path, record, mode
        self._written: set[str] = set()  # ids of the newest batch

    def write(self, findings: Sequence[Finding]) -> None:
        ids = [event_id(finding) for finding in findings]
        new = [finding for name, finding in zip(ids, findings, strict=True) if name not in self._written]
        if new:
            append(self._path, "".join(json_line(self._record(finding)) for finding in new).encode(), self._mode)
        self._written = set(ids)


def append(path: Path, lines: bytes, mode: int) -> None:
    """Append whole lines to the file at `path`, all or none, and wait until they are on the disk. Raises OSError."""
    descriptor = _open(path, mode)
    try:
        _take_half_line_back(descriptor)
        written = os.write(descriptor, lines)
        if written < len(lines):
            os.ftruncate(descriptor, max(0, os.fstat(descriptor).st_size - written))
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _open(path: Path, mode: int) -> int:
    try:
        descriptor = os.open(path, FLAGS)
    except FileNotFoundError:
        descriptor = os.open(path, FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
        os.fchmod(descriptor, mode)  # whatever the umask
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a file", str(path))
    return descriptor


def _take_half_line_back(descriptor: int) -> None:
    """An earlier process may have been killed within a line; what it began is written anew."""
    size = os.fstat(descriptor).st_size
    tail = os.pread(descriptor, min(size, LINE_BYTES), max(0, size - LINE_BYTES))
    if not tail or tail.endswith(b"\n"):
        return
    begins_at = tail.rfind(b"\n") + 1
    if not begins_at and size > len(tail):
        raise OSError(errno.EINVAL, "not a file of lines")
    os.ftruncate(descriptor, size - len(tail) + begins_at)
