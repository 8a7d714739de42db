"""Reads what a HAR entry holds beside its request: the body of the answer, and websocket messages.

Chrome, Edge and mitmproxy write the messages into `_webSocketMessages`: who sent it (`type`), seconds since 1970
(`time`), `opcode` 1 (text) or 2 (binary, as base64), and `data`. A bad one costs only itself: where it still says who
sent it, it is a message that was not read; else it is a fault.
"""

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from mutewatch.messages import Apart, answer_to, utc_or_none, websocket_message
from mutewatch.records import Direction, Exchange

MESSAGES = "_webSocketMessages"
_SENDERS = {"send": Direction.TO_SERVER, "receive": Direction.TO_CLIENT}
_TEXT, _BINARY = 1, 2
_NO_MESSAGES = (8, 9, 10)  # control frames: close, ping, pong
_LONGEST = timedelta(days=1)  # that an answer may take


@dataclass(slots=True)
class WebsocketMessages:
    """The websocket messages of one entry, and what was wrong with it."""

    messages: list[Exchange] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def websocket_messages(request: Exchange, entry: dict[str, Any]) -> WebsocketMessages:
    """Return the messages of the websocket that `request` opened, in their order."""
    found, listed = WebsocketMessages(), entry.get(MESSAGES)
    if listed is not None and not isinstance(listed, list):
        found.faults.append(f"{MESSAGES} is not a list")
        return found
    bad, apart = [], Apart()
    for number, one in enumerate(listed or (), start=1):
        kind = one.get("type") if isinstance(one, dict) else None
        sender = _SENDERS.get(kind) if isinstance(kind, str) else None
        if sender is not None and one.get("opcode") not in _NO_MESSAGES:
            at = apart.time(utc_or_none(one.get("time")))
            found.messages.append(websocket_message(request, at, _data(one), sender))
        elif sender is None and kind != "error":  # Chrome's word for a connection that failed
            bad.append(number)
    if bad:
        count = f"; {len(bad)} of {len(listed or ())} were not read"
        found.faults.append(f"websocket message {bad[0]} does not say who sent it{count}")
    return found


def _data(message: dict[str, Any]) -> bytes | None:
    data, opcode = message.get("data"), message.get("opcode")
    if not isinstance(data, str) or opcode not in (_TEXT, _BINARY):
        return None
    return _bytes(data, is_base64=opcode == _BINARY)


def answers(request: Exchange, entry: dict[str, Any]) -> Iterator[Exchange]:
    """Yield the body of the answer to `request`, which a HAR holds without its content-encoding, if it was answered."""
    if request.status is None:
        return
    content = entry["response"].get("content")
    text = content.get("text") if isinstance(content, dict) else None
    if isinstance(text, str):
        body = _bytes(text, is_base64=content.get("encoding") == "base64")
    else:
        body = b"" if isinstance(content, dict) and content.get("size") == 0 else None
    yield answer_to(request, _ended_at(request.sent_at, entry.get("time")), body, None)


def _ended_at(began: datetime | None, milliseconds: object) -> datetime | None:
    """Return when the answer was there; where an entry does not say that, when its request was sent."""
    if began is None or isinstance(milliseconds, bool) or not isinstance(milliseconds, int | float):
        return began
    is_possible = 0 <= milliseconds <= _LONGEST.total_seconds() * 1_000
    try:
        return began + timedelta(milliseconds=milliseconds) if is_possible else began
    except OverflowError:
        return began


def _bytes(text: str, *, is_base64: bool) -> bytes | None:
    """Return the bytes that a text stands for; None if it can be none."""
    try:
        return base64.b64decode(text, validate=True) if is_base64 else text.encode()
    except (binascii.Error, ValueError):  # also of half a surrogate pair, which is no text
        return None
