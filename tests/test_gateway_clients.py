"""The gateway between real clients and a real server: curl, Python and Chromium, by each way that leads through it.

For each way everything is tried once, and the tests look at what was seen: by the clients, by the server, and by the
proxy, whose every flow is kept for that (mitmproxy's `save_stream_file`).
"""

import contextlib
import hashlib
import json
import os
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from mitmproxy.http import HTTPFlow
from mitmproxy.io import FlowReader

from mutewatch.config import StateDirectory
from mutewatch.store import Store
from tests import gateway_scene
from tests.client_upstream import ANSWER, Received, read_log
from tests.client_websocket import WebSocket, is_echoed
from tests.gateway_clients import (
    ECHO,
    OTHERS,
    PAIRS,
    PATH,
    PRIVATE,
    TELEMETRY,
    UNNAMED,
    WAYS,
    WEBSOCKET,
    Seen,
    body_for,
    leaf_of,
    missing,
    payloads_for,
)
from tests.needs import tool, tunnels, unshare
from tests.transparent_scene import SERVER

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.live

POSTING = [pair for pair in PAIRS if pair[1] != WEBSOCKET]
IN_A_NETWORK = ("ip", "ss", "nsenter", "mount")
NEEDED = {"upstream": (), "regular": IN_A_NETWORK, "transparent": (*IN_A_NETWORK, "nft"), "wireguard": IN_A_NETWORK}


@dataclass(frozen=True)
class Trial:
    """What was seen on one way."""

    way: str
    folder: Path
    address: str  # of the server
    seen: dict[tuple[str, str, str], Seen]  # by client, protocol and host
    received: list[Received]

    def saw(self, client: str, protocol: str, host: str) -> Seen:
        """What a client saw; the test is skipped if the client is not installed."""
        if (program := missing(client)) is not None:
            pytest.skip(f"{program} is not installed")
        return self.seen[client, protocol, host]

    @property
    def server_leaf(self) -> str:
        return leaf_of((self.folder / "leaf.pem").read_text())

    @property
    def status(self) -> dict[str, int]:
        found: dict[str, int] = json.loads((self.folder / "state" / "live_status.json").read_text())
        return found

    @property
    def sent_to_telemetry(self) -> set[str]:
        """SHA-256 of the messages of all clients that are there."""
        pairs = [pair for pair in POSTING if missing(pair[0]) is None]
        return {hashlib.sha256(body_for(self.way, *pair, TELEMETRY)).hexdigest() for pair in pairs}

    def flows(self) -> list[HTTPFlow]:
        """All that any hook of the proxy was shown."""
        with (self.folder / gateway_scene.FLOWS).open("rb") as file:
            flows = list(FlowReader(file).stream())
        assert all(isinstance(flow, HTTPFlow) for flow in flows)
        return [flow for flow in flows if isinstance(flow, HTTPFlow)]


@pytest.fixture(scope="module", params=WAYS)
def trial(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trial:
    """One way, with all its clients."""
    way: str = request.param
    for name in NEEDED[way]:
        tool(name)
    if way == "wireguard":
        tunnels()
    folder = tmp_path_factory.mktemp(way, numbered=False)
    folder.chmod(0o700)
    gateway_scene.make_certificates(folder)
    if way == "upstream":
        gateway_scene.run_upstream(folder)
    else:
        command = [*unshare("-rnm"), sys.executable, "-m", "tests.gateway_scene", way, str(folder)]
        told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False)
        assert told.returncode == 0, told.stderr
    lines = (folder / "seen.jsonl").read_text().splitlines()
    seen = [Seen(**json.loads(line)) for line in lines]
    address = "127.0.0.1" if way == "upstream" else SERVER
    return Trial(way, folder, address, {(s.client, s.protocol, s.host): s for s in seen}, read_log(folder))


@pytest.mark.parametrize(("client", "protocol"), POSTING)
def test_a_telemetry_message_is_opened_recorded_and_answered_by_the_server(
    trial: Trial, client: str, protocol: str
) -> None:
    seen = trial.saw(client, protocol, TELEMETRY)
    sent = hashlib.sha256(body_for(trial.way, client, protocol, TELEMETRY)).hexdigest()
    assert (seen.error, seen.spoke, seen.status, seen.answer) == ("", protocol, ANSWER, sent)
    assert seen.leaf != trial.server_leaf  # so it is the proxy's: the client trusts no third CA
    assert Received(TELEMETRY, protocol, "POST", PATH, sent) in trial.received
    assert sent in recorded(trial.folder)


@pytest.mark.parametrize(("client", "protocol"), PAIRS)
def test_other_hosts_are_reached_with_their_own_certificate(trial: Trial, client: str, protocol: str) -> None:
    for host in (*OTHERS, trial.address):
        seen = trial.saw(client, protocol, host)
        assert (seen.error, seen.leaf, seen.spoke) == ("", trial.server_leaf, protocol), host
        if protocol == WEBSOCKET:
            assert seen.answer == ECHO
        else:
            assert (seen.status, seen.answer) == (ANSWER, sha256_to(trial.way, client, protocol, host)), host


@pytest.mark.parametrize("client", [client for client, protocol in PAIRS if protocol == WEBSOCKET])
def test_websocket_messages_of_a_telemetry_host_pass_as_they_are(trial: Trial, client: str) -> None:
    seen = trial.saw(client, WEBSOCKET, TELEMETRY)
    assert (seen.error, seen.answer) == ("", ECHO)
    assert seen.leaf != trial.server_leaf


def test_a_connection_without_a_name_keeps_its_own_certificate(trial: Trial) -> None:
    seen = trial.saw("Python", "http/1.1", UNNAMED)
    assert (seen.error, seen.leaf, seen.status) == ("", trial.server_leaf, ANSWER)
    # Only a CONNECT says where it was to lead.
    assert trial.status["uninspected"] == (trial.way in ("upstream", "regular"))


def test_each_message_is_counted_and_judged_once(trial: Trial) -> None:
    unnamed = sha256_to(trial.way, "Python", "http/1.1", UNNAMED)
    at_server = [one for one in trial.received if one.host == TELEMETRY and one.sha256 != unnamed]
    status = trial.status
    assert status["messages"] == status["recorded"] == len(at_server)
    assert status["intercepted"] > 0
    assert sum(status[name] for name in ("lost", "dropped", "unrecorded", "hook_errors", "gate_errors", "pinned")) == 0
    payloads = payloads_for(TELEMETRY)
    texts = [each for each in payloads if isinstance(each, str)]
    sent = len(payloads) + (len(texts) if missing("Chromium") is None else 0)
    assert status["websocket_messages"] == 2 * sent  # there and back
    with Store(StateDirectory(trial.folder / "state").store) as store:
        assert store.verdicts() == {"mute-unknown": len(trial.sent_to_telemetry)}
    assert recorded(trial.folder) == trial.sent_to_telemetry


def test_nothing_of_other_hosts_was_shown_to_any_hook(trial: Trial) -> None:
    # In plain HTTP, which an explicit proxy must read, a browser asks its maker for the time.
    flows = [flow for flow in trial.flows() if flow.request.scheme == "https"]
    bodies = {hashlib.sha256(flow.request.raw_content or b"").hexdigest() for flow in flows}
    assert trial.sent_to_telemetry <= bodies  # else the next lines would prove nothing
    sent_back = [flow for flow in flows if flow.response is not None and flow.response.status_code == 421]
    assert {flow.request.pretty_host for flow in flows if flow not in sent_back} == {TELEMETRY}
    assert [flow.request.raw_content for flow in sent_back if flow.request.raw_content] == []
    written = [path for path in (trial.folder / "state").rglob("*") if path.is_file()]
    written += [trial.folder / gateway_scene.FLOWS, *trial.folder.glob("*.log"), *trial.folder.glob("*.out")]
    assert [path.name for path in written if PRIVATE.encode() in path.read_bytes()] == []


def test_the_document_names_the_clients_and_modes_that_are_tried() -> None:
    text = (ROOT / "docs" / "live.md").read_text(encoding="utf-8")
    spelt = {"http/1.1": "HTTP/1.1", "h2": "HTTP/2", WEBSOCKET: WEBSOCKET}
    over: dict[str, list[str]] = {}
    for client, protocol in PAIRS:
        over.setdefault(client, []).append(spelt[protocol])
    for client, protocols in over.items():
        assert f"\n| {client} | {', '.join(protocols)} | {', '.join(WAYS)} |\n" in text


def recorded(folder: Path) -> set[str]:
    with contextlib.closing(sqlite3.connect(StateDirectory(folder / "state").store)) as database:
        return {row[0] for row in database.execute("SELECT body_sha256 FROM messages")}


def sha256_to(way: str, client: str, protocol: str, host: str) -> str:
    return hashlib.sha256(body_for(way, client, protocol, host)).hexdigest()


def test_a_long_websocket_session_leaves_nothing_behind_in_the_proxy(tmp_path: Path) -> None:
    gateway_scene.make_certificates(tmp_path)
    sent = bytes(12 << 10)  # one TLS record: two would wait for each other's acknowledgement
    with gateway_scene.behind_relay(tmp_path) as (proxy, _relay, _port):
        secure = proxy.connect(TELEMETRY)
        secure.connect()
        with WebSocket.connect(secure.sock, TELEMETRY, "/socket") as end:
            assert is_echoed(end, [sent] * 100)
            before = resident_bytes(proxy.process.pid)
            assert is_echoed(end, [sent] * 800)
            grown = resident_bytes(proxy.process.pid) - before
        proxy.stop()
    assert proxy.status()["websocket_messages"] == 2 * 900
    assert grown < 800 * len(sent) / 4  # kept, both ways would take eight times as much


def resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * int(os.sysconf("SC_PAGE_SIZE"))
