"""What an operator should know before the gateway starts: its port, who can reach it, traps of this mitmproxy."""

import errno
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version

from addons.canary_client import check_mode
from addons.firewall_rules import firewall_rules
from addons.settings import Settings
from mutewatch.canary import check_canaries
from mutewatch.errors import OperatorError

TAKEN = (errno.EADDRINUSE, errno.EACCES)  # below 1024, the system says the latter first


@dataclass(frozen=True, slots=True)
class Remark:
    """One line. `is_fault`: it would not start, or nobody would reach it."""

    name: str
    is_good: bool
    text: str
    is_fault: bool = False


def remarks(settings: Settings, *, is_running: bool) -> Iterator[Remark]:
    """Everything there is to say of these settings on this host. `is_running`: its port is meant to be taken."""
    yield from ports(settings, is_running=is_running)
    yield from _reach(settings)
    yield from _canary(settings)
    yield from _exports(settings)
    yield from _traps(settings)


def ports(settings: Settings, *, is_running: bool) -> Iterator[Remark]:
    """Are the ports free, or taken as they should be?"""
    listen, metrics = settings.listen, settings.metrics.address
    kind = socket.SOCK_DGRAM if listen.mode.startswith("wireguard") else socket.SOCK_STREAM
    if not listen.mode.startswith("local"):  # which has none
        yield _port("port", listen.host, listen.port, kind, is_running=is_running)
    if metrics is not None:
        yield _port("metrics port", *metrics, socket.SOCK_STREAM, is_running=is_running)


def _port(name: str, host: str, port: int, kind: socket.SocketKind, *, is_running: bool) -> Remark:
    """Is the port free? For the moment it takes to look, we hold it ourselves."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host or None, port, type=kind, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the proxy does: TIME_WAIT is no fault
            probe.bind(address)
    except OSError as error:
        text = f"cannot listen on {host or 'every address'}, port {port}: {error.strerror}"
        if error.errno not in TAKEN:
            return Remark(name, False, text, is_fault=True)
        hint = "as it should be" if is_running else "if that is mutewatch: check --running"
        return Remark(name, is_running, f"{text}; {hint}", is_fault=not is_running)
    return Remark(name, not is_running, f"{port} is free{': nothing runs there' if is_running else ''}")


def _reach(settings: Settings) -> Iterator[Remark]:
    """Can clients reach it at all, and can others?"""
    listen = settings.listen
    if listen.mode == "transparent":
        try:
            firewall_rules(settings)
        except OperatorError as error:
            yield Remark("listen", False, str(error).removeprefix("--print-firewall: "), is_fault=True)
            return
    elif listen.host in ("127.0.0.1", "::1", "localhost"):
        yield Remark("listen", True, f"{listen.host}: clients on this host only")
    if settings.metrics.address and settings.metrics.address[0] not in ("127.0.0.1", "::1", "localhost"):
        yield Remark("metrics", False, f"{settings.metrics.listen}: the page asks nobody for a password; use 127.0.0.1")


def _canary(settings: Settings) -> Iterator[Remark]:
    """Is one expected that cannot come?"""
    if settings.canary.stale_after and settings.metrics.address:
        try:
            check_mode(settings.listen.mode)
            check_canaries(settings.signatures.choice)
        except OperatorError as error:
            yield Remark("canary", False, f"{error}, or /healthz will miss it")


def _exports(settings: Settings) -> Iterator[Remark]:
    """Can the export files be written? If not, the gateway starts all the same, and counts it."""
    for path in (settings.export.eve_file, settings.export.ecs_file):
        if path is None:
            continue
        if not path.parent.is_dir():
            yield Remark("export", False, f"{path}: there is no directory {path.parent}; make it for the proxy's user")
        elif not os.access(path if path.exists() else path.parent, os.W_OK):
            yield Remark("export", False, f"{path}: this user may not write it")
        elif path.is_symlink() or (path.exists() and not path.is_file()):
            yield Remark("export", False, f"{path}: not a file; links are not followed")
        else:
            yield Remark("export", True, f"{path}: flagged minutes are appended")


def _traps(settings: Settings) -> Iterator[Remark]:
    """What is known to go wrong with the mitmproxy that is installed. Source: its changelog, and our tests."""
    found = version("mitmproxy")
    major = int(found.partition(".")[0])
    notes = []
    if major < 12:
        notes.append(
            "its HTTP/2 library lets requests be smuggled (fixed in 12.1.2; Python 3.12): consider --set http2=false"
        )
    if settings.listen.mode.startswith(("wireguard", "local")):
        notes.append("QUIC passes uninspected in this mode (known up to 12.2.3): have UDP port 443 refused")
    yield Remark("mitmproxy", not notes, f"{found}{': ' if notes else ''}{'; '.join(notes)}")
