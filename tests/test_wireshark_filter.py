"""The display filter of a finding shows its message in Wireshark."""

import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

from mutewatch.compose import PipelineOptions, build_pipeline
from mutewatch.ports import ReadOptions
from mutewatch.sinks.record import finding_record
from pcap_tools import ENGINES, read_inputs

SAMPLE = Path(__file__).parents[1] / "mutewatch/sample"


def records(name: str, engine: str = "native") -> list[dict[str, object]]:
    """Return the findings of a sample that rest on a message."""
    through = build_pipeline(None, PipelineOptions(activity=False))
    for exchange in read_inputs((SAMPLE / name,), ReadOptions(is_host=through.is_host), engine=engine):
        through.feed(exchange)
    return [finding_record(finding) for finding in through.finish() if finding.source]


@pytest.mark.tshark
@pytest.mark.usefixtures("tshark")
@pytest.mark.parametrize("engine", ENGINES)
def test_the_filter_shows_the_frame_with_the_body_of_the_finding(engine: str) -> None:
    found = records("meeting.pcapng", engine)
    any_of_them = " || ".join(f"({record['wireshark_filter']})" for record in found)
    command = ["tshark", "-n", "-r", str(SAMPLE / "meeting.pcapng"), "-Y", any_of_them, "-T", "fields"]
    for field in ("frame.number", "tcp.stream", "http.request.method", "http.file_data"):
        command += ["-e", field]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
    rows = {
        (int(frame), int(stream), method, sha256(as_bytes(body)).hexdigest())
        for frame, stream, method, body in (line.split("\t") for line in shown)
    }
    assert len(rows) > 15
    assert rows == {
        (record["origin"]["frame"], record["origin"]["tcp_stream"], "POST", record["body_sha256"])  # type: ignore[index]
        for record in found
    }


def as_bytes(field: str) -> bytes:
    """Return a body as tshark writes it: from 4.2 on as hexadecimal, before as text."""
    return field.encode() if field.startswith("{") else bytes.fromhex(field)


@pytest.mark.parametrize("name", ["meeting.har", "meeting.mitm", "meeting.jsonl"])
def test_what_was_in_no_capture_has_no_filter(name: str) -> None:
    assert {record["wireshark_filter"] for record in records(name)} == {None}
