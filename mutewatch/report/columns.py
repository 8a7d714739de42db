"""The minutes of one client, records as the store has them, as columns: a day of 200 clients fits into one page.

Rules: a column has one entry a minute; where the entries repeat it is written as runs; what no minute has is left
out; texts are numbers of one table.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, Final

from mutewatch.records import Sent, Verdict
from mutewatch.sinks.record import Record

Payload = dict[str, Any]
Column = list[Any] | dict[str, list[Any]]

VERDICTS: Final = tuple(Verdict)
_NUMBERS: Final = {verdict.value: number for number, verdict in enumerate(VERDICTS)}
# Only of these the hash of the body is told: 64 characters that do not compress, and nobody asks for the others'.
WITH_HASH: Final = {Verdict.FLAGGED, Verdict.MUTE_UNKNOWN, Verdict.UNDECODED}
LIKELIEST: Final = 2  # activities that are told of one guess


class Texts:
    """A table of the texts that occur, each once."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, text: str | None) -> int | None:
        return None if text is None else self._numbers.setdefault(text, len(self._numbers))

    def table(self) -> list[str]:
        return list(self._numbers)


def packed(entries: Sequence[Any]) -> Column | None:
    """Return the shorter of the plain list and `{"runs": [entry, how often, ...]}`; None for a column of nothing."""
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


def times_and_verdicts(records: Sequence[Record]) -> Payload:
    """Return what any role may see of minutes: `end_step`, `length` and `verdict`."""
    return {
        "count": len(records),
        "end_step": packed(steps([seconds(datetime.fromisoformat(one["ends_at"])) for one in records])),
        "length": packed([_length(one) for one in records]),
        "verdict": packed([_NUMBERS[one["verdict"]] for one in records]),
    }


def mute_columns(records: Sequence[Record]) -> Payload:
    """Return `muted`, `unmuted` and `unknown`: whole seconds."""
    return _present(
        {name: [one[f"{name}_seconds"] for one in records] for name in ("muted", "unmuted", "unknown")},
    )


def value_columns(records: Sequence[Record]) -> list[Payload]:
    """Return one entry for each audio-derived value: what it is, and its column."""
    kinds: dict[tuple[str, str], tuple[Payload, list[Any]]] = {}
    for number, one in enumerate(records):
        for name, value in one["values"].items():
            kind = (name, value["unit"])
            if kind not in kinds:
                told = {"name": name, **{key: value.get(key) for key in ("unit", "floor", "role")}}
                kinds[kind] = told, [None] * len(records)
            kinds[kind][1][number] = value["value"]
    columns = [told | {"at": packed(entries)} for told, entries in kinds.values()]
    return [{name: entry for name, entry in told.items() if entry is not None} for told in columns]


def evidence_columns(records: Sequence[Record], texts: Texts) -> Payload:
    """Return where each minute's judgement comes from; numbers of texts, and numbers as Wireshark gives them."""
    origins = [one["origin"] or {} for one in records]
    of_text: dict[str, Iterable[str | None]] = {
        "rule": [one["rule"] for one in records],
        "reason": [one["reason"] for one in records],
        "call": [one["call"] for one in records],
        "client_version": [one.get("client_version") for one in records],
        "app": [one["app"] for one in records],
        "signature": [
            f"{one['signature']}, version {one['signature_version']} ({one['confidence']})" for one in records
        ],
        "basis": [", ".join(one["mute_basis"]) or None for one in records],
        "file": [origin.get("file") for origin in origins],
        "door": [origin.get("door") for origin in origins],
        "address": [one["address"] for one in records],
        # stores from before there was a choice
        "sent": [one.get("sent") or Sent.FORWARDED.value if one["origin"] else None for one in records],
    }
    plain: dict[str, Sequence[Any]] = {
        "frame": [origin.get("frame") for origin in origins],
        "tcp_stream": [origin.get("tcp_stream") for origin in origins],
        # a frame is easier to find than the number of a message, which would be a fifth of what remains
        "ordinal": [origin.get("ordinal") if origin.get("frame") is None else None for origin in origins],
        "offset": [origin.get("offset") for origin in origins],
        "sha256": [one["body_sha256"] if one["verdict"] in WITH_HASH else None for one in records],
        "sent_sha256": [one.get("sent_sha256") for one in records],
    }
    numbered = {name: [texts.number(text) for text in entries] for name, entries in of_text.items()}
    return _present(numbered | plain)


def guess_columns(records: Sequence[Record], texts: Texts) -> Payload:
    """Return `guesses`, each once, and `guess`: which of them a minute has; nothing where there is none."""
    table: dict[tuple[Any, ...], int] = {}
    numbers = [
        table.setdefault(_guess(guess, texts), len(table)) if (guess := one["guess"]) else None for one in records
    ]
    return _present({"guess": numbers}) | ({"guesses": [list(entry) for entry in table]} if table else {})


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


def _length(record: Record) -> int:
    if record["starts_at"] is None:
        return 0
    starts_at, ends_at = (datetime.fromisoformat(record[name]) for name in ("starts_at", "ends_at"))
    return round((ends_at - starts_at).total_seconds())


def _present(told: "dict[str, Any]") -> Payload:
    return {name: column for name, entries in told.items() if (column := packed(list(entries))) is not None}
