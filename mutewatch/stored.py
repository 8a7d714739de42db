"""A finding as the store keeps it: a row, and its kind, which says once what many rows have in common.

- A kind says nothing of anybody, and no text from the wire stands in it: rule, signature, on whose word the mute state
  rests, which values there are, through which door. So there are few, and they are never deleted.
- All else is the row's own: what is searched in columns, the rest (`Rest`) as one JSON array.
- A row without a kind has the whole record instead (docs/output.md): rows of older stores, and those that come when
  there are `MOST_KINDS`. It is read as any other.

So a minute takes a third of the place, and half of the time, that its record took; and a day is read as columns.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from sqlalchemy import Connection, Row, Text, cast, select, type_coerce

from mutewatch.database import json_text, parsed_json
from mutewatch.records import (
    AudioValue,
    Basis,
    Finding,
    Information,
    MuteSummary,
    Origin,
    Role,
    Samples,
    Sent,
    SignatureRef,
    Source,
    Verdict,
)
from mutewatch.sinks.record import Record, finding_from_record, finding_record, guess_from_record, guess_record
from mutewatch.tables import findings, given_text, kinds, microseconds, time_of

# A signature with n values that may be missing has at most 2 ** n kinds for each rule; assumed: some dozens in a store.
MOST_KINDS: Final = 2000


class Kind(NamedTuple):
    """What many findings have in common."""

    rule: str
    rules_version: int
    signature: SignatureRef
    bases: tuple[Basis, ...]
    door: str | None  # None: there is no message behind it
    sent: Sent | None
    values: tuple[tuple[str, str, float | None, Role | None], ...]  # name, unit, floor, role
    told: tuple[tuple[str, str, float | None], ...] = ()  # of what information is told: name, unit, floor
    is_address_shared: bool = False


class Rest(NamedTuple):
    """What is a finding's own and in no column of its row. Stored in this order: a new field comes last."""

    reason: Any
    starts_at_us: Any  # 0: not known
    unmuted: Any = None  # seconds, whole ones, as all three
    unknown: Any = None
    disputed: Any = None
    values: Any = ()  # in the order of the kind's
    guess: Any = None  # as in the record
    address: Any = None
    body_sha256: Any = None
    sent_sha256: Any = None
    file: Any = None
    ordinal: Any = None
    frame: Any = None
    tcp_stream: Any = None
    offset: Any = None
    # In the order of the kind's: readings, distinct, lowest, highest, bits of entropy. Still JSON: it would be half of
    # the time of parsing, and the page does without.
    information: msgspec.Raw = msgspec.Raw(b"[]")
    samples: Any = None  # number, muted, messages


@dataclass(frozen=True, slots=True)
class Columns:
    """Minutes of one client; each field has one entry a minute."""

    ends_at_us: Sequence[int]
    verdict: Sequence[str]
    version: Sequence[str]  # "": none was told
    call: Sequence[str]
    muted: Sequence[int | None]  # seconds
    kind: Sequence[int]  # its number
    kinds: Mapping[int, Kind]  # those that occur
    rest: Rest  # of columns


_NOTHING: Final[Any] = ()
NO_MINUTES: Final = Columns((), (), (), (), (), (), {}, Rest(*[_NOTHING] * len(Rest._fields)))
T = TypeVar("T", bound=Hashable)
R = TypeVar("R")
_own: Final = msgspec.json.Decoder(Rest)
_own_of_many: Final = msgspec.json.Decoder(list[Rest])
_RECORD: Final = cast(findings.c.record, Text)  # many are parsed at once
# What `read` wants to be selected.
STORED: Final = (
    *(findings.c[name] for name in ("client", "call", "minute", "ends_at_us", "seen_at_us", "verdict", "version")),
    *(findings.c.muted_seconds, findings.c.kind, _RECORD.label("rest")),
)
# What `read_columns` wants.
DRAWN: Final = (
    *(type_coerce(findings.c[name], Text) for name in ("call", "version")),  # as it stands in the database
    *(findings.c[name] for name in ("ends_at_us", "verdict", "muted_seconds", "kind")),
    _RECORD.label("rest"),
)


class Kinds:
    """The kinds of findings that one writer came across, and their numbers: the same in all stores."""

    def __init__(self, most: int = MOST_KINDS) -> None:
        self._most = most
        self._numbers: dict[Kind, int] = {}
        self._kinds: dict[int, Kind] = {}

    def number(self, kind: Kind) -> int | None:
        """Return the number of `kind`; None if there are too many."""
        known = self._numbers.get(kind)
        if known is not None or len(self._numbers) >= self._most:
            return known
        number = _number(kind)
        self._numbers[kind], self._kinds[number] = number, kind
        return number

    def rows(self, numbers: Iterable[int]) -> list[Record]:
        """Return the rows of `numbers`, in an order that all writers keep: so they do not wait in a circle."""
        return [{"number": number, "shared": self._kinds[number]} for number in sorted(numbers)]


def finding_row(finding: Finding, newest_us: int, number: Callable[[Kind], int | None]) -> Record:
    """`newest_us`: when the messages were seen that came with it; a missing minute has none of its own."""
    mute, source = finding.mute, finding.source
    kind = number(kind_of(finding))
    return {
        "client": finding.client,
        "call": finding.call,
        "signature": finding.signature.id,
        "minute": finding.minute,
        "ends_at_us": microseconds(finding.ends_at),
        "seen_at_us": microseconds(source.seen_at) if source else newest_us,
        "verdict": str(finding.verdict),
        "version": finding.client_version or "",
        "muted_seconds": round(mute.muted_seconds) if mute else None,
        "kind": kind,
        # text at once: seven containers a row, kept until all is written, make the garbage collector look at everything
        "record": msgspec.Raw(json_text(finding_record(finding) if kind is None else _rest_of(finding))),
    }


def read(connection: Connection, rows: Iterable[Row[Any]]) -> Iterator[Finding]:
    """Yield the findings of rows that have the columns `STORED`."""
    known = _Known(connection)
    for row in rows:
        if row.kind is None:
            yield finding_from_record(parsed_json(row.rest))
        else:
            yield _finding(row, known[row.kind], _rest(row.rest))


def read_columns(connection: Connection, rows: Sequence[Row[Any]]) -> Columns:
    """Return rows that have the columns `DRAWN`, column by column.

    Joined to one text each by the database they took no less time (PostgreSQL 8.1 ms instead of 7.4).
    """
    if not rows:
        return NO_MINUTES
    known = _Known(connection)
    calls, versions, ends_at_us, verdict, muted, numbers, texts = zip(*rows, strict=True)
    if None in numbers:
        numbers, texts = _split(numbers, texts, known)
    kinds_here = {number: known[number] for number in dict.fromkeys(numbers)}
    call, version = mapped(calls, given_text), mapped(versions, given_text)
    rest: Iterable[Any] = zip(*_rests(texts), strict=True)
    return Columns(ends_at_us, verdict, version, call, muted, numbers, kinds_here, Rest(*rest))


def mapped(entries: Sequence[T], make: Callable[[T], R]) -> list[R]:
    """Return what `make` makes of each entry: the same of the same, so it is asked once."""
    if entries and entries.count(entries[0]) == len(entries):  # most columns
        return [make(entries[0])] * len(entries)
    known = {entry: make(entry) for entry in dict.fromkeys(entries)}
    return [known[entry] for entry in entries]


def _split(
    numbers: Sequence[int | None], texts: Sequence[str], known: dict[int, Kind]
) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Give a kind to the rows that hold a whole record, and leave them what is their own."""
    split: list[tuple[int, str]] = []
    for number, text in zip(numbers, texts, strict=True):
        if number is not None:
            split.append((number, text))
            continue
        finding = finding_from_record(parsed_json(text))
        kind = kind_of(finding)
        split.append((_number(kind), json_text(_rest_of(finding))))
        known[_number(kind)] = kind
    made, left = zip(*split, strict=True)
    return made, left


def _rests(texts: Sequence[str]) -> list[Rest]:
    try:
        return _own_of_many.decode(f"[{','.join(texts)}]")
    except msgspec.DecodeError:
        return [_rest(text) for text in texts]


def _rest(text: str) -> Rest:
    try:
        return _own.decode(text)
    except msgspec.DecodeError:  # half of a surrogate pair
        rest = Rest(*parsed_json(text))
        return rest._replace(information=msgspec.Raw(json_text(rest.information)))


def _number(kind: Kind) -> int:
    """Return 64 bits that are made of `kind`, as a signed number: whoever stores it finds the same."""
    return int.from_bytes(sha256(msgspec.json.encode(kind)).digest()[:8], signed=True)


def kind_of(finding: Finding) -> Kind:
    """Return what `finding` has in common with others."""
    source, mute = finding.source, finding.mute
    return Kind(
        finding.rule,
        finding.rules_version,
        finding.signature,
        mute.bases if mute else (),
        source.origin.door if source else None,
        source.sent if source else None,
        tuple([(value.name, value.unit, value.floor, value.role) for value in finding.values]),
        tuple([(told.name, told.unit, told.floor) for told in finding.information]),
        mute.is_address_shared if mute else False,
    )


class _Known(dict[int, Kind]):
    """The kinds of a store by number; read when one is asked for that is not known yet."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    def __missing__(self, number: int) -> Kind:
        rows = self._connection.execute(select(kinds.c.number, cast(kinds.c.shared, Text)))
        self.update((number, _parsed_kind(text)) for number, text in rows)
        return dict.__getitem__(self, number)


@lru_cache(maxsize=MOST_KINDS)
def _parsed_kind(text: str) -> Kind:
    return msgspec.json.decode(text, type=Kind)


def _rest_of(finding: Finding) -> list[Any]:
    """Return what is in no column, in the order of `Rest`."""
    mute, source, samples = finding.mute, finding.source, finding.samples
    own: list[Any] = [
        finding.reason,
        microseconds(finding.starts_at),
        round(mute.unmuted_seconds) if mute else None,
        round(mute.unknown_seconds) if mute else None,
        round(mute.disputed_seconds) if mute else None,
        [value.value for value in finding.values],
        guess_record(finding.guess) if finding.guess else None,
    ]
    if source is None:
        own += [None] * 8
    else:
        origin = source.origin
        own += (source.address, source.body_sha256, source.sent_sha256)
        own += (origin.file, origin.ordinal, origin.frame, origin.tcp_stream, origin.offset)
    own.append([(one.readings, one.distinct, one.lowest, one.highest, one.entropy_bits) for one in finding.information])
    own.append((samples.number, samples.muted, samples.messages) if samples else None)
    return own


def _finding(row: Row[Any], kind: Kind, rest: Rest) -> Finding:
    mute = None
    if row.muted_seconds is not None:
        seconds = (row.muted_seconds, rest.unmuted, rest.unknown)
        mute = MuteSummary(*seconds, kind.bases, rest.disputed, kind.is_address_shared)
    source = None
    if kind.door is not None:
        origin = Origin(kind.door, rest.file, rest.ordinal, rest.frame, rest.tcp_stream, rest.offset)
        seen_at, sent = time_of(row.seen_at_us), kind.sent or Sent.FORWARDED
        source = Source(kind.signature, origin, rest.body_sha256, seen_at, rest.address, sent, rest.sent_sha256)
    return Finding(
        verdict=Verdict(row.verdict),
        rule=kind.rule,
        rules_version=kind.rules_version,
        reason=rest.reason,
        client=row.client,
        call=row.call,
        minute=row.minute,
        signature=kind.signature,
        starts_at=time_of(rest.starts_at_us),
        ends_at=time_of(row.ends_at_us),
        mute=mute,
        values=tuple(
            AudioValue(name, value, unit, floor, role)
            for (name, unit, floor, role), value in zip(kind.values, rest.values, strict=True)
        ),
        source=source,
        guess=guess_from_record(rest.guess),
        client_version=row.version or None,
        information=tuple(
            Information(*told, *numbers)
            for told, numbers in zip(kind.told, msgspec.json.decode(rest.information), strict=True)
        ),
        samples=Samples(*rest.samples) if rest.samples else None,
    )
