"""/metrics and /healthz: every number has a meaning, none says who, and no client of them can hurt."""

import contextlib
import http.client
import json
import re
import shutil
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from addons.counters import HookCounters, WriterCounters, as_status
from addons.gate import Gate, allow_hosts
from addons.live_health import Health, canary_state
from addons.live_metrics import MEANINGS
from addons.live_settings import metrics_address
from addons.metrics_server import MetricsServer, Page
from bench.faults import kill_live
from mutewatch.errors import OperatorError
from tests.canary_support import gateway, run_canary
from tests.live_support import ROOT, TELEMETRY, Proxy, Scene, free_port, scene, wait_until

DOCUMENT = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
DOCUMENTED = set(re.findall(r"^\| `(mutewatch_\w+)`", DOCUMENT, re.MULTILINE))


@pytest.fixture(scope="module")
def confdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ca")


@pytest.fixture
def live(tmp_path: Path, confdir: Path) -> Iterator[Scene]:
    with scene(tmp_path, confdir) as it:
        yield it


def get(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", path, headers={"X-Who": "somebody"})
        response = connection.getresponse()
        return response.status, response.read().decode()


def reasons(port: int) -> list[str]:
    found: list[str] = json.loads(get(port, "/healthz")[1]).get("reasons", [])
    return found


def numbers(text: str) -> dict[str, float]:
    families = text_string_to_metric_families(text)
    return {sample.name: sample.value for family in families for sample in family.samples}


def leave_result(state: Path, age: float, *, passed: bool) -> None:
    at = datetime.now(UTC) - timedelta(seconds=age)
    (state / "canary.json").write_text(json.dumps({"at": at.isoformat(), "passed": passed}))


# -- the real proxy ------------------------------------------------------------------------------------------


@pytest.mark.live
def test_a_scrape_has_the_counters_and_everything_that_is_documented(live: Scene) -> None:
    port = free_port()
    with gateway(live, live={"metrics": f"127.0.0.1:{port}", "without": ("Discord",)}) as proxy:
        assert proxy.post(TELEMETRY, kill_live.telemetry_body(1, 1, seed=1), path=kill_live.PATH) == 204
        assert run_canary(proxy)[0] == 0
        time.sleep(1.1)  # a page is kept for a second
        text = get(port, "/metrics")[1]
    lint(text)
    found = numbers(text)
    assert 'mutewatch_evaluated_total{app="Webex",verdict="mute-unknown"} 1.0' in text
    assert 'mutewatch_evaluated_total{app="Webex",verdict="flagged"} 0.0' in text
    assert abs(found["mutewatch_last_report_timestamp_seconds"] - time.time()) < 60
    assert set(found) == DOCUMENTED
    assert 'mutewatch_signature_left_out{signature="discord.gateway"} 1.0' in text
    assert 'app="Discord"' not in text
    assert found["mutewatch_live_messages_total"] == found["mutewatch_live_recorded_total"] == 3
    assert found["mutewatch_live_canaries_total"] == 2
    assert (found["mutewatch_healthy"], found["mutewatch_canary_success"]) == (1, 1)
    assert 0 <= found["mutewatch_canary_age_seconds"] < 60
    assert found["mutewatch_certificate_remaining_seconds"] > 86400
    for private in ("127.0.0.1", TELEMETRY, "webex", "client", "canary-", "somebody", "/metric/v1"):
        labels = re.findall(r"\{.*\}", text)
        assert not any(private in label for label in labels)
    assert "somebody" not in text


def watched(place: Scene, port: int, broken: str = "") -> contextlib.AbstractContextManager[Proxy]:
    """A gateway that serves its health at `port` and wants a canary each minute."""
    return gateway(place, broken, live={"metrics": f"127.0.0.1:{port}", "canary_max_age": 60})


@pytest.mark.live
def test_health_follows_the_canary(live: Scene) -> None:
    port = free_port()
    with watched(live, port) as proxy:
        assert get(port, "/healthz") == (200, '{"status": "ok"}\n')
        for age, passed, said in ((0, False, "the newest failed"), (61, True, "more than 60 s old"), (0, True, "")):
            leave_result(proxy.state, age, passed=passed)
            wait_until(lambda: said in "".join(reasons(port)) if said else not reasons(port), said)  # noqa: B023
        assert get(port, "/healthz")[0] == 200


@pytest.mark.live
def test_a_locked_store_is_unhealthy_and_well_again_afterwards(live: Scene) -> None:
    port = free_port()
    with watched(live, port) as proxy:
        with contextlib.closing(sqlite3.connect(proxy.state / "mutewatch.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            assert proxy.post(TELEMETRY, b"{}", path="/metric/v1") == 204
            wait_until(lambda: "store: the last write failed" in reasons(port), "the store's fault is told", 30)
            assert get(port, "/healthz")[0] == 503
        wait_until(lambda: get(port, "/healthz")[0] == 200, "the store works again", 30)


@pytest.mark.live
def test_a_gate_that_fails_is_unhealthy(live: Scene) -> None:
    port = free_port()
    with watched(live, port, broken="gate-raises"):
        assert get(port, "/healthz")[0] == 503
        assert reasons(port) == ["gate: it fails: RuntimeError"]


@pytest.mark.live
def test_a_port_that_is_taken_stops_the_start(live: Scene) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        proxy: Proxy = live.make(live={"metrics": f"127.0.0.1:{taken.getsockname()[1]}"})
        proxy.start()
        try:
            assert proxy.process.wait(20) == 1
            assert "cannot listen" in proxy.text()
        finally:
            proxy.end()


def lint(text: str) -> None:
    """What Prometheus says of names, types and help texts; nothing where promtool is not installed."""
    if promtool := shutil.which("promtool"):
        line = [promtool, "check", "metrics"]
        told = subprocess.run(line, input=text, capture_output=True, text=True, timeout=60, check=False)
        assert (told.returncode, told.stdout + told.stderr) == (0, "")


# -- health by itself ----------------------------------------------------------------------------------------


class WriterStub:
    """What `Health` asks of a writer."""

    is_open, store_works, idle_seconds = True, True, 0.0


PATTERNS = ("tsa*.webex.com",)


def faults(state: Path, opened: list[str] | None = None, **writer: Any) -> list[str]:
    stub: Any = WriterStub()
    for name, value in writer.items():
        setattr(stub, name, value)
    gate = Gate(PATTERNS)
    return list(
        Health(state, gate, stub, lambda: allow_hosts(PATTERNS) if opened is None else opened, lambda: 0).faults()
    )


def test_a_door_that_stands_has_no_faults(tmp_path: Path) -> None:
    assert faults(tmp_path) == []


@pytest.mark.parametrize(
    ("writer", "said"),
    [
        ({"is_open": False}, "writer: it has stopped, nothing is recorded"),
        ({"idle_seconds": 31.0}, "writer: it has been busy with one task for more than 30 s"),
        ({"store_works": False}, "store: the last write failed"),
    ],
)
def test_each_fault_of_the_writer_has_its_words(tmp_path: Path, writer: dict[str, Any], said: str) -> None:
    assert faults(tmp_path, **writer) == [said]


@pytest.mark.parametrize("opened", [[], ["."], [*allow_hosts(PATTERNS), "."]])
def test_a_changed_allow_hosts_is_a_fault(tmp_path: Path, opened: list[str]) -> None:
    assert faults(tmp_path, opened) == ["gate: mitmproxy's allow_hosts is not what the signatures say"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"at": 1}', '{"at": "2026-01-01", "passed": true}', "[" * 100_000])
def test_a_result_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "canary.json").write_text(text)
    assert canary_state(tmp_path, datetime.now(UTC)) is None


def test_without_a_canary_there_is_a_fault_once_one_is_due(tmp_path: Path) -> None:
    stub: Any = WriterStub()
    health = Health(tmp_path, Gate(PATTERNS), stub, lambda: allow_hosts(PATTERNS), lambda: 0.01)
    wait_until(lambda: any("none has run" in fault for fault in health.faults()), "a canary is missed")


# -- the server by itself ------------------------------------------------------------------------------------


@contextlib.contextmanager
def served(**limits: Any) -> Iterator[int]:
    server = MetricsServer({"/metrics": lambda: Page(200, "text/plain", b"page")}, **limits)
    server.start("127.0.0.1", 0)
    try:
        yield server.port
    finally:
        server.stop()


@pytest.mark.parametrize(("path", "status"), [("/metrics", 200), ("/metrics?x=1", 200), ("/", 404), ("/../x", 404)])
def test_there_are_two_pages_and_no_others(path: str, status: int) -> None:
    with served() as port:
        assert get(port, path)[0] == status


@pytest.mark.parametrize(
    "request_", [b"POST /metrics HTTP/1.1\r\n\r\n", b"\r\n\r\n", b"x\r\n\r\n", b"\xff\xff\xff HTTP/1.1\r\n\r\n"]
)
def test_what_is_no_get_is_refused(request_: bytes) -> None:
    with served() as port, socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(request_)
        assert client.recv(100).startswith(b"HTTP/1.1 405 ")


def test_clients_that_stall_are_closed_and_leave_room(tmp_path: Path) -> None:
    with served(connections=4, seconds=0.5) as port, contextlib.ExitStack() as stack:
        stalled = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10)) for _ in range(40)]
        for client in stalled:
            with contextlib.suppress(OSError):
                client.sendall(b"GET /metrics")

        def answers() -> bool:
            with contextlib.suppress(OSError, http.client.HTTPException):
                return get(port, "/metrics") == (200, "page")
            return False

        wait_until(answers, "the stalled have left")
        for client in stalled:
            with contextlib.suppress(ConnectionError):
                assert client.recv(1) == b""


def test_stopping_waits_for_no_client() -> None:
    server = MetricsServer({"/metrics": lambda: Page(200, "text/plain", b"page")}, seconds=3600)
    server.start("127.0.0.1", 0)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(b"GET /metrics")
        started = time.monotonic()
        server.stop()
        assert time.monotonic() - started < 5


def test_a_head_without_end_is_closed() -> None:
    with served() as port, contextlib.suppress(ConnectionError):
        client = socket.create_connection(("127.0.0.1", port), timeout=10)
        with client:
            client.sendall(b"x" * 100_000)
            assert client.recv(1) == b""


def test_a_page_that_fails_is_a_500_and_the_server_goes_on() -> None:
    def fail() -> Page:
        raise RuntimeError

    server = MetricsServer({"/metrics": fail, "/healthz": lambda: Page(200, "text/plain", b"ok")})
    server.start("127.0.0.1", 0)
    try:
        assert (get(server.port, "/metrics")[0], get(server.port, "/healthz")[0]) == (500, 200)
    finally:
        server.stop()


# -- names ---------------------------------------------------------------------------------------------------


def test_every_counter_has_a_meaning() -> None:
    assert set(as_status(HookCounters(), WriterCounters(), 0)) == set(MEANINGS)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9464", ("127.0.0.1", 9464)),
        (":9464", ("127.0.0.1", 9464)),
        ("9464", ("127.0.0.1", 9464)),
        ("[::1]:1", ("::1", 1)),
    ],
)
def test_an_address_without_a_host_is_loopback(text: str, address: tuple[str, int]) -> None:
    assert metrics_address(text) == address


@pytest.mark.parametrize("text", ["host", "host:", "host:0", "host:65536", "host:x", "::"])
def test_an_address_without_a_port_is_refused(text: str) -> None:
    with pytest.raises(OperatorError, match="write host:port"):
        metrics_address(text)
