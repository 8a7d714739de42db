"""Outputs: a finding is one line in each, and nothing from the wire can break out of it."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace
from rich.console import Console

from mutewatch.commands.output import Format
from mutewatch.commands.report import report
from mutewatch.config import LIVE_STATUS
from mutewatch.identity import Names
from mutewatch.mute import MuteTracker
from mutewatch.pipeline import Pipeline
from mutewatch.records import ActivityGuess, Finding, Sent, Verdict
from mutewatch.signatures import load_signatures
from mutewatch.sinks.csv_file import CsvSink
from mutewatch.sinks.jsonl import JsonLinesSink
from mutewatch.sinks.record import finding_from_record, finding_record
from mutewatch.sinks.table import TableSink
from mutewatch.store import Store
from mutewatch.summary import Summary
from tests.facts import at, exchange, tsa_body, tsa_event

GUESS = ActivityGuess("m@1", "music", {"music": 0.75, "cooking": 0.25}, at(0), at(7), 7, 1)


def findings(call: str = "C1") -> list[Finding]:
    through = Pipeline(load_signatures(), Names(None), MuteTracker(assume=True))
    for number in (1, 3):
        event = tsa_event(number, at(number))
        event["event"]["identifiers"] = {"correlationId": call, "webexUserId": call}
        through.feed(exchange(tsa_body(event), sent_at=at(number)))
    through.feed(exchange(b"no JSON"))
    found = sorted(through.finish(), key=lambda finding: finding.minute)
    return [replace(found[0], guess=GUESS), *found[1:]]


def shown(found: list[Finding], width: int = 80) -> str:
    file = io.StringIO()
    table = TableSink(Console(file=file, width=width))
    table.write(found)
    table.flush()
    return file.getvalue()


def naughty(shared: Path) -> list[str]:
    names: list[str] = json.loads((shared / "corpora" / "naughty-strings.json").read_text(encoding="utf-8"))
    return [name for name in names if name]


def test_json_lines_hold_the_documented_fields() -> None:
    file = io.StringIO()
    JsonLinesSink(file).write(findings()[:1])
    record = json.loads(file.getvalue())
    expected = {
        "type": "finding",
        "verdict": "flagged",
        "rule": "MW-MUTED",
        "app": "Webex",
        "signature": "webex.tsa.v1",
        "confidence": "captured",
        "client": "C1",
        "call": "C1",
        "minute": "1",
        "starts_at": "2026-03-02T09:00:00.000Z",
        "ends_at": "2026-03-02T09:01:00.000Z",
        "muted_seconds": 60,
        "mute_basis": ["assumed"],
        "origin": {"door": "test"},
    }
    assert {name: record[name] for name in expected} == expected
    assert record["values"]["audioMaxGain"] == {"value": 46, "unit": "dB", "floor": 0.0, "role": "max-gain"}
    assert record["guess"]["probabilities"] == {"music": 0.75, "cooking": 0.25}
    assert len(record["body_sha256"]) == 64


@pytest.mark.parametrize("finding", findings(), ids=lambda finding: finding.verdict)
def test_a_record_gives_back_its_finding(finding: Finding) -> None:
    assert finding_from_record(json.loads(json.dumps(finding_record(finding)))) == finding


def test_every_output_documents_its_fields() -> None:
    text = (Path(__file__).parents[1] / "docs" / "output.md").read_text(encoding="utf-8")
    missing = [name for name in finding_record(findings()[0]) if f"`{name}`" not in text]
    missing += [name for name in Summary().record() if f"`{name}`" not in text]
    assert missing == []


def test_a_csv_cell_that_looks_like_a_formula_is_text() -> None:
    file = io.StringIO()
    CsvSink(file).write(findings(call='=cmd|"/c calc"!A1'))
    rows = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert rows[0]["call"].startswith("'=")
    assert rows[0]["guess"] == "music"
    assert rows[0]["values"] == "audioMaxGain=46 dB; audioMeanGain=38 dB; audioMinGain=27 dB"


def test_the_table_fits_eighty_columns() -> None:
    file = io.StringIO()
    table = TableSink(Console(file=file, width=80))
    table.write(findings(call="d388b09b-d6b0-4f6b-a25d-1cd512963a87"))
    table.flush()
    lines = file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert any("flagged" in line and "46/38/27 dB" in line and "music 75%, 1 missing" in line for line in lines)
    assert any("missing" in line for line in lines)
    assert any(line.startswith("undecoded: ") for line in lines)


def read_from(finding: Finding, file: str, frame: int) -> Finding:
    assert finding.source
    origin = replace(finding.source.origin, file=file, frame=frame)
    return replace(finding, source=replace(finding.source, origin=origin))


def test_of_several_files_the_table_says_in_which_a_frame_is() -> None:
    one = findings()[0]
    first, second = read_from(one, "a.pcap", 54), read_from(replace(one, call="C2"), "b.pcap", 54)
    assert "a.pcap" not in shown([first])
    lines = shown([first, second]).splitlines()
    assert [line for line in lines if "pcap" in line] == ["a.pcap:", "b.pcap:"]
    assert lines[lines.index("b.pcap:") + 1].startswith("C1 in call C2")


def test_of_a_call_in_several_files_each_frame_has_the_number_of_its_own() -> None:
    one = findings()[0]
    screen = shown([read_from(one, "b.pcap", 3), read_from(replace(one, minute="9"), "a.pcap", 54)])
    assert "2: frame 3" in screen and "1: frame 54" in screen
    assert "\n1 : a.pcap\n2 : b.pcap\n" in screen


@pytest.mark.parametrize("early", [0.001, 0.4, -0.001, -0.4])
def test_a_minute_has_the_same_name_as_on_the_page(early: float) -> None:
    finding = findings()[0]
    assert finding.starts_at
    assert finding.ends_at
    shift = timedelta(seconds=early)
    screen = shown([replace(finding, starts_at=finding.starts_at - shift, ends_at=finding.ends_at - shift)])
    assert "\n09:00:00 " in screen


def test_a_minute_at_the_end_of_time_is_shown() -> None:
    far = datetime.max.replace(tzinfo=UTC)
    assert "flagged" in shown([replace(findings()[0], starts_at=far - timedelta(minutes=1), ends_at=far)])


def test_a_question_mark_is_explained_where_there_is_one() -> None:
    finding = findings()[0]
    assert finding.mute
    partly = replace(finding, mute=replace(finding.mute, muted_seconds=57, unknown_seconds=3))
    legend = "? : for a part of the minute it is not known whether the client was muted"
    assert shown([partly]).splitlines()[-1] == legend
    assert "?" not in shown([finding])


def test_on_sixty_columns_nothing_of_verdict_and_values_is_cut() -> None:
    unknown = replace(findings()[0], verdict=Verdict.MUTE_UNKNOWN)
    screen = shown([*findings(), unknown], width=60)
    for whole in ("09:00:00", "flagged", "mute-unknown", "60 s", "46/38/27 dB", "music"):
        assert whole in screen
    assert "…" not in screen
    assert max(len(line) for line in screen.splitlines() if not line.startswith("undecoded: ")) <= 60


def test_a_report_says_what_the_live_proxy_could_not_see(tmp_path: Path) -> None:
    with Store(tmp_path / "mutewatch.db") as store:
        store.record((), findings())
    (tmp_path / LIVE_STATUS).write_text('{"at": "2026-03-02", "messages": 9, "refused_by_client": 2, "lost": 0}')
    report(tmp_path / "mutewatch.db", Format.TABLE, tmp_path / "out.txt")
    text = " ".join((tmp_path / "out.txt").read_text().split())
    assert "did not see or record everything since it was last started (refused by client: 2)" in text


def test_a_report_with_guesses_says_how_far_to_trust_them(tmp_path: Path) -> None:
    for name, found in (("with.db", findings()), ("without.db", [replace(one, guess=None) for one in findings()])):
        with Store(tmp_path / name) as store:
            store.record((), found)
        report(tmp_path / name, Format.TABLE, tmp_path / f"{name}.txt")
    assert "What could be inferred is a guess" in (tmp_path / "with.db.txt").read_text()
    assert "What could be inferred is a guess" not in (tmp_path / "without.db.txt").read_text()


def test_a_report_says_which_values_the_gateway_kept_from_leaving(tmp_path: Path) -> None:
    flagged = next(finding for finding in findings() if finding.verdict is Verdict.FLAGGED)
    assert flagged.source
    held = replace(flagged, minute="99", source=replace(flagged.source, sent=Sent.REDACTED))
    summary = Summary()
    summary.take([*findings(), held])
    told = " ".join(summary.lines())
    assert "FLAGGED: in 3 minutes" in told
    assert "Of 1 of these the gateway kept the values from leaving (redacted: 1)." in told
    assert summary.record()["held_back"] == {"redacted": 1}


@pytest.mark.shared
def test_naughty_names_stay_one_record_one_line(shared: Path) -> None:
    for name in naughty(shared):
        found = findings(call=name)
        lines, cells, screen = io.StringIO(), io.StringIO(), io.StringIO()
        JsonLinesSink(lines).write(found)
        CsvSink(cells).write(found)
        table = TableSink(Console(file=screen, width=80))
        table.write(found)
        table.flush()
        assert len(lines.getvalue().splitlines()) == len(found)
        assert len(list(csv.reader(io.StringIO(cells.getvalue())))) == len(found) + 1
        assert all(c.isprintable() or c == "\n" for c in screen.getvalue())
