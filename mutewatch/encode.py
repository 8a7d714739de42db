"""The way back through the decode steps: from a changed text to a message that decodes to it.

What a step makes is valid and canonical, not what the client's own library would have written: one gzip member
without a name or a time, padded base64.
"""

import base64
import gzip
import zlib
from collections.abc import Callable
from typing import Final

from mutewatch.errors import DecodeError

_LEVEL: Final = 6  # the 619 real payloads have the size that this level gives


def compress(data: bytes) -> bytes:
    """Bytes to a gzip file of one member (RFC 1952)."""
    return gzip.compress(data, _LEVEL, mtime=0)


# By the names in `decode.STEPS`. The steps that parse JSON have no entry: they come last, and text is edited.
_BACK: Final[dict[str, Callable[[bytes], bytes]]] = {
    "base64": base64.b64encode,
    "gzip": compress,
    "gzip_if_magic": compress,  # of what was compressed; the rest is not to be undone
}


def undo_steps(data: bytes, steps: tuple[str, ...]) -> bytes:
    """Return what `steps` decode to `data`; DecodeError if one of them has no way back."""
    for name in reversed(steps):
        if name not in _BACK:
            raise DecodeError(f"no way back through the step {name}")
        data = _BACK[name](data)
    return data


def add_content_encoding(body: bytes, encoding: str | None) -> bytes:
    """Return `body` with the Content-Encoding that `decode.remove_content_encoding` has removed."""
    for name in (encoding or "").split(","):
        match name.strip().lower():
            case "gzip" | "x-gzip":
                body = compress(body)
            case "deflate":
                body = zlib.compress(body, _LEVEL)
            case "" | "identity":
                pass
            case _:
                raise DecodeError("no way back through this content-encoding")
    return body
