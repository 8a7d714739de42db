"""Opens single TLS records: the cipher suites, the keys made from a secret, and the check of tag or MAC.

A record is given back only if it authenticates. On the primitives of `cryptography`; the constructions are
those of RFC 5246 (CBC, 6.2.3), RFC 5288 (GCM), RFC 6655 (CCM), RFC 7366 (encrypt-then-MAC), RFC 7905
(ChaCha20-Poly1305) and RFC 8446 (TLS 1.3, 5.2).
"""

import hmac
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305

TLS12, TLS13 = 0x0303, 0x0304
MASTER_SECRET = 48


class Mode(Enum):
    GCM = "GCM"
    CCM = "CCM"
    CCM_8 = "CCM_8"
    CHACHA20 = "CHACHA20_POLY1305"
    CBC = "CBC"


@dataclass(frozen=True, slots=True)
class Suite:
    """What a cipher suite means for its records. `hash`: of the key schedule; `mac`: of CBC records."""

    mode: Mode
    key_size: int
    hash: str = "sha256"
    mac: str = ""

    @property
    def name(self) -> str:
        if self.mode is Mode.CHACHA20:
            return str(self.mode.value)
        return f"AES_{self.key_size * 8}_{self.mode.value}" + (f"_{self.mac.upper()}" if self.mac else "")


def _table(*rows: tuple[Suite, Iterable[int]]) -> dict[int, Suite]:
    return {number: suite for suite, numbers in rows for number in numbers}


SUITES = _table(  # numbers: IANA's registry of TLS cipher suites; the key exchange does not matter here
    (Suite(Mode.GCM, 16), (0x009C, 0x009E, 0x00A0, 0x00A2, 0x00A8, 0x00AA, 0xC02B, 0xC02D, 0xC02F, 0xC031, 0xD001)),
    (Suite(Mode.GCM, 32, "sha384"), (0x009D, 0x009F, 0x00A1, 0x00A3, 0x00A9, 0x00AB, 0xC02C, 0xC02E, 0xC030, 0xC032)),
    (Suite(Mode.CHACHA20, 32), (0xCCA8, 0xCCA9, 0xCCAA, 0xCCAB, 0xCCAC, 0xCCAD)),
    (Suite(Mode.CCM, 16), (0xC09C, 0xC09E, 0xC0A4, 0xC0A6, 0xC0AC)),
    (Suite(Mode.CCM, 32), (0xC09D, 0xC09F, 0xC0A5, 0xC0A7, 0xC0AD)),
    (Suite(Mode.CCM_8, 16), (0xC0A0, 0xC0A2, 0xC0A8, 0xC0AA, 0xC0AE)),
    (Suite(Mode.CCM_8, 32), (0xC0A1, 0xC0A3, 0xC0A9, 0xC0AB, 0xC0AF)),
    (Suite(Mode.CBC, 16, mac="sha1"), (0x002F, 0x0030, 0x0031, 0x0032, 0x0033, 0xC004, 0xC009, 0xC00E, 0xC013)),
    (Suite(Mode.CBC, 32, mac="sha1"), (0x0035, 0x0036, 0x0037, 0x0038, 0x0039, 0xC005, 0xC00A, 0xC00F, 0xC014)),
    (Suite(Mode.CBC, 16, mac="sha256"), (0x003C, 0x003E, 0x003F, 0x0040, 0x0067, 0xC023, 0xC025, 0xC027, 0xC029)),
    (Suite(Mode.CBC, 32, mac="sha256"), (0x003D, 0x0068, 0x0069, 0x006A, 0x006B)),
    (Suite(Mode.CBC, 32, "sha384", "sha384"), (0xC024, 0xC026, 0xC028, 0xC02A)),
)
TLS13_SUITES = {
    0x1301: Suite(Mode.GCM, 16),
    0x1302: Suite(Mode.GCM, 32, "sha384"),
    0x1303: Suite(Mode.CHACHA20, 32),
    0x1304: Suite(Mode.CCM, 16),
    0x1305: Suite(Mode.CCM_8, 16),
}


class Opener(Protocol):
    """Opens the records of one side under one key."""

    def open(self, sequence: int, head: bytes, body: bytes) -> tuple[int, bytes] | None:
        """Return (content type, plaintext) of a record; None if it does not authenticate as number `sequence`."""
        ...


class Tls13Opener:
    """TLS 1.3 (RFC 8446, 5.2 and 5.3)."""

    def __init__(self, suite: Suite, secret: bytes) -> None:
        self.suite, self.secret = suite, secret
        self._decrypt = _aead(suite, expand_label(secret, "key", suite.key_size, suite.hash))
        self._iv = int.from_bytes(expand_label(secret, "iv", 12, suite.hash), "big")

    def open(self, sequence: int, head: bytes, body: bytes) -> tuple[int, bytes] | None:
        try:
            inner = self._decrypt((self._iv ^ sequence).to_bytes(12, "big"), body, head)
        except (InvalidTag, ValueError):
            return None
        content = inner.rstrip(b"\0")  # padding (5.4)
        return (content[-1], content[:-1]) if content else None

    def updated(self) -> "Tls13Opener":
        """The opener after a KeyUpdate (7.2)."""
        size = len(self.secret)
        return Tls13Opener(self.suite, expand_label(self.secret, "traffic upd", size, self.suite.hash))


class AeadOpener:
    """TLS 1.2 with GCM, CCM or ChaCha20-Poly1305."""

    def __init__(self, suite: Suite, key: bytes, iv: bytes) -> None:
        self._decrypt, self._iv = _aead(suite, key), iv
        self._explicit = 0 if suite.mode is Mode.CHACHA20 else 8
        self._tag = 8 if suite.mode is Mode.CCM_8 else 16

    def open(self, sequence: int, head: bytes, body: bytes) -> tuple[int, bytes] | None:
        size = len(body) - self._explicit - self._tag
        if size < 0:
            return None
        if self._explicit:
            nonce = self._iv + body[:8]
        else:
            nonce = (int.from_bytes(self._iv, "big") ^ sequence).to_bytes(12, "big")
        additional = struct.pack(">Q", sequence) + head[:3] + struct.pack(">H", size)
        try:
            return head[0], self._decrypt(nonce, body[self._explicit :], additional)
        except (InvalidTag, ValueError):
            return None


class CbcOpener:
    """TLS 1.2 with AES-CBC and HMAC, in either order."""

    def __init__(self, suite: Suite, key: bytes, mac_key: bytes, *, encrypt_then_mac: bool) -> None:
        self._cipher, self._mac_key, self._hash = algorithms.AES(key), mac_key, suite.mac
        self._encrypt_then_mac, self._mac_size = encrypt_then_mac, len(mac_key)

    def open(self, sequence: int, head: bytes, body: bytes) -> tuple[int, bytes] | None:
        if self._encrypt_then_mac:
            sealed, mac = body[: -self._mac_size], body[-self._mac_size :]
            if not self._is_right(mac, sequence, head, sealed):
                return None
            plain = self._decrypt(sealed)
            return None if plain is None else (head[0], plain)
        plain = self._decrypt(body)
        if plain is None or len(plain) < self._mac_size:
            return None
        content, mac = plain[: -self._mac_size], plain[-self._mac_size :]
        return (head[0], content) if self._is_right(mac, sequence, head, content) else None

    def _decrypt(self, sealed: bytes) -> bytes | None:
        """Decrypt behind the explicit IV and take off the padding (RFC 5246, 6.2.3.2)."""
        if len(sealed) < 32 or len(sealed) % 16:
            return None
        decryptor = Cipher(self._cipher, modes.CBC(sealed[:16])).decryptor()
        plain = decryptor.update(sealed[16:]) + decryptor.finalize()
        padding = plain[-1] + 1
        if padding > len(plain) or plain[-padding:] != bytes([plain[-1]]) * padding:
            return None
        return plain[:-padding]

    def _is_right(self, mac: bytes, sequence: int, head: bytes, covered: bytes) -> bool:
        message = struct.pack(">Q", sequence) + head[:3] + struct.pack(">H", len(covered)) + covered
        return hmac.compare_digest(hmac.digest(self._mac_key, message, self._hash), mac)


def tls12_openers(
    suite: Suite, master: bytes, client_random: bytes, server_random: bytes, *, encrypt_then_mac: bool
) -> tuple[Opener, Opener]:
    """Return the openers of client and server (RFC 5246, 6.3)."""
    mac_size = {"": 0, "sha1": 20, "sha256": 32, "sha384": 48}[suite.mac]
    iv_size = {Mode.CBC: 0, Mode.CHACHA20: 12}.get(suite.mode, 4)
    sizes = (mac_size, mac_size, suite.key_size, suite.key_size, iv_size, iv_size)
    block = _prf(master, b"key expansion" + server_random + client_random, sum(sizes), suite.hash)
    parts = []
    for size in sizes:
        parts.append(block[:size])
        block = block[size:]
    if suite.mode is Mode.CBC:
        client, server = (
            CbcOpener(suite, parts[2 + side], parts[side], encrypt_then_mac=encrypt_then_mac) for side in (0, 1)
        )
        return client, server
    return AeadOpener(suite, parts[2], parts[4]), AeadOpener(suite, parts[3], parts[5])


def expand_label(secret: bytes, label: str, length: int, hash_name: str) -> bytes:
    """HKDF-Expand-Label with an empty context (RFC 8446, 7.1)."""
    name = b"tls13 " + label.encode()
    info = struct.pack(">HB", length, len(name)) + name + b"\0"
    block, okm, counter = b"", b"", 1
    while len(okm) < length:
        block = hmac.digest(secret, block + info + bytes([counter]), hash_name)
        okm, counter = okm + block, counter + 1
    return okm[:length]


def _prf(secret: bytes, seed: bytes, length: int, hash_name: str) -> bytes:
    """The pseudorandom function of TLS 1.2 (RFC 5246, 5)."""
    stream, a = b"", seed
    while len(stream) < length:
        a = hmac.digest(secret, a, hash_name)
        stream += hmac.digest(secret, a + seed, hash_name)
    return stream[:length]


def _aead(suite: Suite, key: bytes) -> Callable[[bytes, bytes, bytes], bytes]:
    """Return the decryption of (nonce, ciphertext with tag, additional data)."""
    match suite.mode:
        case Mode.GCM:
            return AESGCM(key).decrypt
        case Mode.CHACHA20:
            return ChaCha20Poly1305(key).decrypt
        case Mode.CCM_8:
            return AESCCM(key, tag_length=8).decrypt
        case _:
            return AESCCM(key).decrypt
