"""For notebooks and scripts: what `mutewatch scan` and `mutewatch report` tell, as objects.

    import mutewatch
    found = mutewatch.scan("meeting.pcapng", keylog="keys.log")
    found.summary           # what was read, and what was not: no finding does not mean clean
    found.to_frame()        # a row a minute, in the columns of docs/analysts.md

Part of the composition root, as the commands are, and over the same code. Nothing here prints or ends the process.
What the caller got wrong is an `OperatorError`; a file that cannot be read (to its end) is in `errors`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cached_property
from html import escape
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from mutewatch.commands.output import check_files
from mutewatch.commands.report import load
from mutewatch.compose import PipelineOptions, build_pipeline
from mutewatch.config import store_location
from mutewatch.errors import OperatorError
from mutewatch.feeding import Feed, in_order, state_or_none
from mutewatch.flow_records import Flow
from mutewatch.ports import ReadOptions
from mutewatch.records import Finding
from mutewatch.signatures import own_files
from mutewatch.signatures.choice import asked_without
from mutewatch.sinks.flat import flat_row, to_frame
from mutewatch.summary import Summary

if TYPE_CHECKING:
    import pandas as pd

AnyPath = str | PathLike[str]
SHOWN: Final = (
    "verdict",
    "client",
    "starts_at",
    "muted_seconds",
    "max_gain",
    "mean_gain",
    "min_gain",
    "guess",
    "frame",
)
_ROWS_SHOWN: Final = 60  # in a notebook; all are in the frame


class Found:
    """Findings, and the account of what they rest on. Iterate it for the findings, in order of client and time."""

    def __init__(self, findings: list[Finding], summary: Summary) -> None:
        self.findings, self.summary = findings, summary

    @property
    def flows(self) -> list[Flow]:
        """The flows of captures that were looked into, and what became of each; clients as pseudonyms."""
        return self.summary.flows

    @property
    def errors(self) -> list[str]:
        """What could not be read (to its end), and why. What was found up to there is kept."""
        return self.summary.errors

    def to_frame(self) -> "pd.DataFrame":
        """Return a pandas DataFrame with a row a finding. OperatorError without pandas."""
        return to_frame(self.findings)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def __repr__(self) -> str:
        told = ", ".join(f"{number} {verdict}" for verdict, number in self._verdicts.items()) or "no finding"
        errors = f"; {len(self.errors)} could not be read to the end" if self.errors else ""
        return f"<mutewatch: {told}; {self.summary.counts.matched} messages from known endpoints{errors}>"

    def _repr_html_(self) -> str:
        lines = "".join(f"<li>{escape(line)}</li>" for line in (*self.errors, *self.summary.lines()))
        head = "".join(f"<th>{escape(name)}</th>" for name in SHOWN)
        rows = (flat_row(finding) for finding in self.findings[:_ROWS_SHOWN])
        body = "".join(f"<tr>{''.join(f'<td>{_cell(row[name])}</td>' for name in SHOWN)}</tr>" for row in rows)
        more = len(self.findings) - _ROWS_SHOWN
        rest = f"<p>and {more} more: to_frame() has all</p>" if more > 0 else ""
        return f"<ul>{lines}</ul><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{rest}"

    @cached_property
    def _verdicts(self) -> Counter[str]:
        return Counter(finding.verdict.value for finding in self.findings)


def scan(
    paths: AnyPath | Iterable[AnyPath],
    *,
    keylog: AnyPath | Iterable[AnyPath] = (),
    mute: AnyPath | None = None,
    assume: Literal["muted", "unmuted"] | None = None,
    activity: bool = True,
    show_clients: bool = False,
    signatures: Iterable[AnyPath] = (),
    without: str | Iterable[str] = (),
    addresses: str | Iterable[str] = (),
    engine: Literal["native", "tshark"] = "native",
    rotated: bool = False,
    state: AnyPath | None = None,
) -> Found:
    """Read all of `paths` and return what was found; the options are those of `mutewatch scan`.

    Exchanges are read one by one, so memory does not grow with the files; a minute is judged when all is read,
    since a later message may change what it means. OperatorError for what cannot be had.
    """
    files, keylogs = _paths(paths), _paths(keylog)
    if assume not in (None, "muted", "unmuted"):
        raise OperatorError(f"assume={assume!r}: write 'muted' or 'unmuted', or leave it out")
    if engine not in ("native", "tshark"):
        raise OperatorError(f"engine={engine!r}: write 'native' or 'tshark', or leave it out")
    check_files(None, files, keylogs)
    timeline = Path(mute) if mute is not None else None
    assumed = None if assume is None else assume == "muted"
    chosen = (*own_files(), *_paths(signatures))
    judging = PipelineOptions(timeline, assumed, activity, show_clients, chosen, asked_without(_texts(without)))
    pipeline = build_pipeline(state_or_none(Path(state) if state is not None else None, lambda _: None), judging)
    summary = Summary(
        counts=pipeline.counts,
        model=pipeline.model_id,
        has_several_files=len(files) > 1,
        left_out=judging.choice.left_out_ids,
    )
    options = ReadOptions(keylogs, addresses=_texts(addresses))
    for group in [files] if rotated else [(path,) for path in files]:
        for _ in Feed(group, pipeline, summary, options, engine).run(as_one=rotated):
            pass  # the facts stay in the pipeline
    findings = in_order(pipeline.finish())
    summary.take(findings)
    return Found(findings, summary)


def open_store(path: AnyPath) -> Found:
    """Return what a store holds, a file or a PostgreSQL URL: of `mutewatch live`, or of `scan --store`.

    OperatorError if there is none.
    """
    return Found(*load(store_location(str(path))))


def _paths(given: AnyPath | Iterable[AnyPath]) -> tuple[Path, ...]:
    return (Path(given),) if isinstance(given, str | PathLike) else tuple(Path(path) for path in given)


def _texts(given: str | Iterable[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _cell(value: object) -> str:
    return "" if value is None else escape(f"{value:g}" if isinstance(value, float) else str(value))
