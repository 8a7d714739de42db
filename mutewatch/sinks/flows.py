"""What became of the flows of a capture: as records for programs, as sentences for people."""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from statistics import median
from typing import Final

from mutewatch.beacon import Beacon, find_beacon
from mutewatch.flow_records import Burst, Flow, FlowOutcome, Unidentified
from mutewatch.sinks.record import Record

SHOWN = 20  # flows in a text; all are in the JSON Lines
NEXT_STEP: Final = {
    FlowOutcome.NO_KEY: "set SSLKEYLOGFILE before the client starts, and give its file of that session: --keylog FILE",
    FlowOutcome.BAD_KEY: "the key log names this session but its secrets do not open it: is the file whole?",
    FlowOutcome.NO_HANDSHAKE: "start the capture before the client connects",
    FlowOutcome.CUT: "capture whole packets (tcpdump -s 0)",
    FlowOutcome.QUIC: "block UDP port 443, and the client falls back to TCP",
    FlowOutcome.ECH: "the name is encrypted: a key log shows what is inside",
    FlowOutcome.UNSUPPORTED: "try --engine tshark",
    FlowOutcome.PARTLY: "",
}
_NEXT_STEP_UNIDENTIFIED: Final = {
    Unidentified.HELLO_CUT: "capture whole packets (tcpdump -s 0)",
    Unidentified.HEADLESS: "start the capture before the client connects, or name the server with --address",
}


def flow_record(flow: Flow) -> Record:
    """Return `flow` as JSON-ready values; sizes are bytes of TCP or UDP payload."""
    return {
        "type": "flow",
        "outcome": flow.outcome.value,
        "detail": flow.detail or None,
        "file": flow.file,
        "first_frame": flow.first_frame,
        "last_frame": flow.last_frame,
        "client": flow.client,
        "client_port": flow.client_port,
        "server": flow.server,
        "port": flow.port,
        "host": flow.host,
        "chosen_by": flow.basis,
        "started_at": _time(flow.started_at),
        "ended_at": _time(flow.ended_at),
        "client_bytes": flow.client_bytes,
        "server_bytes": flow.server_bytes,
        "messages": flow.messages,
        "bursts": [{"at": _time(burst.at), "size": burst.size} for burst in flow.bursts],
        "beacon": asdict(beacon) if (beacon := beacon_of(flow)) else None,
    }


def beacon_of(flow: Flow) -> Beacon | None:
    """Return the beacon that a flow is of which no message could be read, or None."""
    return None if flow.messages else find_beacon(flow.bursts)


def flow_lines(flows: Sequence[Flow], heading: str = "Flows looked into", *, with_files: bool = False) -> Iterator[str]:
    """Say in sentences how many flows were opened, and of each that was not, why and what to do.

    `with_files`: the frames are of several files, so each is named.
    """
    if not flows:
        return
    counts = Counter(flow.outcome for flow in flows)
    told = ", ".join(f"{counts[outcome]} {outcome.value}" for outcome in FlowOutcome if counts[outcome])
    yield f"{heading}: {told}."
    closed = [flow for flow in flows if flow.outcome not in (FlowOutcome.DECRYPTED, FlowOutcome.CLEARTEXT)]
    for flow in closed[:SHOWN]:
        detail = f" ({flow.detail})" if flow.detail else ""
        where = f"{flow.file}, " if with_files else ""
        frames = f"frames {flow.first_frame} to {flow.last_frame}"
        yield f"  {flow.host or flow.server}, {where}{frames}: {flow.outcome}{detail}"
        if not flow.messages:
            yield f"    {rhythm(flow.bursts)}"
    if len(closed) > SHOWN:
        yield f"  and {len(closed) - SHOWN} more (--format jsonl shows all)"
    for outcome, step in NEXT_STEP.items():
        if step and counts[outcome]:
            yield f"What to do about “{outcome.value}”: {step}."


def unidentified_lines(counts: Mapping[Unidentified, int]) -> Iterator[str]:
    """Say of how many flows nobody knows whose they are, if there are any."""
    told = ", ".join(f"{number} {reason}" for reason, number in counts.items() if number)
    if told:
        yield f"Whose these TLS flows are could not be told: {told}. Telemetry may be in them."
    for reason, step in _NEXT_STEP_UNIDENTIFIED.items():
        if counts.get(reason):
            yield f"What to do about “{reason}”: {step}."


def rhythm(bursts: Sequence[Burst]) -> str:
    """Say how much a client sent, and how regularly: a beacon shows without its keys."""
    if not bursts:
        return "nothing was sent by the client"
    times = [burst.at for burst in bursts if burst.at]
    steps = [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(times)]
    size = median(burst.size for burst in bursts)
    every = f", one every {median(steps):.0f} s at the median" if len(steps) > 1 else ""
    if len(bursts) == 1:
        return f"the client sent {size:,.0f} bytes at once"
    told = f"the client sent {len(bursts)} times, {size:,.0f} bytes at the median{every}"
    if beacon := find_beacon(bursts):
        told += f": a beacon ({beacon.regularity:.0%} of the gaps on time, sizes vary by {beacon.size_variation:.1%})"
    return told


def _time(at: datetime | None) -> str | None:
    return at.isoformat().replace("+00:00", "Z") if at else None
