"""The dissector: what a packet carries, through every header that it knows, and nothing but None for the rest."""

import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcap_tools.capture.packets import ACK, Datagram, Dissector, Segment
from pcap_tools.limits import DEFAULT_READ_LIMITS
from pcap_tools.stream import Stamp
from tests.captures.links import udp
from tests.packet_support import dissected

ROOT = Path(__file__).parents[1]
A, B = b"\x0a\0\0\1", b"\x0a\0\0\2"
A6, B6 = bytes(15) + b"\1", bytes(15) + b"\2"
TCP = struct.pack(">HHIIBBHHH", 50_000, 443, 7, 9, 0x50, ACK, 0, 0, 0) + b"payload"
IP4, IP6, MACS = 0x0800, 0x86DD, bytes(12)


def ip4(
    payload: bytes = TCP, protocol: int = 6, *, total: int | None = None, place: int = 0, head: int = 0x45
) -> bytes:
    length = 20 + len(payload) if total is None else total
    return struct.pack(">BBHHHBBH", head, 0, length, 7, place, 64, protocol, 0) + A + B + payload


def ip6(payload: bytes = TCP, following: int = 6, *, length: int | None = None) -> bytes:
    return struct.pack(">IHBB", 6 << 28, len(payload) if length is None else length, following, 64) + A6 + B6 + payload


def ethernet(payload: bytes, kind: int = IP4, tags: bytes = b"") -> bytes:
    return MACS + tags + kind.to_bytes(2, "big") + payload


def gre(payload: bytes, kind: int = IP4, flags: int = 0) -> bytes:
    fields = sum(bool(flags & bit) for bit in (0x8000, 0x2000, 0x1000))
    return ethernet(ip4(struct.pack(">HH", flags, kind) + bytes(4 * fields) + payload, 47))


def fragment6(at: int, part: bytes, more: bool) -> bytes:
    return ip6(struct.pack(">BBHI", 6, 0, at | more, 5) + part, 44)


def segment(source: bytes = A, target: bytes = B, payload: bytes = b"payload", cut: int = 0, frame: int = 1) -> Segment:
    return Segment(source, 50_000, target, 443, 7, 9, ACK, payload, cut, Stamp(frame, None))


CARRIED = {
    "Ethernet": ethernet(ip4()),
    "padding behind the packet": ethernet(ip4()) + bytes(9),
    "six tags": ethernet(ip4(), tags=b"\x81\0\0\1" * 6),
    "tags of three kinds": ethernet(ip4(), tags=b"\x91\0\0\1\x88\xa8\0\1\x81\0\0\1"),
    "PPPoE": ethernet(b"\x11\0\0\1\0\x40\0\x21" + ip4(), 0x8864),
    "MPLS, two labels": ethernet(b"\0\1\0\x40\0\1\1\x40" + ip4(), 0x8847),
    "options in IP": ethernet(ip4(b"\1\1\1\0" + TCP, head=0x46)),
    "no length, as offload leaves it": ethernet(ip4(total=0)),
    "GRE with checksum, key and sequence": gre(ip4(), flags=0xB000),
    "Ethernet in GRE": gre(ethernet(ip4()), 0x6558),
    "IP in IP": ethernet(ip4(ip4(), 4)),
    "IP in IP, six times": ethernet(ip4(ip4(ip4(ip4(ip4(ip4(ip4(), 4), 4), 4), 4), 4), 4)),
    "IPv4 in IPv6": ethernet(ip6(ip4(), 4), IP6),
    "VXLAN": ethernet(udp(("1.1.1.1", 9), ("2.2.2.2", 8472), b"\x08" + bytes(7) + ethernet(ip4()))),
    "a VLAN in VXLAN": ethernet(
        udp(("1.1.1.1", 9), ("2.2.2.2", 4789), b"\x08" + bytes(7) + ethernet(ip4(), tags=b"\x81\0\0\1"))
    ),
}
CARRIED_6 = {
    "Ethernet": ethernet(ip6(), IP6),
    "no length": ethernet(ip6(length=0), IP6),
    "every extension": ethernet(
        ip6(
            b"\x2b\0"
            + bytes(6)
            + b"\x3c\1"
            + bytes(14)
            + b"\x87\0"
            + bytes(6)
            + b"\x33\0"
            + bytes(6)
            + b"\6\1"
            + bytes(10)
            + TCP,
            0,
        ),
        IP6,
    ),
    "IPv6 in IPv4": ethernet(ip4(ip6(), 41)),
    "in PPPoE": ethernet(b"\x11\0\0\1\0\x40\0\x57" + ip6(), 0x8864),
    "in MPLS": ethernet(b"\0\1\1\x40" + ip6(), 0x8847),
}


@pytest.mark.parametrize("name", CARRIED)
def test_it_finds_the_segment_in(name: str) -> None:
    assert dissected([CARRIED[name]]) == [segment()]


@pytest.mark.parametrize("name", CARRIED_6)
def test_it_finds_the_segment_of_ipv6_in(name: str) -> None:
    assert dissected([CARRIED_6[name]]) == [segment(A6, B6)]


@pytest.mark.parametrize("size", range(len(ethernet(ip4())) + 1))
def test_a_packet_that_was_cut_says_how_much_is_missing(size: int) -> None:
    whole = ethernet(ip4())
    (found,) = dissected([whole[:size]], original=len(whole))
    payload = b"payload"[: max(0, size - len(whole) + 7)]
    assert found == (segment(payload=payload, cut=7 - len(payload)) if size >= 48 else None)  # with the flags


NOTHING = {
    "seven tags": ethernet(ip4(), tags=b"\x81\0\0\1" * 7),
    "IP in IP, eight times": ethernet(ip4(CARRIED["IP in IP, six times"][14:], 4)),
    "a GRE of version 1 (PPTP)": gre(ip4(), flags=1),
    "IP version 5": ethernet(b"\x55" + ip4()[1:]),
    "a header of 16 bytes": ethernet(ip4(head=0x44)),
    "a length less than the header's": ethernet(ip4(total=19)),
    "a TCP header of 16 bytes": ethernet(ip4(TCP[:12] + b"\x40" + TCP[13:])),
    "seven extensions": ethernet(ip6((b"\0\0" + bytes(6)) * 7 + TCP, 0), IP6),
    "ARP": ethernet(bytes(28), 0x0806),
    "a VXLAN of which the flag is not set": ethernet(udp(("1.1.1.1", 9), ("2.2.2.2", 4789), b"")),
}


@pytest.mark.parametrize("name", NOTHING)
def test_it_finds_no_segment_in(name: str) -> None:
    assert not any(isinstance(found, Segment) for found in dissected([NOTHING[name]]))


FRAGMENTS = {
    "IPv4": ([ethernet(ip4(TCP[at : at + 8], place=at // 8 | 0x2000 * (at < 24))) for at in (0, 8, 16, 24)], A, B),
    "IPv6": ([ethernet(fragment6(at, TCP[at : at + 8], at < 24), IP6) for at in (0, 8, 16, 24)], A6, B6),
}


@pytest.mark.parametrize("kind", FRAGMENTS)
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 0, 3, 1)])
def test_fragments_are_one_packet_when_all_are_there(kind: str, order: tuple[int, ...]) -> None:
    parts, source, target = FRAGMENTS[kind]
    *before, last = dissected([parts[index] for index in order])
    assert before == [None] * (len(order) - 1)
    assert last == segment(source, target, frame=len(order))


def test_of_fragments_that_overlap_the_first_to_say_a_byte_is_believed() -> None:
    liar = TCP[:20] + b"a lie  "
    parts = [
        (16, TCP[16:24], 1),
        (0, TCP[:8], 1),
        (8, liar[8:24], 1),
        (24, TCP[24:], 0),
    ]
    packets = [ethernet(ip4(part, place=at // 8 | 0x2000 * more)) for at, part, more in parts]
    assert dissected(packets)[-1] == segment(frame=4)


def test_fragments_that_are_not_whole_are_dropped_and_counted() -> None:
    dissector, stamp = Dissector(replace(DEFAULT_READ_LIMITS, fragmented=2)), Stamp(1, None)
    first = ethernet(ip4(TCP[:8], place=0x2000))
    assert dissector.dissect(1, first[:-2], len(first), stamp) is None
    for protocol in (6, 7, 8):
        dissector.dissect(1, ethernet(ip4(TCP[:8], protocol, place=0x2000)), 0, stamp)
    assert dissector.skipped == {"fragment cut short": 1, "fragments without the rest": 1}
    assert dissector.dissect(1, ethernet(ip4(TCP[8:], place=1)), 0, stamp) is None  # the first was dropped


def test_what_is_passed_over_is_counted_by_its_reason() -> None:
    dissector, stamp = Dissector(DEFAULT_READ_LIMITS), Stamp(1, None)
    for link_type, data in ((1, ethernet(b"", 0x0806)), (1, b"short"), (12, b"\x50"), (9_999, b"x"), (101, ip4()[:30])):
        assert dissector.dissect(link_type, data, 0, stamp) is None
    assert dissector.skipped == {"not IP": 2, "cut short": 2, "link type 9999": 1}


OTHER_LINKS = {
    "PPP": (9, b"\xff\x03\0\x21"),
    "PPP with HDLC": (50, b"\xff\x03\0\x21"),
    "802.11 with radiotap": (127, bytes.fromhex("0000080000000000 08000000" + "00" * 20 + "aaaa030000000800")),
}


@pytest.mark.parametrize("link", OTHER_LINKS)
def test_other_links_are_known_by_scapy(link: str) -> None:
    link_type, head = OTHER_LINKS[link]
    assert dissected([head + ip4()], link_type) == [segment()]


def test_scapy_has_nothing_to_say_to_the_operator() -> None:
    code = "from tests.packet_support import dissected; dissected([bytes.fromhex('61880100ff' * 9)], 195)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("", "")


def test_a_datagram_is_given_with_its_payload() -> None:
    (found,) = dissected([ethernet(udp(("10.0.0.1", 53), ("10.0.0.2", 9), b"answer"))])
    assert found == Datagram(A, 53, B, 9, b"answer", Stamp(1, None))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.sampled_from([0, 1, 12, 14, 101, 108, 113, 228, 229, 276, 9, 105, 127]),
    st.sampled_from([*CARRIED.values(), *CARRIED_6.values(), *FRAGMENTS["IPv6"][0], b""]),
    st.lists(st.tuples(st.integers(0, 60), st.binary(max_size=4)), max_size=4),
    st.integers(0, 120),
)
def test_nothing_in_a_packet_raises_an_error(
    link_type: int, data: bytes, changes: list[tuple[int, bytes]], size: int
) -> None:
    for at, change in changes:
        data = data[:at] + change + data[at + len(change) :]
    dissected([data[:size], data[14:]], link_type)
