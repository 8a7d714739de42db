"""The ClientHello of a QUIC connection: the examples of the RFCs, in one packet or several; nothing from the rest."""

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from pcap_tools.capture import quic
from pcap_tools.capture.quic import InitialHellos

# RFC 9001, A.1 and A.2; RFC 9369, A.1 and A.2: the client's keys, and the header of its first packet
KEYS = {
    1: ("1f369613dd76d5467730efcbe3b1a22d", "fa044b2f42a3fd3b46fb255c", "9f50449e04a0e810283a1e9933adedd2"),
    2: ("8b1a0bc121284290a29e0971b5cd045d", "91f73e2351d8fa91660e909f", "45b95e15235d6f45a6b19cbcb0294ba9"),
}
HEADERS = {1: "c300000001088394c8f03e5157080000449e00000002", 2: "d36b3343cf088394c8f03e5157080000449e00000002"}
PROTECTED = {
    1: "c000000001088394c8f03e5157080000449e7b9aec34",
    2: "d76b3343cf088394c8f03e5157080000449ea0c95e82",
}
CRYPTO = bytes.fromhex(
    "060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e868"
    "04fe3a47f06a2b69484c00000413011302010000c000000010000e00000b6578"
    "616d706c652e636f6dff01000100000a00080006001d00170018001000070005"
    "04616c706e000500050100000000003300260024001d00209370b2c9caa47fba"
    "baf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b000302030400"
    "0d0010000e0403050306030203080408050806002d00020101001c0002400100"
    "3900320408ffffffffffffffff05048000ffff07048000ffff08011001048000"
    "75300901100f088394c8f03e51570806048000ffff"
)
HELLO = CRYPTO[4:]


def protect(version: int, frames: bytes, number: int = 2) -> bytes:
    """Return an Initial packet of 1200 bytes, sealed with the keys as they are printed in the RFC."""
    key, iv, hp = map(bytes.fromhex, KEYS[version])
    head = bytes.fromhex(HEADERS[version])[:-1] + bytes([number])
    nonce = (int.from_bytes(iv, "big") ^ number).to_bytes(12, "big")
    sealed = AESGCM(key).encrypt(nonce, frames.ljust(1162, b"\0"), head)
    mask = Cipher(algorithms.AES(hp), modes.ECB()).encryptor().update(sealed[:16])  # noqa: S305 - as the RFC has it
    tail = bytes(a ^ b for a, b in zip(head[-4:], mask[1:5], strict=True))
    return bytes([head[0] ^ mask[0] & 0x0F]) + head[1:-4] + tail + sealed


def crypto(at: int, data: bytes) -> bytes:
    return b"\x06" + (0x4000 | at).to_bytes(2, "big") + (0x4000 | len(data)).to_bytes(2, "big") + data


BOTH = pytest.mark.parametrize("version", [1, 2])


@BOTH
def test_the_packet_of_the_rfc_names_its_server(version: int) -> None:
    packet = protect(version, CRYPTO)
    assert packet.hex().startswith(PROTECTED[version])
    hello = InitialHellos().feed(packet)
    assert hello is not None
    assert (hello.sni, hello.alpn, hello.random[:4].hex()) == ("example.com", ("alpn",), "ebf8fa56")


@BOTH
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 1, 0, 2)])
def test_a_hello_in_several_packets_is_put_together(version: int, order: tuple[int, ...]) -> None:
    frames = [
        b"\1" + crypto(150, HELLO[150:]) + crypto(0, HELLO[:30]),
        b"\0\0" + crypto(20, HELLO[20:100]),
        crypto(100, HELLO[100:170]) + b"\1",
    ]
    hellos = InitialHellos()
    found = [hellos.feed(protect(version, frames[index], number)) for number, index in enumerate(order)]
    assert [hello and hello.sni for hello in found] == [None] * (len(order) - 1) + ["example.com"]


@pytest.mark.parametrize(
    "frames",
    [
        b"\2\0\0\0\0" + CRYPTO,  # behind an ACK, which a client's first packets have no need of
        crypto(0, HELLO[:100]),
        crypto(1, HELLO),
        b"\x06\x80\1\0\0\x41\0" + HELLO,  # an offset of 64 KiB
        crypto(0, b"\2" + HELLO[1:]),
        crypto(0, b"\1\0\0\1a"),
        b"",
    ],
)
def test_frames_without_a_whole_hello_name_nobody(frames: bytes) -> None:
    assert InitialHellos().feed(protect(1, frames)) is None


@BOTH
def test_a_packet_that_does_not_authenticate_is_none(version: int) -> None:
    packet = protect(version, CRYPTO)
    for at in (0, 3, 6, 17, 20, 600, 1199):
        changed = packet[:at] + bytes([packet[at] ^ 0x10]) + packet[at + 1 :]
        assert InitialHellos().feed(changed) is None
    for size in (0, 1, 5, 6, 14, 20, 40, 1199):
        assert InitialHellos().feed(packet[:size]) is None


def test_no_more_halves_are_held_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quic, "_MOST_HALVES", 0)
    hellos = InitialHellos()
    assert hellos.feed(protect(1, crypto(0, HELLO[:100]))) is None
    assert hellos.feed(protect(1, crypto(100, HELLO[100:]))) is None


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.binary(max_size=60), st.sampled_from(["c3000000010", "d36b3343cf0", "c30000000108", "80ff00001d"]))
def test_nothing_in_a_datagram_raises_an_error(noise: bytes, begin: str) -> None:
    assert InitialHellos().feed(bytes.fromhex(begin[: len(begin) // 2 * 2]) + noise) is None
