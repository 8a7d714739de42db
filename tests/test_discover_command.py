"""`mutewatch discover` as an operator has it: what it prints, draws and drafts, and that nothing personal is in it."""

import base64
import hashlib
import json
import re
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from mutewatch.cli import app
from mutewatch.commands.discover import DiscoverOptions, discover
from mutewatch.commands.scan import Exit
from mutewatch.errors import OperatorError
from mutewatch.signatures import load_signature
from mutewatch.signatures.fixtures import run_fixtures
from pcap_tools.exchange_log import write_exchanges
from tests.captures.conversations import OK, Line, converse
from tests.captures.files import pcap
from tests.captures.links import frames
from tests.captures.openssl import Settings
from tests.captures.packets import segments
from tests.discover_scene import AUDIO_FIELDS, HOST, START, decoys, getstats, message, meter, post, speech, write_wav
from tests.rtp_packets import Talk, capture_of
from tests.rtp_packets import speech as rtp_speech

ROOT = Path(__file__).parents[1]
BEGAN = START.isoformat()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two clients sent in half an hour, and what was played."""
    folder = tmp_path_factory.mktemp("discover")
    samples = speech(11, 1800)
    write_wav(folder / "played.wav", samples)
    write_exchanges(folder / "meter.jsonl", meter(samples, 11))
    write_exchanges(folder / "getstats.jsonl", getstats(samples, 11))
    return folder


def options(folder: Path) -> DiscoverOptions:
    return DiscoverOptions(audio=folder / "played.wav", start=BEGAN)


def test_the_table_fits_eighty_columns_and_tells_no_text_from_the_wire(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert discover([folder / "meter.jsonl"], DiscoverOptions(audio=folder / "played.wav", start=BEGAN)) == Exit.RAN
    told = capsys.readouterr().out
    assert max(map(len, told.splitlines())) <= 80
    assert "jane" not in told and "8f3a11c09d" not in told and "192.0.2.7" not in told
    rows = re.findall(r"^ *\d+ +(?:levels|common)\.(\w+)", told, re.MULTILINE)
    assert set(rows[: len(AUDIO_FIELDS)]) == set(AUDIO_FIELDS)
    assert f"30  POST {HOST}/v2/report/*" in told


def test_json_has_all_fields_and_what_was_not_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damaged = folder / "damaged.jsonl"
    write_exchanges(damaged, [*(post(60 * n, {"a": n % 7}) for n in range(9)), message(1, b'{"a'), message(2, b"2")])
    assert discover([folder / "meter.jsonl", damaged], DiscoverOptions(as_json=True)) == Exit.RAN
    told = json.loads(capsys.readouterr().out)
    assert len(told["fields"]) == 65 and told["fields"][0]["rank"] == 1
    assert "1 messages not read, or not in full: JSON." in told["notes"]
    assert "1 messages not read, or not in full: of no known format." in told["notes"]


def test_the_page_stands_alone_and_nothing_runs_in_it_but_its_scripts(folder: Path) -> None:
    page = folder / "plot.html"
    discover([folder / "meter.jsonl"], DiscoverOptions(audio=folder / "played.wav", start=BEGAN, html=page, top=5))
    text = page.read_text(encoding="utf-8")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    ran = re.findall(r"<script>(.*?)</script>", text, re.DOTALL) + re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    hashes = {f"sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}" for one in ran}
    assert set(re.findall(r"sha256-[A-Za-z0-9+/=]+", policy[1])) == hashes
    assert "default-src 'none'" in policy[1].replace("&#39;", "'")
    block = re.search(r'<script type="application/json" id="charts">(.*?)</script>', text)
    assert block is not None
    charts = json.loads(block[1])
    assert len(charts) == 6 and len(charts[0]["lines"]) == 2
    assert all(len(line["values"]) == len(chart["times"]) for chart in charts for line in chart["lines"])
    assert page.stat().st_mode & 0o777 == 0o600
    assert "jane" not in text and "192.0.2.7" not in text


@pytest.mark.parametrize("name", ["meter", "flat"])
def test_a_draft_is_a_valid_signature_that_reads_its_own_fixtures(folder: Path, name: str) -> None:
    if name == "flat":
        samples = speech(12, 1200)
        flat = (
            post(10 * (n + 1), {"mic": float(abs(samples[n * 20_000 : (n + 1) * 20_000]).max())}) for n in range(120)
        )
        write_exchanges(folder / "flat.jsonl", flat)
    draft = folder / f"{name}.toml"
    assert discover([folder / f"{name}.jsonl"], DiscoverOptions(draft=draft, names=True)) == Exit.RAN
    signature = load_signature(draft)
    assert signature.hosts == (HOST,) and signature.confidence == "inferred"
    results = list(run_fixtures(signature))
    assert all(result.holds for result in results)
    facts = {result.name: result.got for result in results}
    assert facts["common readings"][0].startswith("audio ") and facts["without the numbers: no fact"] == ()
    assert "instead of a finite number" in facts["a text in their place is said"][0]
    text = draft.read_text(encoding="utf-8")
    assert "FILL IN" in text and "jane" not in text and "192.0.2.7" not in text


def test_a_draft_finds_the_numbers_in_the_messages_it_was_made_of(folder: Path) -> None:
    draft = folder / "found.toml"
    discover([folder / "meter.jsonl"], DiscoverOptions(audio=folder / "played.wav", start=BEGAN, draft=draft))
    names = load_signature(draft).audio_names
    assert set(AUDIO_FIELDS) <= names


def test_where_a_draft_cannot_say_the_way_it_is_said(folder: Path) -> None:
    with pytest.raises(OperatorError, match="write this signature by hand"):
        discover([folder / "getstats.jsonl"], DiscoverOptions(draft=folder / "getstats.toml"))
    assert not (folder / "getstats.toml").exists()


def test_what_was_replayed_in_an_instant_says_nothing_of_behaviour(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    replayed = folder / "replayed.jsonl"
    write_exchanges(replayed, [post(n / 1000, {"level": n * 7 % 31}) for n in range(60)])
    with pytest.raises(OperatorError, match="no number behaves like sound"):
        discover([replayed], DiscoverOptions(draft=folder / "replayed.toml"))
    assert "Too short to see how a number behaves: all of it came within 1 s" in capsys.readouterr().out
    assert not (folder / "replayed.toml").exists()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"start": BEGAN}, "add --audio"),
        ({"audio": "none.wav"}, "No such file"),
        ({"audio": "meter.jsonl"}, "ffmpeg"),
        ({"audio": "played.wav", "start": "2026-03-02T09:00"}, "with an offset"),
        ({"audio": "played.wav", "start": "soon"}, "with an offset"),
        ({"html": "meter.jsonl"}, "one of the inputs"),
    ],
)
def test_a_mistake_is_named(folder: Path, wrong: dict[str, str], words: str) -> None:
    paths = {key: folder / value for key, value in wrong.items() if key in ("audio", "html")}
    with pytest.raises(OperatorError, match=words):
        discover([folder / "meter.jsonl"], DiscoverOptions(**{**wrong, **paths}))  # type: ignore[arg-type]


def test_hosts_are_chosen_and_nothing_found_has_a_code_of_its_own(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert discover([folder / "meter.jsonl"], DiscoverOptions(hosts=("*.other.example",))) == Exit.NOTHING_MATCHED
    told = capsys.readouterr().out
    assert "0 numbers found" in told and "Ranked" not in told
    assert "No message to *.other.example was read; without --host all hosts are looked at." in told
    assert discover([folder / "meter.jsonl"], DiscoverOptions(hosts=("*.meter.example",))) == Exit.RAN


def test_without_a_start_it_is_sought_near_the_first_message(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    discover([folder / "meter.jsonl"], DiscoverOptions(audio=folder / "played.wav", as_json=True))
    fields = json.loads(capsys.readouterr().out)["fields"]
    assert {one["field"].split(".")[-1] for one in fields[: len(AUDIO_FIELDS)]} == set(AUDIO_FIELDS)
    assert all(one["recording"]["p"] < 0.01 for one in fields[: len(AUDIO_FIELDS)])


def test_a_recording_of_another_time_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = datetime.fromisoformat(BEGAN).replace(hour=3).isoformat()
    discover([folder / "meter.jsonl"], DiscoverOptions(audio=folder / "played.wav", start=other))
    assert "do not overlap" in capsys.readouterr().out


def test_the_command_line_knows_it() -> None:
    assert "discover" in {
        command.name or command.callback.__name__ for command in app.registered_commands if command.callback
    }
    command = [sys.executable, "-m", "mutewatch.cli", "discover", "--help"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert "behave like sound" in told


def test_a_capture_of_webrtc_stats_with_its_keys_gives_level_and_energy_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exchanges = list(getstats(speech(5, 900), 5))

    def talk(line: Line, _texts: list[bytes]) -> list[bytes]:
        for exchange in exchanges:
            assert exchange.sent_at is not None and exchange.body is not None
            line.now, body = int(exchange.sent_at.timestamp() * 1e9), exchange.body
            head = f"POST /rtcstats HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(body)}\r\n\r\n"
            line.say(True, head.encode() + body)
            line.say(False, OK)
        return []

    made = converse(Settings(), talk, flows=1, host=HOST)
    (tmp_path / "stats.pcap").write_bytes(pcap(frames(segments(made))))
    (tmp_path / "keys.log").write_bytes(made.keylog)
    chosen = DiscoverOptions(keylogs=(tmp_path / "keys.log",), hosts=("*.meter.example",), as_json=True)
    assert discover([tmp_path / "stats.pcap"], chosen) == Exit.RAN
    told = json.loads(capsys.readouterr().out)
    assert {one["field"].split(".")[-1] for one in told["fields"][:2]} == {"audioLevel", "totalAudioEnergy"}
    assert discover([tmp_path / "stats.pcap"], DiscoverOptions(hosts=("*.meter.example",))) == Exit.NOTHING_MATCHED
    assert "1 flows not opened: no key in log (set SSLKEYLOGFILE" in capsys.readouterr().out


@pytest.mark.parametrize("body", [b"[" * 200_000, b'{"starts_at": "2026-03-02T09:00:00Z", "seconds": [NaN]}', b"\xff"])
def test_what_only_looks_like_a_level_beside_rtp_is_not_compared_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], body: bytes
) -> None:
    sent = [message(1, body, method="RTP"), *(post(60 * n, {"a": n % 7}) for n in range(9))]
    write_exchanges(tmp_path / "sent.jsonl", sent)
    assert discover([tmp_path / "sent.jsonl"], DiscoverOptions(rtp=True)) == Exit.RAN
    assert "nothing to compare with" in capsys.readouterr().out


@pytest.mark.parametrize("is_off", [False, True])
def test_what_follows_the_level_beside_the_clients_own_rtp_comes_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], is_off: bool
) -> None:
    minutes, random = 10, np.random.default_rng(3)
    levels = rtp_speech(minutes * 3_000)
    power = 10 ** (-np.array([level & 127 for level in levels]).reshape(-1, 250) / 10)  # of five seconds
    fields = {"near": 10 * np.log10(power.mean(axis=1)), **dict(decoys(random, len(power)))}

    def talk(line: Line, _texts: list[bytes]) -> list[bytes]:
        for number in range(len(power)):
            body = json.dumps({name: round(float(values[number]), 3) for name, values in fields.items()}).encode()
            line.now = int((START.timestamp() + 5 * (number + 1) + 0.8) * 1e9)
            line.say(True, f"POST /r HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            line.say(False, OK)
        return []

    made = converse(Settings(), talk, flows=1, host=HOST)
    sound = Talk(levels, ends=(("192.0.2.7", 40_000), ("203.0.113.5", 3_478)), others={})
    other = Talk(rtp_speech(minutes * 3_000, 9), ends=(("203.0.113.5", 3_478), ("192.0.2.7", 40_000)), ssrc=8)
    talks = [other] if is_off else [sound, other]
    (tmp_path / "call.pcap").write_bytes(capture_of(frames(segments(made)), *talks))
    (tmp_path / "keys.log").write_bytes(made.keylog)
    chosen = DiscoverOptions(keylogs=(tmp_path / "keys.log",), rtp=True, as_json=True)
    assert discover([tmp_path / "call.pcap"], chosen) == Exit.RAN
    told = json.loads(capsys.readouterr().out)
    follow = [one["field"] for one in told["fields"] if one.get("recording", {}).get("is_significant")]
    assert follow == ([] if is_off else ["near"])
    assert any("nothing to compare with" in note for note in told["notes"]) is is_off
    with pytest.raises(OperatorError, match="choose one"):
        discover([tmp_path / "call.pcap"], replace(chosen, audio=tmp_path / "call.pcap"))
