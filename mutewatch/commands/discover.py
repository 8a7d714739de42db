"""`mutewatch discover`: the numbers in saved traffic, ranked by how much they behave like sound."""

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mutewatch.commands.output import check_files, replacing
from mutewatch.commands.scan import Exit
from mutewatch.discover.correlate import CLOSE, SIGNIFICANT
from mutewatch.discover.draft import draft_signature
from mutewatch.discover.gather import Gatherer
from mutewatch.discover.media import METHOD, Heard
from mutewatch.discover.panel import MIN_READINGS, Panel, panels
from mutewatch.discover.place import Place, show
from mutewatch.discover.plot import plot_page
from mutewatch.discover.rank import Ranked, Ranking, rank
from mutewatch.discover.reference import Recording, read_wav
from mutewatch.errors import InputError, OperatorError
from mutewatch.flow_records import Flow, FlowOutcome, RtpStream
from mutewatch.ports import ReadOptions
from mutewatch.records import Direction
from mutewatch.signatures import match_host
from mutewatch.sinks.flows import NEXT_STEP
from pcap_tools import read_inputs

_ROUTES: Final = 10  # listed; the others are counted
_SLACK_UNTOLD: Final = 30.0  # seconds
_CHARTS: Final = 24
_OPENED: Final = (FlowOutcome.DECRYPTED, FlowOutcome.CLEARTEXT, FlowOutcome.EMPTY)


@dataclass(frozen=True, slots=True)
class DiscoverOptions:
    """The options of the command, as its --help says."""

    keylogs: tuple[Path, ...] = ()
    hosts: tuple[str, ...] = ()
    answers: bool = False
    audio: Path | None = None
    rtp: bool = False
    start: str | None = None
    slack: float | None = None
    names: bool = False
    top: int = 20
    as_json: bool = False
    html: Path | None = None
    draft: Path | None = None
    addresses: tuple[str, ...] = ()
    rotated: bool = False


@dataclass(slots=True)
class _Read:
    """What was read, and what could not be."""

    gatherer: Gatherer
    heard: Heard
    faults: list[InputError]
    closed: Counter[str]  # flows that were not opened, by why


def discover(paths: Sequence[Path], options: DiscoverOptions) -> Exit:
    """Read, rank, print, and write what was asked for; return the exit code."""
    outputs = [path for path in (options.html, options.draft) if path]
    for output in outputs:
        check_files(output, [*paths, *([options.audio] if options.audio else [])], options.keylogs)
    if options.audio is None and (options.start or options.slack is not None):
        raise OperatorError("--start and --slack say when a recording was played: add --audio played.wav")
    if options.audio and options.rtp:
        raise OperatorError("--audio and --rtp are two things to compare with: choose one")
    read = _read(paths, options)
    found = list(panels(read.gatherer))
    recording, slack = _recording(options, found)
    if options.rtp:
        found = [one for one in found if one.route.method != METHOD]  # it would follow itself
        if heard := read.heard.recording({one.client for one in found}):
            whose, recording = heard
            slack, found = CLOSE, [one for one in found if one.client == whose]
    ranking = rank(found, recording, slack, names=options.names)
    notes = list(_notes(ranking, read, options))
    if options.as_json:
        print(json.dumps(_record(ranking, read, notes), indent=1))
    else:
        _print(ranking, read, notes, options.top)
    if options.html:
        with replacing(options.html) as file:
            file.write(plot_page(ranking, recording, min(options.top, _CHARTS), notes).encode())
    if options.draft:
        draft = draft_signature(ranking)
        with replacing(options.draft) as file:
            file.write(draft.encode())
    if read.faults:
        return Exit.UNREADABLE
    return Exit.RAN if ranking.fields else Exit.NOTHING_MATCHED


def _read(paths: Sequence[Path], options: DiscoverOptions) -> _Read:
    is_host = _chosen(options.hosts)
    directions = frozenset(Direction) if options.answers else frozenset({Direction.TO_SERVER})
    read = _Read(Gatherer(is_host, directions), Heard(), [], Counter())

    def on_flow(flow: Flow) -> None:
        if flow.outcome not in _OPENED and (flow.host is None or is_host(flow.host)):
            read.closed[flow.outcome.value] += 1

    def wants_answer(_method: str, host: str | None, _path: str) -> bool:
        return options.answers and is_host(host or "")

    def on_streams(_streams: Sequence[RtpStream], _untold: int) -> None:
        """Their levels are messages."""

    reading = ReadOptions(
        options.keylogs,
        is_host,
        addresses=options.addresses,
        wants_answer=wants_answer,
        on_flow=on_flow,
        on_streams=on_streams if options.rtp else None,
    )
    for group in [tuple(paths)] if options.rotated else [(path,) for path in paths]:
        try:
            for exchange in read_inputs(group, reading, as_one=options.rotated):
                read.gatherer.add(read.heard.add(exchange))
        except InputError as fault:
            read.faults.append(fault)
            print(f"mutewatch: {fault}", file=sys.stderr)
    return read


def _chosen(hosts: tuple[str, ...]) -> Callable[[str], bool]:
    """Hook logs name no host: where hosts are named, what has none is passed over."""
    if not hosts:
        return lambda _name: True
    return lambda name: any(match_host(host, name) for host in hosts)


def _recording(options: DiscoverOptions, found: Sequence[Panel]) -> tuple[Recording | None, float]:
    """Return what was played, and by how many seconds its start may be wrong.

    Where nobody says when it began: with the time that the first message tells of, or with that message.
    """
    if options.audio is None:
        return None, 0.0
    if options.start is not None:
        starts_at, slack = _seconds(options.start), CLOSE
    else:
        longest = max(found, key=lambda panel: len(panel.ends), default=None)
        period = longest.period if longest else 0.0
        first = float(longest.ends[0]) if longest else 0.0
        starts_at, slack = first - period / 2, _SLACK_UNTOLD + period / 2
    return read_wav(options.audio, starts_at), slack if options.slack is None else options.slack


def _seconds(text: str) -> float:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise OperatorError(f"--start {text}: write it with an offset, as 2026-03-02T09:00:00Z")
    return time.timestamp()


def _notes(ranking: Ranking, read: _Read, options: DiscoverOptions) -> Iterator[str]:
    """Say how the fields were ranked, and all that was not seen or not looked at."""
    gatherer = read.gatherer
    left = gatherer.left
    if options.rtp and ranking.tested is None:
        yield "No level of a client travels in clear in these captures: nothing to compare with (docs/rtp.md)."
    if not gatherer.messages and options.hosts:
        yield f"No message to {' or '.join(options.hosts)} was read; without --host all hosts are looked at."
    yield from _ranked_by(ranking, "behaviour and names" if options.names else "behaviour alone")
    seen = sum(len(stream.fields) for stream in gatherer.streams.values())
    yield f"{seen} numbers found; {len(ranking.fields)} fields vary, in at least {MIN_READINGS} readings."
    for reason, count in sorted(left.messages.items()):
        yield f"{count} messages not read, or not in full: {reason}."
    beyond = (
        *((left.series, "numbers of further fields"), (left.readings, "numbers")),
        *((left.panels, "groups of fields"), (left.names, "objects' names")),
    )
    for count, what in beyond:
        if count:
            yield f"Left out beyond the limit: {count} {what}."
    if left.untimed:
        yield f"{left.untimed} messages have no time: placed a minute after the one before."
    for reason, count in sorted(read.closed.items()):
        step = NEXT_STEP.get(FlowOutcome(reason), "")
        yield f"{count} flows not opened: {reason}{step and f' ({step})'}."


def _ranked_by(ranking: Ranking, by: str) -> Iterator[str]:
    """Say what the ranking rests on, and what may be wrong with it."""
    tested = ranking.tested
    if not ranking.fields:
        return
    longest = max((one.panel for one in ranking.fields), key=lambda panel: len(panel.ends))
    if len(longest.ends) < MIN_READINGS:
        span = f"{len(longest.ends) * longest.period:.0f} s by the clock of the capture"
        yield f"Too short to see how a number behaves: all of it came within {span}. Was it replayed?"
    elif tested is None:
        yield f"Ranked by {by}: a reason to look, no proof. Play a recording (--audio) for one."
    elif not tested.bins:
        yield "The recording and the messages do not overlap for long enough: is --start right? Ranked by " + by + "."
    else:
        significant = sum(one.is_significant for one in ranking.fields)
        yield (
            f"{significant} of {len(ranking.fields)} fields follow the recording (p < {SIGNIFICANT}, corrected for "
            f"their number); {tested.bins} bins of time compared."
        )
        if tested.least_p >= SIGNIFICANT:
            yield f"Not enough time for p < {SIGNIFICANT}: {tested.bins} bins give at least {tested.least_p:.2g}."
        if any(one.followed and one.followed.is_elsewhere for one in ranking.fields):
            yield "Some follow the recording at another time better than at this: is --start right? Is it a loop?"


def _print(ranking: Ranking, read: _Read, notes: list[str], top: int) -> None:
    console = Console(highlight=False)
    routes = read.gatherer.messages.most_common()
    table = Table("messages", "where to", box=None, pad_edge=False, header_style="bold")
    for route, count in routes[:_ROUTES]:
        table.add_row(Text(str(count), justify="right"), Text(str(route), overflow="fold"))
    if routes:
        console.print(table)
    if len(routes) > _ROUTES:
        console.print(f"and {sum(count for _, count in routes[_ROUTES:])} messages to {len(routes) - _ROUTES} others")
    console.print()
    if ranking.fields:
        shown = ranking.fields[:top]
        prefix = _common(shown)
        if prefix:
            console.print(Text(f"All below {show(prefix)}", overflow="fold"))
        console.print(_fields_table(shown, prefix, has_p=ranking.tested is not None))
        console.print()
    for note in notes:
        console.print(note, markup=False)


def _common(shown: Sequence[Ranked]) -> Place:
    """Return what the places of these fields begin with, if it is long enough to be worth a line of its own."""
    places = [one.column.place[:-1] for one in shown]
    same = next((i for i, parts in enumerate(zip(*places, strict=False)) if len(set(parts)) > 1), None)
    prefix = min(places, key=len)[:same]
    return prefix if len(prefix) > 2 and len(shown) > 1 else ()


def _fields_table(shown: Sequence[Ranked], prefix: Place, *, has_p: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("#", justify="right")
    table.add_column("field, and why", overflow="fold", min_width=28)
    for heading in ("score", *(("r", "p") if has_p else ()), "n"):
        table.add_column(heading, justify="right")
    table.add_column("range", no_wrap=True)
    has_routes = len({one.panel.route for one in shown}) > 1
    for number, one in enumerate(shown, 1):
        place = show(one.column.place[len(prefix) :])
        field = Text(f"{one.panel.route} {place}" if has_routes else place)
        field.append(f"\n{one.why}", style="dim")
        low, high = one.range
        cells = (*(_tested_cells(one) if has_p else ()), str(one.column.readings), f"{low:.3g} to {high:.3g}")
        table.add_row(str(number), field, f"{one.score:.2f}", *cells)
    return table


def _tested_cells(one: Ranked) -> tuple[str, str]:
    if one.followed is None:
        return ("", "")
    return (f"{one.followed.correlation:+.2f}", f"{one.followed.p:.3f}")


def _record(ranking: Ranking, read: _Read, notes: list[str]) -> dict[str, Any]:
    messages = [{"route": str(route), "messages": count} for route, count in read.gatherer.messages.most_common()]
    return {
        "messages": messages,
        "fields": [_field_record(number, one) for number, one in enumerate(ranking.fields, 1)],
        "notes": notes,
    }


def _field_record(number: int, one: Ranked) -> dict[str, Any]:
    parts = one.behaviour
    record: dict[str, Any] = {
        "rank": number,
        "field": one.name,
        "route": str(one.panel.route),
        "is_growth": one.column.is_growth,
        "score": round(one.score, 4),
        "parts": {name: round(getattr(parts, name), 3) for name in ("news", "steady", "memory", "family", "span")},
        "is_named": parts.named,
        "readings": one.column.readings,
        "clients": one.clients,
        "period_seconds": round(one.panel.period, 3),
        "range": one.range,
        "why": one.why,
    }
    if one.followed:
        record["recording"] = {
            "correlation": round(one.followed.correlation, 4),
            "feature": one.followed.feature,
            "lag_seconds": one.followed.lag,
            "p": one.followed.p,
            "is_significant": one.is_significant,
        }
    return record
