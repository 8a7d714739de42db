"""A table for people: minute by minute, call by call, on a terminal of 80 columns."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mutewatch.records import ActivityGuess, Finding, Origin, Role, Verdict

STYLES: Final = {
    Verdict.FLAGGED: "bold red",
    Verdict.UNMUTED: "green",
    Verdict.INERT: "dim",
    Verdict.MUTE_UNKNOWN: "yellow",
    Verdict.MISSING: "magenta",
    Verdict.UNDECODED: "magenta",
}
UNKNOWN_PART: Final = "?"  # behind the seconds that are known


class TableSink:
    """Collects findings and prints them on `flush`, one table a call."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._findings: list[Finding] = []

    def write(self, findings: Iterable[Finding]) -> None:
        self._findings += findings

    def flush(self) -> None:
        several = len(_files(self._findings)) > 1
        readable = [finding for finding in self._findings if finding.verdict is not Verdict.UNDECODED]
        for _key, call in groupby(readable, lambda f: (f.client, f.call, f.signature.id)):
            self._print_call(list(call), with_files=several)
        for finding in self._findings:
            if finding.verdict is Verdict.UNDECODED:
                self._console.print(_undecoded_line(finding), soft_wrap=True)
        self._findings = []

    def close(self) -> None:
        self.flush()

    def _print_call(self, findings: Sequence[Finding], *, with_files: bool) -> None:
        files = _files(findings) if with_files else []
        if len(files) == 1:
            self._console.print(Text(f"{files.pop()}:"), soft_wrap=True)
        self._console.print(_call_table(findings, files))
        for number, file in enumerate(files, 1):
            self._console.print(Text(f"{number} : {file}"), soft_wrap=True)
        if any(_muted(finding).endswith(UNKNOWN_PART) for finding in findings):
            self._console.print(
                f"{UNKNOWN_PART} : for a part of the minute it is not known whether the client was muted"
            )


def _files(findings: Iterable[Finding]) -> list[str]:
    """Where the evidence is: frames count in one of these files."""
    return sorted({file for finding in findings if finding.source and (file := finding.source.origin.file)})


def _call_table(findings: Sequence[Finding], files: Sequence[str]) -> Table:
    first = findings[0]
    signature = first.signature
    title = (
        f"{first.client} in call {first.call or 'unknown'}\n{signature.app} ({signature.id}, {signature.confidence})"
    )
    table = Table(title=Text(title), title_justify="left", box=None, pad_edge=False, header_style="bold")
    for heading in ("from (UTC)", "verdict", "muted", "max/mean/min"):
        table.add_column(heading, no_wrap=True)
    for heading in ("could be inferred", "where"):  # these give way on a narrow terminal
        table.add_column(heading, overflow="fold")
    day = None
    for finding in findings:
        start = _start(finding)
        if start and start.date() != day:
            day = start.date()
            table.add_row(Text(str(day), style="dim"))
        table.add_row(*_cells(finding, files))
    return table


def _cells(finding: Finding, files: Sequence[str]) -> tuple[Text, ...]:
    return (
        Text(f"{start:%H:%M:%S}" if (start := _start(finding)) else ""),
        Text(finding.verdict, style=STYLES[finding.verdict]),
        Text(_muted(finding)),
        Text(_values(finding)),
        Text(_guess(finding.guess)),
        Text(_where(finding.source.origin, files) if finding.source else ""),
    )


def _start(finding: Finding) -> datetime | None:
    """When the minute began, to the second, as the page has it (`report/columns.py`): its end less its length."""
    if finding.starts_at is None or finding.ends_at is None:
        return finding.starts_at
    length = round((finding.ends_at - finding.starts_at).total_seconds())
    try:
        return datetime.fromtimestamp(round(finding.ends_at.timestamp()) - length, UTC)
    except (ValueError, OverflowError):  # clients may claim the year 9999
        return finding.starts_at


def _muted(finding: Finding) -> str:
    """Seconds muted; a question mark where some are not known."""
    if finding.mute is None or finding.verdict is Verdict.MISSING:
        return ""
    return f"{finding.mute.muted_seconds:.0f} s" + (UNKNOWN_PART if finding.mute.unknown_seconds >= 1 else "")


def _values(finding: Finding) -> str:
    """The three gains in dB; of samples the first field's; of other signatures, how many values."""
    gains = {value.role: f"{value.value:g}" for value in finding.values if value.role}
    if gains:
        return "/".join(gains.get(role, "-") for role in (Role.MAX_GAIN, Role.MEAN_GAIN, Role.MIN_GAIN)) + " dB"
    if finding.samples and finding.values:
        unit = finding.values[0].unit
        numbers = "/".join(f"{value.value:.3g}" for value in finding.values[:3])  # as `evidence.py` summarises each
        return numbers if unit == "1" else f"{numbers} {unit}"
    return f"{len(finding.values)} values" if finding.values else ""


def _guess(guess: ActivityGuess | None) -> str:
    if guess is None:
        return ""
    if guess.label is None and guess.probabilities:
        return " or ".join(sorted(guess.probabilities, key=lambda name: -guess.probabilities[name])[:2]) + "?"
    if guess.label is None:
        return f"({guess.reason.partition(':')[0]})" if guess.reason else ""
    share = guess.probabilities[guess.label]
    gaps = f", {guess.minutes_missing} missing" if guess.minutes_missing else ""
    return f"{guess.label} {'>99%' if share > 0.99 else f'{share:.0%}'}{gaps}"


def _where(origin: Origin, files: Sequence[str] = ()) -> str:
    """Where a message is, in which of `files`, counted from 1, if there are several."""
    if files and origin.file:
        return f"{files.index(origin.file) + 1}: {_where(origin)}"
    if origin.frame is not None:
        return f"frame {origin.frame}"
    if origin.offset is not None:
        return f"byte {origin.offset}"
    return f"no. {origin.ordinal}" if origin.ordinal is not None else origin.door


def _undecoded_line(finding: Finding) -> Text:
    origin = finding.source.origin if finding.source else Origin("?")
    file = f"{origin.file}, " if origin.file else ""
    return Text.assemble(
        ("undecoded", STYLES[Verdict.UNDECODED]), f": {file}{_where(origin)} ({finding.signature.id}): {finding.reason}"
    )
