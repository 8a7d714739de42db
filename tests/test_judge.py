"""The rule table: each rule is hit by a row, in order, and says why."""

import pytest

from mutewatch.evidence import CONSTANT_MINUTES
from mutewatch.judge import RULES, RULES_VERSION, judge, judge_undecoded
from mutewatch.records import (
    AudioValue,
    Basis,
    ClientMinute,
    MuteSummary,
    Undecoded,
    Verdict,
)
from tests.facts import TSA, at, gains, report, source

MUTED = MuteSummary(60, 0, 0, (Basis.CLIENT_REPORTED,))
UNMUTED = MuteSummary(0, 60, 0, (Basis.CLIENT_REPORTED,))
UNKNOWN = MuteSummary(0, 0, 60, ())
FLOOR = (AudioValue("level", -125.0, "dBFS", -125.0), AudioValue("retention", 90.0, "%", None))


def minute(
    mute: MuteSummary, values: tuple[AudioValue, ...] | None = None, constant: int = 1, missing: bool = False
) -> ClientMinute:
    said = None if missing else report(5, values=gains(46, 38, 27) if values is None else values)
    return ClientMinute("U1", "C1", TSA, "5", at(4), at(5), said, mute, constant)


@pytest.mark.parametrize(
    ("given", "rule", "verdict"),
    [
        (minute(MUTED, missing=True), "MW-MISSING", Verdict.MISSING),
        (minute(UNKNOWN, missing=True), "MW-MISSING", Verdict.MISSING),
        (minute(MUTED, FLOOR), "MW-FLOOR", Verdict.INERT),
        (minute(MUTED, gains(0, 0, 0)), "MW-FLOOR", Verdict.INERT),
        (minute(MUTED, gains(1, 0, 0)), "MW-MUTED", Verdict.FLAGGED),
        (minute(MUTED, constant=CONSTANT_MINUTES), "MW-CONSTANT", Verdict.INERT),
        (minute(MUTED, constant=CONSTANT_MINUTES - 1), "MW-MUTED", Verdict.FLAGGED),
        (minute(MUTED), "MW-MUTED", Verdict.FLAGGED),
        (minute(MuteSummary(59.4, 0.6, 0, (Basis.SERVER,))), "MW-MUTED", Verdict.FLAGGED),
        (minute(MuteSummary(20, 40, 0, (Basis.CLIENT_REPORTED,))), "MW-MUTED-PART", Verdict.FLAGGED),
        (minute(MuteSummary(20, 0, 40, (Basis.CLIENT_REPORTED,))), "MW-MUTED-PART", Verdict.FLAGGED),
        (minute(MuteSummary(0.5, 59.5, 0, (Basis.CLIENT_REPORTED,))), "MW-UNMUTED", Verdict.UNMUTED),
        (minute(UNMUTED), "MW-UNMUTED", Verdict.UNMUTED),
        (minute(UNKNOWN), "MW-UNKNOWN", Verdict.MUTE_UNKNOWN),
        (minute(MuteSummary(0, 30, 30, (Basis.CLIENT_REPORTED,))), "MW-UNKNOWN", Verdict.MUTE_UNKNOWN),
    ],
)
def test_the_first_rule_that_holds_decides(given: ClientMinute, rule: str, verdict: Verdict) -> None:
    finding = judge(given)
    assert (finding.rule, finding.verdict, finding.rules_version) == (rule, verdict, RULES_VERSION)


def test_rule_ids_are_unique_and_the_last_rule_always_holds() -> None:
    ids = [rule.id for rule in RULES]
    assert len(set(ids)) == len(ids)
    assert RULES[-1].holds(minute(UNKNOWN))


@pytest.mark.parametrize("mute", [UNKNOWN, MuteSummary(0, 30, 30, (Basis.CLIENT_REPORTED,))])
def test_a_minute_of_unknown_state_is_never_called_clean(mute: MuteSummary) -> None:
    assert judge(minute(mute)).verdict is Verdict.MUTE_UNKNOWN


def test_a_partly_muted_minute_says_how_many_seconds() -> None:
    reason = judge(minute(MuteSummary(20, 40, 0, (Basis.CLIENT_REPORTED,)))).reason
    assert reason == "audio-derived data of a minute that was muted for 20 of 60 s (client-reported)"


def test_a_dispute_between_client_and_operator_is_told() -> None:
    disputed = MuteSummary(0, 60, 0, (Basis.CLIENT_REPORTED,), disputed_seconds=60)
    assert judge(minute(disputed)).reason.endswith("the operator's timeline says otherwise for 60 s")


def test_a_finding_carries_its_evidence() -> None:
    given = minute(MUTED)
    finding = judge(given)
    assert given.report is not None
    assert finding.values == given.report.values
    assert finding.source == given.report.source
    assert finding.mute == MUTED


def test_what_could_not_be_read_is_a_finding_too() -> None:
    seen = source(sha="ab" * 32, seen_at=at(3), address="client-1")
    finding = judge_undecoded(Undecoded(seen, "gzip: cut short after 9 bytes", 100, 0, call="C1"))
    assert finding.verdict is Verdict.UNDECODED
    assert (finding.client, finding.call, finding.ends_at) == ("client-1", "C1", at(3))
    assert finding.reason == "gzip: cut short after 9 bytes"
