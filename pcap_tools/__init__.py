"""Reads saved traffic: packet captures, HAR files, mitmproxy flow dumps, API logs, exchange logs.

`reader_for` chooses the reader by what a file begins with, never by its name. Importing this package loads
none of the libraries that the readers use.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from mutewatch.errors import InputError, OperatorError
from mutewatch.ports import Reader, ReadOptions
from mutewatch.records import Exchange
from pcap_tools.api_log import ApiLogReader
from pcap_tools.exchange_log import ExchangeLogReader
from pcap_tools.files import open_input
from pcap_tools.flow_dump import FlowDumpReader
from pcap_tools.har import HarReader
from pcap_tools.pcap import CaptureReader

__all__ = ["ENGINES", "READERS", "read_inputs", "reader_for"]

STDIN = Path("-")
ENGINES = ("native", "tshark")  # what may decode captures

READERS: tuple[Reader, ...] = (  # asked in this order
    CaptureReader(),
    FlowDumpReader(),
    HarReader(),
    ApiLogReader(),
    ExchangeLogReader(),
)
_KINDS = "pcap, pcapng (also .gz, .zst), HAR, mitmproxy flow dump, x64dbg API log, exchange log (JSON Lines)"
_HEAD = 4_096


def reader_for(path: Path) -> Reader:
    """Return the reader of the file at `path`. Raises InputError with what to do instead if there is none."""
    try:
        with open_input(path) as handle:
            head = handle.read(_HEAD)
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror}") from None
    if not head:
        raise InputError(path, "is empty")
    for reader in READERS:
        if reader.sniff(head):
            return reader
    raise InputError(path, f"is of no known kind; known are: {_KINDS}")


def read_inputs(
    paths: Sequence[Path], options: ReadOptions, *, engine: str = "native", as_one: bool = False
) -> Iterator[Exchange]:
    """Yield the exchanges of `paths`; `as_one`: the files of one rotated capture.

    `-` is a capture on standard input. Raises InputError for files, OperatorError for what does not go together.
    """
    if not as_one and len(paths) > 1:
        for path in paths:
            yield from read_inputs((path,), options, engine=engine)
        return
    is_stream = STDIN in paths or options.follow
    reader = CaptureReader() if is_stream else reader_for(paths[0])
    if isinstance(reader, CaptureReader) and engine == "tshark":
        from pcap_tools.tshark import TsharkReader

        if as_one or is_stream:
            raise OperatorError("tshark reads one file at a time: leave out --engine, or --rotated, --follow and -")
        yield from TsharkReader().read(paths[0], options)
    elif isinstance(reader, CaptureReader):
        yield from reader.read_rotated(paths, options)
    elif as_one:
        raise OperatorError(f"{paths[0]} is not a capture: --rotated is for captures")
    else:
        yield from reader.read(paths[0], options)
