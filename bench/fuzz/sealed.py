"""A TLS 1.3 connection under known secrets, so that a fuzzer can say what stands inside authentic records."""

import struct

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pcap_tools.stream import Side
from pcap_tools.tls.ciphers import expand_label
from pcap_tools.tls.keylog import Label

RANDOM = bytes(range(32))
_EPOCHS = {
    Side.CLIENT: (Label.CLIENT_EARLY, Label.CLIENT_HANDSHAKE, Label.CLIENT_TRAFFIC),
    Side.SERVER: (Label.SERVER_HANDSHAKE, Label.SERVER_TRAFFIC),
}


def _secret(label: Label) -> bytes:
    return label.value.encode().ljust(32, b".")[:32]


def _handshake(kind: int, body: bytes) -> bytes:
    message = bytes([kind]) + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x03" + struct.pack(">H", len(message)) + message


def keys() -> bytes:
    """Return the key log of the connection."""
    labels = [label for side in _EPOCHS.values() for label in side]
    return b"".join(f"{label} {RANDOM.hex()} {_secret(label).hex()}\n".encode() for label in labels)


def hello(side: Side) -> bytes:
    """Return the record with the ClientHello or ServerHello."""
    extensions = struct.pack(">HHH", 43, 2, 0x0304)
    start = b"\x03\x03" + (RANDOM if side is Side.CLIENT else RANDOM[::-1]) + b"\0"
    choice = b"\0\x02\x13\x01\x01\0" if side is Side.CLIENT else b"\x13\x01\0"
    return _handshake(1 + side, start + choice + struct.pack(">H", len(extensions)) + extensions)


class Sealer:
    """Seals records; counts them for each key. `sealed`: the application data of each side, in their order."""

    def __init__(self) -> None:
        self.sealed: tuple[list[bytes], list[bytes]] = ([], [])
        self._sequences: dict[Label, int] = {}

    def seal(self, side: Side, option: int, content: bytes) -> bytes:
        """Return a record. `option`: under which key, and how many records before it are skipped."""
        labels = _EPOCHS[side]
        label, skipped = labels[(option & 3) % len(labels)], option >> 2
        number = self._sequences.get(label, 0) + skipped
        self._sequences[label] = number + 1
        secret = _secret(label)
        iv = int.from_bytes(expand_label(secret, "iv", 12, "sha256"), "big")
        content = content[: 1 << 14]
        plain = content.rstrip(b"\0")
        if plain.endswith(b"\x17"):
            self.sealed[side].append(plain[:-1])
        head = b"\x17\x03\x03" + struct.pack(">H", len(content) + 16)
        key = AESGCM(expand_label(secret, "key", 16, "sha256"))
        return head + key.encrypt((iv ^ number).to_bytes(12, "big"), content, head)
