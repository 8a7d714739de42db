"""Looks for the names of audio-derived values in a message that no signature knows: `names_audio`.

A telemetry host may begin to use another path, method or envelope; what it sends then must not pass as nothing.
Nothing is known of such a message, so nothing is parsed: its bytes are searched, and whatever can be found in them
packed as base64 or gzip. Names that are spelled with escapes (JSON, URLs) or two bytes a character are found, too.
"""

import binascii
import re
import zlib
from collections.abc import Iterable, Iterator
from typing import Final

from mutewatch import decode
from mutewatch.decode import Budget
from mutewatch.errors import DecodeError
from mutewatch.limits import DEFAULT_LIMITS, Limits

_GZIP: Final = b"\x1f\x8b\x08"  # RFC 1952, 2.3, with deflate in it
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/_-]{32,}")  # shorter texts hold no name and its value
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
_PERCENT: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_ESCAPED: Final = re.compile(rb"(?<!\\)\\++u00([2-7][0-9A-Fa-f])")  # a run is tried once, from its first


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
        search = _Search(pattern, [name.lower().encode() for name in names], limits)
        for _ in range(2 * limits.redact_layers + 2):  # base64 and gzip are two, for redaction one
            spelled = [list(_spellings(data)) for data in layer]
            if any(search.finds(spelling) for spellings in spelled for spelling in spellings):
                return True
            layer = list(dict.fromkeys(inner for spellings in spelled for inner in search.inside(spellings)))
    except DecodeError:
        return None
    return False if not layer else None


class _Search:
    """The search of one message: so many bytes may still come out of what is packed in it, and so many gzip files."""

    def __init__(self, pattern: re.Pattern[str], words: list[bytes], limits: Limits) -> None:
        self._pattern, self._words = pattern, words
        self._bytes, self._files = limits.inflated_total, limits.elements

    def finds(self, spelling: bytes) -> bool:
        """Does a name stand in it, as it is?"""
        lower = spelling.lower()
        # Some twenty searches for a fixed word are faster than one for all.
        is_there = any(word in lower for word in self._words)
        return is_there and self._pattern.search(spelling.decode("latin-1")) is not None

    def inside(self, spellings: list[bytes]) -> Iterator[bytes]:
        """Yield whatever is packed in data that is spelled so, first as it is. DecodeError if it is too much."""
        for spelling in spellings:
            for found in _BASE64.finditer(spelling.replace(b"\\/", b"/")):
                text = found[0].translate(_URL_SAFE)
                yield self._counted(binascii.a2b_base64(text[: len(text) // 4 * 4]))
        data = spellings[0]
        start = data.find(_GZIP)
        while start >= 0:
            self._files -= 1
            if self._files < 0:
                raise DecodeError("gzip: more files than may be searched")
            yield self._counted(self._inflated(data[start:]))
            start = data.find(_GZIP, start + 1)

    def _inflated(self, data: bytes) -> bytes:
        try:
            return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(data, self._bytes + 1)
        except zlib.error:  # three bytes that only look like a beginning
            return b""

    def _counted(self, inner: bytes) -> bytes:
        self._bytes -= len(inner)
        if self._bytes < 0:
            raise DecodeError("more is packed than may be searched")
        return inner


def _spellings(data: bytes) -> Iterator[bytes]:
    """Yield `data`, and without each kind of escape that occurs in it."""
    yield data
    if b"\\u00" in data:
        yield _ESCAPED.sub(lambda found: bytes.fromhex(found[1].decode()), data)
    if b"%" in data:
        yield _PERCENT.sub(lambda found: bytes.fromhex(found[1].decode()), data)
    if b"\0" in data:
        yield data.replace(b"\0", b"")
