"""What happens on the network: the server is slow or away, or clients are slow, idle, or never finish."""

import contextlib
import socket
import threading
import time
from pathlib import Path

from bench.faults.books import CUT
from bench.faults.kill_live import PATH, telemetry_body
from bench.faults.load import outcome_of
from bench.faults.stage import Lengths, Result, Stage, stage
from tests.live_support import TELEMETRY, sha256, wait_until

SLOW_ANSWER = 3.0  # seconds; longer than a message waits to be recorded
LIMIT = 4096  # of a body that is read, in `slow_clients`: so that a few bytes are over it


def slow_upstream(folder: Path, lengths: Lengths) -> Result:
    """The server takes seconds for each answer; afterwards none."""
    with stage(folder) as running:
        running.run_for(lengths.normal)
        running.upstream.on_request = lambda _request: time.sleep(min(SLOW_ANSWER, lengths.fault))
        time.sleep(lengths.fault)
        running.upstream.on_request = lambda _request: None
        running.measure_recovery()
        running.run_for(lengths.normal)
        running.settle()
        return running.result("slow-upstream")


def upstream_down(folder: Path, lengths: Lengths) -> Result:
    """The way to the server ends: connections are cut and refused, and then it is back."""
    with stage(folder) as running:
        running.run_for(lengths.normal)
        running.scene.relay.away = True
        time.sleep(lengths.fault)
        running.scene.relay.away = False
        running.measure_recovery()
        running.run_for(lengths.normal)
        running.settle()
        return running.result("upstream-down")


def slow_clients(folder: Path, lengths: Lengths) -> Result:
    """Beside ordinary clients: bodies that trickle in, idle connections, bodies that never end, read or unread."""
    slow = lengths.crowd // 10
    with stage(folder, live={"max_body": LIMIT}, clients=3) as running:
        running.run_for(lengths.normal)
        with contextlib.ExitStack() as open_ones:
            idle = [open_ones.enter_context(_connected(running)) for _ in range(lengths.crowd)]
            trickling = [_Trickle(running, number, lengths.fault) for number in range(slow)]
            for one in trickling:
                one.start()
            for number in range(slow):
                half = open_ones.enter_context(_connected(running))
                _send_half(half, telemetry_body(700, number, seed=1))
                endless = open_ones.enter_context(_connected(running))
                _send_unread(endless)
            running.load.slowest = 0.0
            time.sleep(lengths.fault)
            for one in trickling:
                one.join(60)
        running.measure_recovery()
        running.load.stop()
        wait_until(lambda: running.proxy.status().get("streamed") == slow, "broken-off bodies are counted")
        running.settle()
        return _with_unread(running, slow, len(idle))


def _with_unread(running: Stage, slow: int, idle: int) -> Result:
    """Bodies that left in part are none of the load's: they are compared with their own counter."""
    counters = running.counters = dict(running.proxy.status())
    begun = running.upstream.beginnings - len(running.upstream.received)
    running.faults["bodies that left in part, against `streamed`"] = abs(begun - counters["streamed"])
    # recorded as not read, and of none did all arrive: out of the sums below
    for name in ("streamed", "too_large", "recorded", "messages"):
        counters[name] -= slow
    result = running.result("slow-clients")
    result.exceptions = f"streamed {slow} (left in part)"
    result.remark = f"{idle} idle, {slow} trickling, {slow} half-sent, {slow} broken off"
    return result


class _Trickle(threading.Thread):
    """Sends one body, a few bytes at a time, over about `seconds`."""

    def __init__(self, running: Stage, number: int, seconds: float) -> None:
        super().__init__()
        self._running, self._seconds = running, seconds
        self._body = telemetry_body(600, number, seed=1)

    def run(self) -> None:
        outcomes, digest = self._running.load.outcomes, sha256(self._body)
        outcomes[digest] = CUT
        connection = self._running.proxy.connect(TELEMETRY)
        with contextlib.closing(connection):
            connection.putrequest("POST", PATH)
            connection.putheader("Content-Length", str(len(self._body)))
            connection.endheaders()
            step = len(self._body) // 20 + 1
            for start in range(0, len(self._body), step):
                connection.send(self._body[start : start + step])
                time.sleep(self._seconds / 20)
            response = connection.getresponse()
            response.read()
        outcomes[digest] = outcome_of(response.status)


def _connected(running: Stage) -> "contextlib.closing[socket.socket]":
    """A connection that stands, TLS and all, and is silent."""
    connection = running.proxy.connect(TELEMETRY)
    connection.connect()
    return contextlib.closing(connection.sock)


def _send_half(sock: socket.socket, body: bytes) -> None:
    head = f"POST {PATH} HTTP/1.1\r\nHost: {TELEMETRY}\r\nContent-Length: {len(body)}\r\n\r\n"
    sock.sendall(head.encode() + body[: len(body) // 2])


def _send_unread(sock: socket.socket) -> None:
    """The beginning of a body without a length, longer than is read: it leaves while it comes in."""
    head = f"POST {PATH} HTTP/1.1\r\nHost: {TELEMETRY}\r\nTransfer-Encoding: chunked\r\n\r\n"
    sock.sendall(head.encode() + f"{2 * LIMIT:x}\r\n".encode() + b"x" * 2 * LIMIT + b"\r\n")
