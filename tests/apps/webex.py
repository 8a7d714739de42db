"""Webex's web client: statistics in a POST each half minute, the button in a PUT to Locus."""

import json
from collections.abc import Iterator

from tests.apps.app import App, Asked, Connection
from tests.apps.script import PRESSES, Poll, polls
from tests.apps.stats import Reports, as_texts, reports

HOST, LOCUS, PERIOD = "sj1-utsa.webex.com", "locus-a.wbx2.com", 5.0
CALL, PARTICIPANT = "C-1", "P-1"
FIELDS = ("audioLevel", "totalAudioEnergy")


def webex() -> App:
    polled = polls(2, PERIOD)
    client = "127.0.0.26"
    metrics = Connection(HOST, (client, 20_026), tuple(_posts(polled)))
    locus = Connection(LOCUS, (client, 21_026), tuple(sorted(_puts(), key=lambda one: one.seconds)))
    times = tuple(poll.seconds for poll in polled)
    return App("webex", "webex.rtcmetrics.v2", (locus, metrics), FIELDS, times, PERIOD)


def _posts(polled: list[Poll]) -> Iterator[Asked]:
    """Six reports in each, and the first of all with an item that is none."""
    known: Reports = {}
    for start in range(0, len(polled), 6):
        items = []
        for poll in polled[start : start + 6]:
            now = reports(poll)
            items.append({"timestamp": poll.milliseconds, "name": "stats-report", "payload": as_texts(known, now)})
            known = now
        if not start:
            media = json.dumps({"value": json.dumps({"tracks": [{"kind": "audio", "enabled": True}]}), "id": ""})
            name = "onnavigator.mediaDevices.getUserMediaOnSuccess"
            items.insert(0, {"timestamp": polled[0].milliseconds, "name": name, "payload": [media]})
        names = {"userId": "U-1", "meetingId": "M-1", "correlationId": CALL, "connectionId": "K-1"}
        body = json.dumps({"metrics": [{"type": "webrtc", "version": "1.1.0", **names, "data": items}]})
        yield Asked(polled[start : start + 6][-1].seconds + 1, "POST", "/metric/v2", body.encode(), 202, b"")


def _puts() -> Iterator[Asked]:
    path = f"/locus/api/v1/loci/L-1/participant/{PARTICIPANT}/media"
    for seconds, muted, status in [*((*press, 200) for press in PRESSES), (130.0, False, 409)]:
        sdp = json.dumps({"audioMuted": muted, "videoMuted": True})
        body = {"correlationId": CALL, "respOnlySdp": True, "localMedias": [{"mediaId": "m", "localSdp": sdp}]}
        held = {"locus": {"self": {"id": PARTICIPANT, "controls": {"audio": {"muted": False}}}}}
        answer = json.dumps(held if status == 200 else {"message": "conflict"}).encode()
        yield Asked(seconds, "PUT", path, json.dumps(body).encode(), status, answer)
