r"""Reads x64dbg logs of a hook on a client's send or encrypt function: request lines, bodies, and noise.

A hook like that prints `POST <target> HTTP/1.1` and, right behind it or on a later line, the body. Both are
reads of another process's memory, so either may be missing ("Failed to read memory..."), stand among control
bytes, or be followed by residue of older memory. Times, hosts and responses are not in such a log.

Rules:

- Every request line is a message. It takes the first body between it and the next request line, however far
  down. If there is none, the message is yielded with `body=None`: it was sent, and we could not read it.
- Every further body before the next request line is a message of its own whose request line was lost. It is
  yielded with the request line that it follows. Observed: twice in 620 bodies, each time behind "Failed to
  read memory..." and exactly one interval after the body before it, while every message without a body had
  its own interval missing; giving such a body to an older request line would hide a lost message.
- A body starts with `{` and a `"`, at the start of a line or directly behind a request line or a failed read;
  control bytes may stand between. Assumed: objects *inside* a body are indented or not at a line start.
- A body ends where the next message starts, or the debugger speaks (a line beginning 0x10 0x04, or one of its
  own sentences). Residue behind the closing brace stays: the decoder takes the first JSON value.
- Bodies are cut at `limits.body + 1` bytes, so that the decoder sees that they are too large.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mutewatch.errors import shown
from mutewatch.ports import ReadOptions
from mutewatch.records import Exchange, Origin
from pcap_tools.files import open_input
from pcap_tools.limits import DEFAULT_READ_LIMITS, ReadLimits

CHUNK = 64 << 10
_CONTEXT = 16  # bytes before a token that a pattern may look at
_DEBUGGER = (
    rb"\x10\x04|Failed to read memory|Thread [0-9A-F]+ (?:created|exit)|DLL (?:Loaded|Unloaded): "
    rb"|Log will be redirected to |Process (?:Started|Stopped)|Database file: "
)
_LOOKS_LIKE = re.compile(rb"(?m)^(?:" + _DEBUGGER + rb"|(?:POST|PUT|PATCH) \S+ HTTP/1\.\d)")


@dataclass(frozen=True, slots=True)
class _Piece:
    """A run of the log: `request` (value: its line), `body` (its brace), `debugger`, or `text`."""

    kind: str
    value: bytes
    offset: int


class ApiLogReader:
    """Yields the messages of an x64dbg hook log, in its order, in bounded memory."""

    name = "api-log"

    def __init__(self, limits: ReadLimits = DEFAULT_READ_LIMITS, chunk: int = CHUNK) -> None:
        self._limits, self._chunk = limits, chunk
        self._tokens = re.compile(
            rb"(?P<request>(?:POST|PUT|PATCH) \S{1,%d} HTTP/1\.\d)" % limits.request_target
            + rb"|(?:(?<=\n)|(?<=HTTP/1\.\d)|(?<=memory\.\.\.))[\x00-\x08\x0b-\x1f\x7f]{0,64}"
            + rb'(?P<body>\{)(?=\s{0,64}")'
            + rb"|(?<=\n)(?P<debugger>"
            + _DEBUGGER
            + rb")"
        )
        self._lookahead = limits.request_target + 256  # no token is longer

    def sniff(self, head: bytes) -> bool:
        """Does a line of `head` begin with a request line or a sentence of the debugger?"""
        return not head.lstrip().startswith(b"{") and _LOOKS_LIKE.search(head) is not None

    def read(self, path: Path, options: ReadOptions) -> Iterator[Exchange]:
        """Yield one exchange for each request line, and one for each body that has lost its own."""
        with open_input(path) as handle:
            messages = self._messages(self._pieces(handle, options))
            for ordinal, (line, body, offset) in enumerate(messages, start=1):
                yield _exchange(line, body, Origin(self.name, shown(path), ordinal=ordinal, offset=offset))

    def _messages(self, pieces: Iterator[_Piece]) -> Iterator[tuple[bytes, bytes | None, int]]:
        """Yield (request line, body or None, offset) as the module's rules attribute them."""
        line, line_at = b"", -1  # line_at: -1 once the line has its body
        body, body_at = bytearray(), -1  # body_at: -1 while no body is open
        for piece in pieces:
            if piece.kind == "text":
                if body_at >= 0:
                    body += piece.value[: self._limits.body + 1 - len(body)]
                continue
            if body_at >= 0:  # request, body and debugger all end the open body
                yield line, bytes(body), body_at
                body, body_at = bytearray(), -1
            if piece.kind == "body":
                body, body_at, line_at = bytearray(piece.value), piece.offset, -1
            elif piece.kind == "request":
                if line_at >= 0:
                    yield line, None, line_at
                line, line_at = piece.value, piece.offset
        if body_at >= 0:
            yield line, bytes(body), body_at
        elif line_at >= 0:
            yield line, None, line_at

    def _pieces(self, handle: BinaryIO, options: ReadOptions) -> Iterator[_Piece]:
        """Cut the log into tokens and the text between them, looking at one chunk at a time."""
        window, at, consumed, ended = b"\n", 1, 0, False  # the file's first line begins behind a newline too
        while not ended:
            chunk = handle.read(self._chunk)
            ended, consumed = not chunk, consumed + len(chunk)
            options.on_bytes(consumed)
            cut = max(0, at - _CONTEXT)
            window, at = window[cut:] + chunk, at - cut
            base = consumed - len(window)
            sure = len(window) if ended else max(at, len(window) - self._lookahead)
            while (token := self._tokens.search(window, at)) and (token.start() < sure or ended):
                kind = token.lastgroup or ""
                yield _Piece("text", window[at : token.start()], base + at)
                yield _Piece(kind, token[kind], base + token.start(kind))
                at = token.end()
            if at < sure:
                yield _Piece("text", window[at:sure], base + at)
                at = sure


def _exchange(line: bytes, body: bytes | None, origin: Origin) -> Exchange:
    """Return the message of a request line; an empty line is one lost at the start."""
    words = line.decode("utf-8", "replace").split(" ")
    method, target = (words[0], words[1]) if len(words) > 1 else ("POST", "")
    path, _, query = target.partition("?")
    return Exchange(
        sent_at=None,
        client=None,
        host=None,
        port=None,
        method=method,
        path=path,
        query=query,
        body=body,
        origin=origin,
    )
