"""Whereby: rtcstats, with and without the button's events; and its signalling over Socket.IO."""

import json
from collections.abc import Iterator
from typing import Any

from mutewatch.records import Basis
from tests.apps.app import App, Connection, Said, in_time
from tests.apps.script import PRESSES, Poll, milliseconds, polls
from tests.apps.stats import PEER, Reports, by_id, reports

HOST, SIGNAL, PERIOD = "rtcstats.srv.whereby.com", "signal.appearin.net", 10.0
FIELDS = ("audioLevel", "totalAudioEnergy")


def whereby() -> App:
    """Both facts on the one socket."""
    polled = polls(5, PERIOD)
    socket = _stats_socket(("127.0.0.23", 20_023), in_time(_presses(), _stats(polled)))
    return App("whereby", "whereby.rtcstats", (socket,), FIELDS, _times(polled), PERIOD)


def whereby_with_signal() -> App:
    """The level on one socket, the button on another, and only the address in common."""
    polled, client = polls(5, PERIOD), "127.0.0.24"
    socket = _stats_socket((client, 20_024), in_time(_stats(polled)))
    path = "/protocol/socket.io/v4/?EIO=4&transport=websocket"
    signalling = Connection(SIGNAL, (client, 21_024), in_time(_signals()), path)
    return App(
        "whereby with signal",
        "whereby.rtcstats",
        (signalling, socket),
        FIELDS,
        _times(polled),
        PERIOD,
        Basis.ADDRESS,
    )


def _times(polled: list[Poll]) -> tuple[float, ...]:
    return tuple(poll.seconds for poll in polled)


def _stats_socket(client: tuple[str, int], messages: tuple[Said, ...]) -> Connection:
    return Connection(HOST, client, messages, "/room", "1.0")


def _stats(polled: list[Poll]) -> Iterator[Said]:
    """getStats, each without what the one before said, and without reports that say nothing new."""
    known: Reports = {}
    for poll in polled:
        now = reports(poll)
        yield _row(poll.seconds, "getstats", PEER, by_id(known, now, drops=True))
        known = now


def _presses() -> Iterator[Said]:
    """In both ways in which it is told."""
    for seconds, muted in PRESSES:
        said = {"type": "audio_muted", "value": {"muted": muted}}
        if not seconds:
            said = {"type": "audioEnabled", "value": {"enabled": not muted}}
        yield _row(seconds, "customEvent", None, said)
    for seconds in (12, 132):
        insights = {"ls": 0, "lr": 0, "bs": 41_000, "br": 90_000, "cpu": 1, "_time": milliseconds(seconds)}
        yield _row(seconds, "customEvent", None, {"type": "insightsStats", "value": insights})


def _row(seconds: float, name: str, peer: str | None, data: Any) -> Said:
    return Said(seconds, json.dumps([name, peer, data, milliseconds(seconds)]))


def _signals() -> Iterator[Said]:
    """Our own, each echoed; the camera, which is another button; and what keeps the line open."""
    yield Said(0, '0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":20000}', from_client=False)
    yield Said(0, "40")
    for seconds, muted in PRESSES:
        event: list[Any] = ["enable_audio", {"enabled": not muted}]
        if not seconds:
            event = ["join_room", {"roomName": "/room", "config": {"isAudioEnabled": not muted}}]
        yield Said(seconds, "42" + json.dumps(event))
        echo = ["audio_enabled", {"clientId": "c-1", "isAudioEnabled": not muted}]
        yield Said(seconds, "42" + json.dumps(echo), from_client=False)
    yield Said(90, "42" + json.dumps(["enable_video", {"enabled": True}]))
    for seconds in (25, 50, 75):
        yield Said(seconds, "2", from_client=False)
        yield Said(seconds, "3")
