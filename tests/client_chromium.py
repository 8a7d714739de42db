"""A headless Chromium for the tests: its own profile, its own trusted CAs, and the chain that each page showed.

Driven over the DevTools protocol (https://chromedevtools.github.io/devtools-protocol/), one page at a time. The CAs
are in an NSS database below a HOME of its own, as an operator would install one; nothing else about certificates is
switched off.
"""

import base64
import contextlib
import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.client_websocket import WebSocket

PROGRAMS = ("chromium", "google-chrome")  # chromium-headless-shell is smaller, but knows no PAC files
SECONDS = 30.0
LOADS = 5  # at most: networks come and go with the tests, and the browser drops what it loads when it sees that
# No sandbox: its namespaces are not to be had in ours. No shared memory: /dev/shm is small in containers.
SWITCHES = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--remote-debugging-port=0",
)


class PageError(Exception):
    """A page that did not load, or a script in it that failed; in Chromium's words."""


def missing() -> str | None:
    """Which program is not installed here? None if all are."""
    if not any(map(shutil.which, PROGRAMS)):
        return PROGRAMS[0]
    return None if shutil.which("certutil") else "certutil (libnss3-tools)"


class Chromium:
    """A running browser with one page."""

    def __init__(self, page: WebSocket) -> None:
        self._page, self._last = page, 0
        self.call("Network.enable")  # else it gives no certificates

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Return the answer to one command. Raises PageError."""
        self._last += 1
        self._page.send(json.dumps({"id": self._last, "method": method, "params": parameters}))
        while (answer := self._read()).get("id") != self._last:  # events come in between
            pass
        if "error" in answer:
            raise PageError(f"{method}: {answer['error']['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    def open(self, url: str) -> None:
        """Return once the page is loaded. Raises PageError, with a code such as net::ERR_CERT_AUTHORITY_INVALID."""
        for _ in range(LOADS):
            error = self.call("Page.navigate", url=url).get("errorText")
            if error != "net::ERR_NETWORK_CHANGED":
                break
        if error:
            raise PageError(error)
        is_loaded = "document.readyState === 'complete'"
        self.evaluate(f"new Promise(done => {is_loaded} ? done() : addEventListener('load', () => done()))")

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression, awaited. Raises PageError."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if thrown := found.get("exceptionDetails"):
            raise PageError(thrown.get("exception", {}).get("description", thrown["text"]))
        return found["result"].get("value")

    def leaf(self, origin: str) -> str:
        """Return the SHA-256 of the leaf that `origin` showed."""
        chain = self.call("Network.getCertificate", origin=origin)["tableNames"]
        return hashlib.sha256(base64.b64decode(chain[0])).hexdigest()

    def _read(self) -> dict[str, Any]:
        payload = self._page.receive()
        if payload is None:
            raise PageError("the browser is gone")
        message: dict[str, Any] = json.loads(payload)
        return message


@contextlib.contextmanager
def chromium(home: Path, trusting: Sequence[Path], *switches: str) -> Iterator[Chromium]:
    """A browser that trusts the CAs in the files `trusting` (and what the system trusts); gone afterwards."""
    _trust(home, trusting)
    program = next(filter(None, map(shutil.which, PROGRAMS)))
    profile = home / "profile"
    command = [program, *SWITCHES, f"--user-data-dir={profile}", *switches, "about:blank"]
    with (home / "chromium.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            env=os.environ | {"HOME": str(home)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # the program may be a shell script that waits for the browser
        )
        try:
            with WebSocket.connect(*_page(profile / "DevToolsActivePort", process)) as page:
                yield Chromium(page)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _trust(home: Path, trusting: Sequence[Path]) -> None:
    database = home / ".pki" / "nssdb"
    database.mkdir(parents=True)
    where = ["certutil", "-d", f"sql:{database}"]
    subprocess.run([*where, "-N", "--empty-password"], check=True)
    for ca in trusting:
        subprocess.run([*where, "-A", "-t", "C,,", "-n", ca.parent.name + ca.name, "-i", ca], check=True)


def _page(file: Path, process: subprocess.Popen[bytes]) -> tuple[socket.socket, str, str]:
    """Return a socket, host and path of the one page's debugger. `file` is where the browser writes its port."""
    deadline = time.monotonic() + SECONDS
    while not file.exists() or "\n" not in file.read_text():
        if process.poll() is not None or time.monotonic() > deadline:
            raise PageError(f"the browser did not start (exit code {process.poll()})")
        time.sleep(0.02)
    port = int(file.read_text().splitlines()[0])
    asking = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    asking.request("GET", "/json/list")
    pages = [each for each in json.load(asking.getresponse()) if each["type"] == "page"]
    asking.close()
    path = pages[0]["webSocketDebuggerUrl"].partition(f":{port}")[2]
    return socket.create_connection(("127.0.0.1", port), timeout=SECONDS), f"127.0.0.1:{port}", path
