"""What cannot be read: refused by a proxy that redacts, passed byte for byte and reported by one that observes."""

import base64
import gzip
import json
import ssl
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request, TextMessage

from mutewatch.audio_names import names_audio
from mutewatch.mitigate import Action, Policy, When
from mutewatch.records import Finding, Verdict
from mutewatch.redact import Blank, RedactionError, redact
from mutewatch.signatures import load_signatures
from mutewatch.store import Store
from tests.corpora import unpack
from tests.live_support import TELEMETRY, Proxy
from tests.redact_scene import PATH, WAYS, FarEnd, Sending, redacting, send_all
from tests.test_decode import bomb
from tests.test_redact import event, inner_texts, message, pack

TSA = next(signature for signature in load_signatures() if signature.id == "webex.tsa.v1")
REDACT = Policy(Action.REDACT, When.ALWAYS)
INNER = event('{"audioMaxGain":46,"audioMeanGain":38}')
GOOD = message(INNER)


def around(inner: bytes | str) -> bytes:
    """The body of a message that carries `inner` packed, whatever that is."""
    return message(INNER).replace(pack(INNER), pack(inner)).encode()


def blanked(inner: str) -> str:
    return inner.replace("46", "0").replace("38", "0")


def with_text(text: str) -> bytes:
    """The same with this text in place of a packed one."""
    return GOOD.replace(pack(INNER), text).encode()


def nested(levels: int) -> str:
    text = '{"audioMaxGain":46}'
    for _ in range(levels):
        text = json.dumps({"inside": text})
    return text


# Body and content-encoding.
MALFORMED: dict[str, tuple[bytes, str | None]] = {
    "nothing": (b"", None),
    "no JSON": (b"audioMaxGain=46&audioMeanGain=38", None),
    "cut JSON": (GOOD.encode()[:-9], None),
    "cut gzip inside": (with_text(base64.b64encode(gzip.compress(INNER.encode())[:-9]).decode()), None),
    "residue inside": (with_text(base64.b64encode(gzip.compress(INNER.encode()) + b"{}").decode()), None),
    "bad base64": (with_text("H4sI*AAAA"), None),
    "base64 without padding": (with_text(pack(INNER + " " * 9).rstrip("=")[:-1]), None),
    "residue": (GOOD.encode() + b'\n"audioMaxGain" : 46', None),
    "a second value": (GOOD.encode() + GOOD.encode(), None),
    "duplicate key": (around(INNER.replace('{"audioMaxGain":46', '{"audioMaxGain":0,"audioMaxGain":46')), None),
    "NaN": (around(INNER.replace("46", "NaN")), None),
    "Infinity": (around(INNER.replace("46", "-Infinity")), None),
    "a number beyond all": (around(INNER.replace("46", "9" * 5000)), None),
    "a text for a number": (around(INNER.replace("46", '"46"')), None),
    "nested deeply": (around('{"a":' * 70 + INNER + "}" * 70), None),
    "nested without end": (b"[" * 200_000, None),
    "deep in its texts": (around(INNER.replace('"streams":[]', f'"note":{json.dumps(nested(4))}')), None),
    "UTF-16": (GOOD.encode("utf-16"), None),
    "UTF-16 inside": (around(INNER.encode("utf-16-le")), None),
    "byte order mark": (GOOD.encode("utf-8-sig"), None),
    "Latin-1": (GOOD.replace("C1", "\xe9").encode("latin-1"), None),
    "brotli": (GOOD.encode(), "br"),
    "zstandard": (GOOD.encode() + b" ", "zstd"),
    "three codings": (gzip.compress(gzip.compress(gzip.compress(GOOD.encode()))), "gzip, gzip, gzip"),
    "twice gzip, named once": (gzip.compress(gzip.compress(GOOD.encode())), "gzip"),
    "gzip that is none": (GOOD.encode(), "gzip"),
    "gzip that is not named": (gzip.compress(GOOD.encode(), 1), None),
    "deflate that is gzip": (gzip.compress(GOOD.encode()), "deflate"),
    "deflate without its head": (zlib.compress(GOOD.encode())[2:-4], "deflate"),
    "cut gzip": (gzip.compress(GOOD.encode())[:-9], "gzip"),
    "gzip with residue": (gzip.compress(GOOD.encode()) + b"audioMaxGain", "gzip"),
    "two gzip members": (gzip.compress(GOOD.encode()[:50]) + gzip.compress(GOOD.encode()[50:]), "gzip"),
    "a bomb": (bomb(64), "gzip"),
    "a bomb inside": (with_text(base64.b64encode(bomb(64)).decode()), None),
    "multipart": (b'--x\r\nContent-Disposition: form-data; name="f"\r\n\r\n' + GOOD.encode() + b"\r\n--x--\r\n", None),
    "another envelope": (b'{"events":[' + INNER.encode() + b"]}", None),
}
READ_ALL_THE_SAME = {"residue", "a second value", "duplicate key", "deep in its texts"}  # where nothing is taken out


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running proxy and its far end, with what came of the messages of one test."""

    proxy: Proxy
    far_end: FarEnd

    def send(self, sent: list[Sending]) -> tuple[dict[str, int], dict[str, int]]:
        """Send; return the statuses, and what that added to the counters."""
        before = self.proxy.status()
        statuses = send_all(self.proxy, sent)
        self.proxy.wait_status(recorded=before.get("recorded", 0) + len(sent))
        time.sleep(1.2)  # hooks count what became of a message behind its commit; the file is written once a second
        now = self.proxy.status()
        return statuses, {name: number - before.get(name, 0) for name, number in now.items() if name in COUNTED}

    def findings(self) -> list[Finding]:
        with Store(self.proxy.state / "mutewatch.db") as store:
            return list(store.findings())


COUNTED = ("messages", "redacted", "unredacted", "unmatched", "refused", "lost", "unrecorded", "hook_errors")
NOTHING = dict.fromkeys(COUNTED, 0)


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory, confdir: Path) -> Iterator[Callable[[Action], Gateway]]:
    """One proxy that redacts, and one that observes."""
    redacts, observes = tmp_path_factory.mktemp("redacts"), tmp_path_factory.mktemp("observes")
    with (
        redacting(redacts, confdir, REDACT) as (first, far),
        redacting(observes, confdir, Policy(), assume="muted") as (second, other),
    ):
        both = {Action.REDACT: Gateway(first, far), Action.OBSERVE: Gateway(second, other)}
        yield lambda action: both[action]


def in_turns(table: dict[str, tuple[bytes, str | None]], path: str = PATH) -> list[Sending]:
    """Every body in one way after the other; gzip is in the table where it is wanted."""
    ways = [way for way in WAYS if way != "gzip"]
    named = enumerate(table.items())
    return [
        Sending(name.replace(" ", "+"), body, ways[n % len(ways)], encoding, path)
        for n, (name, (body, encoding)) in named
    ]


@pytest.mark.live
def test_what_is_malformed_is_refused_and_said(gateways: Callable[[Action], Gateway]) -> None:
    gateway, sent = gateways(Action.REDACT), in_turns(MALFORMED)
    arrived = len(gateway.far_end.received)
    statuses, counted = gateway.send(sent)
    assert statuses == {sending.name: 403 for sending in sent}
    assert counted == {**NOTHING, "messages": len(sent), "unredacted": len(sent)}
    assert len(gateway.far_end.received) == arrived
    assert {finding.source.sent for finding in gateway.findings() if finding.source} == {"refused"}
    undecoded = [finding for finding in gateway.findings() if finding.verdict is Verdict.UNDECODED]
    assert len(undecoded) == len(sent) - len(READ_ALL_THE_SAME)


@pytest.mark.live
def test_and_passes_an_observer_byte_for_byte_with_a_finding(gateways: Callable[[Action], Gateway]) -> None:
    gateway, sent = gateways(Action.OBSERVE), in_turns(MALFORMED)
    statuses, counted = gateway.send(sent)
    assert statuses == {sending.name: 200 for sending in sent}
    assert counted == {**NOTHING, "messages": len(sent)}
    received = gateway.far_end.by_name()
    for sending in sent:
        assert received[sending.name].body == sending.body
        assert dict(received[sending.name].headers).get("content-encoding") == sending.content_encoding
    assert {finding.source.sent for finding in gateway.findings() if finding.source} == {"forwarded"}
    undecoded = [finding for finding in gateway.findings() if finding.verdict is Verdict.UNDECODED]
    assert len(undecoded) == len(sent) - len(READ_ALL_THE_SAME)


ELSEWHERE: dict[str, tuple[bytes, str | None]] = {
    "moved": (GOOD.encode(), None),
    "moved without its envelope": (INNER.encode(), None),
    "moved in gzip": (gzip.compress(GOOD.encode()), "gzip"),
    "moved in parts": MALFORMED["multipart"],
    "moved in brotli": (b"audio", "br"),
}


@pytest.mark.live
def test_audio_derived_values_at_a_path_that_nobody_knows_are_refused_and_said(
    gateways: Callable[[Action], Gateway],
) -> None:
    path = "/metric/v2?test="
    silent = {"a log": (b"x" * 500, None), "JSON": (b'{"telemetrics":[]}', "identity")}
    gateway, sent = gateways(Action.REDACT), in_turns(ELSEWHERE | silent, path)
    statuses, counted = gateway.send(sent)
    assert {name for name, status in statuses.items() if status == 200} == {"a+log", "JSON"}
    assert counted == {**NOTHING, "messages": len(sent), "unmatched": len(sent), "unredacted": len(ELSEWHERE)}
    assert [gateway.far_end.by_name()[name].body for name in ("a+log", "JSON")] == [silent[n][0] for n in silent]
    found = {finding.reason for finding in gateway.findings() if "no message of the signature" in finding.reason}
    assert found == {
        f"POST /metric/v2: no message of the signature, and it {what} audio-derived values"
        for what in ("names", "cannot be searched for")
    }
    watching = gateways(Action.OBSERVE)
    statuses, counted = watching.send(sent)
    assert set(statuses.values()) == {200}
    assert counted == {**NOTHING, "messages": len(sent), "unmatched": len(sent)}
    assert any("/metric/v2: no message of the signature" in finding.reason for finding in watching.findings())


# -- what others made to break parsers ----------------------------------------------------------------------------


def others_bodies(shared: Path, folder: Path) -> list[bytes]:
    names = ("jsontestsuite-parsing", "gofuzz-json", "gofuzz-gzip")
    return [path.read_bytes() for path in unpack(shared, folder, *names, pattern="*")]


@pytest.mark.live
@pytest.mark.shared
def test_bodies_that_others_made_are_refused_or_passed_byte_for_byte(
    gateways: Callable[[Action], Gateway], shared: Path, tmp_path: Path
) -> None:
    bodies = list(dict.fromkeys(others_bodies(shared, tmp_path)))[::16]
    codings = (None, "gzip", None, "deflate")
    table = {f"other-{number}": (body, codings[number % 4]) for number, body in enumerate(bodies)}
    sent = in_turns(table)
    assert len(sent) > 100
    gateway, watching = gateways(Action.REDACT), gateways(Action.OBSERVE)
    statuses, counted = gateway.send(sent)
    assert set(statuses.values()) == {403}
    assert counted == {**NOTHING, "messages": len(sent), "unredacted": len(sent)}
    assert not any("other-" in name for name in gateway.far_end.by_name())
    statuses, counted = watching.send(sent)
    assert set(statuses.values()) == {200}
    received = watching.far_end.by_name()
    assert [received[sending.name].body for sending in sent] == [sending.body for sending in sent]


@pytest.mark.shared
def test_whatever_others_made_leaves_without_a_value_or_not_at_all(shared: Path, tmp_path: Path) -> None:
    kept = 0
    for data in others_bodies(shared, tmp_path):
        tells = GOOD.replace('"C1"', '"C1","x":').encode()
        for body, encoding in (
            (data, None),
            (data, "gzip"),
            (around(data), None),
            (tells.replace(b'"x":', b'"x":' + data), None),
            (around(INNER.encode()[:-1] + b',"x":' + data + b"}"), None),
        ):
            try:
                done = redact(body, encoding, TSA, TSA.messages[0], blank=Blank.REMOVE, identifiers=False)
            except RedactionError:
                continue
            kept += 1
            assert names_audio(done.body, encoding, TSA.telling_names) is False
    assert kept > 100


# -- what is no message -------------------------------------------------------------------------------------------


@pytest.mark.live
def test_a_host_that_is_not_the_connections_hides_nothing(gateways: Callable[[Action], Gateway]) -> None:
    gateway = gateways(Action.REDACT)
    connection = gateway.proxy.connect(TELEMETRY)
    connection.request("POST", f"{PATH}lie", GOOD, {"Host": "www.example.com"})
    assert connection.getresponse().status == 200
    connection.close()
    received = gateway.far_end.by_name()["lie"]
    assert (received.host, inner_texts(received.body)) == ("www.example.com", [blanked(INNER)])


@pytest.mark.live
def test_a_request_whose_first_bytes_come_alone_is_one_all_the_same(gateways: Callable[[Action], Gateway]) -> None:
    gateway = gateways(Action.REDACT)
    connection = gateway.proxy.connect(TELEMETRY)
    connection.connect()
    connection.sock.sendall(b"PO")  # a TLS record of its own, read before the rest is sent:
    assert send_all(gateway.proxy, [Sending("between", GOOD.encode(), "plain")]) == {"between": 200}
    connection.sock.sendall(
        b"ST %sslow HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n" % (PATH.encode(), TELEMETRY.encode(), len(GOOD))
    )
    connection.sock.sendall(GOOD.encode())
    assert connection.sock.recv(12) == b"HTTP/1.1 200"
    connection.close()
    assert inner_texts(gateway.far_end.by_name()["slow"].body) == [blanked(INNER)]
    assert gateway.proxy.status().get("raw_messages", 0) == 0


@pytest.mark.live
def test_what_is_no_http_goes_nowhere(gateways: Callable[[Action], Gateway]) -> None:
    gateway = gateways(Action.REDACT)
    arrived = len(gateway.far_end.received)
    connection = gateway.proxy.connect(TELEMETRY)
    connection.connect()
    connection.sock.sendall(b"\x00\x01audioMaxGain=46\r\n\r\n")
    assert b" 200 " not in connection.sock.recv(100)
    connection.close()
    assert len(gateway.far_end.received) == arrived
    assert gateway.proxy.status().get("raw_messages", 0) == 0


@pytest.mark.live
def test_a_transfer_coding_that_is_not_chunked_alone_is_refused(gateways: Callable[[Action], Gateway]) -> None:
    gateway = gateways(Action.REDACT)
    arrived = len(gateway.far_end.received)
    connection = gateway.proxy.connect(TELEMETRY)
    connection.putrequest("POST", f"{PATH}coded")
    connection.putheader("Transfer-Encoding", "gzip, chunked")
    connection.endheaders()
    body = gzip.compress(GOOD.encode())
    connection.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
    assert connection.getresponse().status in (400, 403)
    connection.close()
    assert len(gateway.far_end.received) == arrived


@pytest.mark.live
def test_websocket_messages_that_no_signature_knows_pass_and_are_counted(tmp_path: Path, confdir: Path) -> None:
    """Nobody knows what to take out of them. docs/mitigation.md."""
    heard: list[bytes] = []
    with redacting(tmp_path, confdir, REDACT, answer=lambda tls: echo(tls, heard)) as (proxy, _):
        connection = proxy.connect(TELEMETRY)
        connection.connect()
        client = WSConnection(ConnectionType.CLIENT)
        connection.sock.sendall(client.send(Request(TELEMETRY, "/metric/v1")))
        client.receive_data(connection.sock.recv(4096))
        assert isinstance(next(client.events()), AcceptConnection)
        connection.sock.sendall(client.send(TextMessage(INNER)))
        client.receive_data(connection.sock.recv(4096))
        assert [event.data for event in client.events() if isinstance(event, TextMessage)] == [INNER]
        connection.close()
        proxy.wait_status(websocket_messages=2)
    assert heard == [INNER.encode()]


def echo(tls: ssl.SSLSocket, heard: list[bytes]) -> None:
    """A websocket server that says everything back."""
    server = WSConnection(ConnectionType.SERVER)
    while data := tls.recv(4096):
        server.receive_data(data)
        for said in server.events():
            if isinstance(said, Request):
                tls.sendall(server.send(AcceptConnection()))
            elif isinstance(said, TextMessage):
                heard.append(said.data.encode())
                tls.sendall(server.send(TextMessage(said.data)))
