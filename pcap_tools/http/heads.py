"""Reads the head of an HTTP/1 message, and says from it how the body is framed (RFC 9112, sections 2 to 6).

Lenient, as recorded traffic was accepted by somebody: bare LF, obs-fold, spaces around names and in targets.
Strict where a head is looked for in the middle of a stream: `looks_like_start`.
"""

import re
from dataclasses import dataclass
from enum import Enum, auto

from pcap_tools.http.message import Headers
from pcap_tools.stream import Side

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
_METHOD = re.compile(_TOKEN + rb"{1,64}")
_VERSION = re.compile(rb"HTTP/1\.[0-9]")
_STRICT = {
    Side.CLIENT: re.compile(_TOKEN + rb"{1,32} [\x21-\x7e]{1,8192} HTTP/1\.[01]\r?\n"),
    Side.SERVER: re.compile(rb"HTTP/1\.[01] [1-5][0-9][0-9](?: [^\r\n]{0,200})?\r?\n"),
}
_BEGUN = {
    Side.CLIENT: re.compile(_TOKEN + rb"{1,32}(?: [\x21-\x7e]{0,8192}(?: [^\n]{0,9})?)?\Z"),
    Side.SERVER: re.compile(rb"H(?:T(?:T(?:P(?:/(?:1(?:\.[^\n]{0,210})?)?)?)?)?)?\Z"),
}
_END = re.compile(rb"\n\r?\n")
_DIGITS = 18  # of a Content-Length: an exabyte; int() of thousands of digits is slow


@dataclass(frozen=True, slots=True)
class Head:
    """The first line and fields of a message; `method` and `target` of a request, `status` of a response."""

    version: str
    headers: Headers
    method: str = ""
    target: str = ""
    status: int = 0

    def get(self, name: str) -> str | None:
        """Return the first value of the field `name` (lower case)."""
        return next((value for key, value in self.headers if key.lower() == name), None)

    def tokens(self, name: str) -> set[str]:
        """Return the comma-separated tokens of all fields `name`, in lower case."""
        values = (value for key, value in self.headers if key.lower() == name)
        return {token.strip().lower() for value in values for token in value.split(",") if token.strip()}


class Kind(Enum):
    """How a body ends."""

    NONE = auto()
    LENGTH = auto()
    CHUNKED = auto()
    CLOSE = auto()  # with the connection
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class Framing:
    kind: Kind
    length: int = 0
    lost: str | None = None  # why the body cannot be read although its end is found


def head_end(data: bytearray, start: int) -> int | None:
    """Return the offset behind the empty line that ends a head; None: it is not there yet."""
    found = _END.search(data, max(0, start))
    return found.end() if found else None


def looks_like_start(side: Side, data: bytearray, offset: int) -> bool:
    """Does a request line or status line, with its line end, stand at `offset`?"""
    return _STRICT[side].match(data, offset) is not None


def may_become_start(side: Side, data: bytearray, offset: int) -> bool:
    """May what stands at `offset`, up to the end, be the beginning of a first line?"""
    return _BEGUN[side].match(data, offset) is not None


def parse_head(side: Side, raw: bytes) -> Head | None:
    """Return the head in `raw`, without the lines that are none; None if its first line is not HTTP/1."""
    first, *lines = raw.split(b"\n")
    words = first.strip().split()
    headers = _fields(lines)
    if side is Side.SERVER:
        if len(words) < 2 or not _VERSION.fullmatch(words[0]) or len(words[1]) != 3 or not words[1].isdigit():
            return None
        return Head(words[0].decode(), headers, status=int(words[1]))
    if len(words) < 3 or not _VERSION.fullmatch(words[-1]) or not _METHOD.fullmatch(words[0]):
        return None
    target = first.strip()[len(words[0]) : -len(words[-1])].strip().decode("latin-1")
    return Head(words[-1].decode(), headers, words[0].decode(), target)


def _fields(lines: list[bytes]) -> Headers:
    """Return the header fields of a head; a line that begins with a space goes on with the one before (5.2)."""
    fields: list[tuple[str, str]] = []
    for line in lines:
        text = line.decode("latin-1")
        if text[:1] in (" ", "\t") and fields and text.strip():
            name, value = fields[-1]
            fields[-1] = (name, f"{value} {text.strip()}")
            continue
        name, colon, value = text.partition(":")
        if colon and name.strip():
            fields.append((name.strip(), value.strip()))
    return tuple(fields)


def request_framing(head: Head) -> Framing:
    """Return how the body of a request is framed (6.3); without a length it has none."""
    codings = _codings(head)
    if codings and codings[-1] != "chunked":
        return Framing(Kind.UNKNOWN, lost=f"transfer-encoding {codings[-1][:40]}")
    if codings:
        return _chunked(codings)
    return _length(head) or Framing(Kind.NONE)


def response_framing(head: Head, method: str | None) -> Framing:
    """Return how the body of a final response to a `method` request is framed (6.3)."""
    if method == "HEAD" or head.status in (204, 304):
        return Framing(Kind.NONE)
    codings = _codings(head)
    if codings and codings[-1] != "chunked":
        return Framing(Kind.CLOSE, lost=f"transfer-encoding {codings[-1][:40]}")
    if codings:
        return _chunked(codings)
    return _length(head) or Framing(Kind.CLOSE)


def _chunked(codings: list[str]) -> Framing:
    """Chunked wins over a Content-Length (6.3, 3). What lies below the chunks is not removed here."""
    below = [coding for coding in codings[:-1] if coding != "identity"]
    return Framing(Kind.CHUNKED, lost=f"transfer-encoding {below[0][:40]}" if below else None)


def _codings(head: Head) -> list[str]:
    """Return the transfer codings in their order, in lower case."""
    values = (value for name, value in head.headers if name.lower() == "transfer-encoding")
    codings = [word.strip().lower() for value in values for word in value.split(",") if word.strip()]
    return [] if codings == ["identity"] else codings


def _length(head: Head) -> Framing | None:
    """Return the framing that Content-Length gives; the same one several times is one (6.3, 5)."""
    values = (value for name, value in head.headers if name.lower() == "content-length")
    lengths = {word.strip() for value in values for word in value.split(",")}
    if not lengths:
        return None
    digits = {text.lstrip("0") or "0" if text.isascii() and text.isdecimal() else "" for text in lengths}
    good = {int(text) for text in digits if 0 < len(text) <= _DIGITS}
    if len(good) == 1 == len(digits):
        return Framing(Kind.LENGTH, good.pop())
    return Framing(Kind.UNKNOWN, lost="contradictory Content-Length")
