"""Gateways for the tests of the canary, and clients that hold a ticket of their own making."""

import contextlib
import json
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from addons.canary_far_end import Arrived, FarEnd
from addons.canary_ticket import Ticket, write_ticket
from mutewatch.canary import Expectation
from mutewatch.commands.canary import CanaryOptions, canary
from tests.live_support import ROOT, SECONDS, TELEMETRY, Proxy, Scene

CLOSED = ("nothing.example.com",)  # a gate for none of the canary's hosts
SCRIPT = ROOT / "tests" / "canary_script.py"
PATIENCE = 2.0  # seconds; what is there is there in milliseconds


@contextmanager
def gateway(place: Scene, broken: str = "", **choices: Any) -> Iterator[Proxy]:
    """A running gateway as it ships, broken in the way that `canary_script` knows by this name."""
    settings = {"activity": False, "record_timeout": 0.2, **choices.pop("live", {})}
    environment = {"MUTEWATCH_TEST_BREAK": broken}
    hosts = CLOSED if broken == "gate-closed" else None
    with place.proxy(script=SCRIPT, environment=environment, hosts=hosts, live=settings, **choices) as proxy:
        yield proxy


def run_canary(gate: Proxy, expected: str = "observe", **choices: Any) -> tuple[int, str]:
    """Run the canary beside the proxy `gate`; return its exit code, and the reasons that it gives."""
    options = CanaryOptions(
        **{
            "state": gate.state,
            "proxy": f"http://127.0.0.1:{gate.port}",
            "authority": gate.ca_file,
            "expected": Expectation(expected),
            "patience": PATIENCE,
            **choices,
        }
    )
    code = canary(options)
    told = json.loads((gate.state / "canary.json").read_text())
    assert told["passed"] == (code == 0)
    return code, "; ".join(told["reasons"])


@contextmanager
def far_end() -> Iterator[FarEnd]:
    """A far end whose certificate is for the telemetry host of the tests."""

    def ignore(_arrived: Arrived) -> None:
        pass

    opened = FarEnd([TELEMETRY], ignore)
    with opened.running():
        yield opened


def bound(port: int = 0) -> socket.socket:
    """A socket with an address, that is gone at once when closed, so that its port can be used again."""
    plain = socket.socket()
    plain.settimeout(SECONDS)
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    plain.bind(("127.0.0.1", port))
    return plain


def ticket_for(plain: socket.socket, end: FarEnd, **changes: Any) -> Ticket:
    """The ticket that this socket's connection would need, with some of it changed."""
    address, port = plain.getsockname()
    fields = {"client": address, "client_port": port, "host": TELEMETRY, "far_end_port": end.port}
    fields |= {"fingerprint": end.fingerprint, "expires_at": time.time() + 20}
    return Ticket(**(fields | changes))


def leave(state: Path, plain: socket.socket, ticket: Ticket) -> Path:
    """Write `ticket` where the proxy looks for this socket's."""
    path = write_ticket(state, ticket)
    own = path.with_name(f"canary-{plain.getsockname()[1]}.ticket")
    if own != path:
        path.replace(own)
    return own


def post_through(plain: socket.socket, proxy: Proxy, body: bytes, host: str = TELEMETRY) -> int:
    """CONNECT, TLS and one POST over `plain`; return the status, 0 if there was none."""
    plain.connect(("127.0.0.1", proxy.port))
    connection = proxy.connect(host)
    connection.sock = plain
    with contextlib.suppress(OSError):
        connection._tunnel()  # type: ignore[attr-defined]
        connection.sock = connection._context.wrap_socket(plain, server_hostname=host)  # type: ignore[attr-defined]
        connection.request("POST", "/metric/v1", body=body)
        status = connection.getresponse().status
        connection.close()
        return status
    return 0
