"""The live door as it runs: a real mitmdump between a real TLS client and a real TLS server."""

import base64
import contextlib
import http.client
import ssl
import stat
import threading
from pathlib import Path

import pytest

from addons.launch import addon_path
from bench.faults import kill_live
from mutewatch.store import Store
from tests.live_recorder import recorded
from tests.live_support import OTHER, TELEMETRY, Received, Scene, sha256, wait_until

pytestmark = pytest.mark.live


def test_a_message_is_committed_before_the_server_gets_it(live: Scene) -> None:
    known_on_arrival = []

    def look(request: Received) -> None:
        rows = recorded(live.folder / "state")
        known_on_arrival.append(sha256(request.body) in {row[0] for row in rows})

    live.upstream.on_request = look
    with live.proxy() as proxy:
        for number in range(5):
            assert proxy.post(TELEMETRY, b"message %d" % number) == 204
    assert known_on_arrival == [True] * 5


def test_the_answer_adds_its_status(live: Scene) -> None:
    live.upstream.answer = 409
    with live.proxy() as proxy:
        assert proxy.post(TELEMETRY, b"mute me") == 409
        proxy.wait_status(recorded=1, answers_recorded=1)
    assert [row[3] for row in recorded(live.folder / "state")] == [None, 409]


def test_another_host_keeps_its_own_certificate_and_is_not_recorded(live: Scene) -> None:
    with live.proxy() as proxy:
        assert proxy.post(OTHER, b"private", trusting=live.upstream.ca_file) == 204
        proxy.wait_status(messages=0, intercepted=0)
    assert recorded(live.folder / "state") == []


def test_our_certificate_names_the_telemetry_host_and_none_of_the_servers_other_names(live: Scene) -> None:
    with live.proxy() as proxy:
        connection = proxy.connect(TELEMETRY)
        connection.connect()
        shown = connection.sock.getpeercert() or {}
        assert shown["subjectAltName"] == (("DNS", TELEMETRY),)
        connection.close()


def test_a_gate_that_raises_lets_everything_through(live: Scene) -> None:
    with live.proxy(environment={"MUTEWATCH_TEST_GATE": "raises"}) as proxy:
        assert proxy.post(TELEMETRY, b"not ours now", trusting=live.upstream.ca_file) == 204
        proxy.wait_status(gate_errors=1, messages=0)


def test_a_blocked_recorder_holds_one_message_and_nobody_else(live: Scene) -> None:
    with live.proxy(live={"record_timeout": 60}) as proxy:
        block = proxy.state / "block"
        block.touch()
        held = threading.Thread(target=proxy.post, args=(TELEMETRY, b"held"), daemon=True)
        held.start()
        wait_until(lambda: any(TELEMETRY in name for name in live.relay.asked), "the message is under way")
        for number in range(20):
            assert proxy.post(OTHER, b"%d" % number, trusting=live.upstream.ca_file) == 204
        assert sha256(b"held") not in live.upstream.hashes
        block.unlink()
        held.join(20)
    assert live.upstream.hashes.count(sha256(b"held")) == 1


def test_a_message_is_forwarded_unrecorded_after_the_timeout_and_recorded_later(live: Scene) -> None:
    with live.proxy(live={"record_timeout": 0.2}) as proxy:
        (proxy.state / "block").touch()
        assert proxy.post(TELEMETRY, b"late") == 204
        (proxy.state / "block").unlink()
        proxy.wait_status(unrecorded=1, recorded=1, pending=0, lost=0)
        assert "forwarded before it was known to be recorded" in proxy.text()


def test_a_recorder_that_fails_stops_no_traffic_and_loses_nothing_once_it_works(live: Scene) -> None:
    with live.proxy(live={"record_timeout": 0.2}) as proxy:
        (proxy.state / "fail").touch()
        assert [proxy.post(TELEMETRY, b"%d" % number) for number in range(3)] == [204] * 3
        assert proxy.wait_status(unrecorded=3)["record_failures"] > 0
        (proxy.state / "fail").unlink()
        proxy.wait_status(recorded=3, lost=0, pending=0)


def test_a_full_queue_drops_the_newest_and_counts_it(live: Scene) -> None:
    with live.proxy(live={"record_timeout": 0.2, "queue_size": 2}) as proxy:
        (proxy.state / "block").touch()
        assert [proxy.post(TELEMETRY, b"%d" % number) for number in range(4)] == [204] * 4
        (proxy.state / "block").unlink()
        counted = proxy.wait_status(messages=4, pending=0)
        assert counted["recorded"] + counted["dropped"] == 4
        assert counted["dropped"] >= 2


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_arrives_whole_and_is_recorded_as_not_read(live: Scene, chunked: bool) -> None:
    body = b"x" * 5000
    with live.proxy(live={"max_body": 4096}) as proxy:
        assert proxy.post(TELEMETRY, body, chunked=chunked) == 204
        proxy.wait_status(too_large=1, recorded=1, answers_recorded=1, unrecorded=int(chunked))
    assert live.upstream.hashes == [sha256(body)]
    assert {row[0] for row in recorded(live.folder / "state")} == {None}


def test_a_body_that_leaves_unread_and_is_broken_off_is_counted(live: Scene) -> None:
    with live.proxy(live={"max_body": 4096}) as proxy:
        connection = proxy.connect(TELEMETRY)
        connection.putrequest("POST", "/metrics")
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        connection.send(b"2000\r\n" + b"x" * 0x2000 + b"\r\n")
        wait_until(lambda: live.upstream.beginnings == 1, "the beginning has left")
        connection.close()
        proxy.wait_status(streamed=1, too_large=1, unrecorded=1, recorded=1)
    assert live.upstream.received == []


def test_in_strict_mode_no_body_leaves_before_it_is_recorded(live: Scene) -> None:
    with live.proxy(live={"max_body": 4096, "strict": True}) as proxy:
        (proxy.state / "fail").touch()
        for chunked in (False, True):
            assert proxy.post(TELEMETRY, b"x" * 5000, chunked=chunked) == 503
        (proxy.state / "fail").unlink()
        assert proxy.post(TELEMETRY, b"x" * 5001, chunked=True) == 204
        proxy.wait_status(refused=2, too_large=3, streamed=0, unrecorded=0)
    assert live.upstream.hashes == [sha256(b"x" * 5001)]


def test_connections_that_the_stop_ends_leave_no_tracebacks(live: Scene) -> None:
    with live.proxy() as proxy, contextlib.ExitStack() as idle:
        for _ in range(5):
            connection = proxy.connect(TELEMETRY)
            connection.connect()
            idle.callback(connection.close)
        assert proxy.stop() == 0
        assert "Traceback" not in proxy.text()


def test_nothing_the_proxy_writes_is_readable_by_others(live: Scene) -> None:
    with live.proxy() as proxy:
        proxy.post(TELEMETRY, b"x")
        proxy.wait_status(recorded=1)
        proxy.stop()
    written = [live.folder / "state", *(live.folder / "state").rglob("*")]
    assert [path.name for path in written if stat.S_IMODE(path.stat().st_mode) & 0o077] == []


def test_a_telemetry_host_that_is_not_named_in_the_hello_passes_and_is_counted(live: Scene) -> None:
    with live.proxy() as proxy:
        connection = proxy.connect(TELEMETRY, live.upstream.ca_file, server_name=OTHER)
        connection.request("POST", "/", body=b"hidden")
        assert connection.getresponse().status == 204
        connection.close()
        proxy.wait_status(uninspected=1, messages=0)


def test_a_telemetry_host_that_is_named_with_a_dot_at_its_end_is_reached(live: Scene) -> None:
    with live.proxy() as proxy:
        context = ssl.create_default_context(cafile=str(proxy.ca_file))
        context.check_hostname = False  # no certificate has the dot
        with proxy.tunnel(TELEMETRY, f"{TELEMETRY}.", context) as secure:
            secure.sendall(b"POST /metrics HTTP/1.1\r\nHost: %s\r\nContent-Length: 0\r\n\r\n" % TELEMETRY.encode())
            assert secure.recv(12) == b"HTTP/1.1 204"
        proxy.wait_status(recorded=1)


def test_the_password_for_the_next_proxy_may_stand_in_mitmproxys_own_settings(live: Scene, tmp_path: Path) -> None:
    confdir = tmp_path / "confdir"
    confdir.mkdir(mode=0o700)
    (confdir / "config.yaml").write_text("upstream_auth: somebody:secret\n")
    with Scene(live.folder, confdir, live.upstream, live.relay).proxy() as proxy:
        assert proxy.post(TELEMETRY, b"ours") == 204
        assert proxy.post(OTHER, b"private", trusting=live.upstream.ca_file) == 204
    told = [header for header in live.relay.headers if header.lower().startswith(b"proxy-authorization: ")]
    assert {header.split(None, 1)[1] for header in told} == {b"Basic " + base64.b64encode(b"somebody:secret")}
    assert len(told) == len(live.relay.asked)


def test_a_message_that_somebody_else_has_answered_is_no_message(live: Scene) -> None:
    with live.proxy(extra=("proxyauth=somebody:secret",)) as proxy:
        connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=20)
        connection.request("POST", f"http://{TELEMETRY}/metrics", b"not let in")
        assert connection.getresponse().status == 407
        proxy.wait_status(messages=0, answers=0)
    assert recorded(live.folder / "state") == []


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("stream_large_bodies=1k", "stream_large_bodies is below"),
        ("ignore_hosts=example", "ignore_hosts cannot be combined"),
        ("mutewatch_recordtimeout=1", "unknown option mutewatch_recordtimeout; there are mutewatch_state"),
    ],
)
def test_settings_that_would_undo_ours_stop_the_start(live: Scene, option: str, said: str) -> None:
    proxy = live.make(raw=("--set", option))
    proxy.start()
    try:
        assert proxy.process.wait(20) == 1
        assert said in proxy.text()
    finally:
        proxy.end()


def test_the_addon_as_it_ships_judges_what_passes(live: Scene) -> None:
    bodies = [kill_live.telemetry_body(client=1, number=number, seed=1) for number in (1, 2, 3)]
    with live.proxy(script=addon_path(), live={"activity": False}) as proxy:
        for body in bodies:
            assert proxy.post(TELEMETRY, body, path=kill_live.PATH) == 204
        assert proxy.stop() == 0
    with Store(proxy.state / kill_live.STORE) as store:
        assert store.verdicts() == {"mute-unknown": 3}
    hashes, _ = kill_live.recorded_hashes(proxy.state)
    assert hashes == {sha256(body) for body in bodies}
