"""Makes an exchange of a minute of an RTP stream, for the signature `rtp.rfc6464`; and of a stream its account."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from mutewatch.flow_records import RtpStream
from mutewatch.records import Exchange, Origin
from pcap_tools.ends import End
from pcap_tools.rtp.stream import Reading, Stream

METHOD = "RTP"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE = timedelta(minutes=1)
_LAST_MINUTE = 2**32 // 60 * 4  # of what a clock of a capture may show: the year 2514


def to_exchange(reading: Reading, origin: Origin, connection: str) -> Exchange:
    """Return a minute's levels as a message of the stream's sender, sent as the minute ended."""
    stream, minute, levels = reading.stream, reading.minute, reading.levels
    starts_at = _EPOCH + _MINUTE * min(max(0, minute.number), _LAST_MINUTE)
    stretch = _EPOCH + _MINUTE * min(max(0, reading.stretch), _LAST_MINUTE)
    name = f"rtp {_name(stream.source)}>{_name(stream.target)} {stream.ssrc:08x} {stream.payload_type}"
    said = {
        "stream": f"{name} {stretch:%Y-%m-%dT%H:%M}",
        "starts_at": starts_at.isoformat(),
        "ends_at": (starts_at + _MINUTE).isoformat(),
        "packets": minute.packets,
        "payload_bytes": minute.payload_bytes,
        "is_muted": True if minute.is_silent else None,
        "level": {
            "levelMax": levels.highest,
            "levelMean": levels.mean,
            "levelEnergyMean": levels.energy_mean,
            "levelMin": levels.lowest,
            "levelDistinct": levels.distinct,
            "levelEntropy": levels.entropy,
            "voiceActivity": levels.voiced,
        },
        "seconds": levels.seconds,
    }
    return Exchange(
        sent_at=starts_at + _MINUTE,
        client=_address(stream.source),
        host=None,
        port=stream.target[1],
        method=METHOD,
        path="/rtp",
        query="",
        body=json.dumps(said).encode(),
        origin=origin,
        connection=connection,
        client_port=stream.source[1],
    )


def to_record(
    stream: Stream, file: str, frame: Callable[[int], int], time: Callable[[int | None], datetime | None]
) -> RtpStream:
    """Return what there is to say of a stream. `frame`: a frame's number in `file`."""
    return RtpStream(
        file=file,
        source=_address(stream.source),
        source_port=stream.source[1],
        target=_address(stream.target),
        target_port=stream.target[1],
        ssrc=stream.ssrc,
        payload_type=stream.payload_type,
        sender=stream.sender,
        in_clear=stream.in_clear,
        detail=stream.detail,
        level_id=stream.level_id,
        first_frame=frame(stream.first_frame),
        last_frame=frame(stream.last_frame),
        started_at=time(stream.first_ns),
        ended_at=time(stream.last_ns),
        packets=stream.packets,
        payload_bytes=stream.payload_bytes,
        minutes=stream.minutes,
        silent_minutes=stream.silent_minutes,
    )


def _address(end: End) -> str:
    return str(ip_address(end[0]))


def _name(end: End) -> str:
    return f"{_address(end)}:{end[1]}"
