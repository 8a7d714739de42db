"""`mutewatch scan` as its users meet it: exit codes, one clear line for each fault, nothing lost that was found."""

import base64
import gzip
import hashlib
import json
import os
import re
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from mutewatch.commands.output import Format
from mutewatch.commands.scan import ScanOptions, scan, stored
from mutewatch.compose import PipelineOptions
from mutewatch.ports import ReadOptions
from mutewatch.records import Exchange
from mutewatch.report.payload import SAMPLE
from pcap_tools import read_inputs
from tests.facts import START, at, tsa_body, tsa_event
from tests.test_decode import bomb

ROOT = Path(__file__).parents[1]
DECRYPTION_SECRETS = 10  # pcapng block type
LOG = "webex/xdbg_log_first_half.txt"


class Run:
    """One finished run of the command line."""

    def __init__(self, *arguments: object, state: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "MUTEWATCH_STATE": str(state)}
        command = [sys.executable, "-m", "mutewatch.cli", *map(str, arguments)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def summary(self) -> dict[str, Any]:
        return self.records[-1]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def exchange_line(body: bytes | None, number: int = 1, **fields: object) -> str:
    record = {"method": "POST", "host": "tsa3.webex.com", "path": "/metric/v1", "sent_at": at(number).isoformat()}
    return json.dumps(record | ({"body": body.decode()} if body is not None else {}) | fields) + "\n"


def report_line(number: int) -> str:
    return exchange_line(tsa_body(tsa_event(number, at(number))), number)


# -- what it finds ----------------------------------------------------------------------------------------------


@pytest.mark.shared
def test_the_authors_log_under_an_assumption(shared: Path, state: Path) -> None:
    run = Run("scan", shared / "data" / LOG, "--assume", "muted", "--format", "jsonl", state=state)
    summary = run.summary
    assert (summary["decoded"], summary["undecoded"], summary["decoded"] + summary["undecoded"]) == (619, 1, 620)
    assert summary["minutes"] == {"flagged": 619, "unmuted": 0, "inert": 0, "mute-unknown": 0, "missing": 94}
    assert (summary["calls"], summary["clients"]) == (2, 1)
    (undecoded,) = [record for record in run.records if record.get("verdict") == "undecoded"]
    assert undecoded["reason"].startswith("JSON: ")
    assert undecoded["origin"]["offset"] > 0
    assert run.code == 3


@pytest.mark.shared
def test_the_authors_log_without_a_word_on_the_mute_state(shared: Path, state: Path) -> None:
    log = shared / "data" / LOG
    known = Run("scan", log, "--assume", "muted", "--format", "jsonl", "--no-activity", state=state).records[:-1]
    unknown = Run("scan", log, "--format", "jsonl", "--no-activity", state=state).records
    assert unknown[-1]["minutes"] == {"flagged": 0, "unmuted": 0, "inert": 0, "mute-unknown": 619, "missing": 94}
    assert [r["minute"] for r in unknown[:-1]] == [r["minute"] for r in known]


@pytest.mark.shared
def test_the_authors_log_twice_into_one_store_gives_the_same_report(shared: Path, state: Path, tmp_path: Path) -> None:
    store = tmp_path / "s.db"
    reports = []
    for _time in range(2):
        Run("scan", shared / "data" / LOG, "--assume", "muted", "--store", store, state=state)
        reports.append(Run("report", "--store", store, "--format", "jsonl", state=state).out)
    assert reports[0] == reports[1]
    assert len(reports[0].splitlines()) == 715


def test_an_operators_timeline_decides_where_no_message_does(state: Path, tmp_path: Path) -> None:
    log, mute = tmp_path / "a.jsonl", tmp_path / "mute.csv"
    log.write_text("".join(report_line(number) for number in (1, 2, 3)))
    mute.write_text(f"time,client,muted\n{START.isoformat()},U1,true\n{at(1.5).isoformat()},U1,false\n")
    records = Run("scan", log, "--mute", mute, "--format", "jsonl", state=state).records
    assert [(r["verdict"], r["muted_seconds"], r["mute_basis"]) for r in records[:-1]] == [
        ("flagged", 60, ["operator"]),
        ("flagged", 30, ["operator"]),
        ("unmuted", 0, ["operator"]),
    ]


@pytest.mark.parametrize("options", [(), ("--show-clients",)])
def test_an_operator_is_told_whom_a_timeline_names_and_nobody_is(
    state: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    log, mute = tmp_path / "a.jsonl", tmp_path / "mute.csv"
    log.write_text(report_line(1))
    names = ("U1", "*", "\x1b1", *(f"192.0.2.9{number}" for number in range(6)))
    mute.write_text("time,client,muted\n" + "".join(f"{START.isoformat()},{name},true\n" for name in names))
    told = Run("scan", log, "--mute", mute, *options, state=state).err
    unmet = r"\x1b1, 192.0.2.90, 192.0.2.91, 192.0.2.92, 192.0.2.93 and 2 more"
    assert told == f"mutewatch: {mute}: no minute was found of {unmet}\n"


def test_no_activity_means_no_guess_and_the_same_verdicts(state: Path) -> None:
    with_guesses = Run("scan", SAMPLE / "meeting.har", "--format", "jsonl", state=state).records
    without = Run("scan", SAMPLE / "meeting.har", "--format", "jsonl", "--no-activity", state=state).records
    assert any(record["guess"] for record in with_guesses[:-1])
    assert without[-1]["model"] is None
    assert all(record["guess"] is None for record in without[:-1])
    assert [r["verdict"] for r in without[:-1]] == [r["verdict"] for r in with_guesses[:-1]]


def test_names_on_the_wire_are_shown_only_on_request(state: Path) -> None:
    hidden = Run("scan", SAMPLE / "meeting.har", "--format", "jsonl", state=state)
    shown = Run("scan", SAMPLE / "meeting.har", "--format", "jsonl", "--show-clients", state=state)
    name = shown.records[0]["client"]
    assert name not in hidden.out
    assert hidden.records[0]["client"].startswith("client-")
    assert "sample.example.test" not in shown.out


def test_a_scan_into_a_store_says_where_and_what_next_and_standard_output_stays_for_programs(
    state: Path, tmp_path: Path
) -> None:
    store = tmp_path / "my store.db"
    run = Run("scan", SAMPLE / "meeting.har", "--format", "jsonl", "--store", store, state=state)
    told = f"Stored in {store}: `mutewatch report --store '{store}' -o report.html` makes a page of it.\n"
    assert run.err == told
    assert run.summary["type"] == "summary"


def test_the_password_of_a_database_is_not_told() -> None:
    assert "secret" not in stored("postgresql+psycopg://user:secret@host/database")


def test_doctor_names_the_store_that_it_looked_for(state: Path) -> None:
    told = "".join(Run("doctor", state=state).out.split())
    assert f"nothingrecordedyetat{state}/mutewatch.db(live,orscan--store)" in told


def test_help_begins_with_what_a_newcomer_needs(state: Path) -> None:
    told = Run("--help", state=state).out
    start = told.index("Start here:")
    names = re.findall(r"^  ([a-z]+)  ", told[told.index("Commands:") :], re.MULTILINE)
    assert "mutewatch report --store my.db -o report.html" in told[start : told.index("Options")]
    assert names[:10] == ["scan", "show", "report", "serve", "export", "discover", "live", "check", "canary", "ca"]
    assert {"demo", "doctor", "signatures", "forget"} <= set(names)


# -- exit codes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["{har}"], 0),
        (["{har}", "--fail-on", "flagged"], 1),
        (["{har}", "--fail-on", "flagged", "--mute", "{none}"], 2),
        (["{har}", "--assume", "perhaps"], 2),
        (["{har}", "--keylog", "{none}"], 2),
        (["{har}", "--output", "{none}/findings.csv"], 2),
        (["{har}", "--store", "{none}/findings.db"], 2),
        (["{har}", "--colour"], 2),
        ([], 2),
        (["{none}"], 3),
        (["{har}", "{none}", "--fail-on", "flagged"], 3),
        (["{other}"], 0),
        (["{other}", "--require-match"], 4),
        (["{har}", "--require-match"], 0),
    ],
)
def test_exit_codes(arguments: list[str], code: int, state: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text(exchange_line(b"{}", host="www.example.test"))
    names = {"har": SAMPLE / "meeting.har", "none": tmp_path / "none", "other": other}
    run = Run("scan", *(argument.format(**names) for argument in arguments), state=state)
    assert run.code == code, run.err
    assert "Traceback" not in run.err


def test_a_capture_without_its_keys_is_not_called_clean(state: Path, tmp_path: Path) -> None:
    whole, kept, at_byte = (SAMPLE / "meeting.pcapng").read_bytes(), b"", 0
    while at_byte < len(whole):
        kind, length = struct.unpack_from("<II", whole, at_byte)
        kept += whole[at_byte : at_byte + length] if kind != DECRYPTION_SECRETS else b""
        at_byte += length
    path = tmp_path / "dark.pcapng"
    path.write_bytes(kept)
    run = Run("scan", path, "--format", "jsonl", state=state)
    assert (run.summary["dark"], run.summary["matched"], run.code) == (3, 0, 3)
    assert run.err == "mutewatch: from known endpoints, but not readable: 3 connections that stayed closed\n"


def test_telemetry_at_a_path_that_no_signature_knows_is_not_called_clean(state: Path, tmp_path: Path) -> None:
    path = tmp_path / "moved.jsonl"
    path.write_text(exchange_line(tsa_body(tsa_event(1, at(1))), path="/metric/v2"))
    run = Run("scan", path, "--format", "jsonl", state=state)
    assert (run.summary["matched"], run.summary["unmatched_audio"], run.code) == (0, 1, 3)
    assert [record["verdict"] for record in run.records[:-1]] == ["undecoded"]
    assert "1 message that no signature knows, with names of audio-derived values" in run.err


def test_without_a_place_for_its_key_it_still_scans_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    run = Run("scan", SAMPLE / "meeting.har", "--format", "jsonl", state=tmp_path / "file" / "state")
    assert (run.code, run.summary["minutes"]["flagged"]) == (0, 16)
    assert run.records[0]["client"].startswith("client-")
    assert run.err.endswith("pseudonyms hold for this run only\n")


# -- bad input --------------------------------------------------------------------------------------------------


def bad_inputs(folder: Path) -> dict[str, Path]:
    """By kind: a file that cannot be read, or not to its end."""
    files = {
        "empty": b"",
        "of no known kind": b"\x00\x01\x02\x03" * 100,
        "truncated capture": (SAMPLE / "meeting.pcapng").read_bytes()[:30_001],
        "packed capture, cut off early": gzip.compress((SAMPLE / "meeting.pcapng").read_bytes())[:12],
        "truncated flow dump": (SAMPLE / "meeting.mitm").read_bytes()[:30_001],
        "truncated HAR": (SAMPLE / "meeting.har").read_bytes()[:30_001],
        "HAR nested 100,000 deep": b'{"log": {"entries": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
        "JSON Lines with a broken line": (report_line(1) + "{oops\n" + report_line(3)).encode(),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    paths = {name: folder / name for name in files}
    paths["not there"] = folder / "no such file"
    paths["a directory"] = folder
    return paths


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("empty", "{path}: is empty"),
        ("of no known kind", "{path}: is of no known kind; known are: pcap, pcapng (also .gz, .zst), HAR"),
        ("truncated capture", "{path}: byte "),
        ("packed capture, cut off early", "{path}: byte 0: holds nothing: empty, or packed and cut off"),
        ("truncated flow dump", "{path}: byte "),
        ("truncated HAR", "{path}: "),
        ("HAR nested 100,000 deep", "{path}: "),
        ("JSON Lines with a broken line", "{path}: byte "),
        ("not there", "{path}: not found"),
        ("a directory", "{path}: is a directory"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_3(kind: str, line: str, state: Path, tmp_path: Path) -> None:
    folder = tmp_path / "input"
    folder.mkdir()
    path = bad_inputs(folder)[kind]
    run = Run("scan", path, "--format", "jsonl", state=state)
    assert run.code == 3
    faults = run.err.splitlines()
    assert len(faults) == 1, run.err
    if run.code == 3:
        assert faults[0].startswith("mutewatch: " + line.format(path=path))


@pytest.mark.parametrize("kind", ["truncated flow dump", "JSON Lines with a broken line"])
def test_what_was_found_before_the_damage_is_kept(kind: str, state: Path, tmp_path: Path) -> None:
    run = Run("scan", bad_inputs(tmp_path)[kind], SAMPLE / "meeting.har", "--format", "jsonl", state=state)
    first, second = run.summary["inputs"]
    assert first["error"]
    assert first["counts"]["decoded"] >= 2
    assert (second["error"], second["counts"]["matched"]) == (None, 35)  # 5 of them answers


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_says_so(state: Path, tmp_path: Path) -> None:
    path = tmp_path / "secret.pcap"
    path.write_bytes(b"x")
    path.chmod(0)
    run = Run("scan", path, state=state)
    assert (run.code, run.err) == (3, f"mutewatch: {path}: no permission to read it\n")


def peak_mebibytes(path: Path, state: Path) -> float:
    """Peak memory of a scan of `path`, which may fail."""
    code = (
        "import resource, sys\nfrom mutewatch.cli import main\n"
        f"sys.argv = ['mutewatch', 'scan', {str(path)!r}, '--format', 'jsonl', '--no-activity']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MUTEWATCH_STATE": str(state)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return int(done.stderr.splitlines()[-1]) / 1024


def test_bombs_and_depth_cost_little_memory(state: Path, tmp_path: Path) -> None:
    plain, deep, inflated = (tmp_path / name for name in ("plain.jsonl", "deep.jsonl", "bomb.jsonl"))
    plain.write_text(report_line(1))
    deep.write_text(report_line(1) + exchange_line(b"[" * 100_000 + b"]" * 100_000))
    packed = base64.b64encode(bomb(1024)).decode()
    inflated.write_text(report_line(1) + exchange_line(None, body_base64=packed, content_encoding="gzip"))
    base = peak_mebibytes(plain, state)
    assert peak_mebibytes(deep, state) - base < 150
    assert peak_mebibytes(inflated, state) - base < 150
    for path in (deep, inflated):
        summary = Run("scan", path, "--format", "jsonl", state=state).summary
        assert (summary["decoded"], summary["undecoded"]) == (1, 1)


def test_an_interrupted_scan_keeps_what_it_found(
    state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def read(paths: Sequence[Path], options: ReadOptions, **_how: object) -> Iterator[Exchange]:
        if paths[0] == Path("interrupted"):
            raise KeyboardInterrupt
        yield from read_inputs(paths, options)

    monkeypatch.setattr("mutewatch.feeding.read_inputs", read)
    options = ScanOptions(state, format=Format.JSONL)
    assert scan([SAMPLE / "meeting.har", Path("interrupted")], options, PipelineOptions()) == 130
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["minutes"]["flagged"] == 16


def test_a_minus_is_standard_output(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = Run("scan", SAMPLE / "meeting.har", "--format", "csv", "--output", "-", state=state)
    assert (run.code, run.out.startswith("verdict,"), (tmp_path / "-").exists()) == (0, True, False)


def test_a_body_has_one_hash_however_it_was_packed_and_whatever_memory_was_left_behind_it(
    state: Path, tmp_path: Path
) -> None:
    body = tsa_body(tsa_event(1, at(1)))
    encoded = base64.b64encode(gzip.compress(body)).decode()
    lines = [
        exchange_line(body),
        exchange_line(None, body_base64=encoded, content_encoding="gzip"),
        exchange_line(body + b'\n\x10\x04 older "memory": {}'),
    ]
    path = tmp_path / "a.jsonl"
    for line in lines:
        path.write_text(line)
        record = Run("scan", path, "--format", "jsonl", state=state).records[0]
        assert record["body_sha256"] == hashlib.sha256(body).hexdigest()
