"""getStats of a client with one microphone in a call of two, and how three libraries leave out what has not changed.

Sources: W3C webrtc-stats for the reports; telemetry formats of jitsi/rtcstats 9bf0318f5d, @whereby.com/rtcstats 5.4.2
and @webex/rtcstats 1.5.6 for the compression.
"""

import json
import random
from collections.abc import Mapping
from typing import Any

from tests.apps.script import Poll

Report = dict[str, Any]
Reports = Mapping[str, Report]
PEER = "PC_0"


def reports(poll: Poll) -> dict[str, Report]:
    """What getStats gives: our microphone among other things that move, such as the other's voice."""
    now, other = float(poll.milliseconds), random.Random(f"their voice at {poll.seconds}").uniform(0.1, 0.9)
    rows: list[Report] = [
        {"id": "CP1", "type": "candidate-pair", "state": "succeeded", "bytesSent": round(4_000 * poll.seconds)},
        {"id": "IA1", "type": "inbound-rtp", "kind": "audio", "audioLevel": other, "totalAudioEnergy": other * 9},
        {"id": "OA1", "type": "outbound-rtp", "kind": "audio", "packetsSent": round(50 * poll.seconds)},
        {
            "id": "SA1",
            "type": "media-source",
            "kind": "audio",
            "trackIdentifier": "track-1",
            "audioLevel": poll.level,
            "totalAudioEnergy": poll.energy,
            "totalSamplesDuration": poll.duration,
        },
        {"id": "SV1", "type": "media-source", "kind": "video", "trackIdentifier": "track-2", "frames": poll.seconds},
    ]
    return {row["id"]: {**row, "timestamp": now} for row in rows}


def by_id(before: Reports, now: Reports, *, drops: bool) -> dict[str, Any]:
    """As jitsi and whereby send it: an object by id. `drops`: a report that has not changed is not there at all."""
    newest = max(report["timestamp"] for report in now.values())
    found: dict[str, Any] = {}
    for name, report in now.items():
        known = before.get(name, {})
        changed = {key: value for key, value in report.items() if key != "id" and known.get(key) != value}
        if drops and known and changed.keys() <= {"timestamp"}:
            continue
        found[name] = changed | ({"timestamp": 0} if report["timestamp"] == newest else {})
    return {**found, "timestamp": newest}


def as_texts(before: Reports, now: Reports) -> list[str]:
    """As webex sends it: JSON texts with id and type, without what has not changed, and without the newest time."""
    found = []
    for name, report in now.items():
        known = before.get(name, {})
        changed = {key: value for key, value in report.items() if key != "timestamp" and known.get(key) != value}
        if changed:
            found.append(json.dumps({"id": name, "type": report["type"], **changed}))
    return found
