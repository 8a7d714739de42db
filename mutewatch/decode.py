"""Bounded decode steps: from the bytes of one message to plain JSON values.

What a step takes and gives is in its one-line docstring. Every step is pure, costs at most what `Limits`
allows, and raises only `DecodeError`, whose text is the reason shown to the user. No step knows a vendor:
signatures name steps by their keys in `STEPS`, some with an argument after a space; a step that is missing is added
here, for everyone.
"""

import base64
import binascii
import json
import re
import zlib
from collections.abc import Callable
from typing import Any, Final

from mutewatch.errors import DecodeError
from mutewatch.limits import Limits
from mutewatch.protobuf import Messages, parse_protobuf
from mutewatch.xml_text import parse_xml_text

_TYPE_NAMES: Final[dict[type, str]] = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "boolean",
    type(None): "null",
}


class Budget:
    """What is left of a message's allowance of inflated bytes, shared by all of its steps."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.inflated = limits.inflated_total
        self.first_value: bytes | None = None  # what `first_json_value` read, less what stood around it


def remove_content_encoding(body: bytes, encoding: str | None, budget: Budget) -> bytes:
    """Return `body` without its Content-Encoding (RFC 9110, 8.4): gzip, deflate and identity; at most two."""
    names = [name.strip().lower() for name in (encoding or "").split(",")]
    names = [name for name in names if name not in ("", "identity")]
    if len(names) > 2:
        raise DecodeError(f"{len(names)} content-encodings, limit 2")
    for name in reversed(names):
        if name in ("gzip", "x-gzip"):
            body = gunzip(body, budget)
        elif name == "deflate":
            body = _inflate(body, zlib.MAX_WBITS, budget, "deflate")
        else:
            known = name if name in ("br", "zstd", "compress") else "of another name"  # it is the client's word
            raise DecodeError(f"unsupported content-encoding {known}")
    return body


def unbase64(value: Any, budget: Budget) -> bytes:
    """Text in base64 (RFC 4648, 4; padding required) to bytes."""
    if not isinstance(value, str):
        raise DecodeError(f"base64: {describe_type(value)} instead of a string")
    if len(value) > budget.limits.base64_text:
        raise DecodeError(f"base64: {len(value):,} characters, limit {budget.limits.base64_text:,}")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DecodeError(f"base64: {error}") from None


def gunzip(value: Any, budget: Budget) -> bytes:
    """A gzip file of one member (RFC 1952) to its content; complete, and nothing after it."""
    return _inflate(value, zlib.MAX_WBITS | 16, budget, "gzip")


def gunzip_if_magic(value: Any, budget: Budget) -> Any:
    """A gzip file to its content; what does not begin as one (RFC 1952, 2.3.1) as it is."""
    return gunzip(value, budget) if is_gzip(value) else value


def is_gzip(value: Any) -> bool:
    """Does `value` begin as a gzip file?"""
    return isinstance(value, bytes) and value.startswith(b"\x1f\x8b")


def _inflate(value: Any, wbits: int, budget: Budget, what: str) -> bytes:
    if not isinstance(value, bytes):
        raise DecodeError(f"{what}: {describe_type(value)} instead of bytes")
    limits = budget.limits
    allowed = min(limits.inflated, budget.inflated)
    inflater, parts, size = zlib.decompressobj(wbits), [], 0
    try:
        part = inflater.decompress(value, limits.ratio_after)
        while part:
            parts.append(part)
            size += len(part)
            if size > allowed:
                raise DecodeError(f"{what}: more than {allowed:,} bytes come out of {len(value):,}")
            if size >= limits.ratio_after and size > limits.ratio * len(value):
                raise DecodeError(f"{what}: more than {limits.ratio}:1 of {len(value):,} bytes")
            part = inflater.decompress(inflater.unconsumed_tail, limits.ratio_after)
    except zlib.error as error:
        raise DecodeError(f"{what}: {error}") from None
    if not inflater.eof:
        raise DecodeError(f"{what}: cut short after {len(value):,} bytes")
    if inflater.unused_data:
        raise DecodeError(f"{what}: {len(inflater.unused_data):,} bytes after its end")
    budget.inflated -= size
    return b"".join(parts)


def parse_json(value: Any, budget: Budget) -> Any:
    """One JSON text (RFC 8259) in UTF-8, and nothing else, to plain values."""
    return _parse_json(value, budget, residue=False)


def first_json_value(value: Any, budget: Budget) -> Any:
    """The first JSON value; what stands after it is ignored (residue of older memory in hook logs)."""
    return _parse_json(value, budget, residue=True)


_SPACE = re.compile(r"[ \t\r\n]*")


def _parse_json(value: Any, budget: Budget, *, residue: bool) -> Any:
    text = as_text(value, residue=residue)
    start = _SPACE.match(text).end()  # type: ignore[union-attr]  # it matches the empty text too
    try:
        document, end = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        raise DecodeError(f"JSON: {error.msg} at character {error.pos:,} of {len(text):,}") from None
    except RecursionError:
        raise DecodeError("JSON: nested too deeply") from None
    except ValueError as error:  # NaN and Infinity; an integer too long for Python
        raise DecodeError(f"JSON: {error}") from None
    if residue:
        if _ESCAPED_BYTE.search(text, 0, end):
            raise DecodeError("JSON: not UTF-8")
        budget.first_value = text[start:end].encode("utf-8", "surrogatepass")
    elif (end := _SPACE.match(text, end).end()) < len(text):  # type: ignore[union-attr]
        raise DecodeError(f"JSON: more text after its end at character {end:,} of {len(text):,}")
    _check_shape(document, budget.limits)
    return document


def as_text(value: Any, *, residue: bool = False) -> str:
    """UTF-8 to text; text as it is. `residue`: bytes that are no UTF-8 stay, as surrogates."""
    if isinstance(value, str):
        return value
    if not isinstance(value, bytes):
        raise DecodeError(f"JSON: {describe_type(value)} instead of text")
    try:
        return value.decode("utf-8", "surrogateescape" if residue else "strict")
    except UnicodeDecodeError as error:
        raise DecodeError(f"JSON: not UTF-8 at byte {error.start:,}") from None


_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def _check_shape(document: Any, limits: Limits) -> None:
    """Walk the document level by level, so that no input can exhaust the stack."""
    level, nodes, beyond = [document], 0, 10**limits.json_digits
    for _depth in range(limits.json_depth + 1):
        nodes += len(level)
        if nodes > limits.json_nodes:
            raise DecodeError(f"JSON: more than {limits.json_nodes:,} values")
        below: list[Any] = []
        has_container = False
        for item in level:
            kind = type(item)  # the parser makes no subclasses; this loop is a third of all decoding
            if kind is dict:
                has_container = True
                below += item.values()
                if item and max(map(len, item)) > limits.json_key:
                    raise DecodeError(f"JSON: a key longer than {limits.json_key} characters")
            elif kind is list:
                has_container = True
                below += item
            elif kind is str:
                if len(item) > limits.json_string:
                    raise DecodeError(f"JSON: a string longer than {limits.json_string:,} characters")
            elif kind is int and not -beyond < item < beyond:
                raise DecodeError(f"JSON: an integer of more than {limits.json_digits} digits")
        if not has_container:
            return
        level = below
    raise DecodeError(f"JSON: nested deeper than {limits.json_depth}")


def split_lines(value: Any, budget: Budget) -> list[str]:
    """Newline-delimited JSON to its lines, still texts: a damaged one costs only itself. Empty lines are none."""
    lines = [line for line in as_text(value).split("\n") if line.strip()]
    if len(lines) > budget.limits.json_nodes:
        raise DecodeError(f"ndjson: {len(lines):,} lines, limit {budget.limits.json_nodes:,}")
    return lines


def xml_text(value: Any, budget: Budget) -> dict[str, Any]:
    """An XML document to `{"name": of its root, "texts": {name of an element: [its text, ...]}}`."""
    return parse_xml_text(as_text(value), budget.limits)


def items(value: Any, _budget: Budget) -> Any:
    """An object to the array of its members, `{"key": ..., "value": ...}`; anything else as it is."""
    return [{"key": key, "value": item} for key, item in value.items()] if isinstance(value, dict) else value


Step = Callable[[Any, Budget], Any]

STEPS: Final[dict[str, Step]] = {
    "base64": unbase64,
    "gzip": gunzip,
    "gzip_if_magic": gunzip_if_magic,
    "json": parse_json,
    "json_in_string": parse_json,
    "first_json_value": first_json_value,
    "ndjson": split_lines,
    "xml_text": xml_text,
    "items": items,
}


def strip_prefix(value: Any, prefix: str) -> Any:
    """Take `prefix` off the front: bytes written `0x05`, or text, in which `#` stands for any number of digits."""
    if prefix.startswith("0x"):
        start = bytes.fromhex(prefix[2:])
        if not isinstance(value, bytes) or not value.startswith(start):
            raise DecodeError(f"strip_prefix: does not begin with {prefix}")
        return value[len(start) :]
    text = as_text(value)
    found = re.match(re.escape(prefix).replace(r"\#", "[0-9]*"), text)
    if found is None:
        raise DecodeError(f"strip_prefix: does not begin with {prefix}")
    return text[found.end() :]


def json_member(value: Any, keys: str, budget: Budget) -> Any:
    """The same object with the JSON text at `keys` (with `.` between) parsed; as it is where no text stands there."""
    first, _, rest = keys.partition(".")
    inner = value.get(first) if isinstance(value, dict) else None
    if rest:
        return {**value, first: json_member(inner, rest, budget)} if isinstance(inner, dict) else value
    return {**value, first: parse_json(inner, budget)} if isinstance(inner, str) else value


STEPS_WITH_ARGUMENT: Final = ("strip_prefix", "json_in_string", "protobuf")


def run_steps(value: Any, steps: tuple[str, ...], budget: Budget, protobuf: Messages | None = None) -> Any:
    """Pass `value` through the named steps in order. KeyError for a name not in STEPS (the loader checks)."""
    for step in steps:
        name, _, argument = step.partition(" ")
        if not argument:
            value = STEPS[name](value, budget)
        elif name == "strip_prefix":
            value = strip_prefix(value, argument)
        elif name == "json_in_string":
            value = json_member(value, argument, budget)
        else:
            value = parse_protobuf(value, argument, protobuf or {}, budget.limits)
    return value


def describe_type(value: Any) -> str:
    """Return JSON's word for the type of `value`, with an article."""
    word = _TYPE_NAMES.get(type(value), "bytes" if isinstance(value, bytes) else "number")
    return word if word == "null" else f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def shorten(text: str, length: int = 40) -> str:
    """Return text from the wire fit for one line of a message: printable, at most `length` characters."""
    return ascii(text[:length])[1:-1][:length] + ("…" if len(text) > length else "")
