"""The minutes of one client as columns: small enough that a day of 200 clients fits into one page.

Rules: a column has one entry a minute; where the entries repeat it is written as runs; what no minute has is left
out; texts are numbers of one table.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from mutewatch.records import ActivityGuess, AudioValue, Finding, Verdict

Payload = dict[str, Any]
Column = list[Any] | dict[str, list[Any]]

VERDICTS: Final = tuple(Verdict)
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
    runs: list[Any] = []
    for entry in entries:
        if runs and runs[-2] == entry:
            runs[-1] += 1
        else:
            runs += [entry, 1]
    if all(entry is None for entry in runs[::2]):
        return None
    return {"runs": runs} if len(runs) < len(entries) else list(entries)


def steps(numbers: Sequence[int]) -> list[int]:
    """Return the first number and then the differences."""
    return [now - before for before, now in zip((0, *numbers), numbers, strict=False)]


def seconds(at: datetime) -> int:
    """Since 1970."""
    return round(at.timestamp())


def times_and_verdicts(findings: Sequence[Finding]) -> Payload:
    """Return what any role may see of minutes: `end_step`, `length` and `verdict`."""
    ends = [seconds(one.ends_at) for one in findings if one.ends_at]
    return {
        "count": len(findings),
        "end_step": packed(steps(ends)),
        "length": packed([_length(one) for one in findings]),
        "verdict": packed([VERDICTS.index(one.verdict) for one in findings]),
    }


def mute_columns(findings: Sequence[Finding]) -> Payload:
    """Return `muted`, `unmuted` and `unknown`: whole seconds."""
    told = {
        "muted": [one.mute and round(one.mute.muted_seconds) for one in findings],
        "unmuted": [one.mute and round(one.mute.unmuted_seconds) for one in findings],
        "unknown": [one.mute and round(one.mute.unknown_seconds) for one in findings],
    }
    return _present(told)


def value_columns(findings: Sequence[Finding]) -> list[Payload]:
    """Return one entry for each audio-derived value: what it is, and its column."""
    kinds: dict[tuple[str, str], AudioValue] = {}
    for one in findings:
        for value in one.values:
            kinds.setdefault((value.name, value.unit), value)
    columns = []
    for key, first in kinds.items():
        entries = [next((v.value for v in one.values if (v.name, v.unit) == key), None) for one in findings]
        told = {"name": first.name, "unit": first.unit, "floor": first.floor, "role": first.role, "at": packed(entries)}
        columns.append({name: entry for name, entry in told.items() if entry is not None})
    return columns


def evidence_columns(findings: Sequence[Finding], texts: Texts) -> Payload:
    """Return where each minute's judgement comes from; numbers of texts, and numbers as Wireshark gives them."""
    of_text: dict[str, Callable[[Finding], str | None]] = {
        "rule": lambda one: one.rule,
        "reason": lambda one: one.reason,
        "call": lambda one: one.call or None,
        "client_version": lambda one: one.client_version,
        "app": lambda one: one.signature.app,
        "signature": lambda one: f"{one.signature.id}, version {one.signature.version} ({one.signature.confidence})",
        "basis": lambda one: ", ".join(one.mute.bases) if one.mute and one.mute.bases else None,
        "file": lambda one: one.source.origin.file if one.source else None,
        "door": lambda one: one.source.origin.door if one.source else None,
        "address": lambda one: one.source.address if one.source else None,
        "sent": lambda one: one.source.sent.value if one.source else None,
    }
    plain: dict[str, Callable[[Finding], Any]] = {
        "frame": lambda one: one.source.origin.frame if one.source else None,
        "tcp_stream": lambda one: one.source.origin.tcp_stream if one.source else None,
        # a frame is easier to find than the number of a message, which would be a fifth of what remains
        "ordinal": lambda one: one.source.origin.ordinal if one.source and one.source.origin.frame is None else None,
        "offset": lambda one: one.source.origin.offset if one.source else None,
        "sha256": lambda one: one.source.body_sha256 if one.source and one.verdict in WITH_HASH else None,
        "sent_sha256": lambda one: one.source.sent_sha256 if one.source else None,
    }
    told: dict[str, Iterable[Any]] = {name: [texts.number(of(one)) for one in findings] for name, of in of_text.items()}
    told |= {name: [of(one) for one in findings] for name, of in plain.items()}
    return _present(told)


def guess_columns(findings: Sequence[Finding], texts: Texts) -> Payload:
    """Return `guesses`, each once, and `guess`: which of them a minute has; nothing where there is none."""
    table: dict[tuple[Any, ...], int] = {}
    numbers = [table.setdefault(_guess(one.guess, texts), len(table)) if one.guess else None for one in findings]
    return _present({"guess": numbers}) | ({"guesses": [list(entry) for entry in table]} if table else {})


def _guess(guess: ActivityGuess, texts: Texts) -> tuple[Any, ...]:
    likeliest = sorted(guess.probabilities.items(), key=lambda item: -item[1])[:LIKELIEST]
    return (
        texts.number(guess.label),
        tuple((texts.number(label), round(probability, 2)) for label, probability in likeliest),
        texts.number(guess.reason),
        guess.minutes,
        guess.minutes_missing,
        texts.number(guess.model),
    )


def _length(finding: Finding) -> int:
    if finding.starts_at is None or finding.ends_at is None:
        return 0
    return round((finding.ends_at - finding.starts_at).total_seconds())


def _present(told: "dict[str, Any]") -> Payload:
    return {name: column for name, entries in told.items() if (column := packed(list(entries))) is not None}
