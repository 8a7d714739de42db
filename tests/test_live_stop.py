"""SIGTERM ends the proxy within ten seconds, whoever hangs on to it; and what it leaves behind is private."""

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from urllib.request import urlopen

import pytest

from addons.journal import LOG_BYTES
from tests.live_recorder import recorded
from tests.live_support import OTHER, ROOT, TELEMETRY, Proxy, Received, Scene, free_port, sha256, wait_until

pytestmark = pytest.mark.live
STOP_SECONDS = 10
SAMPLE = ROOT / "mutewatch" / "sample" / "meeting.pcapng"


@contextmanager
def keep_alive(_live: Scene, proxy: Proxy) -> Iterator[None]:
    """Clients that have sent a message, had their answer, and stay."""
    connections = [proxy.connect(TELEMETRY) for _ in range(5)]
    for number, connection in enumerate(connections):
        connection.request("POST", "/metrics", body=b"%d" % number)
        connection.getresponse().read()
    yield
    for connection in connections:
        connection.close()


@contextmanager
def tunnels(live: Scene, proxy: Proxy) -> Iterator[None]:
    """Connections to other hosts, which pass through and stay open."""
    connections = [proxy.connect(OTHER, live.upstream.ca_file) for _ in range(5)]
    for connection in connections:
        connection.request("POST", "/", body=b"private")
        connection.getresponse().read()
    yield
    for connection in connections:
        connection.close()


@contextmanager
def silent(_live: Scene, proxy: Proxy) -> Iterator[None]:
    """Clients that say nothing, or half a word, or ask for a tunnel and then say nothing."""
    words = (b"", b"CONNECT tsa3.we", f"CONNECT {TELEMETRY}:443 HTTP/1.1\r\n\r\n".encode())
    sockets = [socket.create_connection(("127.0.0.1", proxy.port), timeout=20) for _ in words]
    for each, word in zip(sockets, words, strict=True):
        each.sendall(word)
    yield
    for each in sockets:
        each.close()


def post(proxy: Proxy, body: bytes) -> None:
    with suppress(OSError):
        proxy.post(TELEMETRY, body)


@contextmanager
def slow_upstream(live: Scene, proxy: Proxy) -> Iterator[None]:
    """A server that has the message and does not answer; its client waits."""
    answer = threading.Event()
    arrived: list[Received] = []

    def hold(request: Received) -> None:
        arrived.append(request)
        answer.wait(60)

    live.upstream.on_request = hold
    client = threading.Thread(target=post, args=(proxy, b"waits for its answer"), daemon=True)
    client.start()
    wait_until(lambda: bool(arrived), "the message is with the server")
    yield
    answer.set()
    client.join(20)


@contextmanager
def half_a_body(_live: Scene, proxy: Proxy) -> Iterator[None]:
    """A client in the middle of a message, which never ends."""
    connection = proxy.connect(TELEMETRY)
    connection.putrequest("POST", "/metrics")
    connection.putheader("Content-Length", "1000")
    connection.endheaders(b"half")
    yield
    connection.close()


HANGING = {one.__name__: one for one in (keep_alive, tunnels, silent, half_a_body, slow_upstream)}


@pytest.mark.parametrize("names", [*([name] for name in HANGING), list(HANGING)], ids="+".join)
def test_the_proxy_stops_in_time_whoever_hangs_on_to_it(live: Scene, names: list[str]) -> None:
    with live.proxy() as proxy, ExitStack() as hanging:
        for name in names:
            hanging.enter_context(HANGING[name](live, proxy))
        assert proxy.stop(signal.SIGTERM, seconds=STOP_SECONDS) == 0
        counted = proxy.status()
    assert counted["messages"] == counted["recorded"] + counted["dropped"]
    telemetry = {sha256(request.body) for request in live.upstream.received if request.body != b"private"}
    assert telemetry <= {row[0] for row in recorded(proxy.state)}


def test_a_second_sigterm_and_a_hangup_during_the_stop_change_nothing(live: Scene) -> None:
    with live.proxy() as proxy, keep_alive(live, proxy):
        for how in (signal.SIGTERM, signal.SIGHUP, signal.SIGTERM):
            proxy.process.send_signal(how)
        assert proxy.process.wait(STOP_SECONDS) in (0, -signal.SIGHUP)
        wait_until(lambda: proxy.status()["recorded"] == 5, "everything is recorded")


def test_a_store_that_does_not_answer_is_not_waited_for_longer(live: Scene) -> None:
    port = free_port()
    with live.proxy(live={"record_timeout": 60, "metrics": f"127.0.0.1:{port}"}) as proxy:
        (proxy.state / "block").touch()
        client = threading.Thread(target=post, args=(proxy, b"held"), daemon=True)
        client.start()
        wait_until(lambda: "\nmutewatch_live_pending 1.0" in page(port), "the message waits")
        assert proxy.stop(signal.SIGTERM, seconds=STOP_SECONDS) == 0
        client.join(20)
    assert live.upstream.received == []


def page(port: int) -> str:
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        text: str = answer.read().decode()
        return text


# -- what it leaves behind ----------------------------------------------------------------------------------


def test_nothing_is_open_to_others_whatever_the_umask(live: Scene) -> None:
    """All files of the gateway and of the commands beside it, started where the umask forbids nothing."""
    top = live.folder / "new"
    proxy = live.make(umask=0)
    proxy.start_command("clients.activity = false", "--state", str(top / "parents" / "state"))
    proxy.state = top / "parents" / "state"
    try:
        proxy.wait_ready()
        where = {"MUTEWATCH_STATE": str(proxy.state), "MUTEWATCH_LISTEN_PORT": str(proxy.port)}
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **where}
        for words in ("canary", "prune", "report", "check --running", f"scan {SAMPLE} --store s.db"):
            line = [sys.executable, "-m", "mutewatch", *words.split()]
            told = subprocess.run(line, env=environment, cwd=top, umask=0, capture_output=True, text=True, check=False)
            assert told.returncode == 0, told.stdout + told.stderr
        proxy.process.send_signal(signal.SIGHUP)
        proxy.wait_status(recorded=2, reloads=1)
        (proxy.state / "live.log").write_bytes(b" " * LOG_BYTES)  # so that the next line turns it over
        assert proxy.stop() == 0
    finally:
        proxy.end()
    found = {str(path.relative_to(top)): stat.S_IMODE(path.stat().st_mode) for path in (top, *top.rglob("*"))}
    assert {name for name, mode in found.items() if mode & 0o077} == set()
    names = {name.removeprefix("parents/state/") for name in found}
    assert names >= {"mutewatch.db", "client.key", "live.log.1", "live_status.json", "canary.json", "s.db", "authority"}
