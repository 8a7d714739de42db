"""A report of a store as one HTML file: which blocks of data go into it, and which are left out for their size.

The minutes of a client's day are one block, so that the page parses only what is looked at. Beyond `MOST_MINUTES`
those client-days are left out that have the fewest flagged minutes; the page says how many, and still has their hours.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from mutewatch.errors import OperatorError
from mutewatch.history import History
from mutewatch.identity import Names
from mutewatch.records import Verdict
from mutewatch.report.columns import Payload
from mutewatch.report.html import static_page
from mutewatch.report.payload import Role, client_minutes, overview, shown_name, summary

DAY: Final = timedelta(days=1)
# 200 clients of 24 hours are 288,000: a file of some 20 MB, which browsers still open at once (docs/report.md).
MOST_MINUTES: Final = 400_000


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """What a report shows, and to whom."""

    since: datetime | None = None  # None: from the store's first minute
    until: datetime | None = None  # None: to its last
    role: Role = Role.ANALYST
    guesses: bool = True
    made: str = ""  # from what and when, in words
    signatures: Path | None = None  # folder of the operator's own; None: as `own_files` finds it


def static_report(
    history: History, options: ReportOptions, names: Names | None, most_minutes: int = MOST_MINUTES
) -> str:
    """Return the page. OperatorError if the span is empty."""
    since, until = span_of(history, options)
    role, own = options.role, options.signatures
    seen = overview(history, since, until, role, names=names, guesses=options.guesses, signatures=own)
    month = summary(history, (until - timedelta(microseconds=1)).date(), role, names=names, signatures=own)
    chosen, left_out = _client_days(history, since, until, most_minutes)
    about: Payload = {"made": options.made, "left_out": _left_out_words(*left_out) if left_out[0] else ""}

    def blocks() -> Iterator[tuple[str, Any]]:
        yield from (("overview", seen), ("summary", month), ("about", about))
        numbers = {client["name"]: number for number, client in enumerate(seen["clients"])}
        for client, day in chosen:
            shown = shown_name(client, options.role, names)
            yield f"minutes-{numbers[shown]}-{round(day.timestamp()) // 86400}", _minutes(shown, day)

    def _minutes(shown: str, day: datetime) -> Payload:
        ends = (max(day, since), min(day + DAY, until))
        return client_minutes(history, shown, *ends, role, names=names, guesses=options.guesses, signatures=own)

    return static_page(blocks())


def span_of(history: History, options: ReportOptions) -> tuple[datetime, datetime]:
    """Return the span that is asked for; by default whole days around all minutes of the store."""
    since, until, known = options.since, options.until, history.span()
    if known is not None:
        since, until = since or _day_of(known[0]), until or _day_of(known[1]) + DAY
    if since is None or until is None:
        raise OperatorError("the store has no minute with a time, so there is nothing to draw")
    if known is not None and options.until is None and since >= until:
        newest = f"the store's newest minute is of {_day_in_words(known[1])}"
        raise OperatorError(f"{newest}, nothing since {_day_in_words(since)}")
    if since >= until:
        raise OperatorError(f"nothing is both since {since:%Y-%m-%d} and before {until:%Y-%m-%d}")
    return since, until


def _client_days(
    history: History, since: datetime, until: datetime, most: int
) -> tuple[list[tuple[str, datetime]], tuple[int, int]]:
    """Return the client-days that have room, by flagged minutes; and how many days and minutes have none."""
    minutes: Counter[tuple[str, datetime]] = Counter()
    flagged: Counter[tuple[str, datetime]] = Counter()
    for one in history.days(since, until):
        key = (one.client, one.day)
        minutes[key] += one.number
        flagged[key] += one.number if one.verdict is Verdict.FLAGGED else 0
    chosen, taken = [], 0
    for key in sorted(minutes, key=lambda key: (-flagged[key], key)):
        if taken + minutes[key] <= most:
            chosen.append(key)
            taken += minutes[key]
    return chosen, (len(minutes) - len(chosen), minutes.total() - taken)


def _left_out_words(days: int, minutes: int) -> str:
    return (
        f"Of {days:,} days of clients ({minutes:,} minutes) only hours and counts are in this file, to keep it small; "
        "all counts are whole. For their minutes make a report of a shorter span: --since, --until."
    )


def _day_in_words(time: datetime) -> str:
    return f"{time.day} {time:%B %Y}"


def _day_of(time: datetime) -> datetime:
    return time.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
