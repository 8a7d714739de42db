"""Raw load from a process of its own: pipelined messages on many connections, at a rate, answered or not.

    python -m bench.faults.blast < settings.json > outcomes.json

Unlike the clients of `load.py` these do not wait for an answer before the next message, so that more can be offered
than the proxy can do. What does not fit into the socket's buffer of a connection is not offered.
"""

import asyncio
import contextlib
import json
import re
import ssl
import sys
from dataclasses import asdict, dataclass

from bench.faults.books import CUT
from bench.faults.kill_live import PATH, telemetry_body
from bench.faults.load import outcome_of
from tests.live_support import TELEMETRY, sha256

TICK = 0.05  # seconds
BUFFERED = 256 << 10  # bytes of one connection that may wait in this process
FIRST_CLIENT = 2000
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


@dataclass(frozen=True)
class Blast:
    port: int
    ca_file: str
    connections: int
    rate: float  # messages a second, of all connections
    seconds: float


class _Connection:
    def __init__(self, number: int, blast: Blast) -> None:
        count = int(blast.rate * blast.seconds / blast.connections) + 1
        self._bodies = [telemetry_body(FIRST_CLIENT + number, n, seed=1) for n in range(count)]
        self._digests = [sha256(body) for body in self._bodies]
        self._written, self._statuses = 0, list[int]()

    async def run(self, blast: Blast) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", blast.port)
            writer.write(f"CONNECT {TELEMETRY}:443 HTTP/1.1\r\nHost: {TELEMETRY}:443\r\n\r\n".encode())
            await reader.readuntil(b"\r\n\r\n")
            context = ssl.create_default_context(cafile=blast.ca_file)
            await writer.start_tls(context, server_hostname=TELEMETRY)
            reading = asyncio.create_task(self._read(reader))
            await self._write(writer, blast)
            reading.cancel()
            writer.transport.abort()

    async def _write(self, writer: asyncio.StreamWriter, blast: Blast) -> None:
        loop = asyncio.get_running_loop()
        began, rate = loop.time(), blast.rate / blast.connections
        while (passed := loop.time() - began) < blast.seconds and not writer.transport.is_closing():
            due = min(int(rate * passed) + 1, len(self._bodies))
            while self._written < due and writer.transport.get_write_buffer_size() < BUFFERED:
                body = self._bodies[self._written]
                head = f"POST {PATH} HTTP/1.1\r\nHost: {TELEMETRY}\r\nContent-Length: {len(body)}\r\n\r\n"
                writer.write(head.encode() + body)
                self._written += 1
            await asyncio.sleep(TICK)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        rest = b""
        while data := await reader.read(65536):
            *lines, rest = (rest + data).split(b"\n")
            self._statuses += [int(found[1]) for line in lines if (found := STATUS.match(line))]

    def outcomes(self) -> dict[str, str]:
        """Answers come in the order of the messages."""
        known = [outcome_of(status) for status in self._statuses]
        written = self._digests[: self._written]
        return dict(zip(written, known + [CUT] * (len(written) - len(known)), strict=True))


async def run(blast: Blast) -> dict[str, str]:
    """Offer all of it; return what became of each message by SHA-256, as far as its client knows."""
    connections = [_Connection(number, blast) for number in range(blast.connections)]
    await asyncio.gather(*(connection.run(blast) for connection in connections))
    return {digest: outcome for connection in connections for digest, outcome in connection.outcomes().items()}


def command(blast: Blast) -> tuple[list[str], bytes]:
    """Return how to start it, and what to write to its standard input."""
    return [sys.executable, "-m", "bench.faults.blast"], json.dumps(asdict(blast)).encode()


def main() -> None:
    json.dump(asyncio.run(run(Blast(**json.load(sys.stdin)))), sys.stdout)


if __name__ == "__main__":
    main()
