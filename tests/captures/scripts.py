"""What is said inside a connection: the ways of HTTP/1.1, HTTP/2 and websockets to carry a body.

Each script says the bodies it is given and returns them as they went over the wire.
"""

import gzip
import zlib
from collections.abc import Callable

import brotli
import zstandard
from h2.config import H2Configuration
from h2.connection import H2Connection
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request, TextMessage
from wsproto.extensions import Extension, PerMessageDeflate

from tests.captures.conversations import HOST, OK, PERIOD, Line, Script, post

ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, 6, mtime=0),
    "br": brotli.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "deflate": zlib.compress,
}


def pipelined(line: Line, texts: list[bytes]) -> list[bytes]:
    """Five requests in one flight, then their answers in one."""
    for start in range(0, len(texts), 5):
        group = texts[start : start + 5]
        line.say(True, b"".join(post(text) for text in group))
        line.say(False, OK * len(group))
        line.now += PERIOD
    return texts


def in_small_writes(line: Line, texts: list[bytes]) -> list[bytes]:
    """Head and body of each request in records of their own, the body in several."""
    for text in texts:
        request = post(text)
        at = len(request) - len(text)
        for start, end in ((0, at), (at, at + 1), (at + 1, at + 1_000), (at + 1_000, len(request))):
            line.say(True, request[start:end])
        line.say(False, OK)
        line.now += PERIOD
    return texts


def chunked(line: Line, texts: list[bytes]) -> list[bytes]:
    """Chunks of different sizes, with an extension and a trailer field."""
    for number, text in enumerate(texts):
        size = 300 + 37 * number
        parts = [text[start : start + size] for start in range(0, len(text), size)]
        coded = b"".join(b"%x;a=b\r\n%b\r\n" % (len(part), part) for part in parts)
        head = post(b"", "Transfer-Encoding: chunked", "Trailer: X-Sum", length=False)
        line.say(True, head + coded + b"0\r\nX-Sum: 7\r\n\r\n")
        line.say(False, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
        line.now += PERIOD
    return texts


def expecting(line: Line, texts: list[bytes]) -> list[bytes]:
    """The body follows the server's 100 Continue."""
    for text in texts:
        request = post(text, "Expect: 100-continue")
        line.say(True, request[: -len(text)])
        line.say(False, b"HTTP/1.1 100 Continue\r\n\r\n")
        line.say(True, text)
        line.say(False, OK)
        line.now += PERIOD
    return texts


def encoded(name: str) -> Script:
    """Return the script whose bodies have this Content-Encoding."""

    def script(line: Line, texts: list[bytes]) -> list[bytes]:
        sent = [ENCODERS[name](text) for text in texts]
        for text in sent:
            line.say(True, post(text, f"Content-Encoding: {name}"))
            line.say(False, OK)
            line.now += PERIOD
        return sent

    return script


def updating_keys(line: Line, texts: list[bytes]) -> list[bytes]:
    """Each side changes its keys, on its own or because it was asked to, between some requests."""
    for number, text in enumerate(texts):
        client, server = line.client, line.server
        if client and server and number % 3 == 2:
            (client if number % 2 else server).update_keys()
        line.say(True, post(text))
        line.say(False, OK)
        line.now += PERIOD
    return texts


class _Http2:
    """Both ends of HTTP/2 on one line."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self.client = H2Connection(H2Configuration(client_side=True))
        self.server = H2Connection(H2Configuration(client_side=False))
        self.client.initiate_connection()
        self.server.initiate_connection()
        self.flush()

    def ask(self, stream: int, *more: tuple[str, str]) -> None:
        fields = [(":method", "POST"), (":path", "/metric/v1?client=test"), (":scheme", "https"), (":authority", HOST)]
        self.client.send_headers(stream, [*fields, ("content-type", "application/json"), *more])

    def answer(self, stream: int) -> None:
        self.server.send_headers(stream, [(":status", "200"), ("content-type", "application/json")])
        self.server.send_data(stream, b'{"status":"ok"}', end_stream=True)

    def flush(self) -> None:
        """Carry what both sides have to send, and give back the room that the bodies took."""
        for from_client, ours, theirs in ((True, self.client, self.server), (False, self.server, self.client)):
            data = ours.data_to_send()
            if not data:
                continue
            for event in theirs.receive_data(self._line.say(from_client, data)):
                length, stream = getattr(event, "flow_controlled_length", 0), getattr(event, "stream_id", 0)
                if length:
                    theirs.acknowledge_received_data(length, stream)


def http2(*, padding: int | None = None, long_head: bool = False, together: int = 3) -> Script:
    """Return the script of HTTP/2 requests, `together` at a time with their DATA frames in turn.

    `padding`: bytes in each DATA frame; `long_head`: header fields that need CONTINUATION frames.
    """

    def script(line: Line, texts: list[bytes]) -> list[bytes]:
        both = _Http2(line)
        long = [("x-long", "\\" * 8_000)] if long_head else []  # 19 bits each (RFC 7541, B): above a frame's 16 KiB
        for start in range(0, len(texts), together):
            group = {2 * (start + at) + 1: text for at, text in enumerate(texts[start : start + together])}
            for stream in group:
                both.ask(stream, *(long if stream % 30 == 1 else []))  # hpack takes its time for one
            for part in range(4):
                for stream, text in group.items():
                    piece = text[part * 900 : (part + 1) * 900 if part < 3 else None]
                    both.client.send_data(stream, piece, end_stream=part == 3, pad_length=padding)
                both.flush()
            for stream in reversed(group):
                both.answer(stream)
            both.flush()
            line.now += PERIOD
        return texts

    return script


def websocket(*, deflate: bool = False, fragmented: bool = False) -> Script:
    """Return the script whose bodies are text messages of a client.

    `deflate`: compressed between the ends; `fragmented`: each second one in two frames.
    """

    def script(line: Line, texts: list[bytes]) -> list[bytes]:
        client, server = WSConnection(ConnectionType.CLIENT), WSConnection(ConnectionType.SERVER)
        ours: list[Extension] = [PerMessageDeflate()] if deflate else []
        theirs: list[Extension] = [PerMessageDeflate()] if deflate else []
        server.receive_data(line.say(True, client.send(Request(host=HOST, target="/metric/ws", extensions=ours))))
        list(server.events())
        client.receive_data(line.say(False, server.send(AcceptConnection(extensions=theirs))))
        list(client.events())
        for number, text in enumerate(texts):
            words = text.decode()
            middle = len(words) // 2 if fragmented and number % 2 else len(words)
            data = client.send(TextMessage(data=words[:middle], message_finished=middle == len(words)))
            if middle < len(words):
                data += client.send(TextMessage(data=words[middle:]))
            server.receive_data(line.say(True, data))
            if "".join(event.data for event in server.events() if isinstance(event, TextMessage)) != words:
                raise AssertionError("the server read something else")
            line.say(False, server.send(TextMessage(data="ok")))
            line.now += PERIOD
        return texts

    return script
