"""Reads and writes exchanges as JSON Lines: the plain form for other tools, and for tests.

One object a line, with the fields of `Exchange` under their own names:

- `method` and `path` are required; a field that is missing or null is "not reported";
- `sent_at` is ISO 8601 with an offset; written in UTC;
- the body is `body` (text, meaning its UTF-8 bytes) or `body_base64`; without either it was not read;
- unknown keys are ignored, `origin` among them: where an exchange was read is what the reader saw.

A bad line costs only itself. The file then ends with one InputError that names the first bad line.
"""

import base64
import json
import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from mutewatch.errors import InputError, shown
from mutewatch.ports import ReadOptions
from mutewatch.records import Direction, Exchange, Origin
from pcap_tools.files import open_input
from pcap_tools.limits import DEFAULT_READ_LIMITS, ReadLimits

_PRIVATE = 0o600  # exchanges hold addresses and whole bodies


class ExchangeLogReader:
    """Yields the exchanges of a JSON Lines file. Last in READERS: it takes every file beginning with `{`."""

    name = "exchange-log"

    def __init__(self, limits: ReadLimits = DEFAULT_READ_LIMITS) -> None:
        self._limits = limits

    def sniff(self, head: bytes) -> bool:
        return head.lstrip().startswith(b"{")

    def read(self, path: Path, options: ReadOptions) -> Iterator[Exchange]:
        """Yield the exchange of each good line; raise InputError at the end if there were bad ones."""
        bad, first = 0, ""
        first_offset = offset = ordinal = 0
        with open_input(path) as handle:
            for number, line in enumerate(_lines(handle, self._limits.line), start=1):
                start, offset = offset, handle.tell()
                options.on_bytes(offset)
                if line is not None and not line.strip():
                    continue
                try:
                    if line is None:
                        raise ValueError(f"longer than {self._limits.line:,} bytes")
                    origin = Origin(self.name, shown(path), ordinal=ordinal + 1, offset=start)
                    exchange = parse_exchange(line, origin)
                except (ValueError, RecursionError) as error:
                    if not bad:
                        first, first_offset = f"line {number}: {error}", start
                    bad += 1
                    continue
                ordinal += 1
                yield exchange
        if bad:
            count = "1 line was" if bad == 1 else f"{bad} lines were"
            raise InputError(path, f"{first} ({count} not read)", first_offset)


def parse_exchange(line: bytes, origin: Origin) -> Exchange:
    """Return the exchange that `line` describes. Raises ValueError or RecursionError."""
    fields = json.loads(line.decode("utf-8"))
    if not isinstance(fields, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 (the traffic's fault, not the caller's)
    sent_at = _text(fields, "sent_at")
    return Exchange(
        sent_at=None if sent_at is None else _time(sent_at),
        client=_text(fields, "client"),
        host=_text(fields, "host"),
        port=_number(fields, "port"),
        method=_required(fields, "method"),
        path=_required(fields, "path"),
        query=_text(fields, "query") or "",
        body=_body(fields),
        origin=origin,
        content_encoding=_text(fields, "content_encoding"),
        status=_number(fields, "status"),
        direction=Direction(_text(fields, "direction") or Direction.TO_SERVER),
        connection=_text(fields, "connection"),
        client_port=_number(fields, "client_port"),
    )


def exchange_line(exchange: Exchange) -> str:
    """Return `exchange` as one line of JSON without its newline, ASCII only. The origin is left out."""
    fields: dict[str, object] = {
        "sent_at": exchange.sent_at and exchange.sent_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "client": exchange.client,
        "client_port": exchange.client_port,
        "host": exchange.host,
        "port": exchange.port,
        "method": exchange.method,
        "path": exchange.path,
        "query": exchange.query,
        "status": exchange.status,
        "direction": exchange.direction.value,
        "connection": exchange.connection,
        "content_encoding": exchange.content_encoding,
    }
    if exchange.body is not None:
        try:
            fields["body"] = exchange.body.decode("utf-8")
        except UnicodeDecodeError:
            fields["body_base64"] = base64.b64encode(exchange.body).decode("ascii")
    return json.dumps({key: value for key, value in fields.items() if value is not None})


def write_exchanges(path: Path, exchanges: Iterable[Exchange]) -> int:
    """Write `exchanges` to `path`, readable by its owner only, and return how many there were."""
    count = 0
    with open(path, "w", encoding="ascii", opener=_open_private) as file:
        for exchange in exchanges:
            file.write(exchange_line(exchange) + "\n")
            count += 1
    return count


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, _PRIVATE)


def _lines(handle: BinaryIO, limit: int) -> Iterator[bytes | None]:
    """Yield each line, None for one longer than `limit`, never holding more than `limit` bytes."""
    while line := handle.readline(limit):
        if len(line) < limit or line.endswith(b"\n"):
            yield line
            continue
        rest = handle.readline(limit)
        if not rest:
            yield line
            continue
        while rest and not rest.endswith(b"\n"):
            rest = handle.readline(limit)
        yield None


def _text(fields: dict[str, object], key: str) -> str | None:
    value = fields.get(key)
    if value is None or isinstance(value, str):
        return value
    raise ValueError(f'"{key}" is not a text')


def _number(fields: dict[str, object], key: str) -> int | None:
    value = fields.get(key)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise ValueError(f'"{key}" is not a whole number')


def _required(fields: dict[str, object], key: str) -> str:
    value = _text(fields, key)
    if value is None:
        raise ValueError(f'"{key}" is missing')
    return value


def _time(text: str) -> datetime:
    """Return the UTC time that `text` names."""
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo is not None:
            return time.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError('"sent_at" is not an ISO 8601 time with an offset, e.g. 2026-01-31T12:00:00Z')


def _body(fields: dict[str, object]) -> bytes | None:
    text, encoded = _text(fields, "body"), _text(fields, "body_base64")
    if text is not None and encoded is not None:
        raise ValueError('has both "body" and "body_base64"')
    if encoded is not None:
        return base64.b64decode(encoded, validate=True)
    return None if text is None else text.encode("utf-8")
