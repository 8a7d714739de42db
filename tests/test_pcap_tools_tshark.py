"""Captures through tshark: every request with its exact body, and a clear end where there is none."""

import asyncio
import base64
import contextlib
import gc
import gzip
import json
import os
import ssl
import struct
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw
from scapy.utils import wrpcap

from mutewatch.errors import InputError, OperatorError
from mutewatch.ports import ReadOptions
from mutewatch.records import Exchange
from pcap_tools.limits import ReadLimits
from pcap_tools.tshark import TsharkReader

pytestmark = [pytest.mark.tshark, pytest.mark.usefixtures("tshark")]

CLIENT, SERVER = ("192.0.2.7", 50_000), ("198.51.100.1", 443)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
Talk = list[tuple[bool, bytes]]  # what was sent, in order; True: by the client
CAPTURES = {
    name: 20 if name == "t13_h1_keyupdate" else 60
    for name in (
        "plain_h1", "t12_h1", "t12_h1_cbc", "t12_h1_resume", "t12_h2",
        "t13_h1", "t13_h1_hrr", "t13_h1_keyupdate", "t13_h1_resume", "t13_h2",
    )
}  # fmt: skip


def post(body: bytes, path: str = "/m?id=7", host: str = "a.example", *headers: str) -> bytes:
    """Return an HTTP/1.1 request as it is sent."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", *headers]
    if not any(line.lower().startswith("transfer-encoding") for line in lines):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def packets(talk: Talk, server_port: int = 80, segment: int = 1_400) -> list[Packet]:
    """Return `talk` as TCP packets with a handshake, one a millisecond."""
    server = (SERVER[0], server_port)
    at = {True: 1_000, False: 9_000}
    rows: list[Packet] = []

    def add(by_client: bool, flags: str, data: bytes = b"") -> None:
        (source, sport), (target, dport) = (CLIENT, server) if by_client else (server, CLIENT)
        acknowledged = 0 if flags == "S" else at[not by_client]
        header = TCP(sport=sport, dport=dport, flags=flags, seq=at[by_client], ack=acknowledged)
        row = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src=source, dst=target) / header
        row = row / Raw(data) if data else row
        row.time = 1_700_000_000 + len(rows) / 1_000
        rows.append(row)
        at[by_client] += len(data) + ("S" in flags)

    add(True, "S")
    add(False, "SA")
    add(True, "A")
    for by_client, data in talk:
        for start in range(0, len(data), segment):
            add(by_client, "PA", data[start : start + segment])
        add(not by_client, "A")
    return rows


def read(path: Path, *keylogs: Path) -> list[Exchange]:
    return list(TsharkReader().read(path, ReadOptions(keylogs=keylogs)))


def read_talk(folder: Path, talk: Talk, segment: int = 1_400) -> list[Exchange]:
    path = folder / "x.pcap"
    wrpcap(str(path), packets(talk, segment=segment))
    return read(path)


def http2_talk(bodies: list[bytes], *more: tuple[str, str]) -> Talk:
    """Return cleartext HTTP/2 in which all requests share one flight, then all responses."""
    client = H2Connection(H2Configuration(client_side=True))
    server = H2Connection(H2Configuration(client_side=False))
    client.initiate_connection()
    server.initiate_connection()
    talk: Talk = [(True, client.data_to_send()), (False, server.data_to_send())]
    for number, body in enumerate(bodies):
        stream = 2 * number + 1
        names = [
            (":method", "POST"),
            (":path", f"/{number}?a=b"),
            (":scheme", "http"),
            (":authority", "H2.example:80"),
        ]
        client.send_headers(stream, [*names, *more])
        client.send_data(stream, body[:3])
        client.send_data(stream, body[3:], end_stream=True, pad_length=5)
    flight = client.data_to_send()
    server.receive_data(talk[0][1] + flight)
    for number in reversed(range(len(bodies))):
        server.send_headers(2 * number + 1, [(":status", str(200 + number))], end_stream=True)
    return [*talk, (True, flight), (False, server.data_to_send())]


def tls_talk(talk: Talk, folder: Path) -> tuple[Talk, Path]:
    """Return `talk` inside TLS 1.3 with SNI tls.example, and the key log."""
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    server_side, client_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("tls.example").configure_cert(server_side)
    authority.configure_trust(client_side)
    keys = folder / "tls.keys"
    client_side.keylog_filename = str(keys)
    sent: Talk = []
    inbox = {True: ssl.MemoryBIO(), False: ssl.MemoryBIO()}
    outbox = {True: ssl.MemoryBIO(), False: ssl.MemoryBIO()}
    ends = {
        True: client_side.wrap_bio(inbox[True], outbox[True], server_hostname="tls.example"),
        False: server_side.wrap_bio(inbox[False], outbox[False], server_side=True),
    }

    def pass_on(by_client: bool) -> None:
        if data := outbox[by_client].read():
            sent.append((by_client, data))
            inbox[not by_client].write(data)

    for side in (True, False, True, False):
        with contextlib.suppress(ssl.SSLWantReadError):
            ends[side].do_handshake()
        pass_on(side)
    for by_client, data in talk:
        ends[by_client].write(data)
        pass_on(by_client)
        ends[not by_client].read(1 << 20)
    return sent, keys


def with_secrets(capture: Path, keys: bytes) -> bytes:
    """Return the pcap at `capture` as pcapng with the key log inside (a Decryption Secrets Block)."""
    data = capture.read_bytes()

    def block(kind: int, body: bytes) -> bytes:
        body += bytes(-len(body) % 4)
        length = struct.pack("<I", len(body) + 12)
        return struct.pack("<I", kind) + length + body + length

    rows = [
        block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)),
        block(1, struct.pack("<HHI", 1, 0, 0)),
        block(0xA, struct.pack("<II", 0x544C534B, len(keys)) + keys),
    ]
    at = 24
    while at < len(data):
        seconds, micros, size, original = struct.unpack_from("<IIII", data, at)
        time = seconds * 1_000_000 + micros
        head = struct.pack("<IIIII", 0, time >> 32, time & 0xFFFFFFFF, size, original)
        rows.append(block(6, head + data[at + 16 : at + 16 + size]))
        at += 16 + size
    return b"".join(rows)


def test_a_request_is_read_with_everything_known_of_it(tmp_path: Path) -> None:
    (exchange,) = read_talk(tmp_path, [(True, post(b"body", host="A.example:80")), (False, OK)])
    assert (exchange.method, exchange.path, exchange.query) == ("POST", "/m", "id=7")
    assert (exchange.host, exchange.port, exchange.client) == ("a.example", 80, "192.0.2.7")
    assert (exchange.body, exchange.status) == (b"body", 200)
    assert exchange.sent_at == datetime.fromtimestamp(1_700_000_000.003, UTC)
    assert (exchange.origin.door, exchange.origin.frame, exchange.origin.tcp_stream) == ("pcap", 4, 0)


@pytest.mark.parametrize("encoding", ["gzip", "br", "unheard-of"])
def test_a_compressed_body_stays_as_it_was_sent(tmp_path: Path, encoding: str) -> None:
    body = gzip.compress(b"x" * 10_000)
    request = post(body, "/", "a.example", f"Content-Encoding: {encoding}")
    (exchange,) = read_talk(tmp_path, [(True, request), (False, OK)])
    assert (exchange.body, exchange.content_encoding) == (body, encoding)


def test_the_chunks_of_a_body_are_joined(tmp_path: Path) -> None:
    chunks = b"3\r\nabc\r\n4\r\n\r\n\xff\x00\r\n0\r\n\r\n"
    (exchange,) = read_talk(tmp_path, [(True, post(chunks, "/", "a.example", "Transfer-Encoding: chunked"))])
    assert exchange.body == b"abc\r\n\xff\x00"


def test_the_chunks_of_a_compressed_body_are_joined(tmp_path: Path) -> None:
    body = gzip.compress(bytes(range(256)))
    chunks = b"5\r\n" + body[:5] + b"\r\n%x\r\n" % (len(body) - 5) + body[5:] + b"\r\n0\r\n\r\n"
    request = post(chunks, "/", "a.example", "Transfer-Encoding: chunked", "Content-Encoding: gzip")
    assert [e.body for e in read_talk(tmp_path, [(True, request), (False, OK)])] == [body]


@pytest.mark.parametrize("headers", [(), ("Transfer-Encoding: chunked",)])
def test_an_empty_body_is_empty(tmp_path: Path, headers: tuple[str, ...]) -> None:
    body = b"0\r\n\r\n" if headers else b""
    assert [e.body for e in read_talk(tmp_path, [(True, post(body, "/", "a.example", *headers))])] == [b""]


def test_every_byte_comes_through(tmp_path: Path) -> None:
    body = bytes(range(256)) * 20
    (exchange,) = read_talk(tmp_path, [(True, post(body)), (False, OK)])
    assert exchange.body == body


def test_pipelined_requests_take_their_responses_in_order(tmp_path: Path) -> None:
    answers = b"HTTP/1.1 100 Continue\r\n\r\n" + OK + OK.replace(b"200", b"503")
    found = read_talk(tmp_path, [(True, post(b"one") + post(b"two")), (False, answers)])
    assert [(e.body, e.status) for e in found] == [(b"one", 200), (b"two", 503)]


def test_a_request_without_response_has_no_status(tmp_path: Path) -> None:
    assert [(e.body, e.status) for e in read_talk(tmp_path, [(True, post(b"one"))])] == [(b"one", None)]


def test_requests_above_the_limit_of_waiting_are_passed_on(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    wrpcap(str(path), packets([(True, post(b"one") + post(b"two")), (False, OK)]))
    found = list(TsharkReader(ReadLimits(waiting=0)).read(path, ReadOptions()))
    assert [(e.body, e.status) for e in found] == [(b"one", None), (b"two", None)]


def test_http2_streams_in_one_packet_come_apart(tmp_path: Path) -> None:
    bodies = [b"first \xff\x00", b"second,with,commas", b'{"a":1,"a":2}', b"abc"]
    found = read_talk(tmp_path, http2_talk(bodies))
    assert [(e.path, e.query, e.body, e.status) for e in found] == [
        (f"/{number}", "a=b", body, 200 + number) for number, body in enumerate(bodies)
    ]
    assert {(e.host, e.origin.tcp_stream) for e in found} == {("h2.example", 0)}


def test_a_compressed_http2_body_stays_as_it_was_sent(tmp_path: Path) -> None:
    body = gzip.compress(b"x" * 10_000)
    (exchange,) = read_talk(tmp_path, http2_talk([body], ("content-encoding", "gzip")))
    assert (exchange.body, exchange.content_encoding) == (body, "gzip")


def test_an_http2_body_without_end_was_not_read(tmp_path: Path) -> None:
    start, settings_, flight, _ = http2_talk([b"a" * 500])
    found = read_talk(tmp_path, [start, settings_, (True, flight[1][:-200])])
    assert [e.body for e in found] == [None]


def test_reordered_segments_are_put_in_order(tmp_path: Path) -> None:
    rows = packets([(True, post(b"x" * 5_000)), (False, OK)], segment=1_000)
    rows[4], rows[5] = rows[5], rows[4]
    wrpcap(str(tmp_path / "x.pcap"), rows)
    assert [e.body for e in read(tmp_path / "x.pcap")] == [b"x" * 5_000]


def test_tls_is_decrypted_with_any_of_the_key_logs(tmp_path: Path) -> None:
    talk, keys = tls_talk([(True, post(b"secret")), (False, OK)], tmp_path)
    wrpcap(str(tmp_path / "x.pcap"), packets(talk, 443))
    other = tmp_path / "other.keys"
    other.write_text("# nothing here")
    assert [(e.body, e.port) for e in read(tmp_path / "x.pcap", other, keys)] == [(b"secret", 443)]


def test_the_server_name_stands_in_for_a_missing_host(tmp_path: Path) -> None:
    talk, keys = tls_talk([(True, b"POST / HTTP/1.0\r\nContent-Length: 1\r\n\r\nx")], tmp_path)
    wrpcap(str(tmp_path / "x.pcap"), packets(talk, 443))
    assert [e.host for e in read(tmp_path / "x.pcap", keys)] == ["tls.example"]


def test_embedded_secrets_are_used(tmp_path: Path) -> None:
    talk, keys = tls_talk([(True, post(b"secret")), (False, OK)], tmp_path)
    wrpcap(str(tmp_path / "x.pcap"), packets(talk, 443))
    path = tmp_path / "x.pcapng"
    path.write_bytes(with_secrets(tmp_path / "x.pcap", keys.read_bytes()))
    assert [e.body for e in read(path)] == [b"secret"]


def test_a_cut_capture_gives_what_stands_before_the_cut(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    wrpcap(str(path), packets([(True, post(b"one")), (False, OK), (True, post(b"two"))]))
    path.write_bytes(path.read_bytes()[:-80])
    reading = TsharkReader().read(path, ReadOptions())
    assert next(reading).body == b"one"
    with pytest.raises(InputError, match="incomplete: the file ends in the middle of"):
        list(reading)


def test_a_capture_that_wireshark_refuses_is_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 281))
    with pytest.raises(InputError, match="tshark stopped early"):
        read(path)


def test_a_missing_key_log_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    wrpcap(str(path), packets([]))
    with pytest.raises(InputError, match=r"missing\.keys: not found"):
        read(path, tmp_path / "missing.keys")


def test_without_tshark_the_operator_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.pcap"
    wrpcap(str(path), packets([]))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OperatorError, match="apt install tshark"):
        read(path)


def test_a_silent_tshark_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.pcap"
    wrpcap(str(path), packets([]))
    fake = tmp_path / "tshark"
    fake.write_text('#!/bin/sh\n[ "$1" = -v ] && echo "TShark (Wireshark) 4.0.17" && exit\nexec tail -f /dev/null\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    limits = ReadLimits(silence_seconds=0.2, silence_bytes_per_second=1 << 30)
    with pytest.raises(InputError, match="silent for 0 seconds and was stopped"):
        list(TsharkReader(limits).read(path, ReadOptions()))


def children() -> set[str]:
    listing = subprocess.run(
        ["ps", "--ppid", str(os.getpid()), "-o", "comm="], capture_output=True, text=True, check=False
    )
    return {name for name in listing.stdout.split() if "tshark" in name}


def test_an_abandoned_reading_leaves_no_process_and_no_warning(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    wrpcap(str(path), packets([(True, post(b"one")), (False, OK)] * 50))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reading = TsharkReader().read(path, ReadOptions())
        next(reading)
        reading.close()  # type: ignore[attr-defined]
        gc.collect()
    assert children() == set()


def test_a_program_that_ends_in_the_middle_of_a_reading_ends(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    wrpcap(str(path), packets([(True, post(b"one")), (False, OK)] * 50))
    code = f"""if True:
        from pathlib import Path
        from mutewatch.ports import ReadOptions
        from pcap_tools.tshark import TsharkReader
        reading = TsharkReader().read(Path({str(path)!r}), ReadOptions())
        print(next(reading).body)
    """
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "b'one'\n", "")


def test_it_works_in_a_thread_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    wrpcap(str(path), packets([(True, post(b"one")), (False, OK)]))
    found: list[Exchange] = []
    thread = threading.Thread(target=lambda: found.extend(read(path)))
    thread.start()
    thread.join()
    assert [e.body for e in found] == [b"one"]


def test_it_leaves_the_callers_event_loop_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    wrpcap(str(path), packets([(True, post(b"one")), (False, OK)]))
    read(path)
    assert asyncio.run(asyncio.sleep(0, "well")) == "well"


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_changed_bytes_raise_nothing_but_an_input_error(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "x.pcap"
    wrpcap(str(path), packets([(True, post(b"one")), (False, OK)]))
    damaged = bytearray(path.read_bytes())
    for at in data.draw(st.lists(st.integers(0, len(damaged) - 1), max_size=4)):
        damaged[at] = data.draw(st.integers(0, 255))
    path.write_bytes(damaged)
    with contextlib.suppress(InputError):
        read(path)


@pytest.mark.shared
@pytest.mark.parametrize("name", CAPTURES)
def test_the_real_captures_are_read_completely(shared: Path, name: str) -> None:
    capture, keys = shared / f"captures/{name}.pcap", shared / f"captures/{name}.keys"
    found = read(capture, *([keys] if keys.exists() else []))
    assert len(found) == CAPTURES[name]
    assert {(e.host, e.path, e.status) for e in found} == {("tsa3.webex.com", "/metric/v1", 200)}
    assert all(event_in(e.body) for e in found)


@pytest.mark.shared
@pytest.mark.parametrize("name", CAPTURES)
def test_the_real_bodies_are_those_that_tshark_alone_shows(shared: Path, name: str) -> None:
    capture, keys = shared / f"captures/{name}.pcap", shared / f"captures/{name}.keys"
    keylogs = [keys] if keys.exists() else []
    alone = set(bodies_by_tshark(capture, keylogs))
    assert {e.body for e in read(capture, *keylogs)} <= alone


@pytest.mark.shared
def test_the_real_bodies_are_in_the_hook_log(shared: Path) -> None:
    log = (shared / "data/webex/xdbg_log_first_half.txt").read_bytes()
    bodies = [e.body for e in read(shared / "captures/t13_h2.pcap", shared / "captures/t13_h2.keys")]
    assert all(body and body in log for body in bodies)


def event_in(body: bytes | None) -> bool:
    """Does `body` hold a telemetry element that decodes to its end: JSON, base64, gzip, JSON?"""
    element = json.loads(body or b"{}")["telemetrics"][0]
    return bool(json.loads(gzip.decompress(base64.b64decode(element["v"]["gzipb64data"]))))


def bodies_by_tshark(capture: Path, keylogs: list[Path]) -> Iterator[bytes]:
    """Yield each raw body field that tshark itself prints for client and server, HTTP/1.1 and HTTP/2."""
    command = ["tshark", "-r", str(capture), "-o", "tcp.reassemble_out_of_order:TRUE", "-T", "json", "-x"]
    command += ["--no-duplicate-keys", "-Y", "http or http2"]
    for keylog in keylogs:
        command += ["-o", f"tls.keylog_file:{keylog}"]
    output = subprocess.run(command, capture_output=True, check=True).stdout
    yield from raw_fields(json.loads(output))


def raw_fields(value: object) -> Iterator[bytes]:
    if isinstance(value, list):
        for inner in value:
            yield from raw_fields(inner)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key in ("http.file_data_raw", "http2.data.data_raw", "http2.body.reassembled.data_raw"):
                yield bytes.fromhex(inner[0])
            else:
                yield from raw_fields(inner)
