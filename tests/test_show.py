"""`mutewatch show`: every value of a message, as the finding has it, with the raw reading and the way to it."""

import json
from pathlib import Path

import pytest

from mutewatch.commands.show import show
from mutewatch.compose import PipelineOptions, build_pipeline
from mutewatch.errors import OperatorError
from mutewatch.extract import extract
from mutewatch.identity import Names
from mutewatch.ports import ReadOptions
from mutewatch.readings import open_message
from mutewatch.signatures import load_signatures
from mutewatch.signatures.fixtures import fixture_exchanges
from pcap_tools import read_inputs

SAMPLE = Path(__file__).parents[1] / "mutewatch/sample"
CAPTURE = SAMPLE / "meeting.pcapng"


def test_a_frame_is_shown_with_all_its_values_and_how_they_were_decoded(capsys: pytest.CaptureFixture[str]) -> None:
    assert show(CAPTURE, (), 54, None, None, "native") == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith("frame 54, TCP stream 2: webex.tsa.v1, version 2; body 543b6dd9")
    at = "document.telemetrics[0] element.v.gzipb64data: payload.event.intervals[0] interval.audioTransmit[]."
    assert lines[0] == f"  27 dB  {at}levels.audioMaxGain"
    assert lines[3] == f"  -46 dB (raw 92)  {at}streams[].audioAlgorithmModulesInfo.speechRMS"
    assert lines[-1] == "  decoded by: first_json_value > base64 > gzip > json"


@pytest.mark.parametrize("name", ["meeting.pcapng", "meeting.har", "meeting.mitm", "meeting.jsonl"])
def test_the_hash_of_a_finding_leads_to_its_values(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    through = build_pipeline(None, PipelineOptions(activity=False))
    for exchange in read_inputs((SAMPLE / name,), ReadOptions(is_host=through.is_host)):
        through.feed(exchange)
    for finding in (one for one in through.finish() if one.source):
        assert finding.source is not None
        show(SAMPLE / name, (), None, finding.source.body_sha256[:16], None, "native")
        shown = capsys.readouterr().out
        assert all(f"  {value.value:g} {value.unit}" in shown for value in finding.values)


def test_it_reads_the_values_that_findings_have() -> None:
    for signature in load_signatures():
        for fixture in signature.fixtures:
            exchange = next(fixture_exchanges(signature, fixture))
            matched = signature.match(exchange.method, exchange.host, exchange.path, exchange.direction)
            if matched is None:
                continue
            decoded = extract(exchange, signature, *matched, Names(None))
            opened = open_message(exchange, *matched)
            reported = [(value.value, value.unit) for report in decoded.audio for value in report.values]
            assert [(one.value, one.unit) for payload in opened.payloads for one in payload.readings] == reported
            assert opened.body_sha256 == decoded.source.body_sha256


def test_a_payload_is_written_only_if_asked_for_and_for_its_owner_only(tmp_path: Path) -> None:
    show(CAPTURE, (), 54, None, tmp_path / "payload.json", "native")
    (payload,) = json.loads((tmp_path / "payload.json").read_bytes())
    assert payload["event"]["name"] == "client.mediaquality.event"
    assert (tmp_path / "payload.json").stat().st_mode & 0o077 == 0


def test_a_frame_without_a_message_is_an_operators_mistake() -> None:
    with pytest.raises(OperatorError, match="no message of a known endpoint there"):
        show(CAPTURE, (), 1, None, None, "native")
