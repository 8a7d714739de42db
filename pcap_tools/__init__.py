"""Reads saved traffic: packet captures, HAR files, mitmproxy flow dumps, API logs, exchange logs.

`reader_for` chooses the reader by what a file begins with, never by its name. Importing this package loads
none of the libraries that the readers use.
"""

from pathlib import Path

from mutewatch.errors import InputError
from mutewatch.ports import Reader
from pcap_tools.api_log import ApiLogReader
from pcap_tools.exchange_log import ExchangeLogReader
from pcap_tools.files import open_input
from pcap_tools.flow_dump import FlowDumpReader
from pcap_tools.har import HarReader
from pcap_tools.tshark import TsharkReader

__all__ = ["READERS", "reader_for"]

READERS: tuple[Reader, ...] = (  # asked in this order
    TsharkReader(),
    FlowDumpReader(),
    HarReader(),
    ApiLogReader(),
    ExchangeLogReader(),
)
_KINDS = "pcap, pcapng, HAR, mitmproxy flow dump, x64dbg API log, exchange log (JSON Lines)"
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
