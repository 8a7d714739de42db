"""Websockets over a socket that is there already: the client and the echo of the tests with real clients."""

import socket
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    Request,
    TextMessage,
)
from wsproto.extensions import PerMessageDeflate
from wsproto.utilities import LocalProtocolError

Payload = str | bytes


class WebSocket:
    """One end of an open websocket. Messages are whole: pieces are put together before they are given back."""

    def __init__(self, plain: socket.socket, state: WSConnection) -> None:
        self._socket, self._state = plain, state
        self._events = self._read()

    @classmethod
    def connect(cls, plain: socket.socket, host: str, path: str, *, is_packed: bool = False) -> "WebSocket":
        """Ask for a websocket; `is_packed`: with compression. ConnectionError if it is refused."""
        it = cls(plain, WSConnection(ConnectionType.CLIENT))
        it.put(Request(host=host, target=path, extensions=[PerMessageDeflate()] if is_packed else []))
        if not isinstance(next(it._events, None), AcceptConnection):
            raise ConnectionRefusedError("no websocket there")
        return it

    def __enter__(self) -> "WebSocket":
        return self

    def __exit__(self, kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        if kind is None:
            with suppress(LocalProtocolError, OSError):  # the other side has closed
                self.put(CloseConnection(code=1000))
        self._socket.close()

    def send(self, payload: Payload) -> None:
        self.put(TextMessage(payload) if isinstance(payload, str) else BytesMessage(payload))

    def put(self, *events: Event) -> None:
        """Send these, together."""
        self._socket.sendall(b"".join(self._state.send(event) for event in events))

    def receive(self) -> Payload | None:
        """Return the next message; None once the other side has closed."""
        text, data = "", b""
        for event in self._events:
            if isinstance(event, TextMessage):
                text += event.data
            elif isinstance(event, BytesMessage):
                data += event.data
            elif isinstance(event, Ping):
                self.put(event.response())
            elif isinstance(event, CloseConnection):
                return None
            if isinstance(event, Message) and event.message_finished:
                return text if isinstance(event, TextMessage) else data
        return None

    def _read(self) -> Iterator[Event]:
        while True:
            yield from self._state.events()
            data = self._socket.recv(65536)
            if not data:
                return
            self._state.receive_data(data)


def serve_echo(plain: socket.socket, path: str, headers: list[tuple[bytes, bytes]]) -> None:
    """Accept the websocket that `headers` asked for, compressed if the client would, and send back all it says."""
    state = WSConnection(ConnectionType.SERVER)
    state.initiate_upgrade_connection(headers, path)
    next(iter(state.events()))  # the request that we have read already
    plain.sendall(state.send(AcceptConnection(extensions=[PerMessageDeflate()])))
    end = WebSocket(plain, state)
    while (payload := end.receive()) is not None:
        end.send(payload)


def is_echoed(end: WebSocket, payloads: list[Payload]) -> bool:
    """Does the other side send back each message as it was?"""
    for payload in payloads:
        end.send(payload)
        if end.receive() != payload:
            return False
    return True
