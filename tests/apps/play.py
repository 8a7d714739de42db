"""Both ends of every connection, one message after another: what one says is heard by the other before all else.

So the script's clock stands where the message belongs, wherever it is on its way; and what arrives is what was sent.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

import h11
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Event, Request, TextMessage

from tests.apps.app import Asked, Connection, Message, Payload, Said


class Wire(Protocol):
    """A connection by both of its ends, TLS and all."""

    def send(self, from_client: bool, data: bytes) -> None: ...

    def receive(self, at_client: bool) -> bytes:
        """Return what arrives next at one end: at least one byte."""
        ...

    def close(self) -> None: ...


class _Websocket:
    def __init__(self, wire: Wire, connection: Connection) -> None:
        self._wire = wire
        self._ends = {True: WSConnection(ConnectionType.CLIENT), False: WSConnection(ConnectionType.SERVER)}
        protocols = [connection.subprotocol] if connection.subprotocol else []
        self._send(True, Request(host=connection.host, target=connection.websocket or "/", subprotocols=protocols))
        self._next(False)
        self._send(False, AcceptConnection(subprotocol=connection.subprotocol))
        accepted = self._next(True)
        assert isinstance(accepted, AcceptConnection), accepted

    def say(self, message: Message) -> None:
        assert isinstance(message, Said)
        payload, side = message.payload, message.from_client
        self._send(side, TextMessage(payload) if isinstance(payload, str) else BytesMessage(payload))
        assert self._hear(not side) == payload

    def close(self) -> None:
        self._send(True, CloseConnection(code=1000))
        self._next(False)
        self._wire.close()

    def _hear(self, at_client: bool) -> Payload:
        text, data = "", b""
        while True:
            event = self._next(at_client)
            assert isinstance(event, TextMessage | BytesMessage), event
            if isinstance(event, TextMessage):
                text += event.data
            else:
                data += bytes(event.data)
            if event.message_finished:
                return text if isinstance(event, TextMessage) else data

    def _send(self, from_client: bool, event: Event) -> None:
        self._wire.send(from_client, self._ends[from_client].send(event))

    def _next(self, at_client: bool) -> Event:
        while True:
            for event in self._ends[at_client].events():
                return event
            self._ends[at_client].receive_data(self._wire.receive(at_client))


class _Requests:
    def __init__(self, wire: Wire, connection: Connection) -> None:
        self._wire, self._host = wire, connection.host
        self._ends = {True: h11.Connection(h11.CLIENT), False: h11.Connection(h11.SERVER)}

    def say(self, message: Message) -> None:
        assert isinstance(message, Asked)
        length = ("content-length", str(len(message.body)))
        request = h11.Request(method=message.method, target=message.path, headers=[("host", self._host), length])
        self._send(True, request, message.body)
        assert self._hear(False) == message.body
        length = ("content-length", str(len(message.answer)))
        response = h11.Response(status_code=message.status, headers=[("content-type", "application/json"), length])
        self._send(False, response, message.answer)
        assert self._hear(True) == message.answer
        for end in self._ends.values():
            end.start_next_cycle()

    def close(self) -> None:
        self._wire.close()

    def _send(self, from_client: bool, head: h11.Request | h11.Response, body: bytes) -> None:
        end = self._ends[from_client]
        parts = [end.send(event) or b"" for event in (head, h11.Data(data=body), h11.EndOfMessage())]
        self._wire.send(from_client, b"".join(parts))

    def _hear(self, at_client: bool) -> bytes:
        end, body = self._ends[at_client], b""
        while True:
            event = end.next_event()
            if event is h11.NEED_DATA:
                end.receive_data(self._wire.receive(at_client))
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return body


def play(
    connections: Iterable[Connection],
    connect: Callable[[Connection], Wire],
    before_each: Callable[[Connection, float], None],
) -> None:
    """Say everything, in the order of time; `before_each` is told of the connection and the time, in seconds."""
    order = [
        (message.seconds, number, position, connection)
        for number, connection in enumerate(connections)
        for position, message in enumerate(connection.messages)
    ]
    talks: dict[int, _Websocket | _Requests] = {}
    for seconds, number, position, connection in sorted(order, key=lambda row: row[:3]):
        before_each(connection, seconds)
        if number not in talks:
            kind = _Requests if connection.websocket is None else _Websocket
            talks[number] = kind(connect(connection), connection)
        talks[number].say(connection.messages[position])
        if position == len(connection.messages) - 1:
            talks[number].close()
