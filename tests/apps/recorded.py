"""What a capture at the client has of the apps: real TLS, packets with the script's times, and the key log."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from tests.apps.app import Connection
from tests.apps.play import play
from tests.apps.script import milliseconds
from tests.captures.capture import capture
from tests.captures.conversations import MILLISECOND, Conversation, Line
from tests.captures.files import pcap
from tests.captures.links import frames
from tests.captures.openssl import Context, Endpoint, Settings
from tests.captures.packets import segments


class InMemory:
    """One connection, as bytes on a line."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self._arrived = {True: b"", False: b""}

    def send(self, from_client: bool, data: bytes) -> None:
        self._arrived[not from_client] += self.line.say(from_client, data)

    def receive(self, at_client: bool) -> bytes:
        data, self._arrived[at_client] = self._arrived[at_client], b""
        assert data, "nobody has said anything"
        return data

    def close(self) -> None:
        self.line.close()


def write_capture(connections: Iterable[Connection], folder: Path) -> tuple[Path, Path]:
    """Play the connections; return the capture and its key log, in `folder`."""
    wanted = list(connections)
    client, server = Context(Settings(), client=True), Context(Settings(), client=False)
    wires: dict[int, InMemory] = {}

    def connect(connection: Connection) -> InMemory:
        line = Line(_nanoseconds(connection.messages[0].seconds))
        line.secure(Endpoint(client, connection.host), Endpoint(server))
        wires[id(connection)] = InMemory(line)
        return wires[id(connection)]

    def set_clock(connection: Connection, seconds: float) -> None:
        if wire := wires.get(id(connection)):
            wire.line.now = max(wire.line.now, _nanoseconds(seconds))

    play(wanted, connect, set_clock)
    chunks = tuple(tuple(wires[id(connection)].line.chunks) for connection in wanted)
    talk = Conversation(chunks, bytes(client.keylog), ())
    rows = [
        replace(row, source=wanted[row.flow].client)
        if row.from_client
        else replace(row, target=wanted[row.flow].client)
        for row in segments(talk)
    ]
    (path,), keylog = capture(talk, pcap(frames(rows))).write(folder)
    assert keylog is not None
    return path, keylog


def _nanoseconds(seconds: float) -> int:
    return milliseconds(seconds) * MILLISECOND
