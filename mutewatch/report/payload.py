"""What a page shows, as JSON-ready values: made of a `History`, for the static report and for the served page alike.

Times are whole seconds since 1970. Verdicts are numbers that index into `verdicts` of the overview, or names where
they are keys. What a `Role.VIEWER` may not see is not in the payload at all.

`overview`:

    {"role", "since", "until", "guesses": bool,
     "is_sample": bool,                             # all of the store was read from the synthetic meetings that ship
     "store": {"first", "last", "before", "after"} | None,   # its first and last minute; the nearest ones outside
     "verdicts": ["flagged", "unmuted", "inert", "mute-unknown", "missing", "undecoded"],
     "totals": {verdict: minutes},                  # of the span; only those above zero
     "flagged": {"first", "last"} | None,           # start of the first flagged minute, end of the last
     "is_loudness": bool,                           # what was flagged are levels and gains of the microphone
     "coverage": {"counted", "seen",                # minutes the clients counted; of these, whose report was seen
                  "uncounted": {app: minutes},      # seen of apps that count none: nobody knows what is missing there
                  "judged"},                        # with a verdict
     "muted": {"whole", "part", "missing"},         # of flagged minutes; muted seconds of missing ones: for an analyst
     "undated": {verdict: number},                  # findings without a time: in no span
     "uninspected": [{"reason", "host", "number", "first", "last"}],   # host "": not known; times or None;
                                                    # of what the operator left out, "host" is the signature's id
     "inputs": [{"name": str | None, "error": str | None, "matched", "decoded", "undecoded", "unread", "dark"}],
     "clients": [{"name", "apps": [str], "minutes": {verdict: minutes},
                  "hours": [hour, verdict number, minutes, ...]}]}      # flat triples; hour counts from since // 3600
                                                    # those with most flagged minutes first
`client_minutes`, columns as in `columns.py` (a list, or {"runs": [entry, how often, ...]}; absent: nothing in it):

    {"client", "since", "until", "count": minutes,
     "end_step": first end, then differences, "length": seconds, "verdict": verdict numbers,
     "uninspected": [[start, end, reason], ...],    # of the client's own addresses, where both times are known
     # and for an analyst:
     "muted", "unmuted", "unknown": seconds,
     "values": [{"name", "unit", "at": column, "floor"?, "role"?: "max-gain" | "mean-gain" | "min-gain",
                 "field"?, "statistic"?: "max" | "mean" | "min",    # of the readings that a minute is made of
                 "meaning"?}],
     "evidence": {"rule", "reason", "call", "app", "signature", "basis", "file", "door", "address", "sent",
                  "client_version": numbers of `texts`; "frame", "tcp_stream", "ordinal", "offset": numbers;
                  "sha256", "sent_sha256"},
     "guess": numbers of `guesses`, "guesses": [[label, [[label, probability], ...], reason, minutes,
                  minutes missing, model], ...],    # labels, reason, model: numbers of `texts` or None
     "texts": [str]}

`summary`, of a calendar month:

    {"month": "2021-03", "since", "until", "totals": {verdict: minutes}, "coverage": as above,
     "client_count": int, "flagged_count": int,                    # clients, and those with flagged minutes
     "clients": [{"name", "flagged", "minutes", "days"}],          # the TOP_CLIENTS of those; days with flagged ones
     "apps": [{"app", "signature", "version": str | None, "flagged", "minutes"}],    # of both: minutes that were seen
     "days": [{"day": "2021-03-01", "minutes": {verdict: minutes}}],             # every day of the month
     "uninspected": as above, "expired": {verdict: number}}
"""

import re
from calendar import monthrange
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final

from mutewatch.history import ClientTotals, DayCount, History, HourCount, Uninspected
from mutewatch.identity import Names
from mutewatch.records import Verdict
from mutewatch.report.columns import (
    VERDICTS,
    Payload,
    Texts,
    evidence_columns,
    guess_columns,
    mute_columns,
    seconds,
    times_and_verdicts,
    value_columns,
)
from mutewatch.signatures import known_signatures, telemetry_hosts
from mutewatch.stored import NO_MINUTES
from mutewatch.uninspected import Reason

TOP_CLIENTS: Final = 50
INPUT_COUNTS: Final = ("matched", "decoded", "undecoded", "unread", "dark")
JUDGED: Final = (Verdict.FLAGGED, Verdict.UNMUTED, Verdict.INERT)
SAMPLE: Final = Path(__file__).parents[1] / "sample"  # the synthetic meetings that ship with us
_PSEUDONYM: Final = re.compile(r"client-[0-9a-f]{12}")


class Role(StrEnum):
    """Who looks: a viewer sees verdicts under pseudonyms; an analyst also values, evidence and guesses."""

    VIEWER = "viewer"
    ANALYST = "analyst"


def overview(
    history: History,
    since: datetime,
    until: datetime,
    role: Role,
    *,
    names: Names | None = None,
    guesses: bool = True,
    signatures: Path | None = None,
) -> Payload:
    """Return the clients of the span and what was not seen of them.

    `names`: how a viewer sees clients; `signatures`: the folder of the operator's own.
    """
    hours = history.hours(since, until)
    totals = _totals(hours)
    span = history.bounds(Verdict.FLAGGED, since, until)
    inputs = history.inputs()
    by_client: dict[str, list[HourCount]] = {}
    for one in hours:
        by_client.setdefault(one.client, []).append(one)
    first_hour = seconds(since) // 3600
    told = {
        "role": role.value,
        "since": seconds(since),
        "until": seconds(until),
        "guesses": guesses and role is Role.ANALYST,
        "is_sample": bool(inputs) and all(Path(row["name"]).absolute().parent == SAMPLE for row in inputs),
        "store": _store(history, since, until),
        "verdicts": [verdict.value for verdict in VERDICTS],
        "totals": totals,
        "flagged": span and {"first": seconds(span[0]), "last": seconds(span[1])},
        "is_loudness": _is_loudness({one.signature for one in hours if one.verdict is Verdict.FLAGGED}, signatures),
        "coverage": _coverage(hours, signatures),
        "undated": history.undated(),
        "uninspected": _by_reason(history.uninspected(since, until), role, signatures),
        "inputs": [_input(row, role) for row in inputs],
        "clients": [
            {
                "name": shown_name(client, role, names),
                "apps": sorted({app_of(one.signature, signatures) for one in by_client[client]}),
                "minutes": _named(minutes),
                "hours": _triples(by_client[client], first_hour),
            }
            for client, minutes in _ranked(hours)
        ],
    }
    return told | {"muted": _muted(history, totals, since, until)} if role is Role.ANALYST else told


def client_minutes(
    history: History,
    client: str,
    since: datetime,
    until: datetime,
    role: Role,
    *,
    names: Names | None = None,
    guesses: bool = True,
    signatures: Path | None = None,
) -> Payload:
    """Return the minutes of the client that `overview` calls `client`; without any for one that it does not name."""
    stored = _stored_name(history.clients(since, until), client, role, names) if role is Role.VIEWER else client
    found = history.columns(stored, since, until) if stored is not None else NO_MINUTES
    addresses = {address for address in found.rest.address if address}
    closed = history.uninspected(since, until, addresses)
    told = {"client": client, "since": seconds(since), "until": seconds(until), **times_and_verdicts(found)}
    told["uninspected"] = [
        [seconds(one.started_at), seconds(one.ended_at), one.reason]
        for one in closed
        if one.started_at and one.ended_at
    ]
    if role is Role.VIEWER:
        return told
    texts = Texts()
    told |= mute_columns(found)
    told |= {"values": value_columns(found, _meanings(signatures)), "evidence": evidence_columns(found, texts)}
    told |= guess_columns(found, texts) if guesses else {}
    return told | {"texts": texts.table()}


def summary(
    history: History, month: date, role: Role, *, names: Names | None = None, signatures: Path | None = None
) -> Payload:
    """Return the month of `month` in numbers."""
    since, until = month_span(month)
    counts = history.days(since, until)
    ranked = _ranked(counts)
    flagged = [(client, minutes) for client, minutes in ranked if minutes[Verdict.FLAGGED]]
    days = Counter(client for client, _ in {(one.client, one.day) for one in counts if one.verdict is Verdict.FLAGGED})
    return {
        "month": f"{since:%Y-%m}",
        "since": seconds(since),
        "until": seconds(until),
        "totals": _totals(counts),
        "coverage": _coverage(counts, signatures),
        "client_count": len(ranked),
        "flagged_count": len(flagged),
        "clients": [
            {
                "name": shown_name(client, role, names),
                "flagged": minutes[Verdict.FLAGGED],
                "minutes": _seen(minutes),
                "days": days[client],
            }
            for client, minutes in flagged[:TOP_CLIENTS]
        ],
        "apps": _apps(counts, signatures),
        "days": _days(counts, since, until),
        "uninspected": _by_reason(history.uninspected(since, until), role, signatures),
        "expired": history.expired(since, until),
    }


def month_span(month: date) -> tuple[datetime, datetime]:
    """Return the first moments of the month of `month` and of the next."""
    first = datetime(month.year, month.month, 1, tzinfo=UTC)
    return first, first + timedelta(days=monthrange(month.year, month.month)[1])


def shown_name(client: str, role: Role, names: Names | None) -> str:
    """Return how `role` sees a client: a viewer never by a name from the wire, even if the store has it."""
    if role is Role.ANALYST:
        return client
    if names is None:
        raise ValueError("a viewer sees clients under pseudonyms: give `names`")
    return client if _PSEUDONYM.fullmatch(client) else names.pseudonym(client)


def app_of(signature: str, folder: Path | None = None) -> str:
    """Return the app whose traffic a signature reads; of a signature that is not known here, its id."""
    return next((one.app for one in known_signatures(folder) if one.id == signature), signature)


def _is_loudness(signatures: set[str], folder: Path | None) -> bool:
    of_gains = {
        one.id
        for one in known_signatures(folder)
        for message in one.messages
        if message.audio and any(field.role for group in message.audio.groups for field in group.fields.values())
    }
    return bool(signatures) and signatures <= of_gains


def _stored_name(clients: Iterable[ClientTotals], shown: str, role: Role, names: Names | None) -> str | None:
    return next((one.client for one in clients if shown_name(one.client, role, names) == shown), None)


def _ranked(counts: Iterable[HourCount | DayCount]) -> list[tuple[str, Counter[Verdict]]]:
    """Return each client's minutes, those with most flagged ones first, then by name."""
    found: dict[str, Counter[Verdict]] = {}
    for one in counts:
        found.setdefault(one.client, Counter())[one.verdict] += one.number
    return sorted(found.items(), key=lambda item: (-item[1][Verdict.FLAGGED], item[0]))


def _totals(counts: Iterable[HourCount | DayCount]) -> dict[str, int]:
    counted: Counter[Verdict] = Counter()
    for one in counts:
        counted[one.verdict] += one.number
    return _named(counted)


def _named(counted: "dict[Verdict, int]") -> dict[str, int]:
    return {verdict.value: counted[verdict] for verdict in VERDICTS if counted.get(verdict)}


def _seen(minutes: "Counter[Verdict]") -> int:
    """Of these the flagged are a part: what is missing was not seen, and what is undecoded is a message, no minute."""
    return minutes.total() - minutes[Verdict.MISSING] - minutes[Verdict.UNDECODED]


def _store(history: History, since: datetime, until: datetime) -> Payload | None:
    known = history.span()
    if known is None:
        return None
    told = dict(zip(("first", "last", "before", "after"), (*known, *history.around(since, until)), strict=True))
    return {name: at and int(at.timestamp()) for name, at in told.items()}  # rounded up it might be of the next day


def _muted(history: History, totals: dict[str, int], since: datetime, until: datetime) -> dict[str, int]:
    part, missing = history.muted_parts(since, until)
    return {"whole": totals.get(Verdict.FLAGGED, 0) - part, "part": part, "missing": missing}


def _coverage(counts: Sequence[HourCount | DayCount], folder: Path | None) -> Payload:
    """A minute that nobody counts cannot be missed: none of such an app's is among those `counted`."""
    counting = {one.id for one in known_signatures(folder) if any(m.audio and m.audio.number for m in one.messages)}
    counting |= {one.signature for one in counts if one.verdict is Verdict.MISSING}
    told = Counter[str]()
    uncounted = Counter[str]()
    for one in counts:
        told["judged"] += one.number if one.verdict in JUDGED else 0
        if one.verdict is Verdict.UNDECODED:
            continue
        if one.signature in counting:
            told["counted"] += one.number
            told["seen"] += one.number if one.verdict is not Verdict.MISSING else 0
        else:
            uncounted[app_of(one.signature, folder)] += one.number
    return {name: told[name] for name in ("counted", "seen", "judged")} | {"uncounted": dict(uncounted)}


def _meanings(folder: Path | None) -> dict[tuple[str, str], str]:
    """What the fields of the known signatures mean, by signature and name."""
    return {
        (one.id, f"{group.prefix}{name}"): field.meaning
        for one in known_signatures(folder)
        for message in one.messages
        if message.audio
        for group in message.audio.groups
        for name, field in group.fields.items()
    }


def _triples(hours: Iterable[HourCount], first_hour: int) -> list[int]:
    counted: Counter[tuple[int, int]] = Counter()
    for one in hours:
        counted[seconds(one.hour) // 3600 - first_hour, VERDICTS.index(one.verdict)] += one.number
    return [number for (hour, verdict), n in sorted(counted.items()) for number in (hour, verdict, n)]


def _by_reason(closed: Sequence[Uninspected], role: Role, folder: Path | None) -> list[Payload]:
    """Without addresses and inputs: how much of which host could not be looked into, and why.

    A host's own name, which the operator chose to keep, may name a customer: a viewer sees patterns only.
    """
    patterns = telemetry_hosts(known_signatures(folder))
    grouped: dict[tuple[str, str], list[Uninspected]] = {}
    for one in closed:
        is_shown = role is Role.ANALYST or one.host in patterns or one.reason == Reason.LEFT_OUT
        grouped.setdefault((one.reason, one.host if is_shown else ""), []).append(one)
    return [
        {
            "reason": reason,
            "host": host,
            "number": sum(one.number for one in group),
            "first": min((seconds(one.started_at) for one in group if one.started_at), default=None),
            "last": max((seconds(one.ended_at) for one in group if one.ended_at), default=None),
        }
        for (reason, host), group in sorted(grouped.items())
    ]


def _input(row: Payload, role: Role) -> Payload:
    sees = role is Role.ANALYST
    counts = {name: row["counts"].get(name, 0) for name in INPUT_COUNTS}
    error = row["error"] if sees or not row["error"] else "not read to its end"
    return {"name": row["name"] if sees else None, "error": error, **counts}


def _days(counts: Iterable[DayCount], since: datetime, until: datetime) -> list[Payload]:
    counted: dict[date, Counter[Verdict]] = {
        (since + timedelta(days=n)).date(): Counter() for n in range((until - since).days)
    }
    for one in counts:
        counted[one.day.date()][one.verdict] += one.number
    return [{"day": day.isoformat(), "minutes": _named(minutes)} for day, minutes in counted.items()]


def _apps(counts: Iterable[DayCount], folder: Path | None) -> list[Payload]:
    rows: dict[tuple[str, str | None], Counter[Verdict]] = {}
    for one in counts:
        rows.setdefault((one.signature, one.version), Counter())[one.verdict] += one.number
    told = [
        {
            "app": app_of(signature, folder),
            "signature": signature,
            "version": version,
            "flagged": minutes[Verdict.FLAGGED],
            "minutes": _seen(minutes),
        }
        for (signature, version), minutes in rows.items()
    ]
    return sorted(told, key=lambda one: (-one["flagged"], one["app"], one["signature"], one["version"] or ""))
