"""EVE and ECS: each event is what its schema asks for, says no more than it must, and can be told from its like."""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator as Validator
from msgspec.structs import replace

from mutewatch.identity import Names
from mutewatch.judge import RULES, UNDECODED
from mutewatch.mute import MuteTracker
from mutewatch.pipeline import Pipeline
from mutewatch.records import ActivityGuess, Exchange, Finding, Origin, Sent, Verdict
from mutewatch.signatures import load_signatures
from mutewatch.sinks.ecs import ecs_record
from mutewatch.sinks.eve import SIGNATURES, eve_record
from mutewatch.sinks.export import alerts, event_id, finding_id, redacted
from mutewatch.sinks.jsonl import JsonLinesSink
from tests.facts import at, exchange, locus_exchange, tsa_exchange

FOLDER = Path(__file__).parent
SCHEMA = json.loads((FOLDER / "eve.schema.json").read_text(encoding="utf-8"))
VALIDATOR = Validator(SCHEMA, format_checker=Validator.FORMAT_CHECKER)
GUESS = ActivityGuess("m@1", "music", {"music": 0.75, "cooking": 0.25}, at(0), at(7), 7, 1)
FILE = Origin("pcap", "/home/alice/meeting of 5.pcapng", 3, 417, 12)


def from_file(one: Exchange) -> Exchange:
    return replace(one, origin=FILE)


def findings(names: Names | None = None, assume: bool | None = None) -> list[Finding]:
    """A flagged minute, one flagged in part, a missing one, an unmuted one, and a message that is none."""
    through = Pipeline(load_signatures(), names or Names(b"k" * 32), MuteTracker(assume=assume))
    traffic = [locus_exchange(0, True), tsa_exchange(1), locus_exchange(1.5, False), tsa_exchange(2), tsa_exchange(4)]
    for one in (*traffic, exchange(b"no JSON", sent_at=at(5))):
        through.feed(from_file(one))
    found = sorted(through.finish(), key=lambda finding: finding.minute)
    return [replace(one, guess=GUESS) if one.verdict is Verdict.FLAGGED else one for one in found]


def flagged(names: Names | None = None) -> Finding:
    return next(finding for finding in findings(names) if finding.rule == "MW-MUTED")


EVERY = [*findings(), *findings(assume=None)]
VERDICTS = {finding.verdict for finding in EVERY}


def test_the_findings_of_these_tests_are_of_many_kinds() -> None:
    assert {finding.rule for finding in EVERY} >= {"MW-MUTED", "MW-MUTED-PART", "MW-MISSING", "MW-UNDECODED"}


# -- what is taken out before anything leaves ----------------------------------------------------------------


@pytest.mark.parametrize("record", [eve_record, ecs_record])
def test_no_call_id_path_or_guess_leaves(record: Callable[[Finding], dict[str, Any]]) -> None:
    text = json.dumps(record(redacted(flagged())))
    for private in ('"C1"', "/home", "alice", "music", "U1", "192.0.2.10"):
        assert private not in text
    assert "meeting of 5.pcapng" in text


def test_minutes_of_a_call_belong_together_and_others_do_not() -> None:
    first, second = list(alerts(findings()))[:2]
    other = redacted(replace(flagged(), call="C2"))
    assert first.call == second.call != other.call
    assert eve_record(first)["flow_id"] == eve_record(second)["flow_id"] != eve_record(other)["flow_id"]
    assert re.fullmatch("call-[0-9a-f]{12}", other.call)


def test_a_call_leaves_under_the_pseudonym_that_store_and_page_know_it_by() -> None:
    finding = flagged()
    assert redacted(finding).call == finding.call == Names(b"k" * 32).call("C1")
    for name in (f"{finding.call}0", finding.call.upper(), f"{finding.call}\n", "call-secret"):
        assert name not in redacted(replace(finding, call=name)).call


def test_a_guess_leaves_only_where_it_is_asked_for() -> None:
    asked = ecs_record(redacted(flagged(), with_guesses=True))["mutewatch"]
    assert (asked["activity"], asked["activity_probability"], asked["model"]) == ("music", 0.75, "m@1")
    assert "activity" not in ecs_record(redacted(flagged()))["mutewatch"]


def test_an_undecided_guess_names_no_activity() -> None:
    undecided = replace(flagged(), guess=replace(GUESS, label=None, reason="uncertain"))
    assert "activity" not in ecs_record(redacted(undecided, with_guesses=True))["mutewatch"]


def test_half_a_surrogate_pair_becomes_a_question_mark() -> None:
    strange = redacted(replace(flagged(Names(None)), client="a\ud800b", minute="\udfff"))
    line = json.dumps(eve_record(strange))
    assert json.loads(line)["alert"]["context"]["mutewatch"]["client"] == "a?b"
    assert not re.search(r"\\ud[89a-f]", line, re.IGNORECASE)


# -- telling events apart ------------------------------------------------------------------------------------


def test_an_event_has_one_id_however_often_it_is_written_and_another_with_another_verdict() -> None:
    one, again = redacted(flagged()), redacted(flagged())
    anew = replace(one, verdict=Verdict.UNMUTED, rule="MW-UNMUTED")
    assert event_id(one) == event_id(again) == eve_record(one)["alert"]["context"]["mutewatch"]["event_id"]
    assert ecs_record(one)["event"]["id"] == event_id(one) != event_id(anew)
    assert finding_id(one) == finding_id(anew)


def test_every_minute_has_an_id_of_its_own() -> None:
    found = [redacted(finding) for finding in findings()]
    assert len({event_id(finding) for finding in found}) == len(found)


def test_every_rule_has_its_signature_id_and_text() -> None:
    assert set(SIGNATURES) == {*(rule.id for rule in RULES), UNDECODED}
    assert len({number for number, _ in SIGNATURES.values()}) == len(SIGNATURES)
    assert len({text for _, text in SIGNATURES.values()}) == len(SIGNATURES)
    alarming = {rule.id for rule in RULES if rule.verdict is Verdict.FLAGGED}
    assert {rule for rule, (number, _) in SIGNATURES.items() if number < 9_100_010} == alarming


# -- EVE -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("finding", EVERY, ids=lambda finding: finding.rule)
@pytest.mark.parametrize("names", [Names(b"k" * 32), Names(None)], ids=["pseudonyms", "names"])
def test_an_event_is_what_suricata_asks_for(finding: Finding, names: Names) -> None:
    shown = next(one for one in findings(names) if one.rule == finding.rule)
    VALIDATOR.validate(json.loads(json.dumps(eve_record(redacted(shown)))))


@pytest.mark.parametrize(
    "change",
    [
        {"mutewatch": {}},
        {"timestamp": "2026-03-02T09:01:00.005+00:00"},
        {"timestamp": "2026-03-02T09:01:00Z"},
        {"flow_id": "1"},
        {"src_ip": "client-00112233445566"},
    ],
)
def test_the_schema_refuses_what_suricata_does_not_know(change: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid(eve_record(redacted(flagged())) | change)


def test_only_flagged_minutes_are_alerts() -> None:
    types = {finding.verdict: eve_record(redacted(finding))["event_type"] for finding in EVERY}
    assert types == {verdict: "alert" if verdict is Verdict.FLAGGED else "mutewatch" for verdict in VERDICTS}


def test_an_alert_says_what_was_seen_where() -> None:
    record = eve_record(redacted(flagged()))
    own = record["alert"].pop("context")["mutewatch"]
    assert record["timestamp"] == "2026-03-02T09:01:00.005000+0000"
    assert (record["pcap_filename"], record["pcap_cnt"]) == ("meeting of 5.pcapng", 417)
    assert record["alert"] == {
        "action": "allowed",
        "gid": 1,
        "signature_id": 9100001,
        "rev": 2,
        "signature": "MUTEWATCH audio-derived data left while the client was muted",
        "category": "Potential Corporate Privacy Violation",
        "severity": 2,
        "metadata": {"tag": ["Webex"]},
    }
    assert (own["audio_max_gain"], own["audio_mean_gain"], own["audio_min_gain"]) == (46, 38, 27)
    assert (own["muted_seconds"], own["mute_basis"], own["tcp_stream"]) == (60, ["client-reported"], 12)
    assert own["address"].startswith("client-")
    assert "src_ip" not in record


def test_the_address_is_there_where_names_are_shown() -> None:
    assert eve_record(redacted(flagged(Names(None))))["src_ip"] == "192.0.2.10"
    assert ecs_record(redacted(flagged(Names(None))))["source"]["ip"] == "192.0.2.10"


@pytest.mark.parametrize("sent", Sent)
def test_what_the_gateway_held_back_is_blocked(sent: Sent) -> None:
    finding = flagged()
    assert finding.source
    held = replace(finding, source=replace(finding.source, sent=sent))
    assert eve_record(redacted(held))["alert"]["action"] == ("allowed" if sent is Sent.FORWARDED else "blocked")


@pytest.mark.parametrize(("seen_at", "year"), [(at(1), "2026"), (None, "1970")])
def test_an_event_without_a_time_is_of_1970(seen_at: Any, year: str) -> None:
    finding = flagged()
    assert finding.source
    untimed = replace(finding, ends_at=None, starts_at=None, source=replace(finding.source, seen_at=seen_at))
    assert eve_record(redacted(untimed))["timestamp"].startswith(year)
    assert ecs_record(redacted(untimed))["@timestamp"].startswith(year)
    assert "duration" not in ecs_record(redacted(untimed))["event"]


# -- ECS -----------------------------------------------------------------------------------------------------


def test_a_document_is_as_it_was_reviewed() -> None:
    """Rewrite tests/golden/ecs.json with what this prints, and review the difference."""
    finding = flagged()
    assert finding.source
    same = replace(finding, source=replace(finding.source, body_sha256="ab" * 32))  # gzip differs between machines
    made = json.dumps(ecs_record(redacted(same)), indent=1) + "\n"
    print(made)
    assert made == (FOLDER / "golden" / "ecs.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("finding", EVERY, ids=lambda finding: finding.rule)
def test_every_kind_of_finding_is_a_document_without_empty_fields(finding: Finding) -> None:
    record = ecs_record(redacted(finding))
    assert record["event"]["kind"] == ("alert" if finding.verdict is Verdict.FLAGGED else "metric")
    assert "null" not in json.dumps(record)
    assert "{}" not in json.dumps(record)


def test_events_are_one_line_each() -> None:
    file = io.StringIO()
    JsonLinesSink(file, eve_record).write(alerts(findings()))
    assert [json.loads(line)["event_type"] for line in file.getvalue().splitlines()] == ["alert", "alert"]
