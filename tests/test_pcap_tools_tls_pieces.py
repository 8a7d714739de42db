"""The small parts of the TLS layer: opening records, key logs, and what the first messages say."""

import hmac
import struct

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305
from hypothesis import given, settings
from hypothesis import strategies as st

from pcap_tools.tls import keylog as keylog_module
from pcap_tools.tls.ciphers import SUITES, AeadOpener, CbcOpener, Mode, Opener, Suite, Tls13Opener
from pcap_tools.tls.handshake import ClientHello, client_hello_from_records, glance
from pcap_tools.tls.keylog import KeyLog, Label

# -- records ----------------------------------------------------------------------------------------------------

# RFC 8448, 3: the client's application traffic secret, and its first record of application data
SECRET = bytes.fromhex("9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5")
RECORD = bytes.fromhex(
    "1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b395bd54a9a20441e2b62974e1f"
    "5a6292a2977014bd1e3deae63aeebb21694915e4"
)


def test_the_record_of_rfc_8448_opens() -> None:
    opener = Tls13Opener(Suite(Mode.GCM, 16), SECRET)
    assert opener.open(0, RECORD[:5], RECORD[5:]) == (23, bytes(range(50)))
    assert opener.open(1, RECORD[:5], RECORD[5:]) is None
    assert opener.updated().open(0, RECORD[:5], RECORD[5:]) is None


HEAD = b"\x17\x03\x03"  # application data of TLS 1.2; the length is not looked at
IV = bytes(range(12))


def seal(suite: Suite, sequence: int, content: bytes, *, padding: int = 0, encrypt_then_mac: bool = False) -> bytes:
    """Return the body of a TLS 1.2 record, as the RFCs say it is made."""
    key, number = bytes(suite.key_size), struct.pack(">Q", sequence)
    if suite.mode is Mode.CBC:
        return seal_cbc(suite, number, content, padding, encrypt_then_mac=encrypt_then_mac)
    additional = number + HEAD + struct.pack(">H", len(content))
    match suite.mode:
        case Mode.CHACHA20:
            nonce = (int.from_bytes(IV, "big") ^ sequence).to_bytes(12, "big")
            return ChaCha20Poly1305(key).encrypt(nonce, content, additional)
        case Mode.GCM:
            return b"explicit" + AESGCM(key).encrypt(IV[:4] + b"explicit", content, additional)
        case mode:
            cipher = AESCCM(key, 8 if mode is Mode.CCM_8 else 16)
            return b"explicit" + cipher.encrypt(IV[:4] + b"explicit", content, additional)


def seal_cbc(suite: Suite, number: bytes, content: bytes, padding: int, *, encrypt_then_mac: bool) -> bytes:
    def mac(covered: bytes) -> bytes:
        return hmac.digest(mac_key(suite), number + HEAD + struct.pack(">H", len(covered)) + covered, suite.mac)

    inner = content if encrypt_then_mac else content + mac(content)
    count = 15 - len(inner) % 16 + 16 * padding
    encryptor = Cipher(algorithms.AES(bytes(suite.key_size)), modes.CBC(bytes(16))).encryptor()
    sealed = bytes(16) + encryptor.update(inner + bytes([count]) * (count + 1)) + encryptor.finalize()
    return sealed + (mac(sealed) if encrypt_then_mac else b"")


def mac_key(suite: Suite) -> bytes:
    return bytes(hmac.new(b"", b"", suite.mac).digest_size)


def opener(suite: Suite, *, encrypt_then_mac: bool = False) -> Opener:
    key = bytes(suite.key_size)
    if suite.mode is Mode.CBC:
        return CbcOpener(suite, key, mac_key(suite), encrypt_then_mac=encrypt_then_mac)
    return AeadOpener(suite, key, IV if suite.mode is Mode.CHACHA20 else IV[:4])


KINDS = [(suite, False) for suite in dict.fromkeys(SUITES.values())]
KINDS += [(suite, True) for suite, _ in KINDS if suite.mode is Mode.CBC]
kinds = pytest.mark.parametrize(("suite", "etm"), KINDS, ids=lambda value: getattr(value, "name", str(value)))


@kinds
@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(0, 1 << 40), st.binary(max_size=70), st.integers(0, 15))
def test_a_record_opens_as_what_it_was(suite: Suite, etm: bool, sequence: int, content: bytes, padding: int) -> None:
    sealed = seal(suite, sequence, content, padding=padding if len(content) < 40 else 0, encrypt_then_mac=etm)
    assert opener(suite, encrypt_then_mac=etm).open(sequence, HEAD, sealed) == (23, content)


@kinds
def test_a_record_opens_only_at_its_place_and_whole(suite: Suite, etm: bool) -> None:
    sealed, one = seal(suite, 7, b"content", encrypt_then_mac=etm), opener(suite, encrypt_then_mac=etm)
    assert one.open(7, HEAD, sealed) == (23, b"content")
    assert [one.open(sequence, HEAD, sealed) for sequence in (6, 8)] == [None, None]
    assert one.open(7, b"\x16\x03\x03", sealed) is None
    for at in range(len(sealed)):
        assert one.open(7, HEAD, sealed[:at]) is None
        assert one.open(7, HEAD, sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]) is None


@kinds
@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.binary(max_size=100))
def test_noise_never_opens_and_raises_nothing(suite: Suite, etm: bool, noise: bytes) -> None:
    assert opener(suite, encrypt_then_mac=etm).open(0, HEAD, noise) is None


@pytest.mark.parametrize("content", [b"", b"\0" * 20])
def test_a_tls13_record_without_a_content_type_is_none(content: bytes) -> None:
    one = Tls13Opener(Suite(Mode.CHACHA20, 32), bytes(32))
    assert one.open(0, HEAD, content) is None


# -- key logs ---------------------------------------------------------------------------------------------------

RANDOM, OTHER = bytes(range(32)), bytes(range(1, 33))
MASTER = f"CLIENT_RANDOM {RANDOM.hex()} {bytes(48).hex()}".encode()
TRAFFIC = f"CLIENT_TRAFFIC_SECRET_0 {RANDOM.hex()} {bytes(32).hex()}".encode()


@pytest.mark.parametrize(
    ("line", "held", "ignored"),
    [
        (MASTER, 1, 0),
        (TRAFFIC, 1, 0),
        (TRAFFIC + b"ab" * 16, 1, 0),
        (b"  " + MASTER.upper() + b" \t", 1, 0),
        (MASTER + b"  # of a browser", 1, 0),
        (b"", 0, 0),
        (b"# " + MASTER, 0, 0),
        (b"EXPORTER_SECRET " + MASTER[14:], 0, 0),
        (b"RSA 0123456789abcdef " + b"00" * 48, 0, 0),
        (b"client_random " + MASTER[14:], 0, 0),
        (b"{a letter}", 0, 1),
        (MASTER[:-1], 0, 1),
        (MASTER[:-2], 0, 1),
        (MASTER + b"00", 0, 1),
        (TRAFFIC + b"00", 0, 1),
        (MASTER.replace(b"0", b"g", 1), 0, 1),
        (MASTER.replace(b"00", b"\xff\xff", 1), 0, 1),
        (b"CLIENT_RANDOM", 0, 1),
        (b"CLIENT_RANDOM " + RANDOM.hex().encode(), 0, 1),
        (b"CLIENT_RANDOM " + b"0" * 1_000_000, 0, 1),
        (MASTER + b"0" * 1_000_000, 0, 1),
    ],
)
def test_a_line_of_a_key_log(line: bytes, held: int, ignored: int) -> None:
    log = KeyLog()
    assert (log.add(line), len(log), log.ignored, log.generation) == (held, held, ignored, held)
    assert (RANDOM in log) == bool(held)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r", b"\n\n"])
def test_lines_may_end_in_any_way(end: bytes) -> None:
    log = KeyLog()
    assert log.add(end.join([MASTER, TRAFFIC, b"nonsense!", MASTER])) == 3
    assert (len(log), log.generation, log.ignored) == (2, 2, 1)
    assert log.get(Label.MASTER, RANDOM) == bytes(48)
    assert list(log.all(Label.CLIENT_TRAFFIC)) == [(RANDOM, bytes(32))]
    assert (log.get(Label.MASTER, OTHER), OTHER in log) == (None, False)


def test_the_newest_secret_of_a_session_counts() -> None:
    log = KeyLog()
    log.add(MASTER)
    assert log.add(MASTER[:-2] + b"01") == 1
    assert (log.get(Label.MASTER, RANDOM), log.generation) == (bytes(47) + b"\1", 2)


def test_more_secrets_than_the_limit_are_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keylog_module, "_MOST_SECRETS", 2)
    log = KeyLog()
    for number in range(5):
        log.add(b"CLIENT_RANDOM %064x %096x" % (number, number))
    assert (len(log), log.generation) == (2, 2)


# -- ClientHello ------------------------------------------------------------------------------------------------


def vector(size: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return len(body).to_bytes(size, "big") + body


def extension(kind: int, body: bytes) -> bytes:
    return kind.to_bytes(2, "big") + vector(2, body)


def server_name(name: bytes) -> bytes:
    return extension(0, vector(2, b"\0" + vector(2, name)))


def hello(*extensions: bytes, session: bytes = b"", bare: bool = False) -> bytes:
    """Return a handshake message; `bare`: without the list of extensions, as SSL 3 had it."""
    body = b"\x03\x03" + RANDOM + vector(1, session) + vector(2, b"\x13\x01\xc0\x2f") + vector(1, b"\0")
    return b"\x01" + vector(3, body + (b"" if bare else vector(2, *extensions)))


def records(message: bytes, size: int = 1 << 14) -> bytes:
    return b"".join(b"\x16\x03\x01" + vector(2, message[at : at + size]) for at in range(0, len(message), size))


ALPN, ECH, EARLY = (
    extension(16, vector(2, vector(1, b"h2"), vector(1, b"http/1.1"))),
    extension(0xFE0D, b"e"),
    extension(42, b""),
)
NAME = server_name(b"TSA3.webex.com")
HELLOS = [
    hello(NAME),
    hello(ECH, ALPN, NAME, EARLY, session=bytes(32)),
    hello(ALPN, NAME, server_name(b"second.example")),
    hello(ALPN),
    hello(),
    hello(bare=True),
    hello(extension(51, bytes(2_000)), NAME),
    hello(server_name(b"not printable \x07")),
    hello(server_name(b"")),
    hello(extension(0, b"")),
]


def test_a_client_hello_says_what_it_is() -> None:
    found = client_hello_from_records(records(HELLOS[1]) + b"more")
    assert found == ClientHello(RANDOM, bytes(32), "tsa3.webex.com", ("h2", "http/1.1"), True, True)


@pytest.mark.parametrize("size", [1, 3, 40, 1 << 14])
@pytest.mark.parametrize("message", [message for message in HELLOS if len(message) < 200])
def test_it_may_come_in_any_number_of_records_and_each_byte_is_waited_for(message: bytes, size: int) -> None:
    whole = records(message, size)
    (found,) = {client_hello_from_records(whole)}
    assert isinstance(found, ClientHello) and found.random == RANDOM
    for at in range(0, len(whole), 7):
        missing = client_hello_from_records(whole[:at])
        assert isinstance(missing, int) and 0 < missing <= len(whole) - at


@pytest.mark.parametrize("message", HELLOS)
def test_a_glance_sees_the_same(message: bytes) -> None:
    data = b"before" + records(message) + b"behind"
    seen, found = glance(data, 6, len(data) - 6), client_hello_from_records(data[6:])
    assert isinstance(found, ClientHello)
    assert seen == (RANDOM, found.sni) or (seen is None and not message.endswith(NAME))


@settings(max_examples=500, deadline=None, derandomize=True)
@given(
    st.sampled_from([message for message in HELLOS if len(message) < 200]),
    st.lists(st.tuples(st.integers(0, 160), st.integers(-3, 3)), max_size=3),
    st.binary(max_size=8),
)
def test_a_glance_never_says_anything_else(message: bytes, changes: list[tuple[int, int]], behind: bytes) -> None:
    data = bytearray(records(message))
    for at, by in changes:
        if 2 < at < len(data):
            data[at] = (data[at] + by) % 256
    end = len(data)
    data += behind
    seen = glance(data, 0, end)
    if seen is not None:
        found = client_hello_from_records(bytes(data[:end]))
        assert isinstance(found, ClientHello)
        assert seen == (found.random, found.sni)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.binary(max_size=60), st.booleans())
def test_nothing_in_a_client_hello_raises_an_error(noise: bytes, whole: bool) -> None:
    data = records(b"\x01" + vector(3, b"\x03\x03" + RANDOM + noise)) if whole else b"\x16\x03\x01" + noise
    found = client_hello_from_records(data)
    assert found is None or isinstance(found, ClientHello | int)
    glance(data, 0, len(data))
