"""Discord and Zoom: what their clients say of the button. No level of theirs is known."""

import json
from collections.abc import Iterator
from typing import Any

from tests.apps.app import App, Connection, Said, in_time
from tests.apps.script import PRESSES


def discord() -> App:
    """Opcode 4 of the gateway, between heartbeats."""
    path = "/?v=9&encoding=json"
    socket = Connection("gateway.discord.gg", ("127.0.0.28", 20_028), in_time(_discord()), path)
    return App("discord", "discord.gateway", (socket,))


def zoom() -> App:
    """Event 8193 of the web client, and the server's list of who is muted."""
    path = "/wc/api/900000001?as_type=1"
    socket = Connection("rwg1.zoom.us", ("127.0.0.29", 20_029), in_time(_zoom()), path)
    return App("zoom", "zoom.rwg", (socket,))


def _discord() -> Iterator[Said]:
    yield _said(0, {"op": 10, "d": {"heartbeat_interval": 41_250}}, from_client=False)
    yield _said(0, {"op": 2, "d": {"token": "T", "properties": {"os": "Linux"}}})
    for seconds, muted in PRESSES:
        yield _said(
            seconds, {"op": 4, "d": {"guild_id": "1", "channel_id": "2", "self_mute": muted, "self_deaf": False}}
        )
    for seconds in (41, 82, 123):
        yield _said(seconds, {"op": 1, "d": seconds})
        yield _said(seconds, {"op": 11}, from_client=False)


def _zoom() -> Iterator[Said]:
    for number, (seconds, muted) in enumerate(PRESSES):
        yield _said(seconds, {"evt": 8193, "seq": number, "body": {"bMute": muted}})
        update = [{"caps": 5, "id": 16_785_408, "muted": muted}, {"id": 16_785_409, "caps": 5}]
        roster = {"body": {"add": None, "remove": None, "update": update}, "evt": 7937, "seq": number}
        yield _said(seconds, roster, from_client=False)
    yield from (_said(seconds, {"evt": 0, "seq": seconds}) for seconds in (70, 140))


def _said(seconds: float, message: dict[str, Any], *, from_client: bool = True) -> Said:
    return Said(seconds, json.dumps(message), from_client)
