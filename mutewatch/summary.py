"""What a run saw and what it did not: the last line of every output."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final

from mutewatch.counts import Counts
from mutewatch.flow_records import Flow, FlowOutcome, RtpStream, Unidentified
from mutewatch.records import Finding, Sent, Verdict
from mutewatch.sinks.flows import beacon_of, flow_lines, unidentified_lines
from mutewatch.sinks.rtp import rtp_counts, rtp_lines

# Counters of the live door that say that something was not inspected, or not recorded in time.
LIVE_LOSSES: Final = (
    *("uninspected", "refused_by_client", "gate_errors", "unrecorded", "dropped", "answers_dropped", "too_large"),
    *("streamed", "cut", "websocket_messages", "raw_messages", "endless", "hook_errors", "lost"),
    "answers_lost",
)


STRANGE_LINK: Final = "link type"  # how the reason begins why a packet of an unknown link type was skipped


@dataclass(frozen=True, slots=True)
class InputSummary:
    """One input: how much of it was read, and why not more."""

    name: str
    counts: dict[str, Any]
    error: str | None = None


@dataclass(slots=True)
class Summary:
    """All inputs of a run, and its minutes by verdict."""

    inputs: list[InputSummary] = field(default_factory=list)
    verdicts: Counter[str] = field(default_factory=Counter)
    held_back: Counter[Sent] = field(default_factory=Counter)  # flagged minutes of which the values did not leave
    calls: int = 0
    clients: int = 0
    counts: Counts = field(default_factory=Counts)
    model: str | None = None
    flows: list[Flow] = field(default_factory=list)  # of captures
    streams: list[RtpStream] = field(default_factory=list)  # of captures
    untold_streams: int = 0  # and how many more
    hidden: int = 0  # flows of captures to addresses of interest that stayed closed, of no known host
    skipped: Counter[str] = field(default_factory=Counter)  # packets of captures that could not be read, by why
    unidentified: Counter[Unidentified] = field(default_factory=Counter)  # flows of captures
    opinions: list[str] = field(default_factory=list)  # tshark's, where it was asked
    is_doubted: bool = False  # does tshark find what we do not, or could it not say?
    other_flows: int = 0  # of captures: of other hosts, opened because their keys were there
    has_several_files: bool = False
    expired: Counter[str] = field(default_factory=Counter)  # minutes of which only counts are kept, by verdict
    expired_until: str = ""  # the last day of those
    live: dict[str, int] | None = None  # what the live door counted since it was last started
    left_out: tuple[str, ...] = ()  # ids of signatures of which nothing was looked for, as the operator wanted

    def take(self, findings: Sequence[Finding]) -> None:
        """Count what was found."""
        self.verdicts = Counter(finding.verdict.value for finding in findings)
        flagged = [finding.source for finding in findings if finding.verdict is Verdict.FLAGGED and finding.source]
        self.held_back = Counter(source.sent for source in flagged if source.sent is not Sent.FORWARDED)
        self.calls = len({(f.client, f.call) for f in findings if f.verdict is not Verdict.UNDECODED})
        self.clients = len({f.client for f in findings if f.verdict is not Verdict.UNDECODED})

    def take_expired(self, daily: Iterable[dict[str, Any]]) -> None:
        """Count what was found and is no longer kept: rows of day, verdict and number."""
        for row in daily:
            self.expired[row["verdict"]] += row["number"]
            self.expired_until = max(self.expired_until, row["day"])

    @property
    def errors(self) -> list[str]:
        return [given.error for given in self.inputs if given.error]

    @property
    def is_blind(self) -> bool:
        """Were there flows that may hold what was looked for, while nothing of it was found?"""
        found = self.counts.matched or self.counts.dark
        has_strange_links = any(reason.startswith(STRANGE_LINK) for reason in self.skipped)
        is_cut = bool(self.unidentified[Unidentified.HELLO_CUT])
        return has_strange_links or is_cut or (bool(self.unidentified.total()) and not found)

    @property
    def _outcomes(self) -> Counter[FlowOutcome]:
        return Counter(flow.outcome for flow in self.flows)

    def record(self) -> dict[str, Any]:
        """As the last line of JSON Lines."""
        return {
            "type": "summary",
            "files": len(self.inputs),
            "files_with_errors": len(self.errors),
            **counts_record(self.counts),
            "calls": self.calls,
            "clients": self.clients,
            "minutes": {verdict.value: self.verdicts[verdict.value] for verdict in Verdict if verdict != "undecoded"},
            "minutes_expired": dict(self.expired),
            "held_back": {sent.value: n for sent in Sent if (n := self.held_back[sent])},
            "flows": {outcome.value: n for outcome in FlowOutcome if (n := self._outcomes[outcome])},
            "flows_of_others": self.other_flows,
            "packets_skipped": dict(self.skipped),
            "flows_unidentified": {reason.value: n for reason in Unidentified if (n := self.unidentified[reason])},
            "beacons": sum(beacon_of(flow) is not None for flow in self.flows),
            "rtp_streams": rtp_counts(self.streams, self.untold_streams),
            "model": self.model,
            "left_out": list(self.left_out),
            "live": self.live,
            "inputs": [asdict(given) for given in self.inputs],
        }

    def lines(self) -> Iterable[str]:
        """As sentences for people, the answer first."""
        counts = self.counts
        flagged = self.verdicts["flagged"]
        if flagged:
            yield f"FLAGGED: in {number_of(flagged, 'minute')} audio-derived data left while the client was muted."
        if self.held_back:
            told = ", ".join(f"{sent.value}: {n}" for sent in Sent if (n := self.held_back[sent]))
            yield f"Of {self.held_back.total()} of these the gateway kept the values from leaving ({told})."
        if flagged and self.model:
            yield "What could be inferred is a guess: docs/classifier.md says how good it is, and where it fails."
        yield from self._message_lines()
        yield from self._capture_lines()
        if counts.canaries:
            yield f"{number_of(counts.canaries, 'message')} of the canary passed too, in none of these numbers."
        if counts.dark and not self.flows:
            yield (
                f"{number_of(counts.dark, 'connection')} to telemetry hosts stayed closed: no key for it in the log or "
                "the capture, or no HTTP in it. What went through it is not known."
            )
        judged = ", ".join(f"{self.verdicts[v.value]} {v.value}" for v in Verdict if v is not Verdict.UNDECODED)
        yield f"Minutes of {number_of(self.clients, 'client')} in {number_of(self.calls, 'call')}: {judged}."
        if self.expired:
            told = ", ".join(f"{number} {verdict}" for verdict, number in sorted(self.expired.items()))
            yield f"Of older minutes, up to {self.expired_until}, only counts are kept: {told}."
        if counts.mute_refused or counts.mute_unanswered:
            yield (
                f"Mute requests without effect: {counts.mute_refused} that the server refused, so the mute state "
                f"stayed as it was; {counts.mute_unanswered} whose answer was not seen."
            )
        if self.left_out:
            yield from self._left_out_lines()
        if not counts.exchanges and not counts.dark:
            yield "No message was read, so this says nothing about leaks."
        elif not counts.matched and not counts.dark:
            yield "Nothing matched a signature: that no leak was found here does not mean that there was none."
        passed = {name: self.live[name] for name in LIVE_LOSSES if self.live and self.live.get(name)}
        if passed:
            told = ", ".join(f"{name.replace('_', ' ')}: {number}" for name, number in passed.items())
            yield f"The live proxy did not see or record everything since it was last started ({told})."
        if self.verdicts["mute-unknown"]:
            yield (
                "Whether the client was muted is not known for some minutes: these are not clean. "
                "If you know, say so with --mute FILE or --assume muted."
            )

    def _message_lines(self) -> Iterator[str]:
        """How many messages were read, and how far."""
        counts = self.counts
        by_signature = ", ".join(f"{name}: {n}" for name, n in sorted(counts.signatures.items())) or "none"
        yield (
            f"Read {number_of(len(self.inputs), 'input')}: {number_of(counts.exchanges, 'message')}, "
            f"{counts.matched} from known endpoints ({by_signature})."
        )
        if counts.matched:
            yield (
                f"Of these {counts.decoded} decoded, {counts.undecoded} undecoded, {counts.unread} with a body that "
                f"could not be read; {counts.repeats} repeated."
            )
        if counts.unmatched:
            told = f": {counts.unmatched_audio} name audio-derived values" if counts.unmatched_audio else ""
            yield f"No signature knows {number_of(counts.unmatched, 'message')} to telemetry hosts{told}."

    def _left_out_lines(self) -> Iterator[str]:
        """What was not looked for; in a report perhaps only for a part of the time."""
        partly = [one for one in self.left_out if self.counts.signatures[one]]
        if wholly := [one for one in self.left_out if one not in partly]:
            yield f"Left out by the operator, so nothing of it was looked for: {', '.join(wholly)}."
        if partly:
            yield f"Left out by the operator for a part of the time: {', '.join(partly)}."

    def _capture_lines(self) -> Iterator[str]:
        """What became of the flows and packets of captures."""
        yield from flow_lines(self.flows, with_files=self.has_several_files)
        if self.other_flows:
            yield f"{number_of(self.other_flows, 'flow')} of other hosts opened for the keys in the log."
        for reason, number in self.skipped.items():
            if reason.startswith(STRANGE_LINK):
                packets = f"{number:,} packet{'s' * (number != 1)}"
                yield f"{packets} of {reason} could not be read: that is no IP, or encrypted."
        yield from unidentified_lines(self.unidentified)
        yield from rtp_lines(self.streams, self.untold_streams, with_files=self.has_several_files)


def counts_record(counts: Counts) -> dict[str, Any]:
    """The counters by name."""
    return {f.name: dict(v) if isinstance(v := getattr(counts, f.name), Counter) else v for f in fields(counts)}


def add_counts(counts: Counts, records: Iterable[dict[str, Any]]) -> Counts:
    """Add up what `counts_record` gave."""
    for record in records:
        for name, value in record.items():
            if isinstance(value, dict):
                getattr(counts, name).update(value)
            else:
                setattr(counts, name, getattr(counts, name) + value)
    return counts


def difference(after: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """What one input added to the counters."""
    return {
        name: {key: n - before[name].get(key, 0) for key, n in value.items() if n != before[name].get(key, 0)}
        if isinstance(value, dict)
        else value - before[name]
        for name, value in after.items()
    }


def number_of(number: int, noun: str) -> str:
    """Return "1 message" or "2 messages"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
