"""Looks for the names of audio-derived values in a message that no signature knows: `names_audio`.

A telemetry host may begin to use another path, method or envelope; what it sends then must not pass as nothing.
Nothing is known of such a message, so nothing is parsed: its bytes are searched, and whatever can be found in them
packed as base64 or gzip. Names that are spelled with escapes (JSON, URLs) or two bytes a character are found, too.
"""

import base64
import binascii
import re
import zlib
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import unquote_to_bytes

from mutewatch import decode
from mutewatch.decode import Budget
from mutewatch.errors import DecodeError
from mutewatch.limits import DEFAULT_LIMITS, Limits

_GZIP: Final = b"\x1f\x8b\x08"  # RFC 1952, 2.3, with deflate in it
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/_-]{32,}")  # shorter texts hold no name and its value
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
_ESCAPED: Final = re.compile(rb"\\+u00([2-7][0-9A-Fa-f])")


def name_pattern(names: Iterable[str]) -> re.Pattern[str] | None:
    """Return what finds one of `names` in a text, in any case; None without names.

    Some parsers take a key in any case for the same key. Long names come first: a short one may begin another.
    """
    words = sorted(names, key=lambda name: (-len(name), name))
    return re.compile(rf"(?:{'|'.join(map(re.escape, words))})(?!\w)", re.IGNORECASE | re.ASCII) if words else None


def names_audio(
    body: bytes | None, content_encoding: str | None, names: frozenset[str], limits: Limits = DEFAULT_LIMITS
) -> bool | None:
    """Does one of `names` stand in `body`, however packed? None if not all of it could be searched."""
    pattern = name_pattern(names)
    if pattern is None:
        return False
    if body is None or len(body) > limits.body:
        return None
    try:
        layer = [decode.remove_content_encoding(body, content_encoding, Budget(limits))]
        search = _Search(pattern, [name.lower().encode() for name in names], limits.inflated_total)
        for _ in range(2 * limits.redact_layers + 2):  # base64 and gzip are two, for redaction one
            if any(map(search.finds, layer)):
                return True
            layer = [inner for data in layer for inner in search.inside(data)]
    except DecodeError:
        return None
    return False if not layer else None


class _Search:
    """The search of one message; `allowed` is what may still come out of gzip, in bytes."""

    def __init__(self, pattern: re.Pattern[str], words: list[bytes], allowed: int) -> None:
        self._pattern, self._words, self._allowed = pattern, words, allowed

    def finds(self, data: bytes) -> bool:
        """Does a name stand in `data` itself?"""
        for spelling in _spellings(data):
            lower = spelling.lower()
            # Some twenty searches for a fixed word are faster than one for all.
            if any(word in lower for word in self._words) and self._pattern.search(spelling.decode("latin-1")):
                return True
        return False

    def inside(self, data: bytes) -> Iterator[bytes]:
        """Yield whatever is packed in `data`. DecodeError if that is more than is allowed."""
        for spelling in _spellings(data):
            for found in _BASE64.finditer(spelling.replace(b"\\/", b"/")):
                text = found[0].translate(_URL_SAFE)
                try:
                    yield base64.b64decode(text[: len(text) // 4 * 4])
                except binascii.Error:
                    continue
        start = data.find(_GZIP)
        while start >= 0:
            yield self._inflated(data[start:])
            start = data.find(_GZIP, start + 1)

    def _inflated(self, data: bytes) -> bytes:
        inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
        try:
            inner = inflater.decompress(data, self._allowed + 1)
        except zlib.error:
            return b""
        self._allowed -= len(inner)
        if self._allowed < 0:
            raise DecodeError("gzip: more comes out of it than may be searched")
        return inner


def _spellings(data: bytes) -> Iterator[bytes]:
    """Yield `data`, and without each kind of escape that occurs in it."""
    yield data
    if b"\\u00" in data:
        yield _ESCAPED.sub(lambda found: bytes.fromhex(found[1].decode()), data)
    if b"%" in data:
        yield unquote_to_bytes(data)
    if b"\0" in data:
        yield data.replace(b"\0", b"")
