"""Small facts for tests of the core: reports, mute events and exchanges with everything else at a default."""

import base64
import gzip
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace

from mutewatch.records import (
    AudioReport,
    AudioValue,
    Basis,
    Decoded,
    Exchange,
    MuteEvent,
    Origin,
    Role,
    Scope,
    SignatureRef,
    Source,
)

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
TSA = SignatureRef("webex.tsa.v1", 1, "Webex", "captured")
LOCUS = SignatureRef("webex.locus", 1, "Webex", "code")


def at(minutes: float) -> datetime:
    """The time so many minutes after START."""
    return START + timedelta(minutes=minutes)


def source(
    signature: SignatureRef = TSA, sha: str = "00", seen_at: datetime | None = None, address: str | None = None
) -> Source:
    return Source(signature, Origin("test"), sha, seen_at, address)


def gains(highest: float, mean: float, lowest: float) -> tuple[AudioValue, ...]:
    return (
        AudioValue("audioMaxGain", highest, "dB", 0, Role.MAX_GAIN),
        AudioValue("audioMeanGain", mean, "dB", 0, Role.MEAN_GAIN),
        AudioValue("audioMinGain", lowest, "dB", 0, Role.MIN_GAIN),
    )


def report(
    number: int | None,
    ends: float | None = None,
    values: tuple[AudioValue, ...] | None = None,
    call: str = "C1",
    client: str = "U1",
    seen_at: datetime | None = None,
) -> AudioReport:
    """Interval `number` of call C1, ending that many minutes after START unless `ends` says otherwise."""
    ends_at = at(ends if ends is not None else float(number or 0))
    sha = f"{call}-{number}-{ends_at:%H%M%S}"
    values = gains(46, 38, 20 + (number or 0) % 7) if values is None else values
    return AudioReport(
        source(sha=sha, seen_at=seen_at), client, call, ends_at - timedelta(minutes=1), ends_at, number, values
    )


def mute_event(
    minutes: float,
    muted: bool,
    *,
    call: str | None = "C1",
    participant: str | None = None,
    scope: Scope = Scope.LOCAL,
    effective: bool | None = True,
    by_client_clock: bool = True,
) -> MuteEvent:
    basis = Basis.CLIENT_REPORTED if scope is Scope.LOCAL else Basis.SERVER
    where = source(LOCUS)
    return MuteEvent(where, "U1", call, participant, at(minutes), muted, scope, basis, effective, by_client_clock)


STATS = SignatureRef("stats.test", 1, "Test", "code")  # of an app whose clients report every ten seconds
LEVEL = ("audioLevel", "1", 0.0)


def sample(
    seconds: float,
    level: float | tuple[AudioValue, ...],
    *,
    call: str = "C1",
    client: str = "U1",
    address: str | None = "A1",
    lasts: float = 10,
    seen_after: float | None = 0.1,
    sha: str | None = None,
) -> AudioReport:
    """A reading taken so many seconds after START, of the `lasts` seconds before; sent `seen_after` it was taken."""
    ends_at = START + timedelta(seconds=seconds)
    seen_at = None if seen_after is None else ends_at + timedelta(seconds=seen_after)
    values = level if isinstance(level, tuple) else (AudioValue(LEVEL[0], level, *LEVEL[1:]),)
    where = source(STATS, sha or f"{call}-{client}-{seconds}", seen_at, address)
    starts_at = ends_at - timedelta(seconds=lasts)
    return AudioReport(where, client, call, starts_at, ends_at, None, values, is_sample=True)


def press(
    seconds: float,
    muted: bool,
    *,
    call: str | None = "C1",
    address: str | None = "A1",
    participant: str | None = None,
    scope: Scope = Scope.LOCAL,
    basis: Basis = Basis.CLIENT_REPORTED,
    effective: bool | None = True,
) -> MuteEvent:
    """What the client of `sample` says of its button, stamped by the capturing clock."""
    at = START + timedelta(seconds=seconds)
    where = source(STATS, f"{call}-{seconds}-{muted}", at, address)
    return MuteEvent(where, None, call, participant, at, muted, scope, basis, effective, by_client_clock=False)


def decoded(*facts: AudioReport | MuteEvent) -> list[Decoded]:
    """Each fact as what one message said."""
    return [
        Decoded(one.source, (one,)) if isinstance(one, AudioReport) else Decoded(one.source, mute=(one,))
        for one in facts
    ]


def tsa_event(number: int, ends_at: datetime, highest: int = 46, mean: int = 38, lowest: int = 27) -> dict[str, Any]:
    """What a Webex client reports of one minute, before it is packed."""
    levels = {"audioMaxGain": highest, "audioMeanGain": mean, "audioMinGain": lowest, "audioMaxVolume": 30000}
    return {
        "event": {
            "name": "client.mediaquality.event",
            "identifiers": {"correlationId": "C1", "webexUserId": "U1"},
            "intervals": [{"intervalNumber": number, "audioTransmit": [{"levels": levels, "streams": []}]}],
        },
        "originTime": {"sent": ends_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")},
    }


def tsa_body(*events: dict[str, Any]) -> bytes:
    """The events as the body of one POST /metric/v1."""
    packed = [base64.b64encode(gzip.compress(json.dumps(event).encode(), mtime=0)).decode() for event in events]
    elements = [{"cid": "C1", "t": "wmequality", "v": {"gzipb64data": text}, "ver": "2.0"} for text in packed]
    return json.dumps({"telemetrics": elements}).encode()


def exchange(
    body: bytes | None,
    *,
    method: str = "POST",
    path: str = "/metric/v1",
    host: str | None = "tsa3.webex.com",
    sent_at: datetime | None = None,
    status: int | None = 200,
    encoding: str | None = None,
    client: str | None = "192.0.2.10",
) -> Exchange:
    return Exchange(sent_at, client, host, 443, method, path, "", body, Origin("test"), encoding, status)


def tsa_exchange(number: int, ends: float | None = None, **values: int) -> Exchange:
    """One telemetry message, sent 5 ms after the minute it reports."""
    ends_at = at(number if ends is None else ends)
    sent_at = ends_at + timedelta(milliseconds=5)
    return exchange(tsa_body(tsa_event(number, ends_at, **values)), sent_at=sent_at)


def level_exchange(seconds: float, level: float) -> Exchange:
    """What a Whereby client says of its microphone on its websocket, so many seconds after START."""
    sent_at = START + timedelta(seconds=seconds)
    report = {"SA1": {"type": "media-source", "kind": "audio", "audioLevel": level, "totalAudioEnergy": 0}}
    body = json.dumps(["getstats", "PC_0", report, int(sent_at.timestamp() * 1000)]).encode()
    host = "rtcstats.srv.whereby.com"
    sent = exchange(body, method="WEBSOCKET", path="/room", host=host, sent_at=sent_at, status=None)
    return replace(sent, connection="1", client_port=50_000)


def locus_exchange(minutes: float, muted: bool, status: int | None = 200) -> Exchange:
    """The client tells the meeting that it is (un)muted."""
    local = json.dumps({"audioMuted": muted, "videoMuted": True})
    body = {"correlationId": "C1", "respOnlySdp": True, "localMedias": [{"mediaId": "m", "localSdp": local}]}
    path = "/locus/api/v1/loci/L1/participant/P1/media"
    host = "locus-a.wbx2.com"
    return exchange(json.dumps(body).encode(), method="PUT", path=path, host=host, sent_at=at(minutes), status=status)


def controls_exchange(minutes: float, muted: bool, status: int | None = 200) -> Exchange:
    """A moderator (un)mutes the client."""
    body = json.dumps({"audio": {"muted": muted}}).encode()
    path = "/locus/api/v1/loci/L1/participant/P1/controls"
    host = "locus-a.wbx2.com"
    return exchange(body, method="PATCH", path=path, host=host, sent_at=at(minutes), status=status)
