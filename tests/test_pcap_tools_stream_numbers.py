"""Frames and TCP streams have the numbers that Wireshark gives them, so that a finding can be found there."""

import random
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mutewatch.ports import ReadOptions
from mutewatch.records import Exchange
from pcap_tools.capture.packets import ACK, FIN, RST, SYN, Segment
from pcap_tools.capture.sift import sift
from pcap_tools.capture.stream_numbers import StreamNumbers
from pcap_tools.limits import DEFAULT_READ_LIMITS, ReadLimits
from pcap_tools.pcap import CaptureReader
from tests.captures.links import frames
from tests.captures.packets import Segment as Made
from tests.captures.variants import VARIANTS
from tests.packet_support import batches, dissected
from tests.test_pcap_tools_framing import pcap

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "mutewatch/sample/meeting.pcapng"
# Other hosts in between, ends used again, IPv6, VLAN, tunnels, fragments, several files, several interfaces, blocks
# that are no packets and have a number, packets in disorder, and without their beginning.
NAMES = (
    *("pcap_with_noise", "ports_reused", "ports_reused_near", "ipv6_extended", "vlan_ipv6", "qinq", "gre", "vxlan"),
    *(
        "fragments_v6",
        "pcap_rotated",
        "pcapng_options",
        "pcapng_interfaces",
        "reordered_flights",
        "no_syn",
        "twice_seen",
    ),
)
FLAGS = {False: (SYN, ACK, ACK, FIN | ACK, RST, RST | ACK), True: (SYN | ACK, ACK, FIN | ACK, RST | ACK)}  # by is_back


def exchanges(path: Path, keylog: Path | None = None, limits: ReadLimits = DEFAULT_READ_LIMITS) -> list[Exchange]:
    options = ReadOptions(keylogs=(keylog,) if keylog else ())
    return [one for one in CaptureReader(limits).read(path, options) if one.method]


def tshark_streams(path: Path) -> dict[int, set[int]]:
    """Return the tcp.stream of every frame; of a tunnel, each."""
    command = ["tshark", "-n", "-r", str(path), "-Y", "tcp", "-T", "fields", "-e", "frame.number", "-e", "tcp.stream"]
    told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120).stdout
    rows = (line.split("\t") for line in told.splitlines())
    return {int(frame): {int(number) for number in streams.split(",") if number} for frame, streams in rows}


def wrong(found: Sequence[Exchange]) -> Iterator[tuple[str | None, int | None, int | None]]:
    """Yield the origins that are not as tshark says: file, frame, stream."""
    known: dict[str, dict[int, set[int]]] = {}
    for one in found:
        origin = one.origin
        assert origin.file is not None
        assert origin.frame is not None
        if origin.file not in known:
            known[origin.file] = tshark_streams(Path(origin.file))
        if origin.tcp_stream not in known[origin.file].get(origin.frame, set()):
            yield origin.file, origin.frame, origin.tcp_stream


@pytest.mark.tshark
@pytest.mark.usefixtures("tshark")
def test_the_sample_has_wiresharks_numbers() -> None:
    found = exchanges(SAMPLE)
    assert len(found) > 20
    assert list(wrong(found)) == []


@pytest.mark.tshark
@pytest.mark.usefixtures("tshark")
@pytest.mark.parametrize("name", NAMES)
def test_a_variant_has_wiresharks_numbers(name: str, tmp_path: Path) -> None:
    paths, keylog = VARIANTS[name]().write(tmp_path)
    options = ReadOptions(keylogs=(keylog,) if keylog else ())
    found = [one for one in CaptureReader().read_rotated(paths, options) if one.method]
    assert found
    assert list(wrong(found)) == []


@pytest.mark.tshark
@pytest.mark.shared
@pytest.mark.usefixtures("tshark")
def test_real_captures_have_wiresharks_numbers(shared: Path) -> None:
    for name in ("t12_h1_resume", "t13_h1_resume", "t13_h2"):  # of several connections
        found = exchanges(shared / f"captures/{name}.pcap", shared / f"captures/{name}.keys")
        assert found
        assert list(wrong(found)) == []


@pytest.mark.tshark
@pytest.mark.usefixtures("tshark")
@pytest.mark.parametrize("seed", range(3))
def test_ends_used_again_and_again_are_told_apart_as_wireshark_does(seed: int, tmp_path: Path) -> None:
    packets = random_packets(random.Random(seed), 4_000)
    (tmp_path / "random.pcap").write_bytes(pcap(*packets))
    shown = tshark_streams(tmp_path / "random.pcap")
    ours = numbered(packets)
    assert len(set(ours.values())) > 200
    assert {frame: {number} for frame, number in ours.items()} == shown


def test_beyond_the_limit_no_number_is_told() -> None:
    options = ReadOptions()
    limits = replace(DEFAULT_READ_LIMITS, conversations=0)
    assert {one.origin.tcp_stream for one in CaptureReader(limits).read(SAMPLE, options) if one.method} == {None}


def random_packets(chance: random.Random, count: int) -> list[bytes]:
    """Return Ethernet frames between a few ends: flags of each side, few sequence numbers, IPv4, IPv6, VLAN."""
    packets = []
    for _ in range(count):
        hosts = chance.choice([("192.0.2.7", "198.51.100.1"), ("2001:db8::7", "2001:db8:1::1")])
        ends = (hosts[0], 50_000 + chance.randrange(60)), (hosts[1], 443)
        is_back = chance.random() < 0.4
        source, target = reversed(ends) if is_back else ends
        numbers = chance.choice((1_000, 2_000, 3_000)), chance.choice((0, 5_000))
        made = Made(0, 0, not is_back, source, target, *numbers, chance.choice(FLAGS[is_back]))
        packets += [frame.data for frame in frames([made], chance.choice(("ethernet", "vlan")))]
    return packets


def numbered(packets: Sequence[bytes]) -> dict[int, int | None]:
    """Return the number of each frame."""
    numbers, shown = StreamNumbers(10_000), dissected(packets)
    numbers.take(map(sift, batches(packets)), dict(enumerate(shown, 1)))
    return {
        one.stamp.frame: numbers.number((one.source, one.source_port), (one.target, one.target_port), one.stamp.frame)
        for one in shown
        if isinstance(one, Segment)
    }
