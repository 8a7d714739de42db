"""Protobuf by a field map: the wire format through Google's library, names and types from the signature.

A field that is not on the wire is absent from the result: a signature can tell zero from "not said". Fields that the
map does not name are passed over.
"""

import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from mutewatch.errors import DecodeError
from mutewatch.limits import Limits

VARINT, FIXED64, DELIMITED, FIXED32 = 0, 1, 2, 5


def _signed(bits: int) -> Callable[[int], int]:
    def read(value: int) -> int:
        value &= (1 << bits) - 1
        return value - (1 << bits) if value >> (bits - 1) else value

    return read


def _zigzag(value: int) -> int:
    return (value >> 1) ^ -(value & 1)


def _packed(layout: str, size: int) -> Callable[[int], Any]:
    return lambda value: struct.unpack(f"<{layout}", value.to_bytes(size, "little"))[0]


# https://protobuf.dev/programming-guides/encoding/: wire type, and how its integer is to be read.
SCALARS: Final[dict[str, tuple[int, Callable[[int], Any]]]] = {
    "bool": (VARINT, bool),
    "enum": (VARINT, _signed(32)),
    "int32": (VARINT, _signed(32)),
    "int64": (VARINT, _signed(64)),
    "uint32": (VARINT, int),
    "uint64": (VARINT, int),
    "sint32": (VARINT, _zigzag),
    "sint64": (VARINT, _zigzag),
    "double": (FIXED64, _packed("d", 8)),
    "fixed64": (FIXED64, int),
    "sfixed64": (FIXED64, _signed(64)),
    "float": (FIXED32, _packed("f", 4)),
    "fixed32": (FIXED32, int),
    "sfixed32": (FIXED32, _signed(32)),
}
_FIELD = re.compile(r"(repeated )?([A-Za-z]\w*) ([1-9]\d{0,8})")


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a map, written `uint64 1`, `Metric 22` or `repeated Metric 1`."""

    type: str  # a scalar's name, "string", "bytes", or a message's name in the same map
    number: int
    is_repeated: bool


Messages = Mapping[str, Mapping[int, tuple[str, Field]]]  # by message name and field number: name and field


def messages_of(written: Mapping[str, Mapping[str, str]]) -> Messages:
    """Return the field map of messages and fields written as text, by name; ValueError for one that is none."""
    return {
        message: {field.number: (name, field) for name, field in ((n, parse_field(t)) for n, t in fields.items())}
        for message, fields in written.items()
    }


def parse_field(text: str) -> Field:
    """Return the field that `text` says; ValueError if it says none."""
    found = _FIELD.fullmatch(text)
    if found is None:
        raise ValueError(f"not a protobuf field, such as `uint64 1` or `repeated Metric 2`: {text!r}")
    return Field(found[2], int(found[3]), found[1] is not None)


def parse_protobuf(data: Any, message: str, messages: Messages, limits: Limits) -> dict[str, Any]:
    """Return the fields of one message that the map names. DecodeError for broken bytes or a type that differs."""
    if not isinstance(data, bytes):
        raise DecodeError("protobuf: text instead of bytes")
    return _Parser(messages, limits).parse(data, message, limits.json_depth)


class _Parser:
    def __init__(self, messages: Messages, limits: Limits) -> None:
        self._messages, self._limits = messages, limits
        self._left = limits.json_nodes

    def parse(self, data: bytes, message: str, depth: int) -> dict[str, Any]:
        if not depth:
            raise DecodeError("protobuf: nested too deeply")
        by_number = self._messages[message]
        found: dict[str, Any] = {}
        for number, wire_type, raw in _fields(data):
            self._left -= 1
            if self._left < 0:
                raise DecodeError(f"protobuf: more than {self._limits.json_nodes:,} fields")
            if number not in by_number:
                continue
            name, field = by_number[number]
            value = self._value(name, field, wire_type, raw, depth)
            if field.is_repeated:
                found.setdefault(name, []).append(value)
            else:
                found[name] = merged(found.get(name), value)
        return found

    def _value(self, name: str, field: Field, wire_type: int, raw: Any, depth: int) -> Any:
        scalar = SCALARS.get(field.type)
        expected = scalar[0] if scalar else DELIMITED
        if wire_type != expected:
            raise DecodeError(f"protobuf: field {field.number} ({name}): wire type {wire_type} instead of {expected}")
        if scalar:
            return scalar[1](raw)
        if field.type == "bytes":
            return raw
        if field.type == "string":
            return text_of(raw, field.number, name)
        return self.parse(raw, field.type, depth - 1)


def text_of(raw: bytes, number: int, name: str) -> str:
    """Return what field `number` says, a text. DecodeError."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise DecodeError(f"protobuf: field {number} ({name}): not UTF-8") from None


def merged(before: Any, value: Any) -> Any:
    """Return what a field that stands there twice says: of numbers and texts the last, of messages all their fields."""
    if isinstance(before, list) and isinstance(value, list):
        return before + value
    if isinstance(before, dict) and isinstance(value, dict):
        return before | {key: merged(before.get(key), item) for key, item in value.items()}
    return value


def _fields(data: bytes) -> Iterator[tuple[int, int, Any]]:
    """Yield number, wire type and raw value of each field."""
    unknown = _library()(data)
    found = (unknown[position] for position in range(len(unknown)))
    return ((field.field_number, field.wire_type, field.data) for field in found)


@cache
def _library() -> Callable[[bytes], Any]:
    """Return what gives the fields of a message by Google's library, which is loaded here, and only once."""
    from google.protobuf.empty_pb2 import Empty
    from google.protobuf.message import DecodeError as WireError
    from google.protobuf.unknown_fields import UnknownFieldSet

    def unknown_fields(data: bytes) -> UnknownFieldSet:
        message = Empty()  # without any declared field, all are unknown
        try:
            message.ParseFromString(data)
        except WireError:
            raise DecodeError(f"protobuf: {len(data):,} bytes that are not of its wire format") from None
        return UnknownFieldSet(message)

    return unknown_fields
