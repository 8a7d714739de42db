"""One conversation: a request whose answer is wanted, one whose answer is not, and a websocket. Both ends of it."""

import gzip
import json
import random
import socket
from dataclasses import dataclass
from pathlib import Path

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Request, TextMessage

from mutewatch.signatures import load_signature
from tests.captures.conversations import Line
from tests.client_websocket import WebSocket

SIGNATURE_FILE = Path(__file__).with_name("signature.toml")
SIGNATURE = load_signature(SIGNATURE_FILE)
HOST, PATH, STATE, OTHER = "stats.meet.example", "/socket", "/state/C1", "/other"
Payload = str | bytes


@dataclass(frozen=True, slots=True)
class Said:
    """One message of the websocket."""

    from_client: bool
    payload: Payload

    @property
    def body(self) -> bytes:
        return self.payload.encode() if isinstance(self.payload, str) else self.payload

    @property
    def event(self) -> TextMessage | BytesMessage:
        return TextMessage(self.payload) if isinstance(self.payload, str) else BytesMessage(self.payload)


def level(number: int, value: float) -> str:
    return json.dumps(
        {
            "type": "stats",
            "number": number,
            "at": f"2026-03-02T09:{number:02}:00Z",
            "call": "C1",
            "user": "U1",
            "intervals": [{"micLevel": value}],
        }
    )


def mute(muted: bool, seconds: int) -> str:
    at = f"2026-03-02T09:00:{seconds:02}Z"
    return json.dumps({"type": "mute", "muted": muted, "at": at, "call": "C1", "user": "U1"})


# Longer than the least limit that the proxy takes, 1 KiB, however well it is compressed. The call is in the path.
ANSWER = gzip.compress(
    json.dumps({**json.loads(mute(False, 1)), "note": random.Random("note").randbytes(2_000).hex()}).encode(), mtime=0
)
WEBSOCKET = [
    Said(True, mute(True, 5)),
    Said(False, mute(True, 6)),
    Said(True, level(1, 0.25)),
    Said(True, level(2, 0.5).encode()),  # in a binary message
    Said(True, mute(True, 7)),
    Said(True, mute(True, 7)),  # and once more
    Said(False, mute(False, 9).encode()),
    Said(True, '{"type":'),
    Said(False, '{"type":"bye"}'),
]
ANSWERS = {STATE: ANSWER, OTHER: b'{"type":"mute"}'}


def head(path: str) -> bytes:
    """Return the head of the response to a POST there."""
    body = ANSWERS[path]
    coding = b"Content-Encoding: gzip\r\n" if body is ANSWER else b""
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n" % (coding, len(body))


def post(path: str) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 2\r\n\r\n{{}}".encode()


def serve(plain: socket.socket, talk: list[Said], heard: list[bytes]) -> None:
    """Be the server on one connection; what clients said in the websocket is added to `heard`."""
    reader = plain.makefile("rb")
    while (line := reader.readline()).strip():
        path, headers = line.split()[1].decode(), list[tuple[bytes, bytes]]()
        while field := reader.readline().strip():
            name, _, value = field.partition(b":")
            headers.append((name.strip(), value.strip()))
        if path.startswith(PATH):
            answer_websocket(plain, path, headers, talk, heard)
            return
        reader.read(int(dict(headers)[b"Content-Length"]))
        plain.sendall(head(path) + ANSWERS[path])


def answer_websocket(
    plain: socket.socket, path: str, headers: list[tuple[bytes, bytes]], talk: list[Said], heard: list[bytes]
) -> None:
    state = WSConnection(ConnectionType.SERVER)
    state.initiate_upgrade_connection(headers, path)
    next(iter(state.events()))
    plain.sendall(state.send(AcceptConnection()))
    end = WebSocket(plain, state)
    for said in talk:
        if not said.from_client:
            end.send(said.payload)
        elif (payload := end.receive()) is not None:
            heard.append(payload.encode() if isinstance(payload, str) else payload)
    while (payload := end.receive()) is not None:
        heard.append(payload.encode() if isinstance(payload, str) else payload)


def play(posting: socket.socket, asking: socket.socket, talk: list[Said]) -> list[bytes]:
    """Be the client, with a connection for requests and one for the websocket; return what the server said there."""
    for path in (STATE, OTHER):
        posting.sendall(post(path))
        reader = posting.makefile("rb")
        while reader.readline().strip():
            pass
        if reader.read(len(ANSWERS[path])) != ANSWERS[path]:
            raise AssertionError("the answer is not the server's")
    posting.close()
    heard = []
    with WebSocket.connect(asking, HOST, f"{PATH}?room=1") as end:
        for said in talk:
            if said.from_client:
                end.send(said.payload)
            elif (payload := end.receive()) is not None:
                heard.append(payload.encode() if isinstance(payload, str) else payload)
    return heard


def script(line: Line, _texts: list[bytes]) -> list[bytes]:
    """The same for a capture: both ends in turn; messages of one side go out together."""
    for path in (STATE, OTHER):
        line.say(True, post(path))
        line.say(False, head(path) + ANSWERS[path])
    client, server = WSConnection(ConnectionType.CLIENT), WSConnection(ConnectionType.SERVER)
    server.receive_data(line.say(True, client.send(Request(host=HOST, target=f"{PATH}?room=1"))))
    list(server.events())
    client.receive_data(line.say(False, server.send(AcceptConnection())))
    list(client.events())
    waiting, is_clients = b"", True
    for said in WEBSOCKET:
        if said.from_client is not is_clients and waiting:
            line.say(is_clients, waiting)
            waiting = b""
        is_clients = said.from_client
        waiting += (client if is_clients else server).send(said.event)
    line.say(is_clients, waiting)
    line.say(True, client.send(CloseConnection(code=1000)))
    return []
