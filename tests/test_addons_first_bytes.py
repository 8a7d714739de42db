"""Whatever a client says first: nobody else waits, and no more of it is held than decides (`first_bytes.py`)."""

import contextlib
import socket
import string
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy.addons.next_layer import NeedsMoreData, NextLayer
from mitmproxy.proxy.context import Context
from mitmproxy.test import tflow

from addons.first_bytes import MOST, host_header
from addons.launch import addon_path
from tests.live_support import OTHER, TELEMETRY, Proxy, Scene
from tests.test_gateway_clients import resident_bytes

MIB = 1 << 20
HELLO = b"\x16\x03\x01\x40\x00" + b"\x01\xff\xff\xff" + bytes(0x4000 - 4)  # a record of one of 16 MiB
SLOW = {  # beginnings that mitmproxy alone looks at for minutes
    "blanks": b"GET / HTTP/1.1\r\nHost:" + b" " * 60_000,
    "blanks, and a letter": b"GET / HTTP/1.1\r\nHost:" + b" " * 60_000 + b"x" + b"\t" * 60_000,
    "letters": b"A" * 8 * MIB,
    "a ClientHello of 16 MiB": HELLO + (b"\x16\x03\x01\x40\x00" + bytes(0x4000)) * 1000,
    "a head": b"GET / HTTP/1.1\r\nX: " + b"0" * 32 * MIB,
    "lines of a head": b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5 * MIB,
}
_originals = NextLayer._get_host_header


def tunnel(proxy: Proxy, host: str) -> socket.socket:
    """What comes behind a CONNECT, unencrypted."""
    plain = socket.create_connection(("127.0.0.1", proxy.port), timeout=5)
    plain.sendall(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n".encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += plain.recv(1)
    return plain


@pytest.mark.live
@pytest.mark.parametrize("host", [OTHER, TELEMETRY])
@pytest.mark.parametrize("beginning", SLOW.values(), ids=SLOW)
def test_nobody_waits_for_what_another_says(live: Scene, beginning: bytes, host: str) -> None:
    with live.proxy(script=addon_path()) as proxy:
        assert proxy.post(TELEMETRY, b"{}") == 204
        before = resident_bytes(proxy.process.pid)
        with tunnel(proxy, host) as plain, contextlib.suppress(OSError):
            plain.sendall(beginning)
        began = time.monotonic()
        assert proxy.post(TELEMETRY, b"{}") == 204
        assert time.monotonic() - began < 5
        assert resident_bytes(proxy.process.pid) - before < 16 * MIB
        assert len(proxy.text()) < 2_000


@pytest.mark.live
@pytest.mark.parametrize("host", [OTHER, TELEMETRY])
def test_a_head_that_comes_byte_by_byte_is_waited_for(live: Scene, host: str) -> None:
    trusting = live.upstream.ca_file if host == OTHER else None
    with live.proxy(script=addon_path()) as proxy, contextlib.closing(proxy.connect(host, trusting)) as connection:
        connection.connect()
        for byte in b"POST /x HTTP/1.1\r\nX: y\r\nHost: %b\r\nContent-Length: 0\r\n\r\n" % host.encode():
            connection.sock.sendall(bytes([byte]))
        assert connection.sock.recv(100).startswith(b"HTTP/1.1 204")


def context() -> Context:
    made = Context(tflow.tclient_conn(), None)  # type: ignore[arg-type]  # options, which nobody asks for
    made.client.alpn = None
    return made


def said(find: Any, data: bytes, server: bytes = b"") -> object:
    try:
        return find(context(), data, server)
    except NeedsMoreData:
        return NeedsMoreData


words = st.text(string.ascii_letters + string.digits + ".-:/", min_size=1, max_size=12)


@st.composite
def heads(draw: st.DrawFn) -> Iterator[bytes]:
    line = f"{draw(st.sampled_from(['GET', 'post', 'OPTIONS', 'AB', 'x y', '']))} {draw(words)} HTTP/1.{draw(words)}"
    names = st.sampled_from(["Host", "hOsT", "Hosts", "X-Host", "Accept"])
    fields = draw(st.lists(st.builds("{}: {}".format, names, words), max_size=4))
    whole = "\r\n".join([line, *fields, "", draw(words)]).encode()
    return whole[: draw(st.integers(0, len(whole)))]  # type: ignore[return-value]


@given(heads(), st.sampled_from([b"", b"220 ready"]))
def test_of_what_clients_say_it_finds_what_mitmproxy_finds(data: bytes, server: bytes) -> None:
    assert said(host_header, data, server) == said(_originals, data, server)


def test_a_head_that_is_too_long_has_no_host() -> None:
    data = b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * (MOST // 6)
    assert said(host_header, data[:MOST]) is NeedsMoreData
    assert said(host_header, data + b"Host: one.example\r\n\r\n") is None
