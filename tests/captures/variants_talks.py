"""The variants of conversations: TLS versions, ciphers, handshakes, and ways of HTTP. The packets are all sound."""

from collections.abc import Callable

from tests.captures import scripts, special
from tests.captures.capture import Capture, capture
from tests.captures.conversations import Conversation, Script, converse, resume, talk_plainly, tls13
from tests.captures.files import pcap
from tests.captures.links import frames
from tests.captures.openssl import NO_ENCRYPT_THEN_MAC, NO_TICKET, TLS12, Settings
from tests.captures.packets import Tcp, segments

_CHACHA20 = "TLS_CHACHA20_POLY1305_SHA256"
_LONG_OFFER = ("http/1.1", *(f"padding-{number:040}" for number in range(60)))  # a ClientHello of more than two packets


def sound(talk: Conversation, *, port: int = 443, whole: bool = True) -> Capture:
    return capture(talk, pcap(frames(segments(talk, Tcp(port=port)))), whole=whole)


def tls12(ciphers: str, options: int = 0, *, rsa: bool = False) -> Callable[[], Capture]:
    return lambda: sound(converse(Settings(version=TLS12, ciphers=ciphers, options=options, rsa=rsa)))


def suite(name: str) -> Callable[[], Capture]:
    return lambda: sound(converse(Settings(suites=name)))


def said(script: Script, version: int | None = None, *, whole: bool = True) -> Callable[[], Capture]:
    """Return the maker of a capture of this script in TLS 1.3, or this version."""
    settings = Settings(version=version) if version else Settings()
    return lambda: sound(converse(settings, script), whole=whole)


def http2(version: int | None = None, *, padding: int | None = None, long_head: bool = False) -> Callable[[], Capture]:
    settings = Settings(version=version, alpn=("h2",)) if version else Settings(alpn=("h2",))
    return lambda: sound(converse(settings, scripts.http2(padding=padding, long_head=long_head)))


def named(host: str) -> Callable[[], Capture]:
    """Return the maker of a capture whose ClientHello names another host, or none: only the key log betrays it."""
    return lambda: sound(converse(Settings(), host=host))


def retried() -> Capture:
    """The server only takes a group for which the client sent no key: HelloRetryRequest."""
    return sound(converse(Settings(), server=Settings(groups="P-384")))


def long_hello() -> Capture:
    return sound(converse(Settings(alpn=_LONG_OFFER), server=Settings(alpn=("http/1.1",))))


def early() -> Capture:
    return sound(special.early())


TALKS: dict[str, Callable[[], Capture]] = {
    "tls13": lambda: sound(tls13()),
    "tls13_aes256": suite("TLS_AES_256_GCM_SHA384"),
    "tls13_chacha20": suite(_CHACHA20),
    "tls13_retried": retried,
    "tls13_resumed": lambda: sound(resume(Settings())),
    "tls13_early": early,
    "tls13_key_update": said(scripts.updating_keys),
    "tls13_long_hello": long_hello,
    "tls13_no_name": named(""),
    "tls13_outer_name": named("outer.example"),
    "tls12": tls12("ECDHE-ECDSA-AES128-GCM-SHA256"),
    "tls12_aes256": tls12("ECDHE-ECDSA-AES256-GCM-SHA384"),
    "tls12_chacha20": tls12("ECDHE-ECDSA-CHACHA20-POLY1305"),
    "tls12_cbc_sha256": tls12("ECDHE-ECDSA-AES128-SHA256"),
    "tls12_cbc_sha256_no_etm": tls12("ECDHE-ECDSA-AES128-SHA256", NO_ENCRYPT_THEN_MAC),
    "tls12_cbc_sha384": tls12("ECDHE-ECDSA-AES256-SHA384"),
    "tls12_cbc_sha1": tls12("ECDHE-ECDSA-AES128-SHA"),
    "tls12_cbc_sha1_no_etm": tls12("ECDHE-ECDSA-AES256-SHA", NO_ENCRYPT_THEN_MAC),
    "tls12_static_rsa": tls12("AES128-GCM-SHA256", rsa=True),
    "tls12_static_rsa_cbc": tls12("AES256-SHA256", rsa=True),
    "tls12_resumed_ticket": lambda: sound(resume(Settings(version=TLS12))),
    "tls12_resumed_id": lambda: sound(resume(Settings(version=TLS12, options=NO_TICKET))),
    "http1_pipelined": said(scripts.pipelined),
    "http1_pipelined_tls12": said(scripts.pipelined, TLS12),
    "http1_small_writes": said(scripts.in_small_writes),
    "http1_chunked": said(scripts.chunked),
    "http1_expect": said(scripts.expecting),
    "http1_gzip": said(scripts.encoded("gzip")),
    "http1_br": said(scripts.encoded("br")),
    "http1_zstd": said(scripts.encoded("zstd")),
    "http1_deflate": said(scripts.encoded("deflate")),
    "http2": http2(),
    "http2_tls12": http2(TLS12),
    "http2_padded": http2(padding=50),
    "http2_continuation": http2(long_head=True),
    "websocket": said(scripts.websocket()),
    "websocket_fragmented": said(scripts.websocket(fragmented=True), whole=False),  # tshark shows the pieces
    "websocket_deflate": said(scripts.websocket(deflate=True, fragmented=True), whole=False),
    "proxy": lambda: sound(special.through_proxy(Settings()), port=8080),
    "proxy_tls12": lambda: sound(special.through_proxy(Settings(version=TLS12)), port=3128),
    "proxy_http2": lambda: sound(special.through_proxy(Settings(alpn=("h2",)), scripts.http2()), port=8080),
    "plain": lambda: sound(special.in_the_clear(), port=80),
    "plain_chunked": lambda: sound(special.in_the_clear(scripts.chunked), port=80),
    "plain_http2": lambda: sound(special.in_the_clear(scripts.http2()), port=80),
    "plain_odd_port": lambda: sound(special.in_the_clear(talk_plainly), port=12_345),
}
