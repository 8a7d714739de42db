"""Fifty marks in every place of a meeting that tells whose it is, and how to look for them."""

import base64
import gzip
import json
import urllib.parse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

MARKS = tuple(f"kanari{chr(97 + number // 10)}{chr(97 + number % 10)}vogel" for number in range(50))


@dataclass(frozen=True, slots=True)
class Sent:
    """One request of the marked meeting."""

    at: datetime
    host: str
    target: str  # path and query
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    method: str = "POST"


@dataclass(slots=True)
class Marks:
    """Gives out marks in order, each place of a meeting its own."""

    unused: list[str] = field(default_factory=lambda: list(MARKS))

    def next(self) -> str:
        return self.unused.pop(0)


def meeting(start: datetime) -> list[Sent]:
    """Return a muted meeting of a few minutes in which all marks stand; some of its messages cannot be read."""
    mark = Marks().next
    call, user, site, participant = mark(), mark(), mark(), mark()
    headers = (
        *(("User-Agent", f"app/{mark()}"), ("Cookie", f"session={mark()}"), ("TrackingID", mark())),
        *(("Authorization", f"Bearer {mark()}"), ("X-Forwarded-For", mark()), ("Referer", f"https://{mark()}.test/")),
    )
    target = f"/metric/v1?appid={mark()}&sitename={site}.{mark()}.test"
    identifiers = {"correlationId": call, "webexUserId": user, "webexMeetingId": mark(), "deviceId": mark()}
    identifiers |= {"email": f"{mark()}@{mark()}.test", "displayName": mark(), "webexSiteName": mark(), "orgId": mark()}
    identifiers |= {"trackingId": mark(), "locusId": mark(), "machineId": mark(), "mediaAgentAlias": mark()}
    info = {"clientVersion": f"41 {mark()}", "localIP": mark(), "gatewayIP": mark(), "localNetworkPrefix": mark()}
    info |= {"publicNetworkPrefix": mark(), "osVersion": mark(), "browser": mark(), "computerName": mark()}
    origin = {"userAgent": f"agent/{mark()}", "instanceId": mark(), "clientInfo": info}
    event = {"name": "client.mediaquality.event", "identifiers": identifiers, mark(): "a key that nobody knows"}
    event |= {"trigger": mark(), "userType": mark()}
    event["eventData"] = {"logFile": f"/home/{mark()}/{mark()}.log", "peripherals": [{"information": mark()}]}

    def telemetry(number: int, levels: dict[str, Any], ends_at: datetime | str) -> bytes:
        interval = {"intervalNumber": number, "audioTransmit": [{"levels": levels, "streams": []}]}
        inner = {"event": {**event, "intervals": [interval]}, "origin": origin, "originTime": {"sent": _iso(ends_at)}}
        packed = base64.b64encode(gzip.compress(json.dumps(inner).encode(), mtime=0)).decode()
        element = {"cid": call, "tid": tid, "ts": _iso(ends_at), "v": {"gzipb64data": packed}}
        return json.dumps({"telemetrics": [element]}).encode()

    tid, tsa = mark(), "tsa3.webex.com"
    minutes = [start + timedelta(minutes=number) for number in range(8)]
    join = f"/locus/api/v1/loci/{mark()}/participant/{participant}/media"
    sdp = json.dumps({"audioMuted": True, "videoMuted": True})
    said = {"correlationId": call, "localMedias": [{"localSdp": sdp, "name": mark()}]}
    gains = {"audioMaxGain": 46, "audioMeanGain": 38, "audioMinGain": 27}
    wrong = {**gains, "audioMaxGain": mark()}
    broken = (
        f'{{"telemetrics": [{{"cid": "{mark()}", "v": {{"gzipb64data": "{base64.b64encode(mark().encode()).decode()}"'
    )
    unknown = json.dumps({"user": mark(), "audioMaxGain": 40}).encode()
    return [
        Sent(minutes[0], f"{mark()}.webex.com", "/join", b"", headers, "GET"),
        Sent(minutes[0], "locus-a.wbx2.com", join, json.dumps(said).encode(), headers, "PUT"),
        Sent(minutes[1], tsa, target, telemetry(1, gains, minutes[1]), headers),
        Sent(minutes[2], tsa, target, telemetry(2, {**gains, "audioMinGain": 20}, minutes[2]), headers),
        Sent(minutes[3], tsa, target, telemetry(3, wrong, minutes[3]), headers),
        Sent(minutes[4], tsa, target, telemetry(4, gains, mark()), headers),
        Sent(minutes[5], tsa, target, broken.encode(), headers),
        Sent(minutes[6], tsa, f"/{mark()}/v9/{user}", unknown, headers),
        Sent(minutes[7], tsa, target, telemetry(7, gains, minutes[7]), (*headers, ("Content-Encoding", mark()))),
    ]


def _iso(at: datetime | str) -> str:
    return at if isinstance(at, str) else at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def found_in(data: bytes) -> set[str]:
    """Return the marks in `data`: in any case, reversed, in base64, hexadecimal, UTF-16 or percent-encoded."""
    lower = data.lower()
    plain = lower.decode("latin-1")
    decoded = urllib.parse.unquote(plain) if "%" in plain else ""
    exact = data.decode("latin-1")
    found = set()
    for mark in MARKS:
        forms = {mark, mark[::-1], mark.encode().hex(), mark.encode("utf-16-le").decode("latin-1")}
        if any(form in plain or form in decoded for form in forms) or any(text in exact for text in _base64(mark)):
            found.add(mark)
    return found


def _base64(mark: str) -> Iterator[str]:
    """Yield what of a mark is the same in base64 wherever it begins: in lower, upper and title case."""
    for text in (mark, mark.upper(), mark.title()):
        for shift in range(3):
            coded = base64.b64encode(bytes(shift) + text.encode()).decode()
            yield coded[4 if shift else 0 : -4]


def leaks(paths: Sequence[Path], texts: Sequence[str] = ()) -> dict[str, set[str]]:
    """Return the marks by the file (or text) that they stand in; folders are searched with all below them."""
    files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()]
    told = {str(file): found_in(file.read_bytes()) | found_in(file.name.encode()) for file in files}
    told |= {f"text {number}": found_in(text.encode()) for number, text in enumerate(texts)}
    return {name: marks for name, marks in told.items() if marks}
