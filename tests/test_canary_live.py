"""The canary against real gateways: it passes where all is well, and says what is wrong where it is not."""

import contextlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from addons.launch import addon_path
from mutewatch.store import Store
from tests.canary_support import bound, far_end, gateway, leave, post_through, run_canary, ticket_for
from tests.live_support import ROOT, TELEMETRY, Proxy, Scene, free_port, scene, wait_until

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def confdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ca")


@pytest.fixture
def live(tmp_path: Path, confdir: Path) -> Iterator[Scene]:
    with scene(tmp_path, confdir) as it:
        yield it


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """The certificate of a CA that the gateway does not have."""
    path = tmp_path / "elsewhere.pem"
    trustme.CA().cert_pem.write_to_path(path)
    return path


def command(proxy: Proxy, *arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "mutewatch", *arguments, "--state", str(proxy.state)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(line, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("strategy", ["eager", "lazy"])
@pytest.mark.parametrize("mode", ["regular", None], ids=["regular", "upstream"])
def test_all_checks_hold_on_a_gateway_that_works(live: Scene, mode: str | None, strategy: str) -> None:
    extra = (f"connection_strategy={strategy}",)
    with live.proxy(script=addon_path(), mode=mode, extra=extra, live={"activity": False}) as proxy:
        where = ("--proxy", f"http://127.0.0.1:{proxy.port}", "--ca", str(proxy.ca_file))
        told = command(proxy, "canary", *where)
        assert told.returncode == 0, told.stdout + told.stderr
        lines = [line.split(":")[0] for line in told.stdout.splitlines()]
        proxy.wait_status(canaries=2, canary_refused=0, messages=2, recorded=2)
    assert lines[-3:] == [
        "ok    recorded (webex.clientmetrics)",
        *(f"ok    {it} (webex.tsa.v1)" for it in ("recorded", "judged")),
    ]
    assert {line[:4] for line in lines} == {"ok  "}
    assert stat.S_IMODE((proxy.state / "canary.json").stat().st_mode) == 0o600
    assert list(proxy.state.glob("*.ticket")) == []


def test_the_settings_of_the_gateway_are_all_that_its_canary_needs(live: Scene) -> None:
    proxy = live.make()
    proxy.start_command('clients.activity = false\nmitigation = {action = "redact", when = "always"}')
    try:
        proxy.wait_ready()
        line = [sys.executable, "-m", "mutewatch", "canary", "--config", str(proxy.settings_file)]
        where = {"MUTEWATCH_LISTEN_PORT": str(proxy.port), "MUTEWATCH_STATE": str(proxy.state)}
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **where}
        told = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert told.returncode == 0, told.stdout + told.stderr
        assert "redacted: it arrived without audio-derived values" in told.stdout
    finally:
        proxy.end()


def test_nothing_of_a_canary_reaches_the_vendor(live: Scene) -> None:
    with gateway(live) as proxy:
        assert run_canary(proxy)[0] == 0
    assert (live.relay.asked, live.upstream.received) == ([], [])


def test_a_canary_is_nobody(live: Scene) -> None:
    with gateway(live) as proxy:
        assert run_canary(proxy)[0] == 0
        proxy.stop()
        with Store(proxy.state / "mutewatch.db") as store:
            assert (list(store.findings()), store.verdicts()) == ([], {})
        report = command(proxy, "report").stdout
    assert "2 messages of the canary passed too" in report
    assert "Minutes of 0 clients in 0 calls: 0 flagged" in report
    assert "canary-" not in report


BROKEN = {
    "gate-raises": "opened by the gateway (metrics-a.wbx2.com): the connection was not opened: it passed the gate",
    "gate-closed": "opened by the gateway (metrics-a.wbx2.com): the connection was not opened: it passed the gate",
    "no-match": "recorded (webex.tsa.v1): it is in the store, but the signature could not read it: POST /metric/v1",
    "no-decode": "recorded (webex.tsa.v1): it is in the store, but the signature could not read it: nothing at",
    "read-only": "recorded (webex.tsa.v1): it is not in the store: the gateway has not written its store",
    "dead-end": "the gateway could not pass the message on: [Errno 111] Connect call failed",
    "clock=3600": "recorded (webex.tsa.v1): the gateway's clock is off: 60 minutes ahead of the canary's",
    "clock=-3600": "recorded (webex.tsa.v1): the gateway's clock is off: 60 minutes behind the canary's",
    "clock=-86400": "recorded (webex.tsa.v1): the gateway's clock is off: 1,440 minutes behind the canary's",
    "not-muted": "judged (webex.tsa.v1): unmuted by MW-UNMUTED, not flagged",
}


@pytest.mark.parametrize("broken", BROKEN)
def test_what_is_broken_is_named(live: Scene, broken: str) -> None:
    with gateway(live, broken) as proxy:
        code, reasons = run_canary(proxy)
    assert (code, BROKEN[broken] in reasons) == (3, True), reasons
    assert live.upstream.received == []


def test_a_locked_store_is_named(live: Scene) -> None:
    with gateway(live) as proxy:
        proxy.wait_status(messages=0)
        with contextlib.closing(sqlite3.connect(proxy.state / "mutewatch.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            code, reasons = run_canary(proxy)
    assert code == 3
    assert "recorded before it left (tsa3.webex.com): it was not in the store when it arrived" in reasons
    assert "it is not in the store: the gateway has not written its store" in reasons


def test_a_store_that_is_gone_is_named(live: Scene) -> None:
    with gateway(live) as proxy:
        for path in proxy.state.glob("mutewatch.db*"):
            path.unlink()
        code, reasons = run_canary(proxy)
    assert (code, "it is not in the store: the store cannot be read: there is none at" in reasons) == (3, True), reasons
    assert not (proxy.state / "mutewatch.db").exists()


def test_a_store_that_is_damaged_is_named(live: Scene) -> None:
    with gateway(live) as proxy:
        for path in proxy.state.glob("mutewatch.db*"):
            path.unlink()
        (proxy.state / "mutewatch.db").write_bytes(b"no database" * 1000)
        code, reasons = run_canary(proxy)
    assert (code, "the store cannot be read" in reasons) == (3, True), reasons


def test_it_runs_again_and_again_until_it_is_stopped(live: Scene) -> None:
    with gateway(live) as proxy:
        where = ["--proxy", f"http://127.0.0.1:{proxy.port}", "--ca", str(proxy.ca_file), "--state", str(proxy.state)]
        line = [sys.executable, "-m", "mutewatch", "canary", "--every", "1", *where]
        process = subprocess.Popen(line, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL)
        try:
            # a busy machine takes twenty seconds to start one
            wait_until(lambda: proxy.status().get("canaries", 0) >= 4, "the canary has run twice", seconds=120)
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
        finally:
            process.kill()
            process.wait()


def test_a_gateway_that_is_down_is_named(live: Scene) -> None:
    proxy = live.make()
    proxy.state.mkdir(mode=0o700)
    proxy.port = free_port()
    code, reasons = run_canary(proxy, authority=live.upstream.ca_file)
    assert (code, reasons) == (
        3,
        f"reached (metrics-a.wbx2.com): no proxy answers at 127.0.0.1:{proxy.port}: Connection refused",
    )


def test_another_ca_than_the_clients_trust_is_named(live: Scene, elsewhere: Path) -> None:
    with gateway(live) as proxy:
        code, reasons = run_canary(proxy, authority=elsewhere)
    assert (code, f"the gateway showed a certificate that {elsewhere} did not sign" in reasons) == (3, True), reasons


def test_a_ca_that_is_not_there_is_named(live: Scene) -> None:
    with gateway(live) as proxy:
        code, reasons = run_canary(proxy, authority=live.folder / "none.pem")
    assert (code, "no CA can be read from" in reasons) == (3, True), reasons


def test_behind_a_proxy_that_is_no_mutewatch_nothing_is_sent(live: Scene) -> None:
    proxy = live.make()
    proxy.state.mkdir(mode=0o700)
    proxy.port = live.relay.port
    code, reasons = run_canary(proxy, authority=live.upstream.ca_file)
    assert (code, "did not take the canary's ticket" in reasons) == (3, True), reasons
    assert live.upstream.received == []


def test_a_gateway_on_another_machine_is_refused(live: Scene) -> None:
    proxy = live.make()
    proxy.state.mkdir(mode=0o700)
    proxy.port = 8080
    code, reasons = run_canary(proxy, authority=live.upstream.ca_file, proxy="http://192.0.2.1:8080")
    assert (code, "192.0.2.1 is not this machine" in reasons) == (3, True), reasons


# -- tickets that are not honoured: the connection is like any other -------------------------------------------


def test_a_ticket_is_honoured_once(live: Scene) -> None:
    with gateway(live) as proxy, far_end() as end:
        with bound() as first:
            port = first.getsockname()[1]
            leave(proxy.state, first, ticket_for(first, end))
            assert post_through(first, proxy, b"{}") == 204
        with bound(port) as second:
            assert post_through(second, proxy, b"replayed") == 204
    assert [arrived.body for arrived in end.arrived] == [b"{}"]
    assert [request.body for request in live.upstream.received] == [b"replayed"]


def loosen(path: Path) -> None:
    path.chmod(0o640)


def link(path: Path) -> None:
    path.replace(path.with_suffix(".real"))
    path.symlink_to(path.with_suffix(".real"))


@pytest.mark.parametrize(
    ("changes", "spoil"),
    [
        ({"expires_at": -1.0}, None),
        ({"expires_at": 3600.0}, None),
        ({"client": "127.0.0.2"}, None),
        ({"client_port": 9}, None),
        ({"host": "tsa4.webex.com"}, None),
        ({}, loosen),
        ({}, link),
    ],
    ids=["expired", "too long", "another address", "another port", "another host", "open to others", "a link"],
)
def test_with_a_ticket_that_is_not_its_own_a_connection_goes_where_it_asked(
    live: Scene, changes: dict[str, Any], spoil: Callable[[Path], None] | None
) -> None:
    with gateway(live) as proxy, far_end() as end, bound() as plain:
        changes = {**changes, "expires_at": time.time() + changes.get("expires_at", 20.0)}
        path = leave(proxy.state, plain, ticket_for(plain, end, **changes))
        if spoil:
            spoil(path)
        assert post_through(plain, proxy, b"real") == 204
        proxy.wait_status(canary_refused=1, canaries=0, recorded=1)
    assert (end.arrived, [request.body for request in live.upstream.received]) == ([], [b"real"])


def test_the_far_end_is_known_by_its_certificate_alone(live: Scene) -> None:
    with gateway(live) as proxy, far_end() as end, far_end() as other, bound() as plain:
        leave(proxy.state, plain, ticket_for(plain, end, far_end_port=other.port))
        assert post_through(plain, proxy, b"{}") == 502
        proxy.wait_status(canaries=1)
    assert (end.arrived, other.arrived, live.upstream.received) == ([], [], [])


def test_other_clients_go_their_way_while_a_canary_runs(live: Scene) -> None:
    with gateway(live) as proxy, far_end() as end, bound() as plain:
        leave(proxy.state, plain, ticket_for(plain, end))
        assert proxy.post(TELEMETRY, b"real") == 204
        assert post_through(plain, proxy, b"{}") == 204
        assert proxy.post(TELEMETRY, b"real too") == 204
    assert [request.body for request in live.upstream.received] == [b"real", b"real too"]
    assert len(end.arrived) == 1
