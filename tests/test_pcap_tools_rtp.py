"""RTP in captures: streams are found on every link, their level is learned, and summed up minute by minute."""

import json
import math
import random
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mutewatch.flow_records import InClear, Sender
from mutewatch.ports import ReadOptions
from pcap_tools.capture.framing import Walk
from pcap_tools.capture.source import open_source
from pcap_tools.limits import ReadLimits
from pcap_tools.pcap import CaptureReader
from tests.captures.files import Pcapng, pcap, pcapng
from tests.captures.links import LINKS, Frame
from tests.rtp_packets import (
    CLIENT,
    MILLISECOND,
    SERVER,
    START,
    Heard,
    Talk,
    binding_request,
    capture_of,
    datagram,
    heard,
    one_byte,
    rtp,
    speech,
)

MINUTE = 3_000  # packets
NOT_COUNTED = 4  # packets before a stream is believed to be one
SHORT = 300


def levels(found: Heard) -> list[dict[str, Any]]:
    return [json.loads(exchange.body or b"")["level"] for exchange in found.exchanges]


def expected(octets: list[int]) -> dict[str, Any]:
    """What a minute of these bytes comes to, computed the slow way."""
    values = [-(octet & 127) for octet in octets]
    shares = [values.count(value) / len(values) for value in set(values)]
    return {
        "levelMax": max(values),
        "levelMean": pytest.approx(sum(values) / len(values), abs=0.06),
        "levelEnergyMean": pytest.approx(
            10 * math.log10(sum(10 ** (value / 10) for value in values) / len(values)), abs=0.06
        ),
        "levelMin": min(values),
        "levelDistinct": len(set(values)),
        "levelEntropy": pytest.approx(-sum(share * math.log2(share) for share in shares), abs=0.006),
        "voiceActivity": pytest.approx(100 * sum(octet >> 7 for octet in octets) / len(octets), abs=0.06),
    }


def test_each_second_has_a_level_of_its_own_and_one_without_packets_has_none(tmp_path: Path) -> None:
    rows = [*[30] * 50, *[60] * 50, *[30, 33] * 25]
    found = heard(capture_of(Talk(rows), Talk([50, 53] * 25, start_ms=5_000, first_sequence=65_530 + 150)), tmp_path)
    (told,) = (json.loads(one.body or b"")["seconds"] for one in found.exchanges)
    assert told[1:6] == [pytest.approx(level, abs=0.1) if level else None for level in (-60, -31.2, None, None, -51.2)]
    assert told[6:] == [None] * 54


def test_the_levels_of_each_minute_are_summed_up(tmp_path: Path) -> None:
    said = speech(2 * MINUTE)
    found = heard(capture_of(Talk(said)), tmp_path)
    assert levels(found) == [expected(said[NOT_COUNTED:MINUTE]), expected(said[MINUTE:])]
    assert [stream.in_clear for stream in found.streams] == [InClear.LEVEL]
    assert (found.streams[0].level_id, found.streams[0].minutes, found.streams[0].packets) == (1, 2, 2 * MINUTE - 4)


def test_a_minute_is_an_exchange_of_the_one_who_sends(tmp_path: Path) -> None:
    exchange = heard(capture_of(Talk(speech(SHORT))), tmp_path).exchanges[0]
    assert (exchange.method, exchange.host, exchange.path, exchange.client) == ("RTP", None, "/rtp", "192.168.1.7")
    assert (exchange.origin.frame, exchange.origin.door, exchange.client_port) == (SHORT, "pcap", 50_000)
    said = json.loads(exchange.body or b"")
    assert said["stream"] == "rtp 192.168.1.7:50000>203.0.113.5:3478 00000007 111 2026-03-02T09:00"
    assert exchange.sent_at is not None
    assert said["ends_at"] == exchange.sent_at.isoformat() == "2026-03-02T09:01:00+00:00"


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("ends", [(CLIENT, SERVER), (("fd00::7", 50_000), ("2001:db8:1::1", 3_478))], ids=["v4", "v6"])
def test_streams_are_found_on_every_link(link: str, ends: Any, tmp_path: Path) -> None:
    said = speech(SHORT)
    found = heard(capture_of(Talk(said, ends=ends), link=link), tmp_path)
    assert levels(found) == [expected(said[NOT_COUNTED:])]
    assert (found.streams[0].source, found.streams[0].target_port) == (ends[0][0], 3_478)


@pytest.mark.parametrize(
    "changes",
    [
        {"in_channel": True},
        {"form": "two"},
        {"level_id": 14},
        {"kind": 0, "step": 160, "size": 170},  # G.711
        {"every_ms": 60, "size": 200},
        {"ends": (CLIENT, ("203.0.113.5", 443))},
        {"others": {}},
        {"others": {5: b"\x33", 6: b"ab"}},
    ],
    ids=str,
)
def test_a_level_is_read_however_it_is_sent(changes: dict[str, Any], tmp_path: Path) -> None:
    said = speech(SHORT)
    found = heard(capture_of(Talk(said, **changes)), tmp_path)
    assert levels(found) == [expected(said[NOT_COUNTED:])]


def test_a_capture_of_headers_only_is_enough(tmp_path: Path) -> None:
    said = speech(SHORT)
    cut = [replace(frame, data=frame.data[:80], length=len(frame.data)) for frame in Talk(said).frames()]
    found = heard(capture_of(cut), tmp_path)
    assert levels(found) == [expected(said[NOT_COUNTED:])]
    assert found.streams[0].payload_bytes == 90 * (SHORT - NOT_COUNTED)


def test_it_is_the_same_in_pieces_in_other_files_and_with_noise_between(tmp_path: Path) -> None:
    rows = Talk(speech(SHORT)).frames()
    at_once = heard(capture_of(rows), tmp_path)
    pieces = heard(capture_of(rows), tmp_path, ReadLimits(chunk=1 << 12))
    assert (pieces.exchanges, pieces.streams) == (at_once.exchanges, at_once.streams)
    ng = heard(pcapng(rows), tmp_path)
    assert (levels(ng), ng.streams) == (levels(at_once), at_once.streams)
    chance = random.Random(3)
    ends = (CLIENT, SERVER)
    noise = [
        Frame(START + number * MILLISECOND, LINKS["ethernet"].wrap(datagram(ends, chance.randbytes(60)), True))
        for number in range(5_000)
    ]
    noisy = heard(capture_of(rows, noise), tmp_path)
    assert levels(noisy) == levels(at_once)
    assert len(noisy.streams) == 1


def test_who_does_not_ask_for_streams_gets_none(tmp_path: Path) -> None:
    path = tmp_path / "media.pcap"
    path.write_bytes(capture_of(Talk(speech(SHORT))))
    assert list(CaptureReader().read(path, ReadOptions())) == []


# -- what is not told ---------------------------------------------------------------------------------------------


def video(packets: int) -> list[Frame]:
    wrap, chance = LINKS["ethernet"].wrap, random.Random(5)
    rows = []
    for number in range(packets):
        data = rtp(number, number // 6 * 3_003, chance.randbytes(1_100), one_byte({1: b"\x02"}), ssrc=9, kind=96)
        rows.append(Frame(START + number * 5 * MILLISECOND, wrap(datagram((CLIENT, SERVER), data), True)))
    return rows


def sealed(packets: int) -> Talk:
    """RFC 6904: the elements are there, and encrypted."""
    chance = random.Random(6)
    return Talk([chance.randrange(256) for _ in range(packets)], others={})


def cryptex(frames: list[Frame]) -> list[Frame]:
    return [replace(frame, data=frame.data.replace(b"\xbe\xde", b"\xc0\xde", 1)) for frame in frames]


NOTHING_TO_TELL: dict[str, tuple[list[Frame], InClear, str]] = {
    "no extension": (Talk([None] * SHORT, others={}).frames(), InClear.NO_LEVEL, "no header extension"),
    "other elements": (Talk([None] * SHORT, others={6: b"ab"}).frames(), InClear.NO_LEVEL, "no element of one byte"),
    "a name": (Talk([None] * SHORT).frames(), InClear.NO_LEVEL, "a name"),
    "a steady level": (Talk([40] * SHORT).frames(), InClear.NO_LEVEL, "a level that says nothing"),
    "encrypted elements": (sealed(SHORT).frames(), InClear.NO_LEVEL, "encrypted (RFC 6904)"),
    "a number": (Talk([n % 256 for n in range(SHORT)], others={}).frames(), InClear.NO_LEVEL, "a number"),
    "Cryptex": (cryptex(Talk(speech(SHORT)).frames()), InClear.NO_LEVEL, "RFC 9335"),
    "video": (video(SHORT), InClear.NOT_AUDIO, "timestamps or sizes"),
    "too short": (Talk(speech(9)).frames(), InClear.NO_LEVEL, "too few packets"),
    "too many elements": (
        Talk(speech(SHORT), others=dict.fromkeys((5, 6, 7, 8), b"0"), level_id=10).frames(),
        InClear.AMBIGUOUS,
        "more than 4",
    ),
}


@pytest.mark.parametrize("name", NOTHING_TO_TELL)
def test_a_stream_without_a_level_says_so(name: str, tmp_path: Path) -> None:
    rows, in_clear, why = NOTHING_TO_TELL[name]
    found = heard(capture_of(rows), tmp_path)
    assert found.exchanges == []
    assert [stream.in_clear for stream in found.streams] == [in_clear]
    assert why in found.streams[0].detail


def test_two_elements_that_move_are_ambiguous(tmp_path: Path) -> None:
    wrap, one, other = LINKS["ethernet"].wrap, speech(SHORT), speech(SHORT, seed=2)
    rows = []
    for number in range(SHORT):
        extension = one_byte({1: bytes([one[number]]), 5: bytes([other[number]])})
        data = rtp(number, number * 960, bytes(80), extension)
        rows.append(Frame(START + number * 20 * MILLISECOND, wrap(datagram((CLIENT, SERVER), data), True)))
    found = heard(capture_of(rows), tmp_path)
    assert (found.exchanges, found.streams[0].in_clear) == ([], InClear.AMBIGUOUS)
    assert found.streams[0].detail == "elements 1, 5 all move as a level does"


def test_silence_throughout_is_a_level_and_not_a_name(tmp_path: Path) -> None:
    found = heard(capture_of(Talk([127] * SHORT)), tmp_path)
    assert [(one["levelMax"], one["levelMean"], one["levelDistinct"]) for one in levels(found)] == [(-127, -127, 1)]
    assert found.streams[0].detail == "the only element that stays at the level of silence"


def test_what_one_stream_tells_of_the_id_holds_for_another_between_the_same_ends(tmp_path: Path) -> None:
    steady = Talk([0x80 | 40] * SHORT, ssrc=8)
    found = heard(capture_of(steady, Talk(speech(SHORT))), tmp_path)
    assert sorted(one["levelDistinct"] for one in levels(found))[0] == 1
    assert [stream.in_clear for stream in found.streams] == [InClear.LEVEL] * 2


@pytest.mark.parametrize("second", [200, 205, 0x80 | 72])
def test_rtcp_is_no_stream(second: int, tmp_path: Path) -> None:
    wrap = LINKS["ethernet"].wrap
    rows = [
        Frame(START + n * MILLISECOND, wrap(datagram((CLIENT, SERVER), rtp(n, n * 960, bytes(40), kind=second)), True))
        for n in range(SHORT)
    ]
    assert heard(capture_of(rows), tmp_path).streams == []


# -- whose it is --------------------------------------------------------------------------------------------------

PUBLIC, OTHER_PUBLIC, LOCAL = ("198.51.100.9", 50_000), ("203.0.113.5", 3_478), ("10.0.0.9", 6_000)


@pytest.mark.parametrize(
    ("source", "target", "askers", "sender"),
    [
        (CLIENT, SERVER, (), Sender.CLIENT),
        (SERVER, CLIENT, (), Sender.SERVER),
        (SERVER, CLIENT, (SERVER,), Sender.SERVER),
        (("100.64.3.4", 5_000), SERVER, (), Sender.CLIENT),
        (PUBLIC, OTHER_PUBLIC, (), Sender.UNKNOWN),
        (PUBLIC, OTHER_PUBLIC, (PUBLIC,), Sender.CLIENT),
        (OTHER_PUBLIC, PUBLIC, (PUBLIC,), Sender.SERVER),
        (CLIENT, LOCAL, (CLIENT, LOCAL), Sender.UNKNOWN),
        (CLIENT, LOCAL, (CLIENT,), Sender.CLIENT),
        (("fe80::1", 9), ("2001:db8::1", 9), (), Sender.CLIENT),
    ],
)
def test_the_client_is_the_local_end_or_the_one_that_asks(
    source: Any, target: Any, askers: tuple[Any, ...], sender: Sender, tmp_path: Path
) -> None:
    wrap = LINKS["ethernet"].wrap
    asked = [
        Frame(START - MILLISECOND, wrap(datagram((one, target if one == source else source), binding_request()), True))
        for one in askers
    ]
    found = heard(capture_of(asked, Talk(speech(SHORT), ends=(source, target))), tmp_path)
    assert [stream.sender for stream in found.streams] == [sender]
    assert len(found.exchanges) == (sender is not Sender.SERVER)


# -- mute ---------------------------------------------------------------------------------------------------------


def hints(found: Heard) -> list[bool | None]:
    return [json.loads(exchange.body or b"")["is_muted"] for exchange in found.exchanges]


def test_a_minute_of_packets_of_silence_is_a_hint_of_mute_and_no_other_minute_says_anything(tmp_path: Path) -> None:
    loud = Talk(speech(MINUTE))
    quiet = Talk(speech(MINUTE), size=19, start_ms=60_000, first_sequence=65_530 + MINUTE)
    again = Talk(speech(MINUTE), start_ms=120_000, first_sequence=65_530 + 2 * MINUTE)
    found = heard(capture_of(loud, quiet, again), tmp_path)
    assert hints(found) == [None, True, None]
    stretches = {json.loads(exchange.body or b"")["stream"][-5:] for exchange in found.exchanges}
    assert stretches == {"09:00", "09:01", "09:02"}


@pytest.mark.parametrize(
    ("talk", "hint"),
    [
        (Talk([127] * 150, every_ms=400, size=18), True),  # discontinuous transmission
        (Talk([127] * 2_000, size=18), None),  # not a whole minute
        (Talk([127] * MINUTE, size=21), None),
    ],
)
def test_a_hint_needs_a_whole_minute_of_the_smallest_packets(talk: Talk, hint: bool | None, tmp_path: Path) -> None:
    assert hints(heard(capture_of(talk), tmp_path)) == [hint]


def test_minutes_without_a_packet_are_counted(tmp_path: Path) -> None:
    before, after = Talk(speech(SHORT)), Talk(speech(SHORT), start_ms=240_000, first_sequence=65_530 + SHORT)
    found = heard(capture_of(before, after), tmp_path)
    assert (found.streams[0].minutes, found.streams[0].silent_minutes) == (2, 3)


# -- limits and hostile input -------------------------------------------------------------------------------------


def test_streams_and_what_is_told_of_them_are_bounded(tmp_path: Path) -> None:
    talks = [Talk(speech(20, seed=n), ssrc=1_000 + n, start_ms=500 * n) for n in range(8)]
    found = heard(capture_of(*talks), tmp_path, ReadLimits(rtp_streams=2, rtp_told=5))
    assert (len(found.streams), found.untold) == (5, 3)
    assert len(found.exchanges) == 8


def test_a_capture_of_nothing_but_streams_costs_no_more_than_so_many(tmp_path: Path) -> None:
    talks = [Talk(speech(20, seed=n), ssrc=1_000 + n, start_ms=500 * n) for n in range(8)]
    found = heard(capture_of(*talks), tmp_path, ReadLimits(streams=3))
    assert (len(found.streams), found.untold) == (3, 5)


def test_minutes_that_wait_are_bounded(tmp_path: Path) -> None:
    still = Talk([40] * 600, every_ms=1_000, step=48, others={})
    moving = Talk(speech(200), every_ms=1_000, step=48, start_ms=600_000, first_sequence=65_530 + 600, others={})
    rows = capture_of(still, moving)
    assert len(heard(rows, tmp_path).exchanges) == 14  # the last one in two of its halves
    assert len(heard(rows, tmp_path, ReadLimits(rtp_minutes=3, chunk=1 << 12)).exchanges) < 14


payload = st.binary(max_size=80)
heads = st.sampled_from([b"", b"\x90\x6f", b"\x9f\x6f", b"\xb0\x00", b"\x40\x01\x00\x10\x90\x6f", b"\x00\x01\x00\x00"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(heads, payload, st.integers(0, 1 << 40)), min_size=1, max_size=40))
def test_no_payload_is_too_odd(rows: list[tuple[bytes, bytes, int]], tmp_path: Path) -> None:
    wrap = LINKS["ethernet"].wrap
    frames = [Frame(at, wrap(datagram((CLIENT, SERVER), head + rest), True)) for head, rest, at in rows]
    assert heard(pcap(frames), tmp_path).exchanges == []


extension = st.tuples(
    st.sampled_from([0xBEDE, 0x1000, 0x100F, 0xC0DE, 0]), st.integers(0, 65_535), st.binary(max_size=40)
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(extension, min_size=12, max_size=40), cut=st.integers(42, 120))
def test_no_header_of_a_real_stream_is_too_odd(rows: list[tuple[int, int, bytes]], cut: int, tmp_path: Path) -> None:
    wrap, frames = LINKS["ethernet"].wrap, []
    for number, (profile, words, data) in enumerate(rows):
        packet = rtp(number, number * 960, b"", struct.pack(">HH", profile, words) + data)
        whole = wrap(datagram((CLIENT, SERVER), packet), True)
        frames.append(Frame(START + number * 20 * MILLISECOND, whole[:cut], len(whole)))
    found = heard(pcap(frames), tmp_path)
    assert len(found.streams) <= 1
    assert all(-127 <= one["levelMin"] <= one["levelMax"] <= 0 for one in levels(found))


# -- times --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        pcap(Talk(speech(20)).frames()),
        pcap(Talk(speech(20)).frames(), order=">"),
        pcap(Talk(speech(20)).frames(), nano=True),
        pcapng(Talk(speech(20)).frames()),
        pcapng(Talk(speech(20)).frames(), order=">"),
        Pcapng().section().interface(resolution=9).packets(Talk(speech(20)).frames()).done(),
        Pcapng().section().interface(resolution=0x80 | 30).packets(Talk(speech(20)).frames()).done(),
        Pcapng().section().interface(resolution=6, offset=1_700_000_000).packets(Talk(speech(20)).frames()).done(),
    ],
    ids=["pcap", "big-endian", "ns", "pcapng", "pcapng big-endian", "pcapng ns", "pcapng 2^-30 s", "pcapng offset"],
)
def test_times_of_many_packets_are_those_of_each(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "times.pcap"
    path.write_bytes(data)
    limits = ReadLimits()
    for batches in Walk(open_source(path, limits), limits).chunks():
        for batch in batches:
            every = np.arange(len(batch.heads))
            found = batch.times_ns(every)
            assert found is not None
            assert found.tolist() == [batch.time_ns(index) for index in every.tolist()]
