"""`mutewatch export` and `scan --format eve|ecs`: what was asked for, redacted, in order, the same each time."""

import csv
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mutewatch.cli import app
from mutewatch.commands.export import FORMATS
from mutewatch.commands.span import parse_time
from mutewatch.errors import OperatorError
from mutewatch.records import Verdict
from mutewatch.report.payload import SAMPLE
from mutewatch.store import Store
from tests.facts import START, at
from tests.test_cli_scan import Run
from tests.test_sinks_siem import VALIDATOR, findings

NOW = datetime(2026, 3, 9, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("state") / "mutewatch.db"
    with Store(path) as store:
        store.record((), findings())
    return path


class export:  # noqa: N801 (reads as the command does)
    """One run of the command, in this process."""

    def __init__(self, store: Path, *arguments: object) -> None:
        done = CliRunner().invoke(app, ["export", "--store", str(store), *map(str, arguments)])
        self.code, self.out, self.err = done.exit_code, done.stdout, done.stderr
        self.error = done.exception

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


def test_eve_events_are_the_flagged_minutes_in_order_of_time(store: Path) -> None:
    done = export(store, "--format", "eve")
    assert (done.code, done.err) == (0, "mutewatch: 2 findings exported\n")
    for event in done.records:
        VALIDATOR.validate(event)
    assert [event["alert"]["context"]["mutewatch"]["minute"] for event in done.records] == ["1", "2"]


def test_an_export_is_the_same_each_time(store: Path) -> None:
    assert export(store, "--format", "ecs").out == export(store, "--format", "ecs").out


@pytest.mark.parametrize("output_format", ["eve", "ecs", "jsonl", "csv"])
def test_no_format_tells_calls_paths_or_guesses_unless_asked(store: Path, tmp_path: Path, output_format: str) -> None:
    told = export(store, "-f", output_format, "--all-minutes", "-o", tmp_path / "out")
    assert (told.code, told.out) == (0, "")
    text = (tmp_path / "out").read_text()
    for private in ('"C1"', ",C1,", "/home", "alice", "music", "192.0.2.10"):
        assert private not in text
    assert "call-" in text
    assert "music" in export(store, "-f", output_format, "--with-guesses").out
    assert output_format in FORMATS


def test_parquet_goes_to_a_file_and_is_as_redacted(store: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed (extra: table)")
    path = tmp_path / "out.parquet"
    assert export(store, "-f", "parquet", "-o", path).code == 0
    rows = parquet.read_table(path).to_pylist()
    assert len(rows) == len(export(store, "-f", "jsonl").out.splitlines())
    assert all(row["call"].startswith("call-") and row["guess"] is None for row in rows)
    assert "--output" in str(export(store, "-f", "parquet").error)


def test_csv_has_the_columns_of_every_csv(store: Path) -> None:
    rows = list(csv.DictReader(export(store, "-f", "csv", "--all-minutes").out.splitlines()))
    assert {row["verdict"] for row in rows} >= {"flagged", "missing", "undecoded"}
    assert rows[0]["file"] == "meeting of 5.pcapng"


@pytest.mark.parametrize(
    ("arguments", "minutes"),
    [
        (["--since", at(2).isoformat()], ["2"]),
        (["--until", at(2).isoformat()], ["1"]),
        (["--since", at(1).isoformat(), "--until", at(1.5).isoformat()], ["1"]),
        (["--verdict", "missing"], ["3"]),
        (["--verdict", "missing", "--verdict", "flagged"], ["1", "2", "3"]),
    ],
)
def test_a_span_and_verdicts_are_chosen(store: Path, arguments: list[str], minutes: list[str]) -> None:
    assert [record["minute"] for record in export(store, "-f", "jsonl", *arguments).records] == minutes


def test_all_minutes_are_all_that_the_store_holds(store: Path) -> None:
    records = export(store, "-f", "eve", "--all-minutes").records
    with Store(store) as opened:
        assert len(records) == sum(opened.verdicts().values())
    assert {record["event_type"] for record in records} == {"alert", "mutewatch"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--since", "yesterday"], "'yesterday' is no time: write 2026-03-02"),
        (["--all-minutes", "--verdict", "flagged"], "contradict each other"),
        (
            ["--store", "/no/such/store"],
            "no store at /no/such/store: `mutewatch scan --store /no/such/store FILE` makes one",
        ),
    ],
)
def test_a_mistake_is_one_line(store: Path, arguments: list[str], said: str) -> None:
    error = export(store, "-f", "eve", *arguments).error
    assert isinstance(error, OperatorError)
    assert said in str(error)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("7d", NOW - timedelta(days=7)),
        ("24h", NOW - timedelta(hours=24)),
        ("30m", NOW - timedelta(minutes=30)),
        ("2w", NOW - timedelta(weeks=2)),
        ("2026-03-02", START.replace(hour=0)),
        ("2026-03-02T09:00", START),
        ("2026-03-02T10:00+01:00", START),
        ("2026-03-02T09:00:00Z", START),
    ],
)
def test_a_time_is_a_date_or_so_long_ago(text: str, time: datetime) -> None:
    assert parse_time(text, NOW) == time


@pytest.mark.parametrize("text", ["", "7", "7x", "-7d", "٣d", "0001-01-01T00:00+23:00", "9999999999d"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(OperatorError, match="is no time"):
        parse_time(text, NOW)


# -- scan ----------------------------------------------------------------------------------------------------


def flagged_of(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [record for record in records if record.get("verdict") == Verdict.FLAGGED]


def test_a_scan_prints_the_flagged_minutes_and_the_summary_elsewhere(tmp_path: Path) -> None:
    path = SAMPLE / "meeting.pcapng"
    eve = Run("scan", path, "--format", "eve", "--store", tmp_path / "s.db", state=tmp_path / "state")
    ecs = Run("scan", path, "--format", "ecs", state=tmp_path / "state")
    flagged = flagged_of(Run("scan", path, "--format", "jsonl", state=tmp_path / "state").records)
    for event in eve.records:
        VALIDATOR.validate(event)
    assert len(eve.records) == len(ecs.records) == len(flagged) > 0
    assert [event["pcap_cnt"] for event in eve.records] == [record["origin"]["frame"] for record in flagged]
    assert [event["alert"]["context"]["mutewatch"]["event_id"] for event in eve.records] == [
        document["event"]["id"] for document in ecs.records
    ]
    assert "FLAGGED" in eve.err
    assert '"activity"' not in eve.out
    again = export(tmp_path / "s.db", "-f", "eve").records
    assert sorted(map(json.dumps, again)) == sorted(map(json.dumps, eve.records))


def test_a_scan_for_cron_ends_with_one_where_minutes_are_flagged(tmp_path: Path) -> None:
    path = SAMPLE / "meeting.pcapng"
    done = Run("scan", path, "-f", "eve", "-o", tmp_path / "eve.json", "--fail-on", "flagged", state=tmp_path / "state")
    assert done.code == 1
    assert '"event_type":"alert"' in (tmp_path / "eve.json").read_text()
