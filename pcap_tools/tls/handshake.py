"""Reads the two messages of a TLS handshake that go in the clear: ClientHello and ServerHello (RFC 8446, 4.1)."""

import contextlib
import re
import struct
from dataclasses import dataclass

CLIENT_HELLO, SERVER_HELLO = 1, 2
HANDSHAKE = 22
_LONGEST_RECORD = (1 << 14) + 2048  # RFC 5246, 6.2.3
_LONGEST_HELLO = 1 << 16  # the length has 24 bits; post-quantum key shares need 2 KiB
_SERVER_NAME, _ALPN, _ENCRYPT_THEN_MAC, _EARLY_DATA, _VERSIONS, _ECH = 0, 16, 22, 42, 43, 0xFE0D
_NOT_PRINTABLE = re.compile(rb"[^\x21-\x7e]")
_RETRY_RANDOM = bytes.fromhex(  # SHA-256 of "HelloRetryRequest" (RFC 8446, 4.1.3)
    "cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c"
)


class HandshakeError(ValueError):
    """The message is not what it says it is."""


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What a client says first. `sni` is in lower case, ASCII; None: it names nobody."""

    random: bytes
    session_id: bytes
    sni: str | None
    alpn: tuple[str, ...]
    has_ech: bool  # a real one or GREASE: that cannot be told apart
    offers_early_data: bool


@dataclass(frozen=True, slots=True)
class ServerHello:
    """What a server answers. `version`: 0x0303 for TLS 1.2, 0x0304 for TLS 1.3."""

    random: bytes
    session_id: bytes
    cipher_suite: int
    version: int
    encrypt_then_mac: bool
    is_retry: bool


def parse_client_hello(message: bytes) -> ClientHello:
    """Return the ClientHello in a handshake message with its header. Raises HandshakeError."""
    try:
        body = _body(message, CLIENT_HELLO)
        at = 34 + 1 + body[34]
        session_id = body[35:at]
        at += 2 + int.from_bytes(body[at : at + 2], "big")
        at += 1 + body[at]
        extensions = _extensions(body, at)
    except (IndexError, struct.error):
        raise HandshakeError("the ClientHello ends too soon") from None
    return ClientHello(
        random=body[2:34],
        session_id=session_id,
        sni=_server_name(extensions.get(_SERVER_NAME, b"")),
        alpn=_protocols(extensions.get(_ALPN, b"")),
        has_ech=_ECH in extensions,
        offers_early_data=_EARLY_DATA in extensions,
    )


def parse_server_hello(message: bytes) -> ServerHello:
    """Return the ServerHello in a handshake message with its header. Raises HandshakeError."""
    try:
        body = _body(message, SERVER_HELLO)
        at = 34 + 1 + body[34]
        suite, _compression = struct.unpack_from(">HB", body, at)
        extensions = _extensions(body, at + 3)
    except (IndexError, struct.error):
        raise HandshakeError("the ServerHello ends too soon") from None
    version = int.from_bytes(extensions.get(_VERSIONS, body[:2])[:2], "big")
    random = body[2:34]
    is_etm = _ENCRYPT_THEN_MAC in extensions
    return ServerHello(random, body[35:at], suite, version, is_etm, random == _RETRY_RANDOM)


def glance(data: bytes | bytearray, at: int, end: int) -> tuple[bytes, str | None] | None:
    """Return client_random and server name of a ClientHello that is whole in data[at:end]; None if it is not.

    The same as `client_hello_from_records` says, where it says anything, at a tenth of the time: most
    ClientHellos of a capture are not ours.
    """
    try:
        if end - at < 5 + (data[at + 3] << 8 | data[at + 4]) or data[at + 5] != CLIENT_HELLO:
            return None
        body_end = at + 9 + (data[at + 6] << 16 | data[at + 7] << 8 | data[at + 8])
        if body_end != at + 5 + (data[at + 3] << 8 | data[at + 4]):
            return None
        random = bytes(data[at + 11 : at + 43])
        at += 44 + data[at + 43]
        at += 2 + (data[at] << 8 | data[at + 1])
        at += 1 + data[at]
        list_end = at + 2 + (data[at] << 8 | data[at + 1])
        at += 2
        while at + 4 <= list_end == body_end:
            size = data[at + 2] << 8 | data[at + 3]
            if data[at] == data[at + 1] == 0:  # server_name
                return random, _server_name(bytes(data[at + 4 : at + 4 + size]))
            at += 4 + size
    except IndexError:
        return None
    return (random, None) if at == list_end == body_end else None


def client_hello_from_records(data: bytes) -> ClientHello | int | None:
    """Look for a ClientHello at the beginning of a client's stream.

    Return it, or how many bytes are missing of it at least, or None: this is no ClientHello.
    """
    message, at = b"", 0
    while True:
        head = data[at : at + 5]
        if not _may_be_record(head):
            return None
        if len(head) < 5:
            return 5 - len(head)
        length = int.from_bytes(head[3:], "big")
        message += data[at + 5 : at + 5 + length]
        wanted = 4 + int.from_bytes(message[1:4], "big") if len(message) >= 4 else 4
        if (message and message[0] != CLIENT_HELLO) or wanted > _LONGEST_HELLO:
            return None
        if len(message) >= wanted > 4:
            with contextlib.suppress(HandshakeError):
                return parse_client_hello(message[:wanted])
            return None
        if at + 5 + length >= len(data):
            return wanted - len(message) if len(message) < wanted else 1
        at += 5 + length


def begun_client_hello(data: bytes) -> ClientHello | None:
    """Return what the first bytes of a client's stream say of a ClientHello that is not all there.

    None if not even its random is. The rest is as far as it goes: a name that is cut off is no name.
    """
    body = b""
    while _may_be_record(data[:5]) and len(data) > 5:
        length = int.from_bytes(data[3:5], "big")
        body, data = body + data[5 : 5 + length], data[5 + length :]
    body = body[4:]
    if len(body) < 34:
        return None
    extensions: dict[int, bytes] = {}
    with contextlib.suppress(IndexError, struct.error):
        at = 35 + body[34]
        at += 2 + int.from_bytes(body[at : at + 2], "big")
        extensions = _extensions(body, at + 1 + body[at])
    name = extensions.get(_SERVER_NAME, b"")
    is_whole = len(name) >= 5 + int.from_bytes(name[3:5], "big")
    return ClientHello(
        random=body[2:34],
        session_id=body[35 : 35 + body[34]] if len(body) > 34 else b"",
        sni=_server_name(name) if is_whole else None,
        alpn=(),
        has_ech=_ECH in extensions,
        offers_early_data=False,
    )


def _may_be_record(head: bytes) -> bool:
    """May these first bytes of a record's header be those of a handshake record?"""
    if head[:1] not in (b"", b"\x16") or head[1:2] not in (b"", b"\x03"):
        return False
    if len(head) >= 3 and head[2] > 4:
        return False
    return len(head) < 5 or 0 < int.from_bytes(head[3:], "big") <= _LONGEST_RECORD


def _body(message: bytes, kind: int) -> bytes:
    length = int.from_bytes(message[1:4], "big")
    if message[0] != kind or len(message) < 4 + length or length < 38:
        raise HandshakeError("not a whole message")
    return message[4 : 4 + length]


def _extensions(body: bytes, at: int) -> dict[int, bytes]:
    """Return the extensions by type, the first of each; a message without any is legal."""
    found: dict[int, bytes] = {}
    if at == len(body):
        return found
    end = at + 2 + int.from_bytes(body[at : at + 2], "big")
    at += 2
    while at + 4 <= min(end, len(body)):
        kind, length = struct.unpack_from(">HH", body, at)
        found.setdefault(kind, body[at + 4 : at + 4 + length])
        at += 4 + length
    return found


def _server_name(data: bytes) -> str | None:
    """RFC 6066, 3: a list, of which only host names (type 0) exist."""
    if len(data) < 5 or data[2] != 0:
        return None
    name = data[5 : 5 + int.from_bytes(data[3:5], "big")]
    if not 0 < len(name) <= 255 or _NOT_PRINTABLE.search(name):
        return None
    return name.decode("ascii").lower().rstrip(".") or None


def _protocols(data: bytes) -> tuple[str, ...]:
    found, at = [], 2
    while at < len(data):
        found.append(data[at + 1 : at + 1 + data[at]].decode("latin-1"))
        at += 1 + data[at]
    return tuple(found)
