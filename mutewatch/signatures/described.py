"""One signature for a reader: what it matches and decodes, in what units, and on what evidence. 80 columns."""

import textwrap
from collections.abc import Iterator

from mutewatch.records import Direction
from mutewatch.signatures.model import Audio, Message, Mute, Signature, ValueField

WIDTH = 80


def describe(signature: Signature, origin: str) -> Iterator[str]:
    """Yield the lines of it. `origin`: where it is from, as the operator knows it."""
    yield f"{signature.id}, version {signature.version}"
    yield from _wrapped("", signature.title)
    yield ""
    yield from _entry("app", signature.app)
    yield from _entry("confidence", f"{signature.confidence}, last checked {signature.last_checked}")
    yield from _entry("clients", signature.client_versions)
    yield from _entry("from", origin)
    yield from _entry("hosts", ", ".join(signature.hosts) or "none: such messages have no host")
    for position, message in enumerate(signature.messages):
        yield ""
        yield from _message(position, message)
    yield ""
    yield "what redaction blanks beside the values above"
    yield from _entry("values", ", ".join(signature.redact.values) or "no others")
    yield from _entry("identifiers", ", ".join(signature.redact.identifiers) or "none")
    yield from _entry("in the URL", ", ".join(signature.redact.query) or "none")
    yield ""
    yield "sources"
    for source in signature.source:
        yield from _wrapped("  - ", source)
    yield ""
    yield f"fixtures ({len(signature.fixtures)})"
    for fixture in signature.fixtures:
        yield from _wrapped("  - ", f"{fixture.name} ({fixture.kind})")


def _message(position: int, message: Message) -> Iterator[str]:
    sender = "the client" if message.direction is Direction.TO_SERVER else "the server"
    yield from _wrapped("", f"message {position}: {' or '.join(message.method)} {message.path}, sent by {sender}")
    yield from _entry("decoded by", " > ".join(message.steps) or "nothing")
    yield from _entry("each of", message.each)
    for way in message.payload:
        yield from _entry("payload", " > ".join((way.path, *way.steps)))
    if message.stats:
        yield from _entry("readings", f"getStats reports as {message.stats.dialect} compresses them, by connection")
    if message.audio:
        yield from _audio(message.audio)
    for mute in message.mute:
        yield from _mute(mute)


def _audio(audio: Audio) -> Iterator[str]:
    of_minute = ", several to a minute" if audio.is_sample else ""
    yield from _entry("audio", f"in {audio.intervals}, once in {audio.period_seconds:g} s{of_minute}")
    for group in audio.groups:
        yield from _entry("", f"from {group.objects}:")
        for name, field in group.fields.items():
            yield from _wrapped(" " * 16 + "- ", f"{group.prefix}{name}: {_value(field)}")


def _value(field: ValueField) -> str:
    scale = f", reading * {field.scale:g}" if field.scale != 1 else ""
    offset = f", then {field.offset:+g}" if field.offset else ""
    floor = "no floor known" if field.floor is None else f"floor {field.floor:g}"
    total = ", a total: what it grows by is read" if field.is_cumulative else ""
    role = f", the classifier's {field.role}" if field.role else ""
    return f"{field.unit}{scale}{offset}, {floor}: {field.meaning}{total}{role}"


def _mute(mute: Mute) -> Iterator[str]:
    when = "once the server has accepted it" if mute.effective_on == "2xx" else "once sent"
    yield from _entry("mute", f"{mute.scope}, {mute.basis}, holds {when}")
    yield from _entry("", f"when {mute.when}")
    yield from _entry("", f"muted if {mute.muted}")


def _entry(name: str, text: str) -> Iterator[str]:
    return _wrapped(f"  {name:<12}", text)


def _wrapped(head: str, text: str) -> Iterator[str]:
    """`text` behind `head`, its further lines below its first. What has no blank in it, as a path, is not broken."""
    yield from textwrap.wrap(
        text,
        WIDTH,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    ) or [head.rstrip()]
