"""`mutewatch scan`: saved traffic in, findings out."""

import shlex
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from hashlib import sha256
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from mutewatch.commands.output import Format, check_files, check_format, line_sink, open_output, print_findings
from mutewatch.compose import PipelineOptions, build_pipeline
from mutewatch.errors import OperatorError, shown
from mutewatch.feeding import Feed, in_order, state_or_none
from mutewatch.messages import WEBSOCKET
from mutewatch.pipeline import Pipeline
from mutewatch.ports import ReadOptions, Sink
from mutewatch.records import Decoded, Direction, Exchange, Finding, Verdict
from mutewatch.store import Store
from mutewatch.summary import Summary, number_of
from mutewatch.uninspected import Tally, left_out, of_capture, replace_all
from pcap_tools import STDIN
from pcap_tools.files import open_input

FACTS_AT_ONCE = 1000  # messages held before they are committed to the store
UNMET_TOLD = 5  # names of a --mute file that are nobody's


class Exit(IntEnum):
    """What a run ends with; documented in docs/output.md."""

    RAN = 0
    FLAGGED = 1
    USAGE = 2
    UNREADABLE = 3
    NOTHING_MATCHED = 4
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """How to scan, beside how to judge."""

    state: Path | None = None  # None: the default directory, and if that cannot be had, none
    keylogs: tuple[Path, ...] = ()
    format: Format = Format.TABLE
    output: Path | None = None
    store: Path | str | None = None
    engine: str = "native"
    addresses: tuple[str, ...] = ()
    rotated: bool = False
    follow: bool = False
    verify: bool = False
    fail_on_flagged: bool = False
    require_match: bool = False
    show_hosts: bool = False  # as on the wire, with the clients' names; not the signatures' patterns


def scan(paths: Sequence[Path], options: ScanOptions, judging: PipelineOptions) -> Exit:
    """Read all of `paths`, print what was found, and return the exit code. Ctrl-C keeps what was found so far."""
    _check(paths, options, judging)
    pipeline = build_pipeline(state_or_none(options.state, _tell_no_state), judging)
    summary = Summary(
        counts=pipeline.counts,
        model=pipeline.model_id,
        has_several_files=len(paths) > 1,
        left_out=judging.choice.left_out_ids,
    )
    with (
        # first: what was found must not be lost for want of a place
        open_output(options.output, is_live=options.follow) as file,
        Store(options.store) if options.store else nullcontext() as store,
    ):
        early = _Early(line_sink(options.format, file))
        is_whole = _scan_files(paths, options, pipeline, store, summary, early)
        last = pipeline.finish()
        findings = in_order((*early.findings, *last))
        summary.take(findings)
        if store:
            store.record((), findings)
            for given in summary.inputs:
                store.record_input(given.name, given.counts, given.error)
            store.roll_up(datetime.now(UTC))
        print_findings(last if early.are_printed else findings, summary, options.format, file)
    for error in summary.errors:
        print(f"mutewatch: {error}", file=sys.stderr)
    for opinion in summary.opinions:
        print(f"mutewatch: {opinion}", file=sys.stderr)
    if unmet := pipeline.unmet:
        more = f" and {len(unmet) - UNMET_TOLD:,} more" if len(unmet) > UNMET_TOLD else ""
        names = ", ".join(map(shown, unmet[:UNMET_TOLD]))
        print(f"mutewatch: {judging.mute_file}: no minute was found of {names}{more}", file=sys.stderr)
    if dark := _dark(summary):
        print(f"mutewatch: from known endpoints, but not readable: {dark}", file=sys.stderr)
    return _exit_code(summary, options) if is_whole else Exit.INTERRUPTED


def _check(paths: Sequence[Path], options: ScanOptions, judging: PipelineOptions) -> None:
    """Say what cannot work before anything is written."""
    check_format(options.format, options.output)
    given = (judging.mute_file, options.store if isinstance(options.store, Path) else None)
    check_files(options.output, [*paths, *judging.signatures, *filter(None, given)], options.keylogs)
    if options.verify and STDIN in paths:
        raise OperatorError("--verify reads a capture twice, and standard input can be read once: name a file")
    if len(paths) == 1 and paths[0] != STDIN and options.format is Format.TABLE:
        open_input(paths[0]).close()  # what follows would be an empty summary, with the reason below it


def stored(store: str) -> str:
    """Say where a scan kept its findings, and what to do with them. A URL may hold a password."""
    name = "URL" if "://" in store else shlex.quote(store)
    where = "the database" if "://" in store else store
    return f"Stored in {where}: `mutewatch report --store {name} -o report.html` makes a page of it."


class _Early:
    """What is found while a capture still grows: as lines it is printed at once, else at the end."""

    def __init__(self, lines: Sink | None) -> None:
        self.findings: list[Finding] = []
        self._lines = lines

    @property
    def are_printed(self) -> bool:
        return self._lines is not None and bool(self.findings)

    def take(self, findings: list[Finding]) -> None:
        self.findings += findings
        if self._lines is not None and findings:
            self._lines.write(findings)
            self._lines.flush()


def _tell_no_state(error: OperatorError) -> None:
    print(f"mutewatch: {error}; so pseudonyms hold for this run only", file=sys.stderr)


def _scan_files(
    paths: Sequence[Path],
    options: ScanOptions,
    pipeline: Pipeline,
    store: Store | None,
    summary: Summary,
    early: _Early,
) -> bool:
    """Feed all files; return False if Ctrl-C ended that early."""
    try:
        with _progress(paths, pipeline) as begin:
            for group in _groups(paths, options):
                _scan_group(group, pipeline, store, options, summary, early, begin(group))
    except KeyboardInterrupt:
        return False
    return True


def _groups(paths: Sequence[Path], options: ScanOptions) -> Iterator[tuple[Path, ...]]:
    """Each file by itself, or all as one rotated capture."""
    if options.rotated:
        yield tuple(paths)
    else:
        yield from ((path,) for path in paths)


def _scan_group(
    paths: tuple[Path, ...],
    pipeline: Pipeline,
    store: Store | None,
    options: ScanOptions,
    summary: Summary,
    early: _Early,
    progress: "_InputProgress",
) -> None:
    """Feed one input: a file, or all files of a rotated capture."""
    facts: list[Decoded] = []
    bodies: Counter[bytes] = Counter()
    reading = ReadOptions(
        options.keylogs,
        addresses=options.addresses,
        follow=options.follow,
        on_bytes=progress.on_bytes,
        on_chosen=progress.on_chosen,
    )
    feed = Feed(paths, pipeline, summary, reading, options.engine)
    for exchange, said in feed.run(as_one=options.rotated):
        if options.follow and exchange.sent_at:
            early.take(pipeline.advance(exchange.sent_at))
        if options.verify and exchange.body and _is_request(exchange):
            bodies[sha256(exchange.body).digest()] += 1
        if store is not None:
            facts += said
            if len(facts) >= FACTS_AT_ONCE:
                store.record(facts, ())
                facts.clear()
    if store is not None:
        store.record(facts, ())
        _store_uninspected(store, feed, pipeline, options, summary.left_out)
    if options.verify and feed.flows:
        from pcap_tools.verify import second_opinion

        opinion = second_opinion(paths, feed.flows, bodies, feed.reading)
        summary.opinions.append(str(opinion))
        summary.is_doubted |= opinion.is_doubt
    elif options.verify:
        summary.opinions.append(f"{feed.name}: tshark was not asked, as no flow of a capture was looked into")


def _is_request(exchange: Exchange) -> bool:
    """Is it one that tshark gives, too? It reads neither websockets nor RTP nor the bodies of responses."""
    return exchange.method not in ("", WEBSOCKET, "RTP") and exchange.direction is Direction.TO_SERVER


def _store_uninspected(
    store: Store, feed: Feed, pipeline: Pipeline, options: ScanOptions, without: Iterable[str]
) -> None:
    """Keep which flows of an input stayed closed, and what was left out, in the place of what an earlier run knew."""
    tally = Tally(pipeline.names.pseudonym)
    shown_host = (lambda host: host) if options.show_hosts else pipeline.host_pattern
    for passed in (*of_capture(feed.ours, feed.unidentified, shown_host), *left_out(without, None)):
        tally.add(passed)
    with store.begin() as connection:
        replace_all(connection, feed.name, tally)


def _dark(summary: Summary) -> str:
    """What is known to have been there and could not be read, in words."""
    counts = summary.counts
    parts = (
        (counts.undecoded, "message", "that did not decode"),
        (counts.unmatched_audio, "message", "that no signature knows, with names of audio-derived values"),
        (counts.unread, "message", "without a body"),
        (counts.dark + summary.hidden, "connection", "that stayed closed"),
    )
    return ", ".join(f"{number_of(number, noun)} {rest}" for number, noun, rest in parts if number)


def _exit_code(summary: Summary, options: ScanOptions) -> Exit:
    """The gravest first: what could not be read may hide what is asked for."""
    if summary.errors or _dark(summary) or summary.is_blind or summary.is_doubted:
        return Exit.UNREADABLE
    if options.fail_on_flagged and summary.verdicts[Verdict.FLAGGED.value]:
        return Exit.FLAGGED
    if options.require_match and not summary.counts.matched:
        return Exit.NOTHING_MATCHED
    return Exit.RAN


@dataclass(frozen=True, slots=True)
class _InputProgress:
    """What the reader of one input tells the progress bar."""

    on_bytes: Callable[[int], None]
    on_chosen: Callable[[int], None]


@contextmanager
def _progress(paths: Sequence[Path], pipeline: Pipeline) -> Iterator[Callable[[Sequence[Path]], _InputProgress]]:
    """On a terminal, a bar on stderr over the bytes of all files, with what was found so far.

    Yields what to call at the start of each input.
    """
    sizes = {path: path.stat().st_size if path.is_file() else 0 for path in paths}
    console = Console(stderr=True)
    columns = (
        *(TextColumn("reading"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()),
        TextColumn("{task.fields[flows]} flows, {task.fields[found]} found"),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("reading", total=sum(sizes.values()) or None, found=0, flows=0)
        done = 0

        def begin(group: Sequence[Path]) -> _InputProgress:
            nonlocal done
            before, done = done, done + sum(sizes[path] for path in group)
            return _InputProgress(
                lambda consumed: progress.update(task, completed=before + consumed, found=pipeline.counts.matched),
                lambda chosen: progress.update(task, flows=chosen),
            )

        yield begin
