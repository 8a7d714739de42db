"""Conversations: what a client and a server of our own put on the wire, the secrets, and the bodies sent.

TLS is real (see `openssl`), HTTP is written here or by h2 and wsproto. Addresses and packets come later.

- A `Line` is one TCP connection being made; `Conversation` is what a capture is built from.
- Bodies are our own: JSON around seeded random base64, about 3 kB, all different.
"""

import base64
import functools
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.captures.openssl import Context, Endpoint, Settings

HOST = "tsa3.webex.com"
START = 1_700_000_000 * 10**9  # ns since 1970
MILLISECOND = 10**6
PERIOD = 2_000 * MILLISECOND  # from one request to the next
Chunk = tuple[int, bool, bytes]  # ns since 1970, from the client?, bytes


@dataclass(frozen=True, slots=True)
class Conversation:
    """`connections`: the chunks of each TCP connection. `bodies`: of requests, as sent, encodings and all."""

    connections: tuple[tuple[Chunk, ...], ...]
    keylog: bytes
    bodies: tuple[bytes, ...]


@dataclass(slots=True)
class Line:
    """One TCP connection: a clock that moves a millisecond with each flight, and what was said."""

    now: int
    chunks: list[Chunk] = field(default_factory=list)
    client: Endpoint | None = None
    server: Endpoint | None = None

    def say(self, from_client: bool, data: bytes) -> bytes:
        """Send `data`, encrypted if TLS is up, in one flight; return what the other side reads."""
        ours, theirs = self.ends(from_client)
        if ours is None or theirs is None:
            self.carry(from_client, data)
            return data
        ours.write(data)
        return self.flush(from_client)

    def flush(self, from_client: bool) -> bytes:
        """Carry what one side has written to the other; return what that reads."""
        ours, theirs = self.ends(from_client)
        if ours is None or theirs is None:
            return b""
        data = ours.take()
        self.carry(from_client, data)
        theirs.give(data)
        return theirs.read()

    def carry(self, from_client: bool, data: bytes) -> None:
        """Note a flight on the wire."""
        if data:
            self.chunks.append((self.now, from_client, data))
            self.now += MILLISECOND

    def ends(self, from_client: bool) -> tuple[Endpoint | None, Endpoint | None]:
        return (self.client, self.server) if from_client else (self.server, self.client)

    def secure(self, client: Endpoint, server: Endpoint) -> None:
        """Do the handshake, and let the client read the tickets."""
        self.client, self.server = client, server
        done = False
        while not done:
            done = client.shake_hands()
            for side, other, from_client in ((client, server, True), (server, client, False)):
                if data := side.take():
                    self.carry(from_client, data)
                    other.give(data)
                done &= server.shake_hands()
        self.flush(True)
        self.flush(False)

    def close(self) -> None:
        """Say goodbye in TLS."""
        for from_client in (True, False):
            side, _ = self.ends(from_client)
            if side:
                side.close()
                self.flush(from_client)


Script = Callable[[Line, list[bytes]], list[bytes]]  # says the bodies; returns them as they were sent


def body(flow: int, number: int, size: int = 2_200) -> bytes:
    """Return the body of a request: JSON of about 4/3 `size`, the same for the same arguments."""
    noise = random.Random(f"{flow}.{number}").randbytes(size)
    return json.dumps({"flow": flow, "number": number, "data": base64.b64encode(noise).decode()}).encode()


def bodies(flow: int, count: int, size: int = 2_200) -> list[bytes]:
    return [body(flow, number, size) for number in range(count)]


def post(data: bytes, *fields: str, length: bool = True) -> bytes:
    """Return one HTTP/1.1 request with these further header fields."""
    lines = ["POST /metric/v1?client=test&version=7 HTTP/1.1", f"Host: {HOST}", "Content-Type: application/json"]
    lines += [*fields, *([f"Content-Length: {len(data)}"] if length else [])]
    return "\r\n".join([*lines, "", ""]).encode() + data


OK = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{"status":"ok"}'


def talk_plainly(line: Line, texts: list[bytes]) -> list[bytes]:
    """One request after another, each answered."""
    for text in texts:
        line.say(True, post(text))
        line.say(False, OK)
        line.now += PERIOD
    return texts


def converse(
    settings: Settings,
    script: Script = talk_plainly,
    *,
    count: int = 30,
    flows: int = 2,
    server: Settings | None = None,
    host: str = HOST,
    size: int = 2_200,
    apart: bool = False,
) -> Conversation:
    """Return `flows` TLS connections, each with `count` bodies: at the same time, or one after the other (`apart`)."""
    ours, theirs = Context(settings, client=True), Context(server or settings, client=False)
    connections, sent = [], list[bytes]()
    for flow in range(flows):
        line = Line(START + flow * ((count + 1) * PERIOD if apart else PERIOD // 3))
        line.secure(Endpoint(ours, host), Endpoint(theirs))
        sent += script(line, bodies(flow, count, size))
        line.close()
        connections.append(tuple(line.chunks))
    return Conversation(tuple(connections), bytes(ours.keylog), tuple(sent))


def resume(settings: Settings, *, count: int = 20, again: int = 2) -> Conversation:
    """Return one full handshake and `again` abbreviated ones, one connection after the other."""
    ours, theirs = Context(settings, client=True), Context(settings, client=False)
    connections, sent, session, now = [], list[bytes](), None, START
    for flow in range(again + 1):
        line, client = Line(now), Endpoint(ours, HOST, session)
        line.secure(client, Endpoint(theirs))
        if client.resumed != bool(flow):
            raise AssertionError("the session was not resumed as planned")
        sent += talk_plainly(line, bodies(flow, count))
        session = client.session()
        line.close()
        connections.append(tuple(line.chunks))
        now = line.now + PERIOD
    return Conversation(tuple(connections), bytes(ours.keylog), tuple(sent))


@functools.cache
def tls13() -> Conversation:
    """Return the conversation that most captures are made of: TLS 1.3, two connections of thirty bodies."""
    return converse(Settings())
