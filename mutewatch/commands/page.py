"""`mutewatch report -o report.html`: what a store holds, as one page that opens without a network."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

from mutewatch.commands.output import check_files, check_store, replacing
from mutewatch.commands.span import parse_time
from mutewatch.config import open_state
from mutewatch.errors import OperatorError
from mutewatch.history import History
from mutewatch.identity import Names, load_or_create_key
from mutewatch.report.build import ReportOptions, static_report
from mutewatch.report.payload import Role, month_span
from mutewatch.store import Store


def write_page(location: Path | str, output: Path, options: ReportOptions, state: Path) -> None:
    """Write the page to `output`, mode 0600. OperatorError if there is no such store, or nothing in it to show.

    `state`: where the key is under which a viewer sees clients.
    """
    check_files(output, [location] if isinstance(location, Path) else [], ())
    names = Names(load_or_create_key(open_state(state).client_key)) if options.role is Role.VIEWER else None
    with open_history(location) as history:
        page = static_report(history, options, names)
    with replacing(output) as file:
        file.write(page.encode())


@contextmanager
def open_history(location: Path | str) -> Iterator[History]:
    """Yield what the store at `location` holds, as it is at one moment. OperatorError if there is none."""
    check_store(location)
    with Store(location) as store, store.look() as connection:
        yield History(connection)


def report_options(
    location: Path | str,
    since: str | None,
    until: str | None,
    month: str | None,
    role: str,
    *,
    guesses: bool,
    signatures: Path | None = None,
) -> ReportOptions:
    """Return the options as the operator wrote them. OperatorError says what to write instead."""
    source = location.name if isinstance(location, Path) and role == Role.ANALYST else ""
    made = made_words(source, datetime.now(UTC))
    return ReportOptions(
        *_span(since, until, month), role=Role(role), guesses=guesses, made=made, signatures=signatures
    )


def _span(since: str | None, until: str | None, month: str | None) -> tuple[datetime | None, datetime | None]:
    if month is None:
        now = datetime.now(UTC)
        return (parse_time(since, now) if since else None, parse_time(until, now) if until else None)
    if since or until:
        raise OperatorError("--month is a span by itself: leave out --since and --until")
    try:
        first = date.fromisoformat(f"{month}-01")
    except ValueError:
        raise OperatorError(f"--month {month}: write it as 2026-03") from None
    return month_span(first)


def made_words(source: str, now: datetime) -> str:
    """Say from what and when a page was made."""
    return f"Made on {now.astimezone(UTC):%Y-%m-%d at %H:%M} UTC{source and f' from {source}'}, by mutewatch."
