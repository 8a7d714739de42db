"""Plays the meeting once and writes what four recorders would have kept of it: capture, HAR, flow dump, JSON Lines.

Ciphertext is taken where the client writes and reads it, and stamped with the script's clock: so twenty
minutes of meeting take a second, and the packets carry the meeting's times.
"""

import json
import ssl
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import trustme
from mitmproxy import connection as mitm_connection
from mitmproxy import http
from mitmproxy.addons.savehar import SaveHar
from mitmproxy.io import FlowWriter

from mutewatch.records import Exchange, Origin
from pcap_tools.exchange_log import write_exchanges
from tests.meeting.client import client_context, connect_directly, play
from tests.meeting.packets import CLIENT, Conversation, write_capture
from tests.meeting.script import START, Message, meeting
from tests.meeting.server import MeetingServer, Received

ROUND_TRIP = timedelta(milliseconds=20)


@dataclass(slots=True)
class Clock:
    """The script's clock: set by each message, moved on by each chunk on the wire."""

    now: datetime = START

    def tick(self, is_ours: bool) -> datetime:
        self.now += timedelta(milliseconds=1) if is_ours else ROUND_TRIP
        return self.now


def record(folder: Path) -> None:
    """Play the meeting, and write meeting.pcapng, .har, .mitm and .jsonl into `folder`."""
    messages = meeting()
    folder.mkdir(parents=True, exist_ok=True)
    conversations, secrets = _play_and_tap(messages)
    write_capture(folder / "meeting.pcapng", list(conversations.values()), secrets)
    flows = [_flow(number, message) for number, message in enumerate(messages, 1)]
    with (folder / "meeting.mitm").open("wb") as file:
        writer = FlowWriter(file)
        for flow in flows:
            writer.add(flow)
    har: dict[str, Any] = SaveHar().make_har(flows)
    (folder / "meeting.har").write_text(json.dumps(har, indent=1) + "\n", encoding="utf-8")
    write_exchanges(folder / "meeting.jsonl", [_exchange(message) for message in messages])


def _play_and_tap(messages: list[Message]) -> tuple[dict[str, Conversation], bytes]:
    """The ciphertext of each host's connection, and the key log of all."""
    clock, conversations = Clock(), dict[str, Conversation]()
    authority = trustme.CA()
    server = MeetingServer(authority, messages)

    def set_clock(message: Message) -> None:
        clock.now = max(clock.now, message.at)

    def tap_for(host: str) -> Callable[[bool, bytes], None]:
        number = len(conversations) + 1
        conversations[host] = Conversation(number, clock.now)
        return lambda is_ours, data: conversations[host].chunks.append((clock.tick(is_ours), is_ours, data))

    with tempfile.TemporaryDirectory() as scratch, server.running() as port:
        pem, keys = Path(scratch) / "ca.pem", Path(scratch) / "keys.log"
        authority.cert_pem.write_to_path(str(pem))
        context: ssl.SSLContext = client_context(str(pem))
        context.keylog_filename = str(keys)
        statuses = play(messages, connect_directly(port), lambda _host: context, set_clock, tap_for)
        secrets = keys.read_bytes()
    sent = [Received(message.method, message.host, message.path, message.body) for message in messages]
    if server.received != sent or statuses != [message.status for message in messages]:
        raise RuntimeError("what went over the wire is not what the script says")
    return conversations, b"".join(line for line in secrets.splitlines(True) if not line.startswith(b"#"))


def _flow(number: int, message: Message) -> http.HTTPFlow:
    sent, answered = message.at.timestamp(), (message.at + ROUND_TRIP).timestamp()
    client = mitm_connection.Client(peername=(CLIENT, 50000), sockname=("198.51.100.1", 443), timestamp_start=sent)
    server = mitm_connection.Server(address=(message.host, 443))
    client.id, server.id = (str(uuid5(NAMESPACE_URL, f"{side} {message.host}")) for side in ("client", "server"))
    client.sni = server.sni = message.host
    flow = http.HTTPFlow(client, server)
    flow.id = str(uuid5(NAMESPACE_URL, f"flow {number}"))
    flow.timestamp_created = sent
    url, kind = f"https://{message.host}{message.path}", http.Headers(content_type="application/json")
    flow.request = http.Request.make(message.method, url, message.body, kind if message.body else http.Headers())
    flow.response = http.Response.make(message.status, message.answer, kind)
    flow.request.timestamp_start = flow.request.timestamp_end = sent
    flow.response.timestamp_start = flow.response.timestamp_end = answered
    return flow


def _exchange(message: Message) -> Exchange:
    path, _, query = message.path.partition("?")
    where = Origin("exchange-log")
    return Exchange(
        message.at, CLIENT, message.host, 443, message.method, path, query, message.body, where, status=message.status
    )
