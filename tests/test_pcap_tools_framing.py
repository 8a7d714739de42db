"""The framing walk: complete only if every byte is accounted for, else where and why not."""

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcap_tools.capture.framing import Framing, check_framing
from pcap_tools.capture.magic import PCAP_MAGIC
from pcap_tools.limits import ReadLimits
from tests.corpora import packets_by_capinfos, unpack

PACKET = b"\x01\x02\x03\x04\x05"


def pcap(*packets: bytes, magic: bytes = b"\xd4\xc3\xb2\xa1", version: int = 2, link_type: int = 1) -> bytes:
    order, header = PCAP_MAGIC[magic]
    head = magic + struct.pack(order + "HHIIII", version, 4, 0, 0, 65_535, link_type)
    extra = bytes(header - 16)
    rows = (struct.pack(order + "IIII", 1, 2, len(p), len(p)) + extra + p for p in packets)
    return head + b"".join(rows)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    length = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + length + body + length


def section(order: str = "<", version: tuple[int, int] = (1, 0), options: bytes = b"") -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, *version, -1) + options, order)


def interface(order: str = "<", snap: int = 0, options: bytes = b"") -> bytes:
    return block(1, struct.pack(order + "HHI", 1, 0, snap) + options, order)


def packet(order: str = "<", number: int = 0, captured: int | None = None, options: bytes = b"") -> bytes:
    size = len(PACKET) if captured is None else captured
    body = PACKET + bytes(-len(PACKET) % 4) + options
    return block(6, struct.pack(order + "IIIII", number, 0, 0, size, size) + body, order)


def simple(order: str = "<", original: int = len(PACKET)) -> bytes:
    return block(3, struct.pack(order + "I", original) + PACKET, order)


def check(folder: Path, data: bytes, limits: ReadLimits | None = None) -> Framing:
    path = folder / "x.pcap"
    path.write_bytes(data)
    return check_framing(path, limits or ReadLimits())


WHOLE = {
    **{f"pcap {magic.hex()}": (pcap(PACKET, b"", PACKET, magic=magic), 3) for magic in PCAP_MAGIC},
    "pcap without packets": (pcap(), 0),
    "pcap with a check sequence": (pcap(PACKET, link_type=0x30000001), 1),
    "pcapng without packets": (section(), 0),
    "pcapng little endian": (section() + interface() + packet() + simple(), 2),
    "pcapng big endian": (section(">") + interface(">") + packet(">") + simple(">"), 2),
    "two sections, two orders": (
        section() + interface() + packet() + section(">") + interface(">") + packet(">"),
        2,
    ),
    "two interfaces": (section() + interface() + interface() + packet(number=1), 1),
    "simple packet cut by snap length": (section() + interface(snap=5) + simple(original=1_000), 1),
    "unknown block": (section() + block(0x0BAD, b"anything") + interface() + packet(), 1),
    "options": (section(options=b"\x02\0\x01\0x\0\0\0\0\0\0\0") + interface(options=b"\x01\0\0\0"), 0),
    "secrets": (section() + block(0xA, b"KSLT\x04\0\0\0abcd") + interface() + packet(), 1),
    "version 1.2": (section(version=(1, 2)), 0),
}

DAMAGED = {
    "packet longer than libpcap's limit": (
        pcap(PACKET) + struct.pack("<IIII", 0, 0, 262_145, 0),
        "more than 262,144",
    ),
    "header cut": (pcap(PACKET) + b"\0" * 9, "middle of a packet's header"),
    "packet cut": (pcap(PACKET, PACKET)[:-1], "middle of a packet"),
    "block length 0": (section() + b"\x01\0\0\0" + bytes(8), "cannot be"),
    "block length 4": (section() + struct.pack("<II", 1, 4), "cannot be"),
    "block length odd": (section() + struct.pack("<II", 1, 21) + bytes(13), "cannot be"),
    "block of 2 GiB": (section() + struct.pack("<II", 1, 1 << 31), "more than 16,777,216"),
    "two lengths differ": (section() + interface()[:-4] + b"\x18\0\0\0", "lengths differ"),
    "packet before any interface": (section() + packet(), "interface 0, which is not described"),
    "simple packet before any interface": (section() + simple(), "not described"),
    "unknown interface": (section() + interface() + packet(number=999), "interface 999"),
    "an old section's interface": (section() + interface() + section() + packet(), "not described"),
    "packet longer than its block": (section() + interface() + packet(captured=99), "room for 8"),
    "option longer than its block": (section() + interface(options=b"\x01\0\xff\0"), "longer than its block"),
    "end of options with a length": (section() + interface(options=b"\0\0\x08\0"), "end of options"),
    "block cut": (section() + interface()[:-6], "middle of a block"),
    "block header cut": (section() + b"\x01\0", "middle of a block's header"),
    "second section of no order": (section() + section().replace(b"\x4d\x3c", b"\0\0"), "byte-order"),
}


@pytest.mark.parametrize("case", WHOLE)
def test_a_whole_file_is_complete_with_its_packets(tmp_path: Path, case: str) -> None:
    data, packets = WHOLE[case]
    assert check(tmp_path, data) == Framing("complete", packets)  # type: ignore[arg-type]


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_file_is_incomplete_with_the_reason(tmp_path: Path, case: str) -> None:
    data, reason = DAMAGED[case]
    verdict = check(tmp_path, data)
    assert verdict.wholeness == "incomplete" and reason in (verdict.reason or "")


def test_the_offset_is_where_the_good_part_ends(tmp_path: Path) -> None:
    good = section() + interface() + packet()
    verdict = check(tmp_path, good + packet(number=7) + packet())
    assert (verdict.offset, verdict.packets) == (len(good), 1)


@pytest.mark.parametrize(
    "data",
    [b"", b"\xd4\xc3", b"garbage", pcap()[:23], section()[:20], pcap(version=1), pcap(version=99),
     pcap(link_type=16_511), pcap(link_type=0x300000), section(version=(1, 1)), section(version=(2, 0))],
)  # fmt: skip
def test_a_file_without_a_good_header_is_unreadable(tmp_path: Path, data: bytes) -> None:
    assert check(tmp_path, data).wholeness == "unreadable"


def test_more_interfaces_than_the_limit_are_not_read(tmp_path: Path) -> None:
    verdict = check(tmp_path, section() + interface() * 4, ReadLimits(interfaces=3))
    assert (verdict.wholeness, verdict.reason) == ("incomplete", "more than 3 interfaces in one section")


def test_more_options_than_the_limit_are_not_read(tmp_path: Path) -> None:
    verdict = check(tmp_path, section() + interface(options=b"\x01\0\0\0" * 4), ReadLimits(options=3))
    assert verdict.reason == "more than 3 options in one block"


@pytest.mark.parametrize("whole", [pcap(PACKET, PACKET), section() + interface() + packet() + simple()])
def test_no_cut_file_is_complete_except_between_two_records(tmp_path: Path, whole: bytes) -> None:
    complete = [cut for cut in range(len(whole)) if check(tmp_path, whole[:cut]).wholeness == "complete"]
    starts = {check(tmp_path, whole[:cut]).offset for cut in range(len(whole))} - {None, 0}
    assert set(complete) >= starts and len(complete) <= 3


@given(st.sampled_from([b"", pcap(PACKET), section() + interface()]), st.binary(max_size=200))
def test_random_bytes_raise_nothing(tmp_path_factory: pytest.TempPathFactory, start: bytes, tail: bytes) -> None:
    check(tmp_path_factory.getbasetemp(), start + tail)


@pytest.mark.parametrize("data", [pcap(PACKET, b"", PACKET), section() + interface() + packet() + simple()])
@pytest.mark.parametrize("chunk", [1, 33])
def test_a_chunk_may_be_smaller_than_what_is_in_it(tmp_path: Path, data: bytes, chunk: int) -> None:
    assert check(tmp_path, data, ReadLimits(chunk=chunk)) == check(tmp_path, data)


@pytest.mark.shared
@pytest.mark.tshark
def test_strange_captures_are_judged_as_wireshark_does(shared: Path, tmp_path: Path, tshark: str) -> None:
    """Complete with as many packets where Wireshark takes it; else not, but for link types unknown to it."""
    captures = unpack(shared, tmp_path, "tcpdump-tests", "libpcap-tests", "pcapng-generator-le")
    assert len(captures) > 850
    wrong = []
    for start in range(0, len(captures), 100):
        some = captures[start : start + 100]
        expected = packets_by_capinfos(some)
        for path in some:
            verdict, packets = check_framing(path), expected[str(path)]
            agrees = verdict.packets == packets if packets is not None else True
            if (verdict.wholeness == "complete") != (packets is not None) or not agrees:
                wrong.append((path.name, verdict))
    assert sum(verdict.wholeness != "complete" for _, verdict in wrong) == 0
    assert len(wrong) <= 20  # 17 link types that tcpdump reads and Wireshark 4.0 does not know
