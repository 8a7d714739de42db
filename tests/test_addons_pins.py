"""Clients that do not accept our certificate: remembered, let through or refused, and always counted."""

import contextlib
import socket
import ssl
import threading
import time
from itertools import count
from typing import Any

import pytest
import trustme

from addons.pins import SUSPICION_SECONDS, Pins
from tests.live_recorder import recorded
from tests.live_support import OTHER, TELEMETRY, Proxy, Scene, sha256

CLIENT, HOST = "192.0.2.7", "tsa3.webex.com"


def test_a_refusal_counts_until_it_expires() -> None:
    pins = Pins(ttl_seconds=60)
    pins.add(CLIENT, HOST, now=100)
    assert pins.holds(CLIENT, HOST, now=159)
    assert not pins.holds(CLIENT, HOST, now=160)
    assert pins.list(now=160) == []


def test_it_counts_for_that_client_and_that_host_only() -> None:
    pins = Pins(ttl_seconds=60)
    pins.add(CLIENT, HOST, now=0)
    assert not pins.holds("192.0.2.8", HOST, now=1)
    assert not pins.holds(CLIENT, "tsa4.webex.com", now=1)


def test_who_goes_away_in_the_handshake_is_taken_to_refuse_only_the_second_time() -> None:
    pins = Pins(ttl_seconds=3_600)
    assert not pins.suspect(CLIENT, HOST, began=0, now=0)
    assert not pins.holds(CLIENT, HOST, now=1)
    assert pins.suspect(CLIENT, HOST, began=2, now=2)
    assert pins.holds(CLIENT, HOST, now=3)


def test_connections_that_fail_together_have_failed_once() -> None:
    pins = Pins(ttl_seconds=3_600)
    assert not any(pins.suspect(CLIENT, HOST, began=now - 1, now=now) for now in (10, 10.1, 10.9))
    assert pins.suspect(CLIENT, HOST, began=11, now=12)


def test_and_not_if_the_first_time_is_long_ago() -> None:
    pins = Pins(ttl_seconds=3_600)
    assert not pins.suspect(CLIENT, HOST, began=0, now=0)
    assert not pins.suspect(CLIENT, HOST, began=SUSPICION_SECONDS + 1, now=SUSPICION_SECONDS + 1)


def test_and_not_if_our_certificate_was_accepted_in_between() -> None:
    pins = Pins(ttl_seconds=3_600)
    assert not pins.suspect(CLIENT, HOST, began=0, now=0)
    pins.trust("192.0.2.8", HOST)
    pins.trust(CLIENT, HOST)
    assert not pins.suspect(CLIENT, HOST, began=1, now=1)
    assert pins.suspect(CLIENT, HOST, began=2, now=2)


def test_the_stalest_is_forgotten_first() -> None:
    pins, clock = Pins(ttl_seconds=60, most=2), count()
    for client in ("a", "b", "a", "c"):
        pins.add(client, HOST, next(clock))
        pins.suspect(client, "other", next(clock), next(clock))
    assert [pin.client for pin in pins.list(next(clock))] == ["a", "c"]
    assert pins.clear() == 2
    assert pins.list(next(clock)) == []


@pytest.mark.live
def test_a_pinned_client_fails_once_and_is_then_let_through_uninspected(live: Scene) -> None:
    with live.proxy() as proxy:
        with pytest.raises(ssl.SSLCertVerificationError):
            proxy.post(TELEMETRY, b"first", trusting=live.upstream.ca_file)
        assert proxy.post(TELEMETRY, b"second", trusting=live.upstream.ca_file) == 204
        proxy.wait_status(refused_by_client=1, pinned=1, messages=0)
        assert "let through uninspected" in proxy.text()
    assert live.upstream.hashes == [sha256(b"second")]


@pytest.mark.live
def test_a_client_that_knows_no_cipher_of_ours_fails_twice_and_is_then_let_through(live: Scene) -> None:
    authority = trustme.CA(key_type=trustme.KeyType.RSA)
    authority.issue_cert(TELEMETRY, key_type=trustme.KeyType.RSA).configure_cert(live.upstream.context)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
    with live.proxy() as proxy:
        for _ in range(2):
            with pytest.raises(ssl.SSLError):
                proxy.tunnel(TELEMETRY, TELEMETRY, context)
        with proxy.tunnel(TELEMETRY, TELEMETRY, context) as secure:
            secure.sendall(b"POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: 0\r\n\r\n" % TELEMETRY.encode())
            assert secure.recv(12) == b"HTTP/1.1 204"
        proxy.wait_status(handshakes_failed=1, refused_by_client=1, pinned=1, messages=0)
        assert "a TLS handshake with a client failed: " in proxy.text()


def say_hello(proxy: Proxy) -> socket.socket:
    """A client that has asked for a telemetry host, and does not go on."""
    plain = socket.create_connection(("127.0.0.1", proxy.port), timeout=20)
    plain.sendall(f"CONNECT {TELEMETRY}:443 HTTP/1.1\r\n\r\n".encode())
    assert b" 200 " in plain.recv(4096)
    outgoing = ssl.MemoryBIO()
    hello = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=TELEMETRY)
    with contextlib.suppress(ssl.SSLWantReadError):
        hello.do_handshake()
    plain.sendall(outgoing.read())
    return plain


@pytest.mark.live
def test_a_client_that_is_served_may_go_away_again_and_again(live: Scene) -> None:
    with live.proxy() as proxy:
        for turn in range(1, 4):
            with say_hello(proxy) as plain:
                assert plain.recv(100)  # our certificate
            proxy.wait_status(handshakes_failed=turn)
            assert proxy.post(TELEMETRY, b"{}") == 204
        proxy.wait_status(refused_by_client=0, pinned=0, messages=3)


@pytest.mark.live
def test_a_client_that_tires_of_waiting_for_the_server_has_refused_nothing(live: Scene) -> None:
    may_go_on = threading.Event()
    shake_hands = live.upstream.server.finish_request

    def finish_request(request: Any, client_address: Any) -> None:
        may_go_on.wait(20)
        shake_hands(request, client_address)

    live.upstream.server.finish_request = finish_request  # type: ignore[method-assign]
    with live.proxy() as proxy:
        for _ in range(2):
            say_hello(proxy).close()
        proxy.wait_status(intercepted=2)
        may_go_on.set()
        proxy.wait_status(handshakes_failed=2)
        assert proxy.post(TELEMETRY, b"{}") == 204
        proxy.wait_status(refused_by_client=0, pinned=0, messages=1)


@pytest.mark.live
def test_or_it_fails_each_time(live: Scene) -> None:
    with live.proxy(live={"refuses_pinned": True}) as proxy:
        for _ in range(3):
            with pytest.raises(ssl.SSLCertVerificationError):
                proxy.post(TELEMETRY, b"never", trusting=live.upstream.ca_file)
        assert proxy.post(OTHER, b"others", trusting=live.upstream.ca_file) == 204
        proxy.wait_status(refused_by_client=3, pinned=0, messages=0)
        said = proxy.text()
        assert (said.count("refused our certificate"), said.count("handshake failed")) == (1, 0)
    assert live.upstream.hashes == [sha256(b"others")]


@pytest.mark.live
def test_a_refusal_that_expired_is_inspected_again(live: Scene) -> None:
    with live.proxy(live={"pin_ttl": 1}) as proxy:
        with pytest.raises(ssl.SSLCertVerificationError):
            proxy.post(TELEMETRY, b"first", trusting=live.upstream.ca_file)
        proxy.wait_status(refused_by_client=1)
        time.sleep(1.1)
        assert proxy.post(TELEMETRY, b"second") == 204
        proxy.wait_status(recorded=1)


@pytest.mark.live
def test_in_strict_mode_what_is_not_recorded_in_time_is_refused(live: Scene) -> None:
    with live.proxy(live={"strict": True, "record_timeout": 0.2}) as proxy:
        (proxy.state / "block").touch()
        assert proxy.post(TELEMETRY, b"late") == 503
        (proxy.state / "block").unlink()
        assert proxy.post(TELEMETRY, b"in time") == 204
        proxy.wait_status(refused=1, unrecorded=0, pending=0, lost=0)
    assert live.upstream.hashes == [sha256(b"in time")]
    assert {row[0] for row in recorded(live.folder / "state")} == {sha256(b"late"), sha256(b"in time")}
