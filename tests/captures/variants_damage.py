"""The variants whose packets suffered: loss, order, repetition, cuts. Most are TLS 1.3; some TLS 1.2."""

import functools
from collections.abc import Callable

from tests.captures import damage, scripts
from tests.captures.capture import Capture, capture, merged
from tests.captures.conversations import Conversation, converse, resume, tls13
from tests.captures.files import Pcapng, cut, pcap
from tests.captures.links import Frame, frames
from tests.captures.openssl import TLS12, TLS13, Settings
from tests.captures.packets import Ip, Segment, Tcp, segments

_CBC = Settings(version=TLS12, ciphers="ECDHE-ECDSA-AES128-SHA256")
_CHACHA20, _AES256 = Settings(suites="TLS_CHACHA20_POLY1305_SHA256"), Settings(suites="TLS_AES_256_GCM_SHA384")
_P384 = Settings(groups="P-384")
Damage = Callable[[list[Segment]], list[Segment]]


@functools.cache
def tls12() -> Conversation:
    return converse(Settings(version=TLS12))


def damaged(change: Damage, least: int = 60, *, whole: bool | None = None, tcp: Tcp | None = None) -> Capture:
    """Return the TLS 1.3 conversation with this damage."""
    talk = tls13()
    return capture(talk, pcap(frames(change(segments(talk, tcp)))), least=least, whole=whole)


def damaged12(change: Damage, least: int = 60, *, whole: bool | None = None) -> Capture:
    talk = tls12()
    return capture(talk, pcap(frames(change(segments(talk)))), least=least, whole=whole)


def damaged_talk(talk: Conversation, change: Damage, least: int) -> Capture:
    """Return another conversation with this damage, too much for tshark."""
    return capture(talk, pcap(frames(change(segments(talk)))), least=least, whole=False)


def http2(version: int) -> Conversation:
    return converse(Settings(version=version, alpn=("h2",)), scripts.http2())


def lost(*numbers: int) -> Damage:
    """Return the loss of these data packets of the clients. In `tls13`, 91 to 93 carry one request."""
    return lambda rows: damage.without(rows, numbers)


def framed(ip: Ip, change: Callable[[list[Frame]], list[Frame]] = list, tcp: Tcp | None = None) -> Capture:
    """Return the TLS 1.3 conversation in packets of this kind."""
    talk = tls13()
    return capture(talk, pcap(change(frames(segments(talk, tcp), "ethernet", ip))))


def snapped(length: int) -> Capture:
    talk = tls13()
    rows = damage.snapped(frames(segments(talk)), length)
    return capture(talk, pcap(rows, snaplen=length), least=0)


def twice_seen() -> Capture:
    """The same packets on two interfaces, the second without link layer and a little later."""
    talk = tls13()
    rows = segments(talk)
    later = [Frame(one.time + 2_000, one.data, None, 1) for one in frames(rows, "raw")]
    both = merged(frames(rows), later)
    return capture(talk, Pcapng().section().interface().interface("raw").packets(both).done(), name="capture.pcapng")


def cut_off() -> Capture:
    """The file ends in the middle of the last packet."""
    talk = tls13()
    return capture(talk, cut(pcap(frames(segments(talk))), 30))


def reused(stride: int) -> Capture:
    """Two connections, one after the other, between the same two ports."""
    talk = converse(Settings(), apart=True)
    return capture(talk, pcap(frames(segments(talk, Tcp(same_ports=True, stride=stride)))))


def large(*, zero_length: bool) -> Capture:
    """Frames above 64 KiB, as segmentation offload shows them: their IP length cannot say it."""
    talk = converse(Settings(), count=4, size=100_000)
    return capture(talk, pcap(frames(segments(talk, Tcp(mss=90_000)), "ethernet", Ip(zero_length=zero_length))))


def wrapped() -> Capture:
    return damaged(list, tcp=Tcp(first=((1 << 32) - 20_000, (1 << 32) - 900)))


def client_only(rows: list[Segment]) -> list[Segment]:
    return damage.one_side(rows, client=True)


def middle(rows: list[Segment]) -> list[Segment]:
    return damage.from_middle(rows)


DAMAGED: dict[str, Callable[[], Capture]] = {
    "reordered": lambda: damaged(damage.reordered),
    "reordered_flights": lambda: damaged(damage.flights_reversed),
    "reordered_tls12": lambda: damaged12(damage.reordered),
    "reordered_far": lambda: damaged(damage.far_reordered),
    "duplicated": lambda: damaged(damage.duplicated),
    "overlapping": lambda: damaged(damage.overlapping),
    "retransmitted_larger": lambda: damaged(damage.retransmitted_larger),
    "one_lost": lambda: damaged(lost(92), 59),
    "one_lost_tls12": lambda: damaged12(lost(92), 59),
    "one_lost_cbc": lambda: damaged_talk(converse(_CBC), lost(90), 59),
    "one_lost_pipelined": lambda: damaged_talk(converse(Settings(), scripts.pipelined), lost(90), 55),
    "one_lost_small_writes": lambda: damaged_talk(converse(Settings(), scripts.in_small_writes), lost(90), 59),
    "one_head_lost": lambda: damaged_talk(converse(Settings(), scripts.in_small_writes), lost(89), 59),
    "one_lost_http2": lambda: damaged_talk(http2(TLS13), lost(90), 57),
    "one_lost_http2_tls12": lambda: damaged_talk(http2(TLS12), lost(90), 57),
    "http2_client_only": lambda: damaged_talk(http2(TLS13), client_only, 60),
    "http2_mid_stream": lambda: damaged_talk(http2(TLS13), middle, 30),
    "resumed_client_only": lambda: damaged_talk(resume(Settings()), client_only, 60),
    "retried_client_only": lambda: damaged_talk(converse(Settings(), server=_P384), client_only, 60),
    "key_update_client_only": lambda: damaged_talk(converse(Settings(), scripts.updating_keys), client_only, 60),
    "key_update_near_loss": lambda: damaged_talk(converse(Settings(), scripts.updating_keys), lost(92), 59),
    "key_update_lost": lambda: damaged_talk(converse(Settings(), scripts.updating_keys), lost(94), 59),
    "first_of_request_lost": lambda: damaged(lost(91), 59),
    "last_of_request_lost": lambda: damaged(lost(93), 59),
    "many_lost": lambda: damaged(lambda rows: damage.without_each(rows, 17), 50),
    "many_lost_tls12": lambda: damaged12(lambda rows: damage.without_each(rows, 17), 50),
    "server_lost": lambda: damaged(lambda rows: damage.without_server(rows, [20, 21, 30])),
    "reordered_and_lost": lambda: damaged(lambda rows: damage.without(damage.reordered(rows), [90, 130]), 58),
    "mid_stream": lambda: damaged(middle, 58),
    "mid_stream_tls12": lambda: damaged12(middle, 30),
    "mid_record": lambda: damaged(lambda rows: damage.from_middle(rows, 25), 57),
    "client_only": lambda: damaged(client_only, whole=False),
    "client_only_chacha20": lambda: damaged_talk(converse(_CHACHA20), client_only, 60),
    "client_only_aes256": lambda: damaged_talk(converse(_AES256), client_only, 60),
    "client_only_tls12": lambda: damaged12(client_only, 0),
    "server_only": lambda: damaged(lambda rows: damage.one_side(rows, client=False), 0),
    "server_hello_first": lambda: damaged(damage.server_hello_first, whole=False),
    "server_hello_first_tls12": lambda: damaged12(damage.server_hello_first),
    "no_syn": lambda: damaged(damage.without_syn),
    "no_syn_reordered": lambda: damaged(lambda rows: damage.reordered(damage.without_syn(rows))),
    "client_hello_bytewise": lambda: damaged(lambda rows: damage.split(rows, damage.bytewise)),
    "client_hello_in_name": lambda: damaged(lambda rows: damage.split(rows, damage.in_server_name)),
    "client_hello_in_head": lambda: damaged(lambda rows: damage.split(rows, damage.in_record_head)),
    "backwards": lambda: damaged(damage.backwards),
    "last_packet_cut": cut_off,
    "twice_seen": twice_seen,
    "fragments_v4": lambda: framed(Ip(fragment=576)),
    "fragments_v4_reversed": lambda: framed(Ip(fragment=576), damage.fragments_reversed),
    "fragments_v6": lambda: framed(Ip(fragment=576), tcp=Tcp(version=6)),
    "snaplen_96": lambda: snapped(96),
    "snaplen_600": lambda: snapped(600),
    "bad_checksums": lambda: framed(Ip(bad_checksums=True)),
    "zero_ip_length": lambda: framed(Ip(zero_length=True), tcp=Tcp(mss=60_000)),
    "large_frames": lambda: large(zero_length=True),
    "tso": lambda: framed(Ip(), tcp=Tcp(mss=60_000)),
    "small_segments": lambda: framed(Ip(), tcp=Tcp(mss=100)),
    "no_acks": lambda: framed(Ip(stamps=False), tcp=Tcp(acks=False)),
    "sequence_wrap": wrapped,
    "ports_reused": lambda: reused(1_000_003),
    "ports_reused_near": lambda: reused(7),
}
