"""Reads protobuf without its schema: `fields` gives each value with the number of its field.

The wire says of a value how many bytes it takes, not what it means: eight bytes are taken for a double if that gives a
number of a common size, four for a float. A varint is taken as it is, or as a negative number of 64 bits.
"""

import math
import struct
from collections.abc import Iterator
from typing import Any, Final

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError as ParseError
from google.protobuf.unknown_fields import UnknownFieldSet

from mutewatch.errors import DecodeError

_VARINT, _FIXED64, _BYTES, _GROUP, _FIXED32 = 0, 1, 2, 3, 5  # protobuf.dev/programming-guides/encoding
_COMMON: Final = 1e-12, 1e12
_HIGHEST_FIELD: Final = 1 << 15  # numbers above are rarer than bytes that are no protobuf at all

Value = int | float | bytes | list[tuple[int, Any]]  # a list: the fields of a group


def fields(data: bytes) -> list[tuple[int, Value]]:
    """Return number and value of each field of one message, in the order of the wire. DecodeError if it is none."""
    try:
        message = Empty.FromString(data)
    except ParseError:
        raise DecodeError("no protobuf") from None
    return list(_values(UnknownFieldSet(message)))


def _values(unknown: UnknownFieldSet) -> Iterator[tuple[int, Value]]:
    for field in unknown:  # type: ignore[attr-defined]  # it is iterable; the stubs do not say so
        number, kind, data = field.field_number, field.wire_type, field.data
        if number > _HIGHEST_FIELD:
            raise DecodeError("no protobuf: a field of an unlikely number")
        if kind == _GROUP:
            yield number, list(_values(data))
        elif kind == _FIXED64:
            yield number, _float(data, "<d", "<Q")
        elif kind == _FIXED32:
            yield number, _float(data, "<f", "<I")
        elif kind == _VARINT:
            yield number, data - (1 << 64) if data >> 63 else data
        else:
            yield number, data


def _float(data: int, kind: str, whole: str) -> int | float:
    value: float = struct.unpack(kind, struct.pack(whole, data))[0]
    is_common = value == 0 or (math.isfinite(value) and _COMMON[0] < abs(value) < _COMMON[1])
    return value if is_common else data
