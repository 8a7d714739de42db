"""Serves /metrics and /healthz from a thread of its own, so bounded that no client of it can hurt the proxy.

| limit | value | on hit |
|---|---|---|
| connections at a time | 16 | the newest is closed |
| seconds of one connection | 5 | closed |
| bytes of a request's head | 8,192 | closed |
| age of a page | 1 s | made anew; in between all get the same |

A request is answered and its connection closed. Nothing that it holds is repeated, but for which page is meant.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

CONNECTIONS = 16
SECONDS = 5.0
HEAD_BYTES = 8192
FRESH_SECONDS = 1.0
START_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Page:
    """What is answered."""

    status: int
    kind: str
    text: bytes


REASONS = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 500: "Internal Server Error"}
NOT_FOUND = Page(404, "text/plain", b"there are /metrics and /healthz\n")
NOT_ALLOWED = Page(405, "text/plain", b"GET or HEAD\n")
FAULT = Page(500, "text/plain", b"the page could not be made\n")


class MetricsServer:
    """`pages`: by path, what makes the page; called on the server's thread."""

    def __init__(
        self, pages: Mapping[str, Callable[[], Page]], *, connections: int = CONNECTIONS, seconds: float = SECONDS
    ) -> None:
        self._pages, self._connections, self._seconds = pages, connections, seconds
        self._made: dict[str, tuple[float, Page]] = {}
        self._open = 0
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._started = threading.Event()
        self._error: OSError | None = None
        self._thread: threading.Thread | None = None
        self.port = 0

    def start(self, host: str, port: int) -> None:
        """Return once it listens. Raises OSError."""
        self._thread = threading.Thread(target=self._run, args=(host, port), name="mutewatch-metrics", daemon=True)
        self._thread.start()
        self._started.wait(START_SECONDS)
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Stop listening; may be called twice."""
        if self._thread is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(START_SECONDS)

    def _run(self, host: str, port: int) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve(host, port))

    async def _serve(self, host: str, port: int) -> None:
        try:
            server = await asyncio.start_server(self._answer, host, port, limit=HEAD_BYTES, backlog=self._connections)
        except OSError as error:
            self._error = error
            self._started.set()
            return
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= self._connections:
                async with asyncio.timeout(self._seconds):
                    await self._respond(reader, writer)
                    writer.close()
                    await writer.wait_closed()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # its own fault, and of no interest
        finally:
            self._open -= 1
            writer.transport.abort()

    async def _respond(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        words = (await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")[0].split()
        if len(words) != 3 or words[0] not in (b"GET", b"HEAD"):
            page = NOT_ALLOWED
        else:
            page = self._page(words[1].partition(b"?")[0].decode("ascii", "replace"))
        head = (
            f"HTTP/1.1 {page.status} {REASONS.get(page.status, 'Service Unavailable')}\r\n"
            f"Content-Type: {page.kind}\r\nContent-Length: {len(page.text)}\r\n"
            "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
        )
        writer.write(head.encode() + (b"" if words and words[0] == b"HEAD" else page.text))
        await writer.drain()

    def _page(self, path: str) -> Page:
        make, now = self._pages.get(path), time.monotonic()
        if make is None:
            return NOT_FOUND
        made_at, page = self._made.get(path, (0.0, FAULT))
        if path not in self._made or now - made_at > FRESH_SECONDS:
            try:
                page = make()
            except Exception:  # our own fault; the proxy goes on, and whoever watches is told
                page = FAULT
            self._made[path] = (time.monotonic(), page)
        return page
