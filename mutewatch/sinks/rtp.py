"""What was seen of the RTP streams of a capture: as records for programs, as sentences for people."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from mutewatch.flow_records import InClear, RtpStream, Sender
from mutewatch.sinks.record import Record

SHOWN: Final = 20  # streams in a text; all are in the JSON Lines
_UNTOLD: Final = "not told one by one"


def rtp_record(stream: RtpStream) -> Record:
    """Return `stream` as JSON-ready values; sizes are bytes of payload of RTP."""
    return {
        "type": "rtp",
        "in_clear": stream.in_clear.value,
        "detail": stream.detail,
        "file": stream.file,
        "first_frame": stream.first_frame,
        "last_frame": stream.last_frame,
        "sender": stream.sender.value,
        "source": stream.source,
        "source_port": stream.source_port,
        "target": stream.target,
        "target_port": stream.target_port,
        "ssrc": f"{stream.ssrc:08x}",
        "payload_type": stream.payload_type,
        "level_id": stream.level_id,
        "started_at": _time(stream.started_at),
        "ended_at": _time(stream.ended_at),
        "packets": stream.packets,
        "payload_bytes": stream.payload_bytes,
        "minutes": stream.minutes,
        "silent_minutes": stream.silent_minutes,
    }


def rtp_counts(streams: Sequence[RtpStream], untold: int) -> dict[str, int]:
    """Return how many streams there are of whom, and what is in clear beside them."""
    found = Counter(_kind(stream) for stream in streams)
    return dict(sorted(found.items())) | ({_UNTOLD: untold} if untold else {})


def rtp_lines(streams: Sequence[RtpStream], untold: int = 0, *, with_files: bool = False) -> Iterator[str]:
    """Say in sentences which streams there are, and of each that a client may send, what is in clear of its sound."""
    if not streams:
        return
    told = ", ".join(f"{number} {kind}" for kind, number in rtp_counts(streams, untold).items())
    yield f"RTP streams: {told}."
    ours = [one for one in streams if one.sender is not Sender.SERVER and one.in_clear is not InClear.NOT_AUDIO]
    for stream in ours[:SHOWN]:
        where = f"{stream.file}, " if with_files else ""
        who = f"{stream.source}:{stream.source_port} to {stream.target}:{stream.target_port}"
        frames = f"frames {stream.first_frame} to {stream.last_frame}"
        yield f"  {who}, payload type {stream.payload_type}, {where}{frames}: {stream.in_clear} ({_why(stream)})"
    if len(ours) > SHOWN:
        yield f"  and {len(ours) - SHOWN} more (--format jsonl shows all)"
    if any(one.in_clear is not InClear.LEVEL for one in ours):
        yield "A stream without a level in clear may carry sound all the same: its payload is encrypted."
    if any(one.sender is Sender.UNKNOWN for one in ours):
        yield "Which end of a stream is the client was not always to be told: then both directions are shown."


def _kind(stream: RtpStream) -> str:
    if stream.in_clear is InClear.NOT_AUDIO:
        return InClear.NOT_AUDIO.value
    whose = {Sender.CLIENT: "of a client", Sender.SERVER: "to a client", Sender.UNKNOWN: "of an unknown side"}
    return f"{whose[stream.sender]}, {stream.in_clear}"


def _why(stream: RtpStream) -> str:
    if stream.in_clear is not InClear.LEVEL:
        return stream.detail
    silent = f", {stream.silent_minutes} without a packet" if stream.silent_minutes else ""
    return f"extension {stream.level_id}: {stream.detail}; minutes: {stream.minutes}{silent}"


def _time(at: datetime | None) -> str | None:
    return at.isoformat().replace("+00:00", "Z") if at else None
