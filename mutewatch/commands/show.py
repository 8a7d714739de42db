"""`mutewatch show`: the decoded values of single messages, each with the way to it; the payload only if asked for."""

import json
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from mutewatch.commands.output import check_files, replacing
from mutewatch.errors import InputError, OperatorError
from mutewatch.ports import ReadOptions
from mutewatch.readings import Opened, open_message
from mutewatch.records import Exchange
from mutewatch.signatures import known_signatures
from mutewatch.signatures.matcher import Matcher
from mutewatch.signatures.model import Signature
from pcap_tools import read_inputs


def show(
    path: Path,
    keylogs: tuple[Path, ...],
    frame: int | None,
    body: str | None,
    payload: Path | None,
    engine: str,
    signatures: Path | None = None,
) -> int:
    """Print the values of the messages of `path`: all, or those of a frame or with a body's SHA-256.

    `payload`: the file for what they decode to, with all names in it; `signatures`: the folder of the operator's own.
    OperatorError if no message is meant.
    """
    check_files(payload, [path], keylogs)
    console, contents, count, fault = Console(highlight=False), [], 0, None
    try:
        for exchange, signature, opened in _messages(path, keylogs, engine, signatures):
            if not _is_meant(exchange, opened, frame, body):
                continue
            count += 1
            _print(console, exchange, signature, opened)
            contents += [one.content for one in opened.payloads if one.content is not None]
    except InputError as error:
        fault = error
    if not count and fault is None:
        raise OperatorError(f"{path}: no message of a known endpoint there; `mutewatch scan` shows which there are")
    if payload is not None:
        with replacing(payload) as file:
            file.write(json.dumps(contents, indent=1).encode())
    if fault is not None:
        raise fault
    return 0


def _messages(
    path: Path, keylogs: tuple[Path, ...], engine: str, signatures: Path | None
) -> Iterator[tuple[Exchange, Signature, Opened]]:
    matcher = Matcher(known_signatures(signatures))
    options = ReadOptions(keylogs, lambda host: bool(matcher.of_host(host)), wants_answer=matcher.wants_answer)
    for exchange in read_inputs((path,), options, engine=engine):
        if exchange.body is None:
            continue
        for signature, matched in matcher.match(exchange.method, exchange.host, exchange.path, exchange.direction):
            yield exchange, signature, open_message(exchange, *matched)


def _is_meant(exchange: Exchange, opened: Opened, frame: int | None, body: str | None) -> bool:
    is_frame = frame is None or exchange.origin.frame == frame
    return is_frame and (body is None or opened.body_sha256.startswith(body.lower()))


def _print(console: Console, exchange: Exchange, signature: Signature, opened: Opened) -> None:
    origin = exchange.origin
    where = f"frame {origin.frame}, TCP stream {origin.tcp_stream}" if origin.frame else f"no. {origin.ordinal}"
    what = f"{signature.id}, version {signature.version}; body {opened.body_sha256}"
    console.print(f"{where}: {what}", markup=False, soft_wrap=True)
    for payload in opened.payloads:
        if payload.fault is not None:
            console.print(f"  undecoded: {payload.fault}", markup=False)
        for reading in payload.readings:
            raw = "" if reading.raw == reading.value else f" (raw {reading.raw:g})"
            console.print(f"  {reading.value:g} {reading.unit}{raw}  {reading.path}", markup=False, soft_wrap=True)
        if payload.readings:
            console.print(f"  decoded by: {' > '.join(payload.readings[0].steps)}", markup=False)
    if not any(payload.readings or payload.fault for payload in opened.payloads):
        console.print("  no audio-derived value", markup=False)
