"""The second opinion: what tshark itself finds in a capture. Slow (half a second a file), and blind to much loss."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


def tshark_requests(path: Path) -> list[tuple[str, str, str, bytes | None]]:
    """Return (method, Host field, target, body) of each HTTP/1 request that tshark shows; None: it shows no body.

    Left out are requests whose first line does not end with a version, of one digit and another.
    """
    command = ["tshark", "-n", "-r", str(path), "-T", "json", "-x", "--no-duplicate-keys", "-J", "http data"]
    command += ["-Y", "http.request.version and tcp"]
    for option in _OPTIONS:
        command += ["-o", option]
    done = subprocess.run(command, capture_output=True, check=False, timeout=240)
    return [
        request for packet in json.loads(done.stdout or b"[]") for request in _requests(packet["_source"]["layers"])
    ]


def _requests(layers: dict[str, Any]) -> Iterator[tuple[str, str, str, bytes | None]]:
    """Yield the requests of one packet."""
    several = layers["http"] if isinstance(layers["http"], list) else [layers["http"]]
    for layer in several:
        fields: dict[str, Any] = {}
        _gather(layer, fields)
        if len(several) == 1:
            _gather(layers.get("data"), fields)
        if re.fullmatch(r"HTTP/1\.\d", fields.get("http.request.version", "")):
            method, host, target = (
                fields.get(f"http.{name}", "") for name in ("request.method", "host", "request.uri")
            )
            yield method, host, target, fields.get("http.file_data_raw", fields.get("data.data_raw"))


def _gather(value: object, fields: dict[str, Any]) -> None:
    """Take the first of each of a layer's fields: the bytes of those that end in _raw, else the text that is shown."""
    for key, inner in value.items() if isinstance(value, dict) else ():
        if isinstance(inner, dict):
            _gather(inner, fields)
        elif isinstance(inner, str):
            fields.setdefault(key, inner)
        elif key.endswith("_raw"):
            for data in _hex(inner):
                fields.setdefault(key, data)
