"""What a real Chromium does with the PAC file, and with a certificate that it does not trust."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.client_chromium import PageError, chromium, missing
from tests.client_upstream import read_log
from tests.gateway_clients import OTHERS, TELEMETRY, leaf_of
from tests.gateway_scene import behind_relay, make_certificates
from tests.live_support import wait_until

pytestmark = pytest.mark.live


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With the server's certificates, and a HOME for the browser."""
    if (program := missing()) is not None:
        pytest.skip(f"{program} is not installed")
    make_certificates(tmp_path)
    (tmp_path / "home").mkdir()
    return tmp_path


@contextmanager
def web_server(text: str) -> Iterator[str]:
    """A web server with one PAC file; gives its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/x-ns-proxy-autoconfig")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/proxy.pac"
    finally:
        server.shutdown()
        server.server_close()


def test_with_the_pac_file_only_telemetry_hosts_reach_the_proxy(folder: Path) -> None:
    with behind_relay(folder) as (proxy, relay, port):
        command = [sys.executable, "-m", "mutewatch", "live", "--print-pac", "--listen-port", str(proxy.port)]
        told = subprocess.run(command, capture_output=True, text=True, check=True)
        authorities = (proxy.ca_file, folder / "upstream-ca.pem")
        direct = f"--host-resolver-rules=MAP * 127.0.0.1:{port}, EXCLUDE 127.0.0.1"
        leaves = {}
        with (
            web_server(told.stdout) as url,
            chromium(folder / "home", authorities, f"--proxy-pac-url={url}", direct) as browser,
        ):
            for host in (*OTHERS, TELEMETRY, *OTHERS):
                browser.open(f"https://{host}/")
                leaves[host] = browser.leaf(f"https://{host}")
        proxy.stop()
    server_leaf = leaf_of((folder / "leaf.pem").read_text())
    assert {host for host, leaf in leaves.items() if leaf == server_leaf} == set(OTHERS)
    assert set(relay.asked) == {f"{TELEMETRY}:443"}
    assert {one.host for one in read_log(folder)} == {TELEMETRY, *OTHERS}
    assert proxy.status()["messages"] == 1


def test_a_browser_that_does_not_trust_us_fails_once_and_is_then_let_through(folder: Path) -> None:
    url = f"https://{TELEMETRY}/"
    with behind_relay(folder) as (proxy, _relay, _port):
        where = f"--proxy-server=http://127.0.0.1:{proxy.port}"
        with chromium(folder / "home", [folder / "upstream-ca.pem"], where) as browser:
            with pytest.raises(PageError, match="ERR_CERT_AUTHORITY_INVALID"):
                browser.open(url)
            wait_until(lambda: proxy.status().get("refused_by_client", 0) > 0, "the refusal is counted")
            browser.open(url)
            assert browser.leaf(url) == leaf_of((folder / "leaf.pem").read_text())
        proxy.stop()
    assert proxy.status()["pinned"] > 0
    assert proxy.status()["messages"] == 0
