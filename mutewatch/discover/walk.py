"""Finds every number in a body, whatever it is packed in: `Walker.walk`.

Opened are JSON (alone, line by line, with text before or after it), forms, protobuf, gzip, and each of them inside a
text of the other, as deep as redaction opens them. No format is announced: a body is what it looks like.
"""

import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any, Final
from urllib.parse import parse_qsl

from mutewatch import decode
from mutewatch.decode import Budget
from mutewatch.discover import protobuf
from mutewatch.discover.limits import DEFAULT_DISCOVER_LIMITS, DiscoverLimits
from mutewatch.discover.place import Labels, Place, shown_key, word
from mutewatch.errors import DecodeError
from mutewatch.limits import DEFAULT_LIMITS, Limits
from mutewatch.records import Exchange

_GZIP: Final = b"\x1f\x8b\x08"  # RFC 1952, 2.3, with deflate in it
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]{24,}={0,2}")
_PACKED: Final = ("H4sI", "eyJ", "ewo", "W3s", "Wy", "W1")  # base64 of gzip, and of what begins JSON
_NUMBER: Final = re.compile(r"-?\d{1,15}(?:\.\d{1,15})?(?:[eE][+-]?\d{1,2})?")
_ISO: Final = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:?\d\d)")
_FORM: Final = re.compile(rb"[A-Za-z_][\w.\[\]%-]{0,63}=[^&\s]*(?:&[A-Za-z_][\w.\[\]%-]{0,63}=[^&\s]*)*+")
_PREFIX: Final = re.compile(rb"\d{1,4}(?=[\[{])")  # Socket.IO: a number for the kind of message
_CLOCKS: Final = ((9.4e8, 4.1e9, 1.0), (9.4e11, 4.1e12, 1e-3), (9.4e14, 4.1e15, 1e-6))  # 2000-2100 in s, ms, µs
_CLOCK_KEYS: Final = ("timestamp", "ts", "time")  # may count from anywhere, in ms: Teams counts from the call's start
_LONGEST_SERIES: Final = 24 * 3600.0
_LARGEST: Final = 1e30  # squares and sums of anything smaller stay numbers; no level or energy is as large


@dataclass(slots=True)
class Walked:
    """What one message said: `(place, value, seconds before the message)`, and a time that stood in it."""

    readings: list[tuple[Place, float, float]] = field(default_factory=list)
    clock: float | None = None  # seconds since 1970: the first time of day in it
    fault: str | None = None  # why it, or a part of it, was not read
    left_out: int = 0  # numbers that are too many, too large, or none


class Walker:
    """Walks the messages of one run; what tells objects apart is remembered between them (`Labels`)."""

    def __init__(self, limits: DiscoverLimits = DEFAULT_DISCOVER_LIMITS, body: Limits = DEFAULT_LIMITS) -> None:
        self.labels = Labels(limits)
        self._limits, self._body = limits, body

    def walk(self, exchange: Exchange, connection: str) -> Walked:
        """Return the numbers in the body of `exchange`. Raises nothing: what does not decode is a fault."""
        walked = Walked()
        if exchange.body is None:
            walked.fault = "no body"
            return walked
        if len(exchange.body) > self._body.body:
            walked.fault = f"larger than {self._body.body:,} bytes"
            return walked
        message = _Message(self, walked, Budget(self._body), connection, self._limits.readings_per_message)
        try:
            body = decode.remove_content_encoding(exchange.body, exchange.content_encoding, message.budget)
            if not message.data((), body, self._body.redact_layers):
                walked.fault = "of no known format"
        except DecodeError as error:
            walked.fault = str(error).partition(":")[0]  # the rest may quote the message
        except RecursionError:  # texts within texts, each nested as deep as one may be
            walked.fault = "nested too deeply"
        return walked


@dataclass(slots=True)
class _Message:
    """One message on its way; each method returns whether it could read what it was given."""

    walker: Walker
    walked: Walked
    budget: Budget
    connection: str
    room: int

    def data(self, place: Place, data: bytes, layers: int) -> bool:
        """Open bytes: gzip, JSON, a form, protobuf."""
        if data.startswith(_GZIP) and layers > 0:
            return self.data((*place, "{gzip}"), decode.gunzip(data, self.budget), layers - 1)
        text = data.strip()
        if text[:1] in (b"{", b"["):
            return self._json(place, text, layers)
        if prefix := _PREFIX.match(text):
            return self._json((*place, "{prefix}"), text[prefix.end() :], layers)
        if _FORM.fullmatch(text):
            return self._form(place, text, layers)
        return not _is_text(data) and self._protobuf(place, data, layers)

    def value(self, place: Place, value: Any, layers: int, before: float) -> None:
        """Take a JSON value, with all that is in it."""
        if isinstance(value, dict):
            self._object(place, value, layers, before)
        elif isinstance(value, list):
            self._array(place, value, layers, before)
        elif isinstance(value, str):
            self._text(place, value, layers, before)
        elif value is not None:
            self._number(place, float(value), before)

    def _json(self, place: Place, text: bytes, layers: int) -> bool:
        try:
            self.value(place, decode.parse_json(text, self.budget), layers, 0.0)
        except DecodeError:
            lines = text.splitlines()
            if len(lines) > 1 and all(line.strip()[:1] in (b"{", b"[", b"") for line in lines):
                for line in filter(bytes.strip, lines):
                    self.value((*place, "{lines}"), decode.parse_json(line, self.budget), layers, 0.0)
            else:
                self.value(place, decode.first_json_value(text, self.budget), layers, 0.0)
        return True

    def _form(self, place: Place, text: bytes, layers: int) -> bool:
        for key, value in parse_qsl(text.decode("ascii", "replace"), max_num_fields=self.budget.limits.json_nodes):
            self._text((*place, shown_key(key)), value, layers, 0.0)
        return True

    def _protobuf(self, place: Place, data: bytes, layers: int) -> bool:
        for skipped in (0, 5, 1):  # gRPC: a flag and the length; Chime: the kind of frame
            if skipped == 5 and int.from_bytes(data[1:5], "big") != len(data) - 5:
                continue
            try:
                found = protobuf.fields(data[skipped:])
            except DecodeError:
                continue
            mark = "{protobuf}" if not skipped else f"{{protobuf+{skipped}}}"
            self._message_fields((*place, mark), found, layers, self.budget.limits.json_depth)
            return bool(found)
        return False

    def _message_fields(self, place: Place, found: list[tuple[int, protobuf.Value]], layers: int, depth: int) -> None:
        numbers = [value for _, value in found if not isinstance(value, bytes | list)]
        first = found[0][1] if found else None
        if len(found) == len(numbers) == 2 and isinstance(first, int) and 0 <= first < 1 << 16:
            place, found = (*place, self.walker.labels.of_number(first)), found[1:]  # an id and its value
        for number, value in found:
            inner = (*place, f"#{number}")
            if isinstance(value, bytes):
                self._bytes(inner, value, layers, depth)
            elif isinstance(value, list):
                self._message_fields(inner, value, layers, depth - 1)
            else:
                self._number(inner, float(value), 0.0)

    def _bytes(self, place: Place, value: bytes, layers: int, depth: int) -> None:
        """Take a field of protobuf that may be a text, a message or anything else."""
        if _is_text(value):
            self._text(place, value.decode(), layers, 0.0)
            return
        if value.startswith(_GZIP):
            self.data(place, value, layers)
            return
        try:
            found = protobuf.fields(value) if depth else []
        except DecodeError:
            return
        self._message_fields(place, found, layers, depth - 1)

    def _object(self, place: Place, value: dict[str, Any], layers: int, before: float) -> None:
        labels = self.walker.labels
        if labels.is_map(self.connection, place, value):
            for key, one in value.items():
                if isinstance(one, dict):
                    label = labels.of_object(self.connection, place, one, identity=key)
                    self._members((*place, f"*{label}" if label else shown_key(key)), one, layers, before)
                else:
                    self.value((*place, shown_key(key)), one, layers, before)
            return
        label = labels.of_object(self.connection, place, value)
        if label:
            place = (*place[:-1], label) if place and place[-1] == "[]" else (*place, f"({label[1:-1]})")
        self._members(place, value, layers, before)

    def _members(self, place: Place, value: dict[str, Any], layers: int, before: float) -> None:
        for key, one in value.items():
            self.value((*place, shown_key(key)), one, layers, before)

    def _array(self, place: Place, value: list[Any], layers: int, before: float) -> None:
        kinds = {type(one) for one in value} - {type(None)}
        if len(kinds) <= 1 or kinds == {int, float}:
            for one, earlier in zip(value, _times_before(value), strict=True):
                self.value((*place, "[]"), one, layers, before + earlier)
            return
        event = word(value[0])  # an event with what belongs to it: ["getstats", "PC_0", {...}, 1700000000000]
        place = (*place, f"({event})") if event else place
        for position, one in enumerate(value):
            self.value((*place, f"[{position}]"), one, layers, before)

    def _text(self, place: Place, text: str, layers: int, before: float) -> None:
        if _NUMBER.fullmatch(text):
            self._number(place, float(text), before)
        elif _ISO.fullmatch(text):
            self._clock(text)
        elif text[:1] in ("{", "[") and layers > 0:
            try:
                inner = decode.parse_json(text, self.budget)
            except DecodeError:
                return
            self.value((*place, "{json}"), inner, layers - 1, before)
        elif text.startswith(_PACKED) and layers > 0 and _BASE64.fullmatch(text):
            self._packed(place, text, layers)

    def _packed(self, place: Place, text: str, layers: int) -> None:
        try:
            data = binascii.a2b_base64(text)
        except binascii.Error:
            return
        if data.startswith(_GZIP) or data[:1] in (b"{", b"["):
            self.data((*place, "{base64}"), data, layers)

    def _number(self, place: Place, value: float, before: float) -> None:
        if not abs(value) < _LARGEST or self.room <= 0:
            self.walked.left_out += 1
            return
        self.room -= 1
        self.walked.readings.append((place, value, before))

    def _clock(self, text: str) -> None:
        if self.walked.clock is None:
            self.walked.clock = iso_seconds(text)


def iso_seconds(text: str) -> float | None:
    """Return the seconds since 1970 of an ISO 8601 time with offset; None if there is no such time."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return None


def _times_before(items: list[Any]) -> Iterator[float]:
    """Yield for each item of a list how many seconds before the last one it was taken, by a time in it; else zeros."""
    times = _item_times(items) if len(items) > 1 and isinstance(items[0], dict) else None
    if times is None:
        yield from (0.0 for _ in items)
        return
    last = times[-1]
    yield from (min(last - time, _LONGEST_SERIES) for time in times)


def _item_times(items: list[Any]) -> list[float] | None:
    """Return when each item was taken, in seconds, if a key of theirs says so and it never goes back."""
    first = items[0]
    for key in first:
        values = [item.get(key) if isinstance(item, dict) else None for item in items]
        times = [_as_time(key, value) for value in values]
        known = [time for time in times if time is not None]
        is_whole = len(known) == len(times) and known[0] < known[-1]
        if is_whole and all(a <= b for a, b in pairwise(known)):
            return known
    return None


def _as_time(key: str, value: object) -> float | None:
    if isinstance(value, str):
        return iso_seconds(value) if _ISO.fullmatch(value) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    absolute = next((value * scale for low, high, scale in _CLOCKS if low < value < high), None)
    return value / 1000 if absolute is None and key in _CLOCK_KEYS else absolute


def _is_text(data: bytes) -> bool:
    try:
        return all(char.isprintable() or char in "\r\n\t" for char in data.decode())
    except UnicodeDecodeError:
        return False
