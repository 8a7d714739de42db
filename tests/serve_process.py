"""`mutewatch serve` as its own process."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Server:
    """A running server: where it is, and the link it printed, if it did."""

    url: str
    link: str | None
    process: "subprocess.Popen[str]"


def command(state: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "mutewatch", "serve", "--state", str(state), *options]


@contextmanager
def running(state: Path, *options: str, listen: str = "127.0.0.1:0") -> Iterator[Server]:
    """Start a server on a port of its own choice, and end it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = command(state, "--listen", listen, *options)
    with subprocess.Popen(started, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout
            first = process.stdout.readline()
            assert first.startswith("Serving at "), first
            has_link = "--no-token" not in options and not (state / "serve.tokens").exists()
            link = [process.stdout.readline() for _ in range(2)][1].strip() if has_link else None
            yield Server(first.split()[2].rstrip("/"), link, process)
        finally:
            process.terminate()
            process.wait(20)
