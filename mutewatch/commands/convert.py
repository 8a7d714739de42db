"""`mutewatch convert`: the HTTP messages of captures, as mitmproxy flows, HAR or a small capture."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from mutewatch.commands.output import check_files, replacing
from mutewatch.commands.scan import Exit
from mutewatch.errors import InputError, OperatorError, shown
from mutewatch.flow_records import Flow, Unidentified
from mutewatch.ports import ReadOptions
from mutewatch.records import Exchange
from mutewatch.signatures import match_host
from mutewatch.sinks.flows import flow_lines, unidentified_lines
from pcap_tools import STDIN, reader_for
from pcap_tools.flow_writer import WRITERS
from pcap_tools.http.message import HttpMessage
from pcap_tools.pcap import CaptureReader

CAPTURE = ".pcapng"


def convert(
    paths: Sequence[Path],
    output: Path,
    keylogs: tuple[Path, ...],
    hosts: tuple[str, ...],
    addresses: tuple[str, ...],
    rotated: bool,
) -> Exit:
    """Read the captures at `paths`, write `output`, say what was left out; return the exit code."""
    if output.suffix not in (*WRITERS, CAPTURE):
        raise OperatorError(f"{output}: end the name with {', '.join(WRITERS)} or {CAPTURE}, to say what to write")
    check_files(output, paths, keylogs)
    if output.suffix == CAPTURE and STDIN in paths:
        raise OperatorError(f"for {CAPTURE} a capture is read twice, and standard input can be read once: name a file")
    flows: list[Flow] = []
    unidentified: Counter[Unidentified] = Counter()
    options = ReadOptions(
        *(keylogs, _chosen(hosts), addresses),
        others_by_key=not hosts,  # a capture for somebody else must not hold what was not asked for
        on_flow=flows.append,
        on_unidentified=unidentified.update,
    )
    faults: list[InputError] = []
    groups = [tuple(paths)] if rotated else [(path,) for path in paths]
    with replacing(output) as file:
        if output.suffix == CAPTURE:
            count = _carve(groups, options, flows, file, faults)
        else:
            count = WRITERS[output.suffix](_messages(groups, options, faults), file)
    for line in (*flow_lines(flows, "Flows", with_files=len(paths) > 1), *unidentified_lines(unidentified)):
        print(line)
    print(f"Wrote {count} {'packets' if output.suffix == CAPTURE else 'messages'} to {shown(output)}.")
    for fault in faults:
        print(f"mutewatch: {fault}", file=sys.stderr)
    return Exit.UNREADABLE if faults or any(not flow.messages for flow in flows) or unidentified else Exit.RAN


def _chosen(hosts: tuple[str, ...]) -> Callable[[str], bool]:
    if not hosts:
        return lambda _name: True
    return lambda name: any(match_host(host, name) for host in hosts)


def _messages(
    groups: Sequence[tuple[Path, ...]], options: ReadOptions, faults: list[InputError]
) -> Iterator[tuple[Exchange, HttpMessage | None]]:
    """Yield the messages of all captures; what cannot be read ends up among the faults."""
    for paths in groups:
        try:
            for path in paths:
                _check_kind(path)
            for exchange, message in CaptureReader(keep_responses=True).read_messages(paths, options):
                # of a flow whose beginning is missing only its messages tell the host
                if exchange.host is None or options.addresses or options.is_host(exchange.host):
                    yield exchange, message
        except InputError as fault:
            faults.append(fault)


def _check_kind(path: Path) -> None:
    if path != STDIN and not isinstance(reader_for(path), CaptureReader):
        raise InputError(path, "is not a capture")


def _carve(
    groups: Sequence[tuple[Path, ...]],
    options: ReadOptions,
    flows: list[Flow],
    file: BinaryIO,
    faults: list[InputError],
) -> int:
    """Write the packets of the chosen flows of all captures."""
    from pcap_tools.carve import carve, flow_keys

    for _ in _messages(groups, options, faults):
        pass
    paths = [path for group in groups for path in group]
    return carve(paths, flow_keys(flows), options.keylogs, file)
