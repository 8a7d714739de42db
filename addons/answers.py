"""The bodies of responses: passed on piece by piece as they come, with a copy for whoever wants to read them."""

from mitmproxy import http


class AnswerBody:
    """What mitmproxy streams a response through. Keeps up to `most` bytes; of a longer body, nothing."""

    def __init__(self, most: int) -> None:
        self._most, self._kept, self._is_short = most, bytearray(), True

    def __call__(self, piece: bytes) -> bytes:
        self._is_short &= len(self._kept) + len(piece) <= self._most
        if self._is_short:
            self._kept += piece
        else:
            self._kept.clear()
        return piece

    @property
    def body(self) -> bytes | None:
        """What has passed; None if that is too much to be kept."""
        return bytes(self._kept) if self._is_short else None


def announced_length(message: http.Message) -> int:
    """Return the Content-Length in bytes; 0 if there is none, or none that is a number."""
    length = message.headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() and len(length) < 20 else 0
