"""The minutes of one client as the columns of a page: a day of 200 clients fits into one page.

Rules: a column has one entry a minute; where the entries repeat it is written as runs; what no minute has is left
out; texts are numbers of one table.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from mutewatch.evidence import STATISTICS
from mutewatch.records import SignatureRef, Verdict
from mutewatch.sinks.record import Record
from mutewatch.stored import Columns, Kind, mapped

Payload = dict[str, Any]
Column = list[Any] | dict[str, list[Any]]

VERDICTS: Final = tuple(Verdict)
_NUMBERS: Final = {verdict.value: number for number, verdict in enumerate(VERDICTS)}
# Only of these the hash of the body is told: 64 characters that do not compress, and nobody asks for the others'.
WITH_HASH: Final = {Verdict.FLAGGED, Verdict.MUTE_UNKNOWN, Verdict.UNDECODED}
_SECOND: Final = 1_000_000  # microseconds
LIKELIEST: Final = 2  # activities that are told of one guess


class Texts:
    """A table of the texts that occur, each once."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, text: str | None) -> int | None:
        return None if text is None else self._numbers.setdefault(text, len(self._numbers))

    def numbers(self, texts: Sequence[str | None]) -> list[int | None]:
        return mapped(texts, self.number)

    def table(self) -> list[str]:
        return list(self._numbers)


def packed(entries: Sequence[Any]) -> Column | None:
    """Return the shorter of the plain list and `{"runs": [entry, how often, ...]}`; None for a column of nothing."""
    if entries and entries.count(entries[0]) == len(entries):  # most columns, in a tenth of the time
        runs = [entries[0], len(entries)]
    else:
        runs = [part for entry, same in groupby(entries) for part in (entry, len(list(same)))]
    if all(entry is None for entry in runs[::2]):
        return None
    return {"runs": runs} if len(runs) < len(entries) else list(entries)


def steps(numbers: Sequence[int]) -> list[int]:
    """Return the first number and then the differences."""
    return [now - before for before, now in zip((0, *numbers), numbers, strict=False)]


def seconds(at: datetime) -> int:
    """Since 1970."""
    return round(at.timestamp())


def times_and_verdicts(minutes: Columns) -> Payload:
    """Return what any role may see of minutes: `end_step`, `length` and `verdict`."""
    ends = [round(end / _SECOND) for end in minutes.ends_at_us]
    both = zip(minutes.rest.starts_at_us, minutes.ends_at_us, strict=True)
    return {
        "count": len(ends),
        "end_step": packed(steps(ends)),
        "length": packed([round((end - start) / _SECOND) if start else 0 for start, end in both]),
        "verdict": packed(mapped(minutes.verdict, _NUMBERS.__getitem__)),
    }


def mute_columns(minutes: Columns) -> Payload:
    """Return `muted`, `unmuted` and `unknown`: whole seconds."""
    return _present({"muted": minutes.muted, "unmuted": minutes.rest.unmuted, "unknown": minutes.rest.unknown})


def value_columns(minutes: Columns, meanings: Mapping[tuple[str, str], str]) -> list[Payload]:
    """Return one entry for each audio-derived value: what it is, and its column.

    `meanings`: in words, by signature and field.
    """
    found: dict[tuple[str, str], tuple[Payload, list[Any]]] = {}
    of_kind: dict[int, list[list[Any]]] = {}
    for number, kind in minutes.kinds.items():
        for name, unit, floor, role in kind.values:
            if (name, unit) not in found:
                told = {"name": name, "unit": unit, "floor": floor, "role": role and role.value}
                field, statistic = _summarised(name, unit, kind)
                told |= {"field": field, "statistic": statistic}
                told["meaning"] = meanings.get((kind.signature.id, field or name))
                found[name, unit] = told, [None] * len(minutes.kind)
        of_kind[number] = [found[name, unit][1] for name, unit, _, _ in kind.values]
    at = 0
    for number, same in groupby(zip(minutes.kind, minutes.rest.values, strict=True), itemgetter(0)):
        rows = [values for _, values in same]
        for column, entries in zip(of_kind[number], zip(*rows, strict=True), strict=True):
            column[at : at + len(rows)] = entries
        at += len(rows)
    columns = [told | {"at": packed(entries)} for told, entries in found.values()]
    return [{name: entry for name, entry in told.items() if entry is not None} for told in columns]


def _summarised(name: str, unit: str, kind: Kind) -> tuple[str, str] | tuple[None, None]:
    """Return the field and the statistic that `name` stands for, as `audioLevel.max`; the kind tells its fields."""
    field, _, statistic = name.rpartition(".")
    is_one = statistic in STATISTICS and (field, unit) in [told[:2] for told in kind.told]
    return (field, statistic) if is_one else (None, None)


def evidence_columns(minutes: Columns, texts: Texts) -> Payload:
    """Return where each minute's judgement comes from; numbers of texts, and numbers as Wireshark gives them."""
    rest = minutes.rest

    def of_kind(told: Callable[[Kind], str | None]) -> list[str | None]:
        return mapped(minutes.kind, lambda number: told(minutes.kinds[number]))

    of_text: dict[str, Sequence[str | None]] = {
        "rule": of_kind(lambda kind: kind.rule),
        "reason": rest.reason,
        "call": mapped(minutes.call, lambda call: call or None),
        "client_version": mapped(minutes.version, lambda version: version or None),
        "app": of_kind(lambda kind: kind.signature.app),
        "signature": of_kind(lambda kind: _signature(kind.signature)),
        "basis": of_kind(lambda kind: ", ".join(kind.bases) or None),
        "file": rest.file,
        "door": of_kind(lambda kind: kind.door),
        "address": rest.address,
        "sent": of_kind(lambda kind: kind.sent and kind.sent.value),
    }
    plain: dict[str, Sequence[Any]] = {
        "frame": rest.frame,
        "tcp_stream": rest.tcp_stream,
        # a frame is easier to find than the number of a message, which would be a fifth of what remains
        "ordinal": [o if frame is None else None for o, frame in zip(rest.ordinal, rest.frame, strict=True)],
        "offset": rest.offset,
        "sha256": [
            sha if verdict in WITH_HASH else None
            for sha, verdict in zip(rest.body_sha256, minutes.verdict, strict=True)
        ],
        "sent_sha256": rest.sent_sha256,
    }
    return _present({name: texts.numbers(entries) for name, entries in of_text.items()} | plain)


def guess_columns(minutes: Columns, texts: Texts) -> Payload:
    """Return `guesses`, each once, and `guess`: which of them a minute has; nothing where there is none."""
    table: dict[tuple[Any, ...], int] = {}
    numbers = [table.setdefault(_guess(guess, texts), len(table)) if guess else None for guess in minutes.rest.guess]
    return _present({"guess": numbers}) | ({"guesses": [list(entry) for entry in table]} if table else {})


def _signature(one: SignatureRef) -> str:
    return f"{one.id}, version {one.version} ({one.confidence})"


def _guess(guess: Record, texts: Texts) -> tuple[Any, ...]:
    likeliest = sorted(guess["probabilities"].items(), key=lambda item: -item[1])[:LIKELIEST]
    return (
        texts.number(guess["label"]),
        tuple((texts.number(label), round(probability, 2)) for label, probability in likeliest),
        texts.number(guess["reason"]),
        guess["minutes"],
        guess["minutes_missing"],
        texts.number(guess["model"]),
    )


def _present(told: "dict[str, Sequence[Any]]") -> Payload:
    return {name: column for name, entries in told.items() if (column := packed(entries)) is not None}
