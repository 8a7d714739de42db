"""Reads the ClientHello of a QUIC connection (RFC 9001, 5): its first packets are sealed with a public key.

Only the server name is wanted: what follows is not opened here, and the account says so.
"""

import hashlib
import hmac
from collections import OrderedDict

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pcap_tools.tls.handshake import ClientHello, HandshakeError, parse_client_hello

_SALTS = {  # version: salt, first byte's type bits of an Initial, prefix of the labels
    0x00000001: (bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a"), 0x00, b"quic "),  # RFC 9001, 5.2
    0x6B3343CF: (bytes.fromhex("0dede3def700a6db819381be6e269dcbf9bd2ed9"), 0x10, b"quicv2 "),  # RFC 9369, 3.3.1
}
_PADDING, _PING, _CRYPTO = 0, 1, 6
_LONGEST_HELLO = 16_384
_MOST_PARTS = 256  # of one ClientHello; Chrome makes some 20 of it
_MOST_HALVES = 1_024  # ClientHellos of which only a part was seen


class InitialHellos:
    """Puts ClientHellos together that come in several packets."""

    def __init__(self) -> None:
        self._parts: OrderedDict[bytes, dict[int, bytes]] = OrderedDict()

    def feed(self, datagram: bytes) -> ClientHello | None:
        """Return the ClientHello that is complete with this datagram; None for anything else."""
        try:
            opened = _open_initial(datagram)
            if opened is None:
                return None
            connection, frames = opened
            parts = self._parts.setdefault(connection, {})
            for at, part in _crypto(frames).items():
                if len(parts) < _MOST_PARTS and sum(map(len, parts.values())) <= _LONGEST_HELLO:
                    parts.setdefault(at, part)
        except (IndexError, ValueError, InvalidTag):
            return None
        if len(self._parts) > _MOST_HALVES:
            self._parts.popitem(last=False)
        hello = _hello(parts)
        if hello is not None:
            self._parts.pop(connection, None)
        return hello


def _hello(parts: dict[int, bytes]) -> ClientHello | None:
    whole = b""
    for at in sorted(parts):
        if at > len(whole):
            return None
        whole += parts[at][len(whole) - at :]
    if len(whole) < 4 or len(whole) < 4 + int.from_bytes(whole[1:4], "big"):
        return None
    try:
        return parse_client_hello(whole)
    except HandshakeError:
        return None


def _open_initial(packet: bytes) -> tuple[bytes, bytes] | None:
    """Return the client's connection id and the frames of an Initial packet; None if it is not one."""
    version = int.from_bytes(packet[1:5], "big")
    if version not in _SALTS or packet[0] & 0xF0 != 0xC0 | _SALTS[version][1]:
        return None
    salt, _, prefix = _SALTS[version]
    connection = packet[6 : 6 + packet[5]]
    at = 6 + len(connection)
    at += 1 + packet[at]  # the source's connection id
    token, at = _number(packet, at)
    length, at = _number(packet, at + token)
    secret = _expand(hmac.digest(salt, connection, hashlib.sha256), b"client in", 32)
    key, iv, hp = (_expand(secret, prefix + name, size) for name, size in ((b"key", 16), (b"iv", 12), (b"hp", 16)))
    sample = packet[at + 4 : at + 20]
    mask = Cipher(algorithms.AES(hp), modes.ECB()).encryptor().update(sample)  # noqa: S305 - RFC 9001, 5.4.3
    first = packet[0] ^ mask[0] & 0x0F
    size = (first & 3) + 1
    number = bytes(a ^ b for a, b in zip(packet[at : at + size], mask[1:], strict=False))
    nonce = (int.from_bytes(iv, "big") ^ int.from_bytes(number, "big")).to_bytes(12, "big")
    head = bytes([first]) + packet[1:at] + number
    return connection, AESGCM(key).decrypt(nonce, packet[at + size : at + length], head)


def _crypto(frames: bytes) -> dict[int, bytes]:
    """Return the CRYPTO frames by offset (RFC 9000, 19.6); stops at a frame that an Initial does not need."""
    found: dict[int, bytes] = {}
    at = 0
    while at < len(frames):
        kind = frames[at]
        at += 1
        if kind in (_PADDING, _PING):
            continue
        if kind != _CRYPTO:
            break
        offset, at = _number(frames, at)
        length, at = _number(frames, at)
        if offset + length > _LONGEST_HELLO:
            break
        found[offset] = frames[at : at + length]
        at += length
    return found


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A variable-length integer (RFC 9000, 16), and where it ends."""
    size = 1 << (data[at] >> 6)
    return int.from_bytes(data[at : at + size], "big") & (1 << 8 * size - 2) - 1, at + size


def _expand(secret: bytes, label: bytes, length: int) -> bytes:
    """HKDF-Expand-Label without context (RFC 8446, 7.1), of at most one block of SHA-256."""
    label = b"tls13 " + label
    info = length.to_bytes(2, "big") + bytes([len(label)]) + label + b"\0"
    return hmac.digest(secret, info + b"\x01", hashlib.sha256)[:length]
