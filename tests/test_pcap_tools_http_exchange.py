"""From an HTTP message to the exchange that every door gives."""

from datetime import UTC, datetime

import pytest

from mutewatch.records import Direction, Exchange, Origin
from pcap_tools.http.exchange import Route, to_exchange
from pcap_tools.http.message import Headers, HttpMessage, Protocol, Response
from pcap_tools.stream import Side, Stamp

ROUTE = Route("pcap", "a.pcap", "10.0.0.2", 443, "sni.example", 7, "a.pcap#7")
FIRST, LAST = Stamp(4, 0), Stamp(5, 1_500_000_000_123_456_789)


def message(
    target: str = "/a",
    authority: str | None = "h",
    side: Side = Side.CLIENT,
    *,
    is_websocket: bool = False,
    headers: Headers = (),
    last: Stamp = LAST,
    status: int | None = 204,
) -> HttpMessage:
    protocol = Protocol.WEBSOCKET if is_websocket else Protocol.HTTP1
    response = None if status is None else Response(status, (), None, LAST, LAST)
    return HttpMessage(
        protocol, side, "post", target, authority, None, "HTTP/1.1", headers, b"body", FIRST, last, response
    )


def test_everything_that_is_known_stands_in_the_exchange() -> None:
    headers = (("Host", "h"), ("Content-Encoding", "gzip"))
    assert to_exchange(message("/a?b=c?d", "H.Example.:8443", headers=headers), ROUTE, 3) == Exchange(
        sent_at=datetime(2017, 7, 14, 2, 40, 0, 123456, UTC),
        client="10.0.0.2",
        host="h.example",
        port=443,
        method="POST",
        path="/a",
        query="b=c?d",
        body=b"body",
        origin=Origin("pcap", "a.pcap", 3, 5, 7),
        content_encoding="gzip",
        status=204,
        direction=Direction.TO_SERVER,
        connection="a.pcap#7",
    )


@pytest.mark.parametrize(
    ("authority", "host"),
    [("[2001:DB8::1]:443", "2001:db8::1"), (None, "sni.example"), ("", "sni.example"), ("h.:1", "h")],
)
def test_hosts_are_compared_as_names(authority: str | None, host: str) -> None:
    assert to_exchange(message(authority=authority), ROUTE, 1).host == host


@pytest.mark.parametrize(
    ("target", "path"),
    [("http://h/a/b", "/a/b"), ("http://h", "/"), ("*", "*"), ("/x://y", "/x://y"), ("h:443", "h:443")],
)
def test_targets_lose_their_origin(target: str, path: str) -> None:
    assert to_exchange(message(target), ROUTE, 1).path == path


def test_websocket_messages_have_a_direction() -> None:
    exchange = to_exchange(message("/ws?a", side=Side.SERVER, is_websocket=True, status=None), ROUTE, 1)
    assert (exchange.method, exchange.path, exchange.query) == ("WEBSOCKET", "/ws", "a")
    assert (exchange.direction, exchange.status) == (Direction.TO_CLIENT, None)


@pytest.mark.parametrize("time_ns", [None, 1 << 80])
def test_a_time_that_is_none_is_not_reported(time_ns: int | None) -> None:
    assert to_exchange(message(last=Stamp(1, time_ns)), ROUTE, 1).sent_at is None
