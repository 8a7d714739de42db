"""Amazon Chime: one byte 0x05 and a protobuf frame. Written by hand, by the published .proto.

Source: amazon-chime-sdk-js 78e8a23b68, SignalingProtocol.proto.
"""

import struct
from collections.abc import Iterator

from tests.apps.app import App, Connection, Said, in_time
from tests.apps.script import PRESSES, milliseconds, polls

HOST = "signal.m1.ec1.app.chime.aws"
SUBSCRIBE, AUDIO_CONTROL, CLIENT_METRIC = 3, 16, 21  # SdkSignalFrame.Type
RTC_MIC_AUDIO_LEVEL, CPU = 97, 96  # SdkMetric.Type


def chime() -> App:
    """Both facts on the one socket, a level each second."""
    polled = polls(0.5, 1)
    levels = (Said(poll.seconds, _metrics(poll.seconds, poll.level)) for poll in polled)
    joined = [Said(0, b"\x05" + _varint_field(1, milliseconds(0)) + _varint_field(2, 4), from_client=False)]
    messages = in_time(_presses(), joined, levels)
    socket = Connection(HOST, ("127.0.0.25", 20_025), messages, "/control/M-1?X-Chime-Control-Protocol-Version=3")
    times = tuple(poll.seconds for poll in polled)
    return App("chime", "chime.signal", (socket,), ("RTC_MIC_AUDIO_LEVEL",), times, 1)


def _presses() -> Iterator[Said]:
    for seconds, muted in PRESSES:
        control = _frame(seconds, AUDIO_CONTROL, _bytes_field(17, _varint_field(1, muted)))
        if not seconds:  # the state with which it joins
            control = _frame(seconds, SUBSCRIBE, _bytes_field(6, _varint_field(7, muted)))
        yield Said(seconds, control)


def _metrics(seconds: float, level: float) -> bytes:
    metrics = _metric(CPU, seconds % 7) + _metric(RTC_MIC_AUDIO_LEVEL, level)
    return _frame(seconds, CLIENT_METRIC, _bytes_field(22, metrics))


def _metric(kind: int, value: float) -> bytes:
    return _bytes_field(1, _varint_field(1, kind) + b"\x11" + struct.pack("<d", value))


def _frame(seconds: float, kind: int, content: bytes) -> bytes:
    return b"\x05" + _varint_field(1, milliseconds(seconds)) + _varint_field(2, kind) + content


def _varint_field(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _bytes_field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])
