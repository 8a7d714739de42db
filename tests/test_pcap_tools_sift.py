"""The sift never passes over what the dissector would show: whatever the packets, of any link."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcap_tools.capture.packets import Datagram, Segment
from pcap_tools.capture.sift import DNS_PORTS, METHODS, QUIC_PORT, Sifted, Wanted, hash_flow, sift
from pcap_tools.tls.handshake import client_hello_from_records
from tests.captures.conversations import tls13
from tests.captures.damage import split
from tests.captures.links import LINKS, dns_answers, frames, udp
from tests.captures.packets import Ip, Tcp, segments
from tests.packet_support import batches, dissected

KINDS = {**{name: link.number for name, link in LINKS.items()}, "ieee802_11_radio": 127}
CHANCES = (
    "\x16\x03\x01\x02\x00\x01",
    "\x16\x03",
    "\x16",
    "GET / HTTP/1.1\r\n",
    "PO",
    "C",
    "",
    "\x17\x03\x03\0\x20nothing",
)


def begins(payload: bytes) -> bool:
    """May a conversation that is worth a look begin with these bytes?"""
    if payload[:1] == b"\x16":
        return client_hello_from_records(payload) is not None
    return bool(payload) and any(method.startswith(payload[:4]) for method in METHODS)


def check(packets: Sequence[bytes], link_type: int) -> int:
    """Fail if the sift passes over something; return how many TCP segments it could read itself."""
    shown = dissected(packets, link_type)
    chosen: set[int] = set()
    count = 0
    for batch in batches(packets, link_type):
        sifted, first = sift(batch), int(batch.frames[0]) - 1
        others = set(sifted.others.nonzero()[0].tolist())
        chosen.update(first + index for index in (*sifted.tcp.tolist(), *others))
        mine = [(index, shown[first + index]) for index in range(len(batch.heads)) if index not in others]
        count += compare(sifted, [(index, one) for index, one in mine if isinstance(one, Segment)])
    # Neither a packet alone nor fragments together give more than those that were chosen.
    seen = dissected([packet if index in chosen else b"" for index, packet in enumerate(packets)], link_type)
    assert [one for one in seen if not is_noise(one)] == [one for one in shown if not is_noise(one)]
    return count


def is_noise(one: Segment | Datagram | None) -> bool:
    """Is this nothing, or a datagram of no use: neither a name server's nor a QUIC handshake?"""
    if not isinstance(one, Datagram):
        return one is None
    is_quic = QUIC_PORT in (one.source_port, one.target_port) and one.payload[:1] >= b"\xc0"
    return one.source_port not in DNS_PORTS and not is_quic


def compare(sifted: Sifted, shown: list[tuple[int, Segment]]) -> int:
    """Compare what the sift says of the packets that it can read itself with what they are."""
    flows = dict(zip(sifted.tcp.tolist(), sifted.flows.tolist(), strict=True))
    payloads = zip(sifted.payloads.tolist(), sifted.ends.tolist(), strict=True)
    starts = dict(zip(sifted.tcp[sifted.begun].tolist(), payloads, strict=True))
    for index, one in shown:
        assert flows[index] == hash_flow(one.source, one.source_port, one.target, one.target_port)
        if begins(one.payload):
            payload, end = starts[index]
            assert bytes(sifted.batch.buffer[payload:end]) == one.payload
    return len(shown)


def test_packets_of_a_wanted_address_are_chosen_and_of_others_it_is_known_that_they_were_not() -> None:
    packets = [frame.data for frame in frames(segments(tls13())[:20])]
    client, server, stranger = (bytes(map(int, text.split("."))) for text in ("192.0.2.7", "198.51.100.1", "192.0.2.8"))
    for address, count in ((client, 20), (server, 20), (stranger, 0)):
        wanted = Wanted()
        wanted.add_address(address)
        (batch,) = batches(packets)
        assert len(wanted.choose(sift(batch))) == count
        assert [wanted.was_passed_over(one) for one in (client, server, stranger)] == [not count, not count, False]


def some_frames(link: str, version: int, ip: Ip | None = None) -> list[bytes]:
    """Return frames of a conversation on a link, its ClientHellos cut in pieces, with the answers of a name server."""
    rows = split(segments(tls13(), Tcp(version=version)), lambda row: [1, 4, 6, len(row.data) // 2])[:40]
    found = [frame.data for frame in frames(rows, link, ip)]
    wrap = LINKS[link].wrap
    quic = [
        udp(("192.0.2.7", 50_000), ("198.51.100.1", QUIC_PORT), bytes([first]) + bytes(30)) for first in (0xC3, 0x43)
    ]
    answers = [frame.data[14:] for frame in dns_answers(rows)]
    return found + [wrap(packet, False) for packet in (*quic, *answers)]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("link", LINKS)
def test_every_packet_of_a_conversation_is_chosen_on_every_link(link: str, version: int) -> None:
    check(some_frames(link, version), LINKS[link].number)


@pytest.mark.parametrize("ip", [Ip(fragment=64), Ip(extended=True), Ip(zero_length=True), Ip(bad_checksums=True)])
@pytest.mark.parametrize("version", [4, 6])
def test_so_it_is_in_fragments_with_extensions_and_behind_offload(version: int, ip: Ip) -> None:
    check(some_frames("ethernet", version, ip), 1)


@pytest.mark.parametrize("link", [link for link in LINKS if link not in ("gre_ethernet", "null_be", "sll")])
def test_and_in_whatever_became_of_them(link: str) -> None:
    """Bytes changed among the headers, and cut anywhere."""
    chance = random.Random(link)
    sound = [*some_frames(link, 4), *some_frames(link, 6), *some_frames(link, 4, Ip(fragment=64))]
    packets = []
    for _ in range(6):
        for packet in sound:
            changed = bytearray(packet)
            for _ in range(chance.randrange(3)):
                at = chance.randrange(min(len(changed), 90))
                changed[at] = chance.choice((0, 1, 4, 5, 6, 8, 17, 0x45, 0x60, 0x81, 0xFF, chance.randrange(256)))
            packets.append(bytes(changed[: chance.randrange(120)] if chance.random() < 0.2 else changed))
    assert check(packets, LINKS[link].number) > 100 or link in ("gre", "vxlan")


octets = st.binary(max_size=40)
protocols = st.sampled_from([6, 6, 6, 17, 47, 4, 41, 0, 44, 43, 51, 60, 1])
payloads = st.one_of(st.sampled_from([text.encode("latin-1") for text in CHANCES]), octets)
ports = st.sampled_from([443, 53, 5353, 4789, 8472, 80, 50_000, 0])


@st.composite
def transports(draw: st.DrawFn) -> bytes:
    """TCP, or UDP, or what might be."""
    ends = draw(ports).to_bytes(2, "big") + draw(ports).to_bytes(2, "big")
    offset = draw(st.sampled_from([0x50, 0x50, 0x80, 0x60, 0x40, 0xF0]))
    rest = draw(st.sampled_from([b"", b"\1" * 12, b"\xc3", b"\x08\0\0\0\0\0\2a"]))
    return ends + bytes(8) + bytes([offset, draw(st.integers(0, 63))]) + bytes(6) + rest + draw(payloads)


@st.composite
def packets_of_ip(draw: st.DrawFn, depth: int = 0) -> bytes:
    """IPv4 or IPv6, more or less, and in it another, more or less."""
    inner = draw(packets_of_ip(depth + 1)) if depth < 2 and draw(st.booleans()) else draw(transports())
    size = len(inner) + draw(st.sampled_from([0, 0, 0, 0, -1, 1, 40, -len(inner)]))
    if draw(st.booleans()):
        head = draw(st.sampled_from([0x45, 0x45, 0x46, 0x44, 0x4F]))
        length = draw(st.sampled_from([20 + max(size, 0)] * 4 + [0, 19]))
        place = draw(st.sampled_from([0, 0, 0x4000, 0x2000, 1, 0x1FFF, 0x8000]))
        fixed = bytes([head, 0]) + length.to_bytes(2, "big") + b"\0\7" + place.to_bytes(2, "big")
        return (
            fixed
            + bytes([64, draw(protocols)])
            + bytes(2)
            + draw(st.sampled_from([b"\n\0\0\1\n\0\0\2", b"\n\0\0\2\n\0\0\1"]))
            + inner
        )
    length = max(0, min(size, 0xFFFF))
    return b"\x60\0\0\0" + length.to_bytes(2, "big") + bytes([draw(protocols), 64]) + bytes(31) + b"\1" + inner


@st.composite
def packets_of(draw: st.DrawFn, link_type: int) -> bytes:
    """A packet of this link type, more or less."""
    inner = draw(st.one_of(packets_of_ip(), octets))
    if link_type == 1:
        tags = draw(st.sampled_from([b"", b"", b"\x81\0\0\1", b"\x88\xa8\0\1\x81\0\0\2", b"\x81\0\0\1" * 3]))
        kind = draw(
            st.sampled_from(
                [b"\x08\0", b"\x08\0", b"\x86\xdd", b"\x88\x47\0\0\x11\xff", b"\x88\x64\x11\0\0\1\0\0\0\x21", b"\0\7"]
            )
        )
        inner = bytes(12) + tags + kind + inner
    elif link_type in (113, 276):
        kind = draw(st.sampled_from([b"\x08\0", b"\x86\xdd", b"\x81\0"]))
        inner = bytes(14) + kind + inner if link_type == 113 else kind + bytes(18) + inner
    elif link_type in (0, 108):
        inner = b"\2\0\0\0" + inner
    return inner[: draw(st.integers(0, len(inner)))] if draw(st.booleans()) else inner


@pytest.mark.parametrize("link_type", [1, 0, 12, 101, 113, 276])
@settings(max_examples=100, deadline=None, derandomize=True)
@given(data=st.data())
def test_and_in_anything_else(link_type: int, data: st.DataObject) -> None:
    check(data.draw(st.lists(packets_of(link_type), min_size=1, max_size=6)), link_type)
