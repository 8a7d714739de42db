"""Every audio-derived value of one message with the way to it: for an analyst who wants to see for himself.

It goes the way that `extract` goes, by the same functions, and keeps what that lets go of: paths, raw readings, the
decoded payload. Nothing here is kept or shown unless somebody asks for this one message.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from mutewatch import decode
from mutewatch.decode import Budget
from mutewatch.errors import DecodeError
from mutewatch.expressions import search
from mutewatch.extract import readings, stats_states, values_of
from mutewatch.limits import DEFAULT_LIMITS, Limits
from mutewatch.records import Exchange
from mutewatch.signatures.model import Message


@dataclass(frozen=True, slots=True)
class Reading:
    """One value: `raw` as it stands in the message, `value` in `unit`; `steps` were taken from body to payload."""

    path: str
    raw: int | float
    value: int | float
    unit: str
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Payload:
    """What one element of a message decodes to, and the values in it; `fault`: why it does not."""

    content: Any
    readings: tuple[Reading, ...] = ()
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """One message; `body_sha256` is that of its findings."""

    body_sha256: str
    payloads: tuple[Payload, ...]


def open_message(
    exchange: Exchange, message: Message, segments: dict[str, str], limits: Limits = DEFAULT_LIMITS
) -> Opened:
    """Return what each element of a message holds. Nothing raises."""
    budget, body = Budget(limits), exchange.body or b""
    encodings = [name.strip() for name in (exchange.content_encoding or "").split(",") if name.strip()]
    try:
        body = decode.remove_content_encoding(body, exchange.content_encoding, budget)
        is_skipped = body.startswith(message.skipped)
        document = None if is_skipped else decode.run_steps(body, message.steps, budget, message.protobuf_messages)
        steps = (*encodings, *message.steps)
        payloads = () if is_skipped else tuple(payloads_of(message, document, segments, steps, budget))
    except DecodeError as error:
        payloads = (Payload(None, fault=str(error)),)
    return Opened(sha256(budget.first_value or body).hexdigest(), payloads)


def payloads_of(
    message: Message, document: Any, segments: dict[str, str], steps: tuple[str, ...], budget: Budget
) -> Iterator[Payload]:
    """Yield what each element of a decoded message holds; `steps` were taken to decode it."""
    scope: dict[str, Any] = {"document": document, "path": segments}
    found = search(message.each, scope)
    elements = found if isinstance(found, list) else [] if found is None else [found]
    for position, element in enumerate(elements[: budget.limits.elements]):
        try:
            yield _payload(message, {**scope, "element": element}, f"{message.each}[{position}]", steps, budget)
        except DecodeError as error:
            yield Payload(None, fault=str(error))


def _payload(message: Message, scope: dict[str, Any], at: str, before: tuple[str, ...], budget: Budget) -> Payload:
    for way in message.payload:
        packed = search(way.path, scope)
        if packed is not None:
            scope["payload"] = decode.run_steps(packed, way.steps, budget, message.protobuf_messages)
            if message.stats is not None and search(message.stats.when, scope) is True:  # of this message alone
                alone = stats_states(budget.limits)
                scope["readings"], _ = readings(message, message.stats, scope, "", alone, budget)
            steps = (*before, *way.steps)
            return Payload(scope["payload"], tuple(_readings(message, scope, f"{at} {way.path}", steps)))
    raise DecodeError(f"nothing at {' or '.join(way.path for way in message.payload)}")


def _readings(message: Message, scope: dict[str, Any], at: str, steps: tuple[str, ...]) -> Iterator[Reading]:
    audio = message.audio
    if audio is None or search(audio.when, scope) is not True:
        return
    intervals = search(audio.intervals, scope)
    for number, interval in enumerate(intervals if isinstance(intervals, list) else []):
        inner = {**scope, "interval": interval}
        for group in audio.groups:
            objects = search(group.objects, inner)
            of_group = objects if isinstance(objects, list) else [objects]
            for value in values_of(group, inner)[0]:
                key, _, position = value.name.removeprefix(group.prefix).partition("[")
                raw = of_group[int(position[:-1]) if position else 0][key]
                path = f"{at}: {audio.intervals}[{number}] {group.objects}.{value.name}"
                yield Reading(path, raw, value.value, value.unit, steps)
