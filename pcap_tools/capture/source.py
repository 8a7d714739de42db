"""Opens a capture wherever it comes from: a file, a compressed file, standard input, a file that still grows.

`open_source` gives a stream of plain capture bytes and knows how much of the file was consumed, for the
progress bar. Compression is told by the first bytes, never by the name. A compressed file that is cut or
damaged gives what came before and then `SourceError`; expansion is bounded (limits.expansion).
"""

import select
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, BinaryIO, Protocol

from pcap_tools.capture.magic import GZIP_MAGIC, ZSTD_MAGIC
from pcap_tools.files import open_input
from pcap_tools.limits import ReadLimits

STDIN = Path("-")
_PAUSE_SECONDS = 0.05  # a pipe that gives nothing for so long has no more for now
_POLL_SECONDS = 0.25  # how soon a growing file is looked at again
_READ = 1 << 16  # compressed bytes at once; what is left of them is copied at the end of each gzip member


class SourceError(Exception):
    """The stream cannot go on: damaged compression, or more than the limit. Says what is wrong."""


class Source(Protocol):
    """Capture bytes in order. `consumed`: bytes of the file behind us."""

    is_live: bool  # does it grow while we read, so that what is there should not wait for more?

    @property
    def is_stopped(self) -> bool:
        """Did the operator end it, wherever it was? Then a record that is not whole is no damage."""
        ...

    @property
    def consumed(self) -> int: ...

    def readinto(self, target: memoryview) -> int:
        """Fill `target` from its start; return the number of bytes, 0 only at the end."""
        ...

    def close(self) -> None: ...


def open_source(path: Path, limits: ReadLimits, *, follow: bool = False) -> Source:
    """Return the bytes of `path` (`-`: standard input). Raises InputError if it cannot be opened."""
    is_stdin = path == STDIN
    handle: BinaryIO = sys.stdin.buffer if is_stdin else open_input(path)
    plain = _Plain(handle, is_live=is_stdin or follow, wait=_patience(path) if follow and not is_stdin else None)
    head = plain.peek(4)
    if head[:2] == GZIP_MAGIC:
        return _Expanded(plain, _Gzip(), limits)
    if head == ZSTD_MAGIC:
        return _Expanded(plain, _zstd(), limits)
    return plain


def _patience(path: Path) -> Callable[[int], bool]:
    """Return what waits for more of a growing file; False: it was removed or replaced."""
    inode = path.stat().st_ino

    def wait(consumed: int) -> bool:
        try:
            time.sleep(_POLL_SECONDS)
            status = path.stat()
        except OSError:
            return False
        return status.st_ino == inode and status.st_size >= consumed

    return wait


class _Plain:
    """A file as it is."""

    def __init__(self, handle: IO[bytes], *, is_live: bool, wait: Callable[[int], bool] | None) -> None:
        self._handle: Any = handle
        self.is_live, self.is_stopped, self.consumed = is_live, False, 0
        self._wait = wait
        self._peeked = b""

    def peek(self, count: int) -> bytes:
        """Return the first `count` bytes, or fewer if there are no more."""
        head = bytearray(count)
        have = 0
        with memoryview(head) as view:
            while have < count and (more := self._await(view[have:])):
                have += more
        self._peeked = bytes(head[:have])
        return self._peeked

    def readinto(self, target: memoryview) -> int:
        if self._peeked:
            count = min(len(self._peeked), len(target))
            target[:count], self._peeked = self._peeked[:count], self._peeked[count:]
        else:
            count = self._await(target)
        self.consumed += count
        return count

    def _await(self, target: memoryview) -> int:
        """Read what there is, or wait for more. Ctrl-C is the end of what has no other."""
        if self.is_stopped:
            return 0
        try:
            count = self._read(target)
            goes_on = True
            while not count and self._wait and goes_on:
                goes_on = self._wait(self.consumed)
                count = self._read(target)  # once more when it was rotated away: its last bytes may just have come
        except KeyboardInterrupt:
            if not self.is_live:
                raise
            self.is_stopped = True
            return 0
        return count

    def _read(self, target: memoryview) -> int:
        """From a pipe, what comes until it pauses; from a file, all there is."""
        if not self.is_live or self._wait:
            return int(self._handle.readinto(target))
        count = more = int(self._handle.readinto1(target))
        while more and count < len(target) and select.select([self._handle], [], [], _PAUSE_SECONDS)[0]:
            more = int(self._handle.readinto1(target[count:]))
            count += more
        return count

    def close(self) -> None:
        if self._handle is not sys.stdin.buffer:
            self._handle.close()


class _Decompressor(Protocol):
    """Gives at most `limit` bytes for the `data` it is given and keeps the rest of the data."""

    def expand(self, data: bytes, limit: int) -> bytes: ...

    @property
    def is_hungry(self) -> bool:
        """Does it need more data to give more?"""
        ...

    @property
    def is_between(self) -> bool:
        """Is it at the end of a member, where a file may end?"""
        ...


class _Gzip:
    """Any number of gzip members (RFC 1952, 2.2), never more than asked for."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=31)
        self._rest, self.is_between = b"", False

    @property
    def is_hungry(self) -> bool:
        return not self._rest

    def expand(self, data: bytes, limit: int) -> bytes:
        data = self._rest + data
        if self.is_between and not data.strip(b"\0"):  # padding behind the last member
            self._rest = b""
            return b""
        if self.is_between:
            self._member = zlib.decompressobj(wbits=31)
        given = self._member.decompress(data, limit)
        self.is_between = self._member.eof
        self._rest = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
        return given


def _zstd() -> "_Decompressor":
    import zstandard

    class _Zstd:
        """Any number of zstd frames (RFC 8878, 3.1); a decompressor gives all it can, so it is fed small pieces."""

        def __init__(self) -> None:
            self._frame = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
            self._rest, self._given, self.is_between = b"", b"", False

        @property
        def is_hungry(self) -> bool:
            return not self._rest and not self._given

        def expand(self, data: bytes, limit: int) -> bytes:
            self._rest += data
            if not self._given and self._rest:
                if self.is_between:
                    self._frame = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
                piece, self._rest = self._rest[:_ZSTD_PIECE], self._rest[_ZSTD_PIECE:]
                try:
                    self._given = self._frame.decompress(piece)
                except zstandard.ZstdError as error:
                    raise zlib.error(str(error)) from None
                self.is_between = self._frame.eof
                if self._frame.eof:
                    self._rest = self._frame.unused_data + self._rest
            given, self._given = self._given[:limit], self._given[limit:]
            return given

    return _Zstd()


_ZSTD_PIECE = 1 << 10  # bytes: a block of a few bytes expands to 128 KiB at most (RFC 8878, 3.1.1.2)


class _Expanded:
    """A compressed file, expanded as it is read."""

    def __init__(self, plain: _Plain, decompressor: _Decompressor, limits: ReadLimits) -> None:
        self._plain, self._decompressor, self._limits = plain, decompressor, limits
        self.is_live, self._given = False, 0
        self._buffer = memoryview(bytearray(_READ))

    @property
    def is_stopped(self) -> bool:
        return self._plain.is_stopped

    @property
    def consumed(self) -> int:
        return self._plain.consumed

    def readinto(self, target: memoryview) -> int:
        at_end = False
        while True:
            data = b""
            if self._decompressor.is_hungry:
                data = bytes(self._buffer[: self._plain.readinto(self._buffer)])
                at_end = not data
            try:
                given = self._decompressor.expand(data, len(target))
            except zlib.error as error:
                raise SourceError(f"the compression is damaged: {error}") from None
            if given:
                self._count(len(given))
                target[: len(given)] = given
                return len(given)
            if at_end and self._decompressor.is_between:
                return 0
            if at_end:
                raise SourceError("the compressed file ends in the middle")

    def _count(self, count: int) -> None:
        self._given += count
        free, ratio = self._limits.expansion_free, self._limits.expansion_ratio
        if self._given > free and self._given > ratio * self._plain.consumed:
            raise SourceError(f"the compressed file expands more than {ratio} times")

    def close(self) -> None:
        self._plain.close()
