"""The second opinion: what tshark itself finds in a capture. Slow (half a second a file), and blind to much loss."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

_FIELDS = {
    "http.file_data_raw",
    "data.data_raw",  # where a body with Content-Encoding stands
    "http2.data.data_raw",
    "http2.body.reassembled.data_raw",
    "websocket.payload_raw",
}
_OPTIONS = ("tcp.reassemble_out_of_order:TRUE", "http.decompress_body:FALSE")


def tshark_bodies(path: Path, keylog: Path | None = None) -> list[bytes]:
    """Return every body that tshark shows for HTTP/1.1, HTTP/2 and websockets, both directions, as sent."""
    command = ["tshark", "-r", str(path), "-T", "json", "-x", "--no-duplicate-keys", "-J", "http http2 websocket data"]
    command += ["-Y", "http or http2.data.data or websocket"]
    for option in (*_OPTIONS, *([f"tls.keylog_file:{keylog}"] if keylog else [])):
        command += ["-o", option]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    return list(_raw(json.loads(done.stdout or b"[]")))


def _raw(value: object) -> Iterator[bytes]:
    if isinstance(value, list):
        for inner in value:
            yield from _raw(inner)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key in _FIELDS:
                yield from _hex(inner)
            else:
                yield from _raw(inner)


def _hex(value: list[object]) -> Iterator[bytes]:
    """Yield the bytes of one field, [hex, position, …], or of several of them."""
    if value and isinstance(value[0], str):
        yield bytes.fromhex(value[0])
    else:
        for inner in value:
            if isinstance(inner, list):
                yield from _hex(inner)
