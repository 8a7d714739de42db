"""Opens JSON and whatever is packed in it without knowing any format: the eye of the tests on what redaction left."""

import base64
import gzip
import json
import zlib
from collections.abc import Iterator
from typing import Any


def opened(value: Any) -> Any:
    """Return a JSON value with every text in it opened that holds another: base64, gzip, JSON, in any order."""
    if isinstance(value, list):
        return [opened(item) for item in value]
    if isinstance(value, Pairs):
        return Pairs((key, opened(item)) for key, item in value)
    if isinstance(value, str):
        inner = unpacked(value.encode())
        return value if inner is None else opened(parsed(inner))
    return value


def unpacked(data: bytes) -> bytes | None:
    """Return the JSON text that `data` holds, under whatever it is packed; None if there is none."""
    for attempt in (base64.b64decode, gzip.decompress, zlib.decompress):
        try:
            inner = attempt(data, validate=True) if attempt is base64.b64decode else attempt(data)
        except (ValueError, OSError, EOFError, zlib.error):
            continue
        if inner and (found := inner if inner[:1] in b"{[" else unpacked(inner)) is not None:
            return found
    return data if data[:1] in (b"{", b"[") and is_json(data) else None


def is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True


class Pairs(tuple[tuple[str, Any], ...]):
    """A JSON object with its order and with keys that stand twice."""


def parsed(text: bytes) -> Any:
    """Return JSON as plain values: numbers as they are written, objects as pairs."""
    return json.loads(text, object_pairs_hook=Pairs, parse_float=Number, parse_int=Number)


class Number(str):
    """A number as it is written."""

    __slots__ = ()


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield everything that is no object or array, and empty ones, with the way that leads there."""
    items = value if isinstance(value, Pairs) else list(enumerate(value)) if isinstance(value, list) else None
    if not items:
        yield path, None if value is None else value
        return
    for key, item in items:
        yield from leaves(item, (*path, str(key)))
