"""RTP minutes pass the one door and are judged like the rest; and what a real WebRTC stack sends is read right."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mutewatch.commands.output import Format
from mutewatch.commands.scan import ScanOptions, scan
from mutewatch.compose import PipelineOptions
from mutewatch.flow_records import InClear
from pcap_tools.verify import Opinion
from tests.captures.links import frames
from tests.captures.packets import segments
from tests.captures.special import in_the_clear
from tests.rtp_packets import CLIENT, SERVER, Talk, capture_of, heard, speech

MINUTE = 3_000  # packets


class Scanned:
    """A finished scan of one capture."""

    def __init__(self, data: bytes, folder: Path, capsys: pytest.CaptureFixture[str], **options: Any) -> None:
        path = folder / "media.pcap"
        path.write_bytes(data)
        given = ScanOptions(**{"format": Format.JSONL, **options}, state=folder / "state")
        self.code = scan([path], given, PipelineOptions(activity=False))
        self.out, self.err = capsys.readouterr()

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [record for record in self.records if record["type"] == kind]


def quiet_between() -> list[Talk]:
    """Speech; levels that go on moving beside packets of silence; silence; speech again."""
    rows = [(speech(MINUTE), 90), (speech(MINUTE, 2), 19), ([127] * MINUTE, 19), (speech(MINUTE, 3), 90)]
    return [
        Talk(levels, size=size, start_ms=60_000 * n, first_sequence=65_530 + n * MINUTE)
        for n, (levels, size) in enumerate(rows)
    ]


def test_levels_that_move_beside_packets_of_silence_are_flagged_on_a_hint_and_no_more_is_claimed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scanned = Scanned(capture_of(*quiet_between()), tmp_path, capsys)
    findings = sorted(scanned.of("finding"), key=lambda finding: str(finding["starts_at"]))
    assert [(one["verdict"], one["rule"], one["mute_basis"]) for one in findings] == [
        ("mute-unknown", "MW-UNKNOWN", []),
        ("flagged", "MW-MUTED", ["payload-hint"]),
        ("inert", "MW-FLOOR", ["payload-hint"]),
        ("mute-unknown", "MW-UNKNOWN", []),
    ]
    assert {(one["app"], one["confidence"]) for one in findings} == {("WebRTC (RTP audio)", "documented")}
    assert findings[1]["values"]["levelMax"]["unit"] == "dBov"
    (summary,) = scanned.of("summary")
    assert summary["rtp_streams"] == {"of a client, level in clear": 1}
    assert (scanned.code, scanned.err) == (0, "")


def test_addresses_of_clients_are_told_as_pseudonyms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = (Talk(speech(300)), Talk(speech(300), ends=(SERVER, CLIENT), ssrc=8))
    scanned = Scanned(capture_of(*both), tmp_path, capsys)
    sent, got = scanned.of("rtp")
    (finding,) = scanned.of("finding")
    assert (sent["sender"], got["sender"]) == ("client", "server")
    assert sent["source"] == got["target"] == finding["client"]
    assert CLIENT[0] not in scanned.out
    assert sent["target"] == got["source"] == SERVER[0]


def test_streams_are_told_in_sentences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unknown = (("198.51.100.9", 5_000), ("203.0.113.5", 6_000))
    talks = (Talk(speech(300)), Talk([None] * 300, others={}, ssrc=8), Talk(speech(300), ssrc=9, ends=unknown))
    text = " ".join(Scanned(capture_of(*talks), tmp_path, capsys, format=Format.TABLE).out.split())
    assert (
        "RTP streams: 1 of a client, level in clear, 1 of a client, no level in clear, 1 of an unknown side, "
        "level in clear." in text
    )
    why = "(extension 1: the only element that moves as a level does; minutes: 1)"
    assert f"payload type 111, frames 13 to 898: level in clear {why}" in text
    assert "payload type 111, frames 14 to 899: no level in clear (no header extension)" in text
    assert "A stream without a level in clear may carry sound all the same: its payload is encrypted." in text
    assert "Which end of a stream is the client was not always to be told: then both directions are shown." in text


def test_tshark_is_not_asked_for_what_it_does_not_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies: list[Counter[bytes]] = []

    def opinion(_paths: object, _flows: object, given: Counter[bytes], _options: object) -> Opinion:
        bodies.append(given)
        return Opinion(0, 0, 0)

    monkeypatch.setattr("pcap_tools.verify.second_opinion", opinion)
    telemetry = frames(segments(in_the_clear()))
    Scanned(capture_of(telemetry, Talk(speech(300))), tmp_path, capsys, verify=True)
    assert [given.total() for given in bodies] == [60]


def test_a_real_webrtc_stack_is_read_within_a_decibel(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Tones, a change every second, and the silence of a muted track; aiortc encodes, encrypts and sends them."""
    pytest.importorskip("aiortc", reason="aiortc is not installed (extra 'test')")
    from tests.captures.files import pcap
    from tests.rtp_stack import FRAMES_A_MINUTE, SILENCE, recorded, tone

    steps = [tone(-30 if number // 50 % 2 else -50) for number in range(FRAMES_A_MINUTE)]
    sound = [
        *[tone(-20)] * FRAMES_A_MINUTE,
        *[tone(-40)] * FRAMES_A_MINUTE,
        *steps,
        *[SILENCE] * (2 * FRAMES_A_MINUTE),
    ]
    scanned = Scanned(pcap(recorded(sound)), tmp_path, capsys)
    findings = sorted(scanned.of("finding"), key=lambda finding: str(finding["starts_at"]))
    told = [
        tuple(finding["values"][f"level{name}"]["value"] for name in ("Max", "Mean", "EnergyMean", "Min"))
        for finding in findings
    ]
    assert told == [
        pytest.approx((-20, -20, -20, -20), abs=1),
        pytest.approx((-40, -40, -40, -40), abs=1),
        pytest.approx((-30, -40, -33, -50), abs=1),
        (-127, -127, -127, -127),
        (-127, -127, -127, -127),
    ]
    assert [(one["verdict"], one["mute_basis"]) for one in findings] == [
        *[("mute-unknown", [])] * 3,
        ("inert", []),  # the first packets of silence still have an echo of the sound, so nothing is estimated
        ("inert", ["payload-hint"]),
    ]
    (stream,) = scanned.of("rtp")
    assert (stream["in_clear"], stream["level_id"], stream["minutes"]) == (InClear.LEVEL.value, 2, 5)


def test_a_real_webrtc_stack_without_the_extension_is_said_to_have_none(tmp_path: Path) -> None:
    pytest.importorskip("aiortc", reason="aiortc is not installed (extra 'test')")
    from tests.captures.files import pcap
    from tests.rtp_stack import recorded, tone

    found = heard(pcap(recorded([tone(-20 - number % 30) for number in range(300)], with_level=False)), tmp_path)
    assert found.exchanges == []
    (stream,) = found.streams
    assert stream.in_clear is InClear.NO_LEVEL  # though the name of the media (RFC 9143) is an element of one byte, too
    assert stream.detail == "no element of one byte ever changes: a name (RFC 9143), or a level that says nothing"
