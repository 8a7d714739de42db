"""Feeds saved traffic to a pipeline, input by input, and keeps the account: for `mutewatch scan` and the API.

Part of the composition root: it brings the doors and the pipeline together. It prints nothing.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from mutewatch.config import StateDirectory, default_state, open_state
from mutewatch.errors import InputError, OperatorError, shown
from mutewatch.flow_records import Flow, RtpStream, Sender, Unidentified
from mutewatch.pipeline import Pipeline
from mutewatch.ports import ReadOptions
from mutewatch.records import Decoded, Exchange, Finding
from mutewatch.summary import InputSummary, Summary, counts_record, difference
from pcap_tools import read_inputs

_WHATEVER_NAME = ("address", "QUIC")  # these bases hold whatever the host's name is


class Feed:
    """One input on its way through the pipeline: a file, or all files of a rotated capture.

    Iterate `run()`; afterwards the summary has the input, with its error if it could not be read to its end,
    `flows` all flows that were looked into, `ours` those of telemetry hosts, as they are on the wire, and
    `unidentified` the flows of which nobody can say whose they are.
    """

    def __init__(
        self, paths: Sequence[Path], pipeline: Pipeline, summary: Summary, options: ReadOptions, engine: str = "native"
    ) -> None:
        self.name = " ".join(map(shown, paths))
        self.flows: list[Flow] = []
        self.ours: list[Flow] = []
        self.unidentified: Counter[Unidentified] = Counter()
        self.reading = replace(
            options,
            is_host=pipeline.is_host,
            wants_answer=pipeline.wants_answer,
            on_flow=self.flows.append,
            on_skipped=summary.skipped.update,
            on_unidentified=self.unidentified.update,
            on_streams=self._take_streams,
        )
        self._paths, self._pipeline, self._summary, self._engine = paths, pipeline, summary, engine

    def run(self, *, as_one: bool = False) -> Iterator[tuple[Exchange, list[Decoded]]]:
        """Yield each exchange with its facts; `as_one`: the files hold one capture. OperatorError, no InputError."""
        before, name = counts_record(self._pipeline.counts), self.name
        self._summary.inputs.append(InputSummary(name, {}, f"{name}: not read to its end: interrupted"))
        error = None
        try:
            for exchange in read_inputs(self._paths, self.reading, engine=self._engine, as_one=as_one):
                yield exchange, self._pipeline.feed(exchange)
        except InputError as fault:
            error = str(fault)
        self._account()
        self._summary.inputs[-1] = InputSummary(name, difference(counts_record(self._pipeline.counts), before), error)

    def _take_streams(self, streams: Sequence[RtpStream], untold: int) -> None:
        """Put the RTP streams into the summary; an end that may be a client's under its pseudonym."""
        name = self._pipeline.names.pseudonym
        self._summary.untold_streams += untold
        for one in streams:
            source = name(one.source) if one.sender is not Sender.SERVER else one.source
            target = name(one.target) if one.sender is not Sender.CLIENT else one.target
            self._summary.streams.append(replace(one, source=source, target=target))

    def _account(self) -> None:
        """Put the flows of telemetry hosts into the summary, under pseudonyms, and count the others."""
        summary, pipeline = self._summary, self._pipeline
        summary.hidden += sum(_is_hidden(flow, pipeline) for flow in self.flows)
        summary.unidentified.update(self.unidentified)
        self.ours = [flow for flow in self.flows if _is_ours(flow, pipeline)]
        summary.other_flows += len(self.flows) - len(self.ours)
        summary.flows += [replace(flow, client=pipeline.names.pseudonym(flow.client)) for flow in self.ours]


def state_or_none(chosen: Path | None, on_none: Callable[[OperatorError], None]) -> StateDirectory | None:
    """Return the state directory, which holds the key of the pseudonyms; without one they hold for this run only.

    None, after `on_none`, only where nobody chose it: a chosen one that cannot be had is an OperatorError.
    """
    try:
        return open_state(chosen or default_state())
    except OperatorError as error:
        if chosen is not None:
            raise
        on_none(error)
        return None


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Return the last word on each minute, by client, call, signature and time."""
    return sorted({finding.key: finding for finding in findings}.values(), key=_order)


def _order(finding: Finding) -> tuple[str, str, str, float, str]:
    at = finding.ends_at.timestamp() if finding.ends_at else 0.0
    return (finding.client, finding.call, finding.signature.id, at, finding.minute)


def _is_ours(flow: Flow, pipeline: Pipeline) -> bool:
    """Is it a telemetry host's flow as far as is known? A key log names everything that a client spoke with."""
    return flow.host is None or flow.basis in _WHATEVER_NAME or pipeline.is_host(flow.host)


def _is_hidden(flow: Flow, pipeline: Pipeline) -> bool:
    """Did a flow to an address that the operator named stay closed, of which nobody else knows whose it is?"""
    is_known = flow.host is not None and pipeline.is_host(flow.host)
    return flow.basis == "address" and not flow.messages and not is_known
