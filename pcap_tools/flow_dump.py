"""Reads mitmproxy's flow dumps (`mitmdump -w`), by mitmproxy's own reader.

HTTP flows become exchanges by `mutewatch.flow`, with the client of their connection; other flows are
skipped. Bodies stay compressed: nothing here expands them. A length in a damaged dump may ask for
gigabytes, so the file is handed to mitmproxy through a door that gives no more than it holds.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from msgspec.structs import replace

from mutewatch.errors import InputError, shown
from mutewatch.flow import exchanges_from_flow
from mutewatch.ports import ReadOptions
from mutewatch.records import Exchange, Origin
from pcap_tools.files import open_input
from pcap_tools.limits import DEFAULT_READ_LIMITS, ReadLimits


class FlowDumpReader:
    """Yields the HTTP requests and websocket messages of a mitmproxy flow dump, and the answers that are wanted."""

    name = "flow-dump"

    def __init__(self, limits: ReadLimits = DEFAULT_READ_LIMITS) -> None:
        self._limits = limits

    def sniff(self, head: bytes) -> bool:
        """Is `head` a length, a colon, and in it a length, a colon and a name: a dictionary of a dump?"""
        length, _, rest = head[:32].partition(b":")
        inner, _, _ = rest.partition(b":")
        return length.isdigit() and inner.isdigit()

    def read(self, path: Path, options: ReadOptions) -> Iterator[Exchange]:
        """Yield the exchanges of each HTTP flow; InputError at the first flow that cannot be read."""
        from mitmproxy.http import HTTPFlow
        from mitmproxy.io import FlowReader

        number = ordinal = offset = 0
        with open_input(path) as handle:
            door = _BoundedFile(handle, path.stat().st_size, self._limits.flow)
            flows = iter(FlowReader(door).stream())  # type: ignore[arg-type]
            while True:
                try:
                    flow = next(flows, None)
                    if flow is None:
                        return
                    found: list[Exchange] = []
                    if isinstance(flow, HTTPFlow):
                        origin = Origin(self.name, shown(path), offset=offset)
                        found = list(exchanges_from_flow(flow, origin, options))
                        number += 1
                except Exception as error:
                    # mitmproxy's reader declares FlowReadException; a damaged dump also raises KeyError,
                    # AttributeError, AssertionError, RecursionError and MemoryError out of it.
                    reason = door.refusal or _reason(error)
                    raise InputError(path, f"flow {number + 1} is damaged: {reason}", offset) from None
                offset = handle.tell()
                options.on_bytes(offset)
                for exchange in found:
                    ordinal += 1
                    yield replace(exchange, origin=replace(exchange.origin, ordinal=ordinal))


class _BoundedFile:
    """The part of a file that mitmproxy's reader uses; refuses a read for more than is there."""

    def __init__(self, handle: BinaryIO, size: int, limit: int) -> None:
        self._handle, self._size, self._limit = handle, size, limit
        self.refusal: str | None = None

    def read(self, count: int) -> bytes:
        if count > self._limit:
            self.refusal = f"it is {count:,} bytes long, more than {self._limit:,}"
        elif count > 1 and count > self._size - self._handle.tell():
            self.refusal = "the file ends in the middle of it"
        if self.refusal:
            raise ValueError(self.refusal)
        return self._handle.read(count)

    def peek(self, count: int) -> bytes:
        at = self._handle.tell()
        data = self._handle.read(count)
        self._handle.seek(at)
        return data


def _reason(error: Exception) -> str:
    """Return what mitmproxy says, on one line, or the error's kind where it says nothing."""
    return " ".join(str(error).split())[:200] or type(error).__name__
