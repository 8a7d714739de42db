"""Microsoft Teams: the levels of the whole call in one POST at its end, the button at the conversation's controller."""

import gzip
import json
import math

from mutewatch.records import Basis
from tests.apps.app import App, Asked, Connection
from tests.apps.script import PRESSES, at, every, level

HOST, CONTROLLER, PERIOD = "eu-teams.events.data.microsoft.com", "api-emea.flightproxy.teams.microsoft.com", 8.0
FLOOR = -125
SPEECH, NOISE = "speech.nearEndInputRMS_dBFS", "noise.nearEndInputRMS_dBFS"
SENT_AFTER = 60.0  # seconds after the last reading


def teams() -> App:
    client, times = "127.0.0.27", tuple(every(5, PERIOD))
    telemetry = Connection(HOST, (client, 20_027), (_post(times),))
    control = Connection(CONTROLLER, (client, 21_027), tuple(_states()))
    signature, connections = "teams.onecollector", (control, telemetry)
    return App("teams", signature, connections, (SPEECH, NOISE), times, PERIOD, Basis.ADDRESS)


def _post(times: tuple[float, ...]) -> Asked:
    """Times count from a moment that nobody tells; the event's is that of the newest."""
    series = [{"timestamp": -81_896_161, "payload": {}}]
    series += [{"timestamp": round(1_000 * t) + 11_372, "payload": _levels(t)} for t in times]
    data = {"metrics_AudioEffects": json.dumps(series), "metrics_CallSwMuted": "1", "metrics_MicrophoneLabel": "Mic"}
    common = {"time": at(times[-1]).isoformat().replace("+00:00", "Z"), "ver": "4.0", "iKey": "o:K", "ext": {}}
    events = [{"name": "scenarions", **common, "data": {}}, {"name": "mdsc_webrtc_session", **common, "data": data}]
    body = gzip.compress("\n".join(map(json.dumps, events)).encode(), mtime=0)
    query = "cors=true&content-type=application/x-json-stream&content-encoding=gzip"
    return Asked(times[-1] + SENT_AFTER, "POST", f"/OneCollector/1.0/?{query}", body, 200, b'{"acc":2}')


def _levels(seconds: float) -> dict[str, dict[str, float]]:
    loud = level(seconds)
    speech, noise = (round(20 * math.log10(part), 1) if part else FLOOR for part in (loud, loud / 8))
    return {"speechLevels": {"nearEndInputRMS_dBFS": speech}, "noiseLevels": {"nearEndInputRMS_dBFS": noise}}


def _states() -> list[Asked]:
    path = "/api/v2/ep/conv.example/conv/K-1/updateEndpointState?i=1"
    return [
        Asked(seconds, "POST", path, _json({"endpointStateSequenceNumber": number, "state": {"isMuted": muted}}))
        for number, (seconds, muted) in enumerate(PRESSES, 1)
    ]


def _json(state: dict[str, object]) -> bytes:
    return json.dumps({"endpointState": state}).encode()
