"""Conversations that are not just a handshake and a script: early data, proxies, no TLS at all."""

from tests.captures.conversations import (
    HOST,
    OK,
    PERIOD,
    START,
    Conversation,
    Line,
    Script,
    bodies,
    post,
    talk_plainly,
)
from tests.captures.openssl import Context, Endpoint, Settings


def early() -> Conversation:
    """TLS 1.3 with 0-RTT: a first connection for the ticket, then two whose first request comes with the ClientHello.

    The server accepts the early data of the second connection. The third goes to a server that forgot its tickets:
    it rejects them, and the request is sent again.
    """
    settings = Settings(early_data=16_384)
    ours, theirs, stranger = (Context(settings, client=client) for client in (True, False, False))
    first = Line(START)
    client = Endpoint(ours, HOST)
    first.secure(client, Endpoint(theirs))
    sent = talk_plainly(first, bodies(0, 5))
    session = client.session()
    first.close()
    lines = [first]
    for flow, server in ((1, theirs), (2, stranger)):
        line, texts = Line(lines[-1].now + PERIOD), bodies(flow, 5)
        accepted = _begin_early(line, Endpoint(ours, HOST, session), Endpoint(server), post(texts[0]))
        if accepted != (server is theirs):
            raise AssertionError("early data did not fare as planned")
        if accepted:
            line.say(False, OK)
        sent += texts[:1] * accepted + talk_plainly(line, texts[accepted:])
        line.close()
        lines.append(line)
    return Conversation(tuple(tuple(line.chunks) for line in lines), bytes(ours.keylog), tuple(sent))


def _begin_early(line: Line, client: Endpoint, server: Endpoint, request: bytes) -> bool:
    """Shake hands with `request` as early data; was it accepted?"""
    client.write_early(request)
    data = client.take()
    line.carry(True, data)
    server.give(data)
    accepted = server.read_early() == request
    line.secure(client, server)
    return accepted


def through_proxy(settings: Settings, script: Script = talk_plainly) -> Conversation:
    """TLS behind CONNECT, on two connections to a proxy; the proxy asks the first for a password."""
    ours, theirs = Context(settings, client=True), Context(settings, client=False)
    connections, sent = [], list[bytes]()
    for flow in range(2):
        line = Line(START + flow * PERIOD // 3)
        ask = f"CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n"
        if not flow:
            line.say(True, f"{ask}\r\n".encode())
            line.say(False, b"HTTP/1.1 407 Password Required\r\nContent-Length: 4\r\n\r\nsay!")
        line.say(True, f"{ask}Proxy-Authorization: Basic dGVzdDp0ZXN0\r\n\r\n".encode())
        line.say(False, b"HTTP/1.1 200 Connection established\r\n\r\n")
        line.secure(Endpoint(ours, HOST), Endpoint(theirs))
        sent += script(line, bodies(flow, 30))
        line.close()
        connections.append(tuple(line.chunks))
    return Conversation(tuple(connections), bytes(ours.keylog), tuple(sent))


def in_the_clear(script: Script = talk_plainly) -> Conversation:
    """The same without TLS."""
    connections, sent = [], list[bytes]()
    for flow in range(2):
        line = Line(START + flow * PERIOD // 3)
        sent += script(line, bodies(flow, 30))
        connections.append(tuple(line.chunks))
    return Conversation(tuple(connections), b"", tuple(sent))
