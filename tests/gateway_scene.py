"""A gateway with real clients before it and a real server behind it, by each way that leads through it.

client - gateway - server, in network namespaces and with a hosts file of their own. Run as
`unshare -rnm python -m tests.gateway_scene WAY FOLDER`; what the clients saw is in FOLDER/seen.jsonl then, and what the
gateway kept in FOLDER/state. `upstream` needs no namespace: there a relay leads every name to the server.
"""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trustme

from addons.launch import addon_path
from tests.gateway_clients import OTHERS, TELEMETRY
from tests.live_relay import Relay
from tests.live_support import Proxy, free_port
from tests.transparent_scene import (
    CLIENT,
    GATEWAY,
    PROXY_PORT,
    SERVER,
    child,
    host,
    is_listening,
    is_open,
    sh,
    wait_until,
)

LIVE = (sys.executable, "-m", "mutewatch", "live")
FLOWS = "flows.mitm"  # each flow that any hook of the proxy saw
TUNNEL = "wg0"


def make_certificates(folder: Path) -> None:
    """One leaf for all names and addresses of the server."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "upstream-ca.pem")
    leaf = authority.issue_cert(TELEMETRY, *OTHERS, SERVER, "127.0.0.1")
    leaf.private_key_and_cert_chain_pem.write_to_path(folder / "leaf.pem")


def run(way: str, folder: Path) -> None:
    """Build the network, start everything, let the clients try, stop the proxy."""
    sh("ip", "link", "set", "lo", "up")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    name_hosts(folder)
    with host("c0", GATEWAY, CLIENT) as client, host("s0", "198.51.100.1", SERVER) as server:
        for inside in (client, server):
            sh("nsenter", "-t", inside, "-n", "ip", "link", "set", "lo", "up")
        serving = (sys.executable, "-m", "tests.client_upstream", folder, SERVER, 443)
        with child(*serving, inside=server), proxy(way, folder):
            wait_until(lambda: is_open(SERVER, 443), "the server listens")
            with LED[way](folder, client) as known:
                let_clients_try(way, folder, SERVER, *known, inside=client)


def name_hosts(folder: Path) -> None:
    """The server's names lead to it, and nobody is there to be asked for others."""
    (folder / "hosts").write_text(f"127.0.0.1 localhost\n{SERVER} {' '.join((TELEMETRY, *OTHERS))}\n")
    (folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    for name in ("hosts", "resolv.conf"):
        if Path("/etc", name).exists():
            sh("mount", "--bind", folder / name, Path("/etc", name))


@contextmanager
def proxy(way: str, folder: Path) -> Iterator[None]:
    """`mutewatch live`, stopped by SIGTERM at the end so that all is written."""
    command = [*LIVE, "--mode", way, "--listen-host", GATEWAY, "--listen-port", str(PROXY_PORT), "--no-activity"]
    command += ["--state", str(folder / "state"), "--set", "termlog_verbosity=info"]
    command += ["--set", f"ssl_verify_upstream_trusted_ca={folder}/upstream-ca.pem"]
    command += ["--set", f"save_stream_file={folder}/{FLOWS}"]
    with (folder / "proxy.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait_until(lambda: is_listening(PROXY_PORT, "u" if way == "wireguard" else "t"), "the proxy listens")
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


def let_clients_try(way: str, folder: Path, address: str, *known: str, inside: int | None = None) -> None:
    into = ["nsenter", "-t", str(inside), "-n"] if inside else []
    command = [*into, sys.executable, "-m", "tests.gateway_clients", str(folder), way, address, *known]
    with (folder / "seen.jsonl").open("wb") as seen:
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=seen, check=True)


# What leads clients to the proxy in each mode; gives what a client must be told.
Known = tuple[str, ...]


@contextmanager
def by_name(_folder: Path, _client: int) -> Iterator[Known]:
    yield (f"{GATEWAY}:{PROXY_PORT}",)


@contextmanager
def redirected(folder: Path, _client: int) -> Iterator[Known]:
    """By the rules that the gateway prints."""
    command = [*LIVE, "--mode", "transparent", "--listen-host", GATEWAY, "--listen-port", str(PROXY_PORT)]
    with (folder / "rules.nft").open("wb") as rules:
        subprocess.run([*command, "--print-firewall"], stdout=rules, check=True)
    sh("nft", "-f", folder / "rules.nft")
    yield ()


@contextmanager
def tunnelled(folder: Path, client: int) -> Iterator[Known]:
    """By WireGuard, with the configuration that the gateway logs."""
    log = folder / "proxy.log"
    wait_until(lambda: "Endpoint" in log.read_text(), "the configuration is logged")
    told = re.search(r"\[Interface\].*?Endpoint = \S+", log.read_text(), re.DOTALL)
    assert told is not None
    (folder / "wg.conf").write_text(re.sub(r"(Address|DNS) = .*\n", "", told[0]) + "\n")  # those two are wg-quick's
    address = dict(re.findall(r"(\w+) = (\S+)", told[0]))["Address"]
    inside = ("nsenter", "-t", client, "-n")
    with child("wireguard-go", "-f", TUNNEL, inside=client):
        shown = ["nsenter", "-t", str(client), "-n", "wg", "show", TUNNEL]
        wait_until(lambda: subprocess.run(shown, capture_output=True, check=False).returncode == 0, "the tunnel")
        sh(*inside, "wg", "setconf", TUNNEL, folder / "wg.conf")
        sh(*inside, "ip", "address", "add", address, "dev", TUNNEL)
        sh(*inside, "ip", "link", "set", TUNNEL, "mtu", 1420, "up")
        sh(*inside, "ip", "route", "replace", "default", "dev", TUNNEL)
        yield ()


LED = {"regular": by_name, "transparent": redirected, "wireguard": tunnelled}


@contextmanager
def behind_relay(folder: Path) -> Iterator[tuple[Proxy, Relay, int]]:
    """The way `upstream`, without a network of its own: a relay behind the proxy leads every name to the server.

    Gives proxy, relay, and the server's port.
    """
    port = free_port()
    relay = Relay(("127.0.0.1", port))
    proxy = Proxy(
        folder / "state",
        folder / "state" / "authority",
        relay.port,
        folder / "upstream-ca.pem",
        addon_path(),
        live={"activity": False},
        extra=[f"save_stream_file={folder}/{FLOWS}"],
    )
    try:
        with child(sys.executable, "-m", "tests.client_upstream", folder, "127.0.0.1", port):
            wait_until(lambda: is_open("127.0.0.1", port), "the server listens")
            proxy.start()
            proxy.wait_ready()
            yield proxy, relay, port
    finally:
        proxy.end()
        relay.close()


def run_upstream(folder: Path) -> None:
    with behind_relay(folder) as (proxy, _relay, _port):
        let_clients_try("upstream", folder, "127.0.0.1", f"127.0.0.1:{proxy.port}")
        proxy.stop()


if __name__ == "__main__":
    run(sys.argv[1], Path(sys.argv[2]))
