"""What mitmproxy alone does not cope with, through a real one that we have mended (`addons/mends.py`)."""

import http.client
import json
import socket
import ssl
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from mitmproxy.connection import Server
from mitmproxy.options import Options
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.events import DataReceived
from mitmproxy.proxy.layers.http import _http1
from mitmproxy.test.tflow import tclient_conn
from mitmproxy.test.tutils import treq
from wsproto.events import BytesMessage, Ping, TextMessage

from addons.held import MOST_HELD
from addons.launch import addon_path
from addons.mends import LONGEST_MESSAGE, MOST_UNREAD, PIECE, read_headers
from mutewatch.mitigate import Action, Policies, Policy, When
from tests.client_websocket import WebSocket, serve_echo
from tests.live_support import OTHER, SECONDS, TELEMETRY, Proxy, Scene, sha256
from tests.redact_scene import Client, Sending, redacting
from tests.sockets.scene import sockets
from tests.sockets.talk import HOST, PATH, Said, level
from tests.test_gateway_clients import resident_bytes

pytestmark = pytest.mark.live

OBSERVE, REDACT = Policy(), Policy(Action.REDACT, When.ALWAYS)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
LONG = bytes(17 << 20)  # more than the proxy holds
Answer = Callable[[ssl.SSLSocket], None]


def answering(*pieces: bytes) -> Answer:
    """A server that reads the head of a request, and a short body, and then says `pieces`, one after the other."""

    def answer(tls: ssl.SSLSocket) -> None:
        while tls.recv(65536):
            for piece in pieces:
                tls.sendall(piece)

    return answer


def post(proxy: Proxy, body: bytes = b"{}") -> tuple[int, bytes]:
    connection = proxy.connect(TELEMETRY)
    connection.request("POST", "/metrics", body)
    with connection.getresponse() as response:
        return response.status, response.read()


# -- HTTP/1.1 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pieces",
    [
        (b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n" + OK,),
        (b"HTTP/1.1 100 Continue\r\n\r\n", OK),
        (b"HTTP/1.1 102 Proc", b"essing\r\nX-", b"A: b\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n", OK[:20], OK[20:]),
    ],
    ids=["at once", "unasked", "in pieces"],
)
def test_after_an_interim_response_comes_the_response(tmp_path: Path, confdir: Path, pieces: tuple[bytes]) -> None:
    with redacting(tmp_path, confdir, OBSERVE, answer=answering(*pieces)) as (proxy, _):
        assert post(proxy) == (200, b"{}")


def test_a_long_head_is_not_copied_at_each_piece() -> None:
    server = Server(address=(TELEMETRY, 443))
    client = _http1.Http1Client(Context(tclient_conn(), Options()))
    client.conn, client.request, client.stream_id = server, treq(), 1
    client.buf += b"HTTP/1.1 200 OK\r\nA: " + bytes(1 << 20)
    tracemalloc.start()
    try:
        assert list(read_headers(client, DataReceived(server, b"b"))) == []
        assert tracemalloc.get_traced_memory()[1] < 1 << 16
    finally:
        tracemalloc.stop()


def test_trailers_of_a_response_are_left_out(tmp_path: Path, confdir: Path) -> None:
    told = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nServer-Timing: x\r\n\r\n"
    with redacting(tmp_path, confdir, OBSERVE, answer=answering(told)) as (proxy, _):
        assert post(proxy) == (200, b"{}")


def test_a_message_with_trailers_passes_without_them_and_is_recorded(live: Scene) -> None:
    with live.proxy() as proxy:
        connection = proxy.connect(TELEMETRY)
        connection.putrequest("POST", "/metrics")
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders(b"2\r\n{}\r\n0\r\nX-Checksum: 1\r\n\r\n")
        assert connection.getresponse().status == 204
        proxy.wait_status(recorded=1, messages=1)
    assert live.upstream.hashes == [sha256(b"{}")]


# -- what is not held has no limit; what is has one, and is recorded there --------------------------------------------


def test_a_long_response_passes_a_proxy_that_redacts(tmp_path: Path, confdir: Path) -> None:
    told = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(LONG) + LONG
    with redacting(tmp_path, confdir, REDACT, answer=answering(told)) as (proxy, _):
        connection = proxy.connect(TELEMETRY)
        connection.request("GET", "/")
        with connection.getresponse() as response:
            assert (response.status, len(response.read())) == (200, len(LONG))


def test_long_bodies_of_others_pass_a_strict_proxy_in_plain_http(live: Scene) -> None:
    with others() as url, live.proxy(mode="regular", live={"strict": True}) as proxy:
        connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=60)
        connection.request("POST", url, LONG)
        with connection.getresponse() as response:
            assert (response.status, len(response.read())) == (200, len(LONG))
        proxy.wait_status(messages=0)


@contextmanager
def others() -> Iterator[str]:
    """A server that is none of ours and sends back what it gets; gives its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("chosen", "counted"), [({"strict": True}, "too_large"), ({"policies": Policies(REDACT)}, "unredacted")]
)
def test_a_message_too_long_to_be_held_is_refused_and_recorded_as_such(
    live: Scene, chosen: dict[str, object], counted: str, chunked: bool
) -> None:
    with live.proxy(live={"activity": False, **chosen}, script=addon_path()) as proxy:
        with suppress(OSError):  # 413, which a client that still sends may never read
            assert proxy.post(TELEMETRY, LONG, chunked=chunked, path="/metric/v1") == 413
        proxy.wait_status(**{"messages": 1, "recorded": 1, "too_large": 1, counted: 1})
    assert live.upstream.received == []


ENDLESS = {
    "a head": b"POST /x HTTP/1.1\r\nX: ",
    "lines of a head": b"POST /x HTTP/1.1\r\n" + b"X: y\r\n" * (1 << 19) + b"Z: ",
    "a line between chunks": b"POST /x HTTP/1.1\r\nHost: tsa3.webex.com\r\nTransfer-Encoding: chunked\r\n\r\n",
    "what comes too early": b"POST /x HTTP/1.1\r\nHost: tsa3.webex.com\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("beginning", ENDLESS.values(), ids=ENDLESS)
@pytest.mark.parametrize("is_opened", [True, False])
def test_what_has_no_end_is_not_held_whatever_its_length(live: Scene, beginning: bytes, is_opened: bool) -> None:
    live.upstream.on_request = lambda _request: time.sleep(SECONDS)  # so that the next must wait
    with live.proxy(script=addon_path()) as proxy:
        connection = proxy.connect(TELEMETRY)
        connection.connect()
        plain = socket.create_connection(("127.0.0.1", proxy.port), timeout=SECONDS)
        before = resident_bytes(proxy.process.pid)
        with plain, connection.sock as secure, suppress(ConnectionError, ssl.SSLEOFError):  # closed, not left waiting
            end = secure if is_opened else plain
            end.sendall(beginning)
            for _ in range(32 * MOST_UNREAD >> 16):
                end.sendall(b"0" * (1 << 16))
            raise AssertionError("all of it was taken")
        assert resident_bytes(proxy.process.pid) - before < 16 * MOST_UNREAD
        assert proxy.wait_status(endless=1)["hook_errors"] == 0


def test_a_response_without_an_end_to_its_head_is_none(tmp_path: Path, confdir: Path) -> None:
    endless = (b"HTTP/1.1 200 OK\r\nX: ", *[b"0" * (1 << 16)] * (32 * MOST_UNREAD >> 16))
    with redacting(tmp_path, confdir, OBSERVE, answer=answering(*endless)) as (proxy, _):
        assert post(proxy)[0] == 502


# -- many at once -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("chosen", "number", "size"), [(OBSERVE, 300, 1000 << 10), (REDACT, 20, 15 << 20)])
def test_long_messages_of_many_connections_take_bounded_memory_together(
    tmp_path: Path, confdir: Path, chosen: Policy, number: int, size: int
) -> None:
    with redacting(tmp_path, confdir, chosen) as (proxy, far_end), ExitStack() as stack:
        before, statuses = resident_bytes(proxy.process.pid), Counter[int]()
        connections = [stack.enter_context(closing(proxy.connect(TELEMETRY))) for _ in range(number)]
        for connection in connections:
            connection.putrequest("POST", "/long")
            connection.putheader("Content-Length", str(size))
            with suppress(OSError):  # it is already refused
                connection.endheaders(bytes(size - 1))
        assert resident_bytes(proxy.process.pid) - before < 1.5 * MOST_HELD
        for connection in connections:
            try:
                connection.send(b"0")
                statuses[connection.getresponse().status] += 1
            except OSError:  # closed while it was still sending, its answer lost
                statuses[413] += 1
        passed, left = (200, number) if chosen is OBSERVE else (403, 0)  # what is not read cannot be redacted
        status = proxy.wait_status(messages=number, recorded=number, pending=0)
        assert statuses[passed] + statuses[413] == number
        assert (status["streamed"] > 0, statuses[413] > 0) == (chosen is OBSERVE, chosen is REDACT)
        assert 0 < status["streamed"] + statuses[413] < number / 2
        assert len(far_end.received) == left
        assert post(proxy, bytes(size))[0] == passed  # there is room again
        assert proxy.wait_status(messages=number + 1, pending=0)["streamed"] == status["streamed"]


# -- what is answered at its head: the rest is let go ------------------------------------------------------------------


@pytest.mark.parametrize("chosen", [OBSERVE, REDACT])
def test_a_long_misdirected_request_goes_nowhere(tmp_path: Path, confdir: Path, chosen: Policy) -> None:
    with redacting(tmp_path, confdir, chosen) as (proxy, far_end):
        client = Client(proxy)
        assert client.send(Sending("ours", b"", "h2", path="/")) == 200
        assert client.send(Sending("theirs", bytes(2 << 20), "h2", authority=OTHER)) == 421
        assert client.send(Sending("ours", b"", "h2", path="/")) == 200
        client.close()
        proxy.wait_status(misdirected=1, messages=2)
        assert [request.path for request in far_end.received] == ["/ours", "/ours"]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("host", [TELEMETRY, OTHER])
def test_who_has_not_said_the_password_fills_neither_memory_nor_log(live: Scene, host: str, chunked: bool) -> None:
    with live.proxy(mode="regular", extra=["proxyauth=somebody:secret"]) as proxy:
        before = resident_bytes(proxy.process.pid)
        connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=60)
        body = iter([bytes(1 << 20)] * 64)
        length = {} if chunked else {"Content-Length": str(64 << 20)}
        connection.request("POST", f"http://{host}/", body, length, encode_chunked=chunked)
        assert connection.getresponse().status == 407
        assert resident_bytes(proxy.process.pid) - before < 32 << 20
        assert "crashed" not in proxy.text()


# -- websockets -------------------------------------------------------------------------------------------------------


def echo(tls: ssl.SSLSocket) -> None:
    """Accept a websocket, packed if the client would, and send back all it says."""
    reader, headers = tls.makefile("rb"), list[tuple[bytes, bytes]]()
    path = reader.readline().split()[1].decode()
    while field := reader.readline().strip():
        name, _, value = field.partition(b":")
        headers.append((name.strip(), value.strip()))
    serve_echo(tls, path, headers)


@contextmanager
def opened(proxy: Proxy, *, is_packed: bool = True) -> Iterator[WebSocket]:
    """A websocket to a telemetry host, with compression or without."""
    connection = proxy.connect(TELEMETRY)
    connection.connect()
    with WebSocket.connect(connection.sock, TELEMETRY, "/socket", is_packed=is_packed) as end:
        yield end


def test_a_packed_websocket_message_takes_no_more_memory_than_its_limit(tmp_path: Path, confdir: Path) -> None:
    with redacting(tmp_path, confdir, OBSERVE, answer=echo) as (proxy, _), opened(proxy) as end:
        end.send("small")
        assert end.receive() == "small"
        before = resident_bytes(proxy.process.pid)
        end.send(bytes(16 * LONGEST_MESSAGE))  # a quarter of a MiB on the wire
        assert end.receive() is None
        assert resident_bytes(proxy.process.pid) - before < 4 * LONGEST_MESSAGE
        proxy.wait_status(too_large=1, websocket_messages=2)


@pytest.mark.parametrize("is_packed", [True, False])
def test_a_websocket_message_ends_its_websocket_once_its_pieces_are_too_long(
    tmp_path: Path, confdir: Path, is_packed: bool
) -> None:
    piece = BytesMessage(bytes(LONGEST_MESSAGE // 5), message_finished=False)
    with redacting(tmp_path, confdir, OBSERVE, answer=echo) as (proxy, _), opened(proxy, is_packed=is_packed) as end:
        end.put(piece, Ping(), piece, BytesMessage(bytes(LONGEST_MESSAGE // 2)))
        received = end.receive()
        assert isinstance(received, bytes)
        assert len(received) == 2 * (LONGEST_MESSAGE // 5) + LONGEST_MESSAGE // 2
        with suppress(OSError):  # it ends before all is said
            end.put(*[piece, Ping()] * 5, BytesMessage(b"1"))
        assert end.receive() is None
        proxy.wait_status(too_large=1, websocket_messages=2)


@pytest.mark.parametrize(
    "piece",
    [
        BytesMessage(bytes(1 << 20), frame_finished=False, message_finished=False),
        BytesMessage(b".", message_finished=False),
    ],
    ids=["one long frame", "many short frames"],
)
def test_nor_does_a_plain_one_however_it_comes(tmp_path: Path, confdir: Path, piece: BytesMessage) -> None:
    with redacting(tmp_path, confdir, OBSERVE, answer=echo) as (proxy, _), opened(proxy, is_packed=False) as end:
        before = resident_bytes(proxy.process.pid)
        with suppress(OSError):
            for _ in range(4 * LONGEST_MESSAGE // (len(piece.data) + PIECE)):
                end.put(piece)
        assert end.receive() is None
        assert resident_bytes(proxy.process.pid) - before < 4 * LONGEST_MESSAGE
        proxy.wait_status(too_large=1)


def test_long_messages_of_many_websockets_take_bounded_memory_together(tmp_path: Path, confdir: Path) -> None:
    number, piece = 24, BytesMessage(bytes(14 << 20), message_finished=False)
    with redacting(tmp_path, confdir, OBSERVE, answer=echo) as (proxy, _), ExitStack() as stack:
        before = resident_bytes(proxy.process.pid)
        ends = [stack.enter_context(opened(proxy)) for _ in range(number)]
        for end in ends:
            end.put(piece)
        received = Counter[bool]()
        for end in ends:
            with suppress(OSError):
                end.put(BytesMessage(b"."))
            received[end.receive() is not None] += 1
        assert resident_bytes(proxy.process.pid) - before < 2 * MOST_HELD
        assert 0 < received[False] < number / 2
        proxy.wait_status(too_large=received[False])


@pytest.mark.parametrize(("is_packed", "frames"), [(True, 1), (False, 32)])
def test_a_text_is_as_long_as_its_bytes(tmp_path: Path, confdir: Path, is_packed: bool, frames: int) -> None:
    with redacting(tmp_path, confdir, OBSERVE, answer=echo) as (proxy, _), opened(proxy, is_packed=is_packed) as end:
        with suppress(OSError):
            for _ in range(frames):
                end.put(TextMessage("€" * (LONGEST_MESSAGE // 2 // frames), message_finished=frames == 1))
        assert end.receive() is None
        proxy.wait_status(too_large=1)


def test_a_plain_message_as_long_as_a_body_may_be_passes(tmp_path: Path, confdir: Path) -> None:
    with redacting(tmp_path, confdir, OBSERVE, answer=echo) as (proxy, _), opened(proxy, is_packed=False) as end:
        for _ in range(2):
            end.put(*[BytesMessage(bytes(1 << 20), message_finished=last) for last in [False] * 14 + [True]])
            assert end.receive() == bytes(15 << 20)


def test_a_ping_between_the_pieces_of_a_packed_message_ends_nothing(tmp_path: Path, confdir: Path) -> None:
    with redacting(tmp_path, confdir, OBSERVE, answer=echo) as (proxy, _), opened(proxy) as end:
        for _ in range(2):
            end.put(TextMessage("one, ", message_finished=False), Ping(), TextMessage("two"))
            assert end.receive() == "one, two"
            end.put(Ping())


def test_a_long_text_that_is_redacted_keeps_its_characters(tmp_path: Path, confdir: Path) -> None:
    texts = [
        json.dumps(json.loads(level(1, value)) | {"note": "€" * 9_000 + "." * padding}, ensure_ascii=False)
        for padding in range(3)
        for value in (0.25, 0.0)
    ]
    live = {"activity": False, "policies": Policies(REDACT), "record_timeout": 20.0}
    blank = [text.encode() for text in texts[1::2]]
    with sockets(tmp_path, confdir, [Said(True, text) for text in texts[::2]], live=live) as it:
        secure = it.proxy.connect(HOST)
        secure.connect()
        with WebSocket.connect(secure.sock, HOST, PATH) as end:
            for text in texts[::2]:
                end.send(text)
            it.wait_heard(blank)
