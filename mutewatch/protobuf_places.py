"""A protobuf message whose numbers know their bytes: `placed_protobuf`; and `zeroed`, the message without some of them.

As `protobuf.py` reads it, by a walk of our own: Google's library does not say where a field stands. What is zeroed is
as long as it was, so that nothing around it changes: bytes of zeros, or a varint of zeros, all of whose bytes but the
last have the top bit (https://protobuf.dev/programming-guides/encoding/). Refused are groups, which the format has long
given up, and a number that stands there twice: the first of them would be read by nobody, and would leave.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from mutewatch.errors import DecodeError
from mutewatch.limits import Limits
from mutewatch.protobuf import DELIMITED, FIXED32, FIXED64, SCALARS, VARINT, Messages, merged, text_of

_LONGEST_VARINT: Final = 10  # bytes
_LONGEST_TAG: Final = 5  # bytes; of a length, too
_HIGHEST_NUMBER: Final = (1 << 29) - 1  # of a field
_FIXED: Final = {FIXED64: 8, FIXED32: 4}
_NO_NUMBERS: Final = ("bool", "enum")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a number stands: from byte `start` on, so many bytes."""

    start: int
    length: int
    is_varint: bool


class PlacedInt(int):
    place: Place


class PlacedFloat(float):
    place: Place


def placed_protobuf(data: Any, message: str, messages: Messages, limits: Limits) -> dict[str, Any]:
    """Return what `parse_protobuf` does, but numbers (not truth values, nor enumerations) are placed."""
    if not isinstance(data, bytes):
        raise DecodeError("protobuf: text instead of bytes")
    return _Walk(data, messages, limits).parse(0, len(data), message, limits.json_depth)


def zeroed(data: bytes, places: Iterable[Place]) -> bytes:
    """Return `data` with zero for the numbers at `places`, as long as it was."""
    changed = bytearray(data)
    for place in places:
        more = b"\x80" if place.is_varint else b"\0"
        changed[place.start : place.start + place.length] = more * (place.length - 1) + b"\0"
    return bytes(changed)


def _merged(name: str, before: Any, value: Any) -> Any:
    if isinstance(before, dict) and isinstance(value, dict):
        return before | {key: _merged(key, before.get(key), item) for key, item in value.items()}
    if isinstance(before, PlacedInt | PlacedFloat):
        raise DecodeError(f"protobuf: {name} stands there twice")
    return merged(before, value)


class _Walk:
    def __init__(self, data: bytes, messages: Messages, limits: Limits) -> None:
        self._data, self._messages, self._limits = data, messages, limits
        self._left = limits.json_nodes

    def parse(self, start: int, end: int, message: str, depth: int) -> dict[str, Any]:
        if not depth:
            raise DecodeError("protobuf: nested too deeply")
        found: dict[str, Any] = {}
        for number, kind, at, length in self._fields(start, end):
            self._left -= 1
            if self._left < 0:
                raise DecodeError(f"protobuf: more than {self._limits.json_nodes:,} fields")
            if number not in self._messages[message]:
                continue
            name, field = self._messages[message][number]
            scalar = SCALARS.get(field.type)
            if kind != (scalar[0] if scalar else DELIMITED):
                raise DecodeError(f"protobuf: field {number} ({name}): wire type {kind}")
            if scalar:
                value = self._number(field.type, Place(at, length, kind == VARINT))
            elif field.type in ("bytes", "string"):
                value = self._data[at : at + length]
                value = value if field.type == "bytes" else text_of(value, number, name)
            else:
                value = self.parse(at, at + length, field.type, depth - 1)
            if field.is_repeated:
                found.setdefault(name, []).append(value)
            else:
                found[name] = _merged(name, found.get(name), value)
        return found

    def _number(self, kind: str, place: Place) -> Any:
        if place.is_varint:
            raw, _ = self._varint(place.start, place.start + place.length)
        else:
            raw = int.from_bytes(self._data[place.start : place.start + place.length], "little")
        value = SCALARS[kind][1](raw)
        if kind in _NO_NUMBERS:
            return value
        placed = PlacedFloat(value) if isinstance(value, float) else PlacedInt(value)
        placed.place = place
        return placed

    def _fields(self, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        """Yield number and wire type of each field, and where its content stands: start and length."""
        while at < end:
            tag, at = self._varint(at, end, _LONGEST_TAG)
            number, kind = tag >> 3, tag & 7
            if kind == VARINT:
                _, after = self._varint(at, end)
            elif kind in _FIXED:
                after = at + _FIXED[kind]
            elif kind == DELIMITED:
                length, at = self._varint(at, end, _LONGEST_TAG)
                after = at + length
            else:
                raise DecodeError(f"protobuf: wire type {kind}")
            if after > end or not 0 < number <= _HIGHEST_NUMBER:
                raise DecodeError("protobuf: bytes that are not of its wire format")
            yield number, kind, at, after - at
            at = after

    def _varint(self, at: int, end: int, longest: int = _LONGEST_VARINT) -> tuple[int, int]:
        """Return the number that begins at `at`, and where it has ended."""
        value = 0
        for position in range(at, min(end, at + longest)):
            value |= (self._data[position] & 127) << 7 * (position - at)
            if self._data[position] < 128:
                return value & (1 << 64) - 1, position + 1
        raise DecodeError("protobuf: bytes that are not of its wire format")
