"""All 515 naughty strings as client, call and host names, through every output that is text: one record, one line."""

import csv
import io
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import pytest
from rich.console import Console

from addons.live_metrics import judged_metrics
from mutewatch.commands.export import FORMATS
from mutewatch.commands.output import AlertSink
from mutewatch.identity import Names
from mutewatch.judged import Judged
from mutewatch.mute import MuteTracker
from mutewatch.pipeline import Pipeline
from mutewatch.ports import Sink
from mutewatch.records import Finding, Verdict
from mutewatch.signatures import load_signatures
from mutewatch.sinks.csv_file import CsvSink
from mutewatch.sinks.ecs import ecs_record
from mutewatch.sinks.eve import eve_record
from mutewatch.sinks.export import redacted
from mutewatch.sinks.flat import flat_row
from mutewatch.sinks.flows import flow_record
from mutewatch.sinks.jsonl import JsonLinesSink
from mutewatch.sinks.table import TableSink
from tests.facts import at, exchange, tsa_body, tsa_event
from tests.test_sinks_flows import FLOW
from tests.test_sinks_siem import VALIDATOR

pytestmark = pytest.mark.shared

# Beside those of the list: line ends that only some readers know, half a surrogate pair, a terminal's escapes.
MORE = (
    "a\u2028b",
    "a\u2029b",
    "a\x85b",
    "a\x0bb\x0cc",
    "\ud800",
    "\x1b[2J\x1b]0;x\x07",
    "a\r\nb",
    "\x00",
    "\u202eevil",
)


@pytest.fixture(scope="module")
def names(shared: Path) -> list[str]:
    listed: list[str] = json.loads((shared / "corpora" / "naughty-strings.json").read_text(encoding="utf-8"))
    assert len(listed) == 515
    return [*listed, *MORE]


@pytest.fixture(scope="module")
def judged(names: list[str]) -> list[Finding]:
    """Each string as the name of a client and of a call, in a minute and in a message that cannot be read."""
    through = Pipeline(load_signatures(), Names(None), MuteTracker(assume=True))
    for name in names:
        event = tsa_event(1, at(1))
        event["event"]["identifiers"] = {"correlationId": name, "webexUserId": name}
        through.feed(exchange(tsa_body(event), sent_at=at(1), client=name or None))
        through.feed(exchange(b"no JSON" + name.encode("utf-8", "replace"), client=name, path=f"/metric/v1/{name}"))
    found = through.finish()
    assert sum(finding.verdict is Verdict.FLAGGED for finding in found) > 500
    return found


def written(findings: Sequence[Finding], sink: Callable[[TextIO], Sink]) -> str:
    file = io.StringIO()
    opened = sink(file)
    opened.write(findings)
    opened.close()
    return file.getvalue()


def lines(text: str) -> list[str]:
    """By every line end that any reader knows: str.splitlines takes U+0085 and U+2028 for one."""
    assert text.endswith("\n")
    return text.splitlines()


@pytest.mark.parametrize("record", [eve_record, ecs_record])
def test_siem_events_are_one_line_each_and_nothing_else(
    judged: list[Finding], record: Callable[[Finding], dict[str, Any]]
) -> None:
    leaving = [redacted(finding) for finding in judged]
    text = written(leaving, lambda file: JsonLinesSink(file, record))
    assert text.isascii()
    assert [json.loads(line) for line in lines(text)] == [record(finding) for finding in leaving]
    assert not re.search(r"\\ud[89ab]..(?!\\ud[c-f])", text)  # no half of a surrogate pair: readers refuse it


def test_every_eve_event_is_valid_and_every_id_its_own(judged: list[Finding]) -> None:
    events = [eve_record(redacted(finding)) for finding in judged]
    for event in events:
        VALIDATOR.validate(event)
    ids = {event["alert"]["context"]["mutewatch"]["event_id"] for event in events}
    assert len(ids) == len({redacted(finding).key for finding in judged})


def test_a_scan_for_a_siem_tells_of_the_flagged_alone(judged: list[Finding]) -> None:
    text = written(judged, lambda file: AlertSink(file, eve_record))
    assert len(lines(text)) == sum(finding.verdict is Verdict.FLAGGED for finding in judged)


@pytest.mark.parametrize("output_format", FORMATS)
def test_every_format_of_export_holds_as_many_records_as_it_was_given(
    judged: list[Finding], output_format: str
) -> None:
    text = written([redacted(finding) for finding in judged], FORMATS[output_format])
    if output_format == "csv":
        rows = list(csv.DictReader(io.StringIO(text)))
        assert len(rows) == len(judged)
        assert not any(cell and cell[0] in "=+-@\t\r" for row in rows for cell in row.values())
    else:
        assert len([json.loads(line) for line in lines(text)]) == len(judged)


def test_every_table_can_be_written_as_utf_8(judged: list[Finding]) -> None:
    assert written(judged, CsvSink).encode()
    assert [cell.encode() for finding in judged for cell in flat_row(finding).values() if isinstance(cell, str)]


def test_json_lines_give_back_the_names_as_they_were(judged: list[Finding]) -> None:
    records = [json.loads(line) for line in lines(written(judged, JsonLinesSink))]
    assert [(record["client"], record["call"] or "") for record in records] == [(f.client, f.call) for f in judged]


def test_no_control_character_reaches_a_terminal(judged: list[Finding]) -> None:
    text = written(judged, lambda file: TableSink(Console(file=file, width=80)))
    assert {character for character in text if not character.isprintable()} <= {"\n"}


def test_a_host_name_is_one_line_and_comes_back(names: list[str]) -> None:
    file = io.StringIO()
    sink = JsonLinesSink(file)
    for name in names:
        sink.write_record(flow_record(replace(FLOW, host=name, client=name, file=name)))
    assert [json.loads(line)["host"] for line in lines(file.getvalue())] == names


def test_metrics_carry_no_name_at_all(judged: list[Finding]) -> None:
    tally = Judged(["Webex"])
    tally.count(judged)
    samples = [sample for family in judged_metrics(tally) for sample in family.samples]
    assert {tuple(sample.labels) for sample in samples} == {("app", "verdict")}
    assert {sample.labels["app"] for sample in samples} == {"Webex"}
    assert sum(sample.value for sample in samples) == len(judged)
