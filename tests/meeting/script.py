"""The meeting as data: every request in order, and what a faultless judge would say of every minute.

Everything is made up. The client joins muted, opens its microphone in the ninth minute (a moderator mutes it
for seventy seconds in between), and closes it again in the fifteenth.
"""

import base64
import gzip
import json
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

START = datetime(2026, 3, 2, 9, 0, 0, tzinfo=UTC)
MINUTES = 20
LOST = 12  # the interval whose report never leaves
RESENT = 6
TSA, METRICS, LOCUS, OTHER = "tsa3.webex.com", "metrics-a.wbx2.com", "locus-a.wbx2.com", "www.example.test"

# Seconds after the start. The fraction .2 keeps whole seconds whole when a round trip is added.
JOIN, UNMUTE, REFUSED, MUTE = 3.2, 498.2, 1000.2, 876.2
REMOTE_MUTE, REMOTE_RELEASE, CAMERA = 640.2, 710.2, 420.2


@dataclass(frozen=True, slots=True)
class Message:
    """One request, when it leaves, and the answer it gets."""

    at: datetime
    method: str
    host: str
    path: str
    body: bytes
    status: int = 200
    answer: bytes = b"{}"


@dataclass(frozen=True, slots=True)
class Truth:
    """What is to be found of one minute."""

    number: int
    verdict: str
    muted_seconds: int


def meeting(start: datetime = START, seed: int = 1) -> list[Message]:
    """Return all messages in the order in which they leave."""
    script = _Script(start, random.Random(seed))
    messages = [
        script.get(1.2, "/"),
        script.locus_mute(JOIN, True),
        script.feature_event(20.2),
        *script.reports(),
        script.button(CAMERA, "client.muted", "video"),
        script.button(UNMUTE, "client.unmuted", "audio"),
        script.locus_mute(UNMUTE + 0.03, False),
        script.controls(REMOTE_MUTE, True),
        script.controls(REMOTE_RELEASE, False),
        script.button(MUTE, "client.muted", "audio"),
        script.locus_mute(MUTE + 0.03, True),
        script.locus_mute(REFUSED, False, status=409),
        script.get(1190.2, "/bye"),
    ]
    return sorted(messages, key=lambda message: message.at)


def truth() -> list[Truth]:
    """Return what is true of each minute, from the script's own switches."""
    muted = [(JOIN, UNMUTE), (REMOTE_MUTE, REMOTE_RELEASE), (MUTE, MINUTES * 60.0)]
    minutes = []
    for number in range(1, MINUTES + 1):
        start, end = number * 60 - 60, number * 60
        seconds = sum(max(0.0, min(end, until) - max(start, since)) for since, until in muted)
        verdict = "missing" if number == LOST else "flagged" if seconds else "unmuted"
        minutes.append(Truth(number, verdict, round(seconds)))
    return minutes


class _Script:
    """Holds what the messages of one meeting have in common."""

    def __init__(self, start: datetime, chance: random.Random) -> None:
        self._start, self._chance = start, chance
        self._call, self._user, self._locus, self._participant, self._app = (self._uuid() for _ in range(5))

    def reports(self) -> list[Message]:
        """The media quality of each minute; one is sent twice, one is lost."""
        messages = [self._report(number) for number in range(1, MINUTES + 1)]
        resent = messages[RESENT - 1]
        again = Message(resent.at + timedelta(seconds=2), resent.method, resent.host, resent.path, resent.body)
        return [message for number, message in enumerate(messages, 1) if number != LOST] + [again]

    def feature_event(self, seconds: float) -> Message:
        """A client event that travels inline, and carries nothing of the microphone."""
        inline = {"event": {"name": "client.feature.layout"}, "originTime": {"sent": self._iso(self._at(seconds))}}
        return self._telemetry(seconds, "meetingclientevent", inline)

    def locus_mute(self, seconds: float, muted: bool, status: int = 200) -> Message:
        """The client tells the meeting the state of its own switch."""
        local = _json({"audioMuted": muted, "videoMuted": True}).decode()
        body = {
            "correlationId": self._call,
            "respOnlySdp": True,
            "usingResource": None,
            "localMedias": [{"mediaId": "m-1", "localSdp": local}],
        }
        return Message(self._at(seconds), "PUT", LOCUS, f"{self._participant_path}/media", _json(body), status)

    def controls(self, seconds: float, muted: bool) -> Message:
        """A moderator mutes or releases the client."""
        body = _json({"audio": {"muted": muted}})
        return Message(self._at(seconds), "PATCH", LOCUS, f"{self._participant_path}/controls", body)

    def button(self, seconds: float, name: str, media: str) -> Message:
        """The client reports a press of the button for microphone or camera."""
        sent = self._at(seconds + 0.5)
        event = {
            "name": name,
            "mediaType": media,
            "trigger": "user-interaction",
            "canProceed": True,
            "identifiers": {"correlationId": self._call, "userId": self._user},
        }
        times = {"triggered": self._iso(self._at(seconds)), "sent": self._iso(sent)}
        payload = {"eventId": self._uuid(), "version": 1, "originTime": times, "event": event}
        body = _json({"metrics": [{"type": ["diagnostic-event"], "eventPayload": payload}]})
        return Message(sent, "POST", METRICS, "/metrics/api/v1/clientmetrics", body)

    def get(self, seconds: float, path: str) -> Message:
        """Somebody else's traffic."""
        return Message(self._at(seconds), "GET", OTHER, path, b"", answer=b"<p>unrelated</p>")

    @property
    def _participant_path(self) -> str:
        return f"/locus/api/v1/loci/{self._locus}/participant/{self._participant}"

    def _report(self, number: int) -> Message:
        ends_at = self._at(number * 60 + self._chance.randint(-15, 15) / 1000)
        highest, mean, lowest = self._gains(number)
        levels = {
            "audioMaxGain": highest,
            "audioMeanGain": mean,
            "audioMinGain": lowest,
            "audioMaxVolume": 30000,
            "audioMeanVolume": 30000,
            "audioMinVolume": 30000,
        }
        processing = {"speechRMS": 92, "maxSpeechRMS": 80, "speechLength": 4, "noiseTotal": 31, "aecFarPower": 0}
        streams = [{"audioAlgorithmModulesInfo": processing}] if number == 1 else []
        transmit = {"common": {"rtpPackets": 140 + number % 5}, "levels": levels, "streams": streams}
        interval = {"intervalNumber": number, "audioTransmit": [transmit], "audioReceive": [], "videoTransmit": []}
        identifiers = {
            "correlationId": self._call,
            "webexUserId": self._user,
            "webexMeetingId": "900000001",
            "webexSiteName": "sample.example.test",
        }
        event = {
            "name": "client.mediaquality.event",
            "trigger": "media-quality",
            "canProceed": True,
            "identifiers": identifiers,
            "intervals": [interval],
        }
        times = {"triggered": self._iso(ends_at), "sent": self._iso(ends_at)}
        inner = {"eventId": self._uuid(), "version": 1, "event": event, "originTime": times}
        packed = base64.b64encode(gzip.compress(_json(inner), mtime=0)).decode()
        return self._telemetry((ends_at - self._start).total_seconds() + 0.005, "wmequality", {"gzipb64data": packed})

    def _gains(self, number: int) -> tuple[int, int, int]:
        """Steady noise around the muted client (loud means low gain); its user's own voice in between."""
        wobble = self._chance.randint
        if JOIN < number * 60 < UNMUTE or number * 60 > MUTE + 60:
            return 27 + wobble(-1, 1), 22 + wobble(-1, 1), 18 + wobble(-1, 1)
        return 47 + wobble(-2, 2), 33 + wobble(-3, 3), 14 + wobble(-3, 3)

    def _telemetry(self, seconds: float, kind: str, value: dict[str, Any]) -> Message:
        at = self._at(seconds)
        element = {"cid": self._call, "pd": "WebEx", "t": kind, "tid": f"{self._app}_0_1", "ts": self._iso(at)}
        body = _json({"telemetrics": [element | {"v": value, "ver": "2.0"}]})
        return Message(at, "POST", TSA, f"/metric/v1?appid={self._app}&sitename=sample.example.test", body)

    def _at(self, seconds: float) -> datetime:
        return self._start + timedelta(seconds=round(seconds, 3))

    def _iso(self, time: datetime) -> str:
        return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def _uuid(self) -> str:
        return str(UUID(int=self._chance.getrandbits(128), version=4))


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
