"""What becomes of a telemetry message on its way out, by policy, mute state and what could be read of it."""

import json
from dataclasses import replace

import pytest

from bench.faults.kill_live import PATH, telemetry_body
from mutewatch.identity import Names
from mutewatch.mitigate import OBSERVE_ALL, Action, Answer, Mitigation, Policies, Policy, When
from mutewatch.mute import MuteTracker
from mutewatch.pipeline import Pipeline
from mutewatch.records import Decoded, Exchange, Origin, Sent
from mutewatch.redact import Blank
from mutewatch.signatures import load_signatures

REDACT = Policy(Action.REDACT)
BLOCK = Policy(Action.BLOCK)
AUDIO = telemetry_body(client=1, number=1, seed=1)
SIGNATURE = "webex.tsa.v1"


def message(body: bytes | None, path: str = PATH) -> Exchange:
    return Exchange(None, "192.0.2.7", "tsa3.webex.com", 443, "POST", path, "", body, Origin("test"))


def decided(policies: Policies, exchange: Exchange, muted: bool | None = None) -> tuple[Mitigation, list[Decoded]]:
    """Feed one exchange to a fresh pipeline whose clients are all (not) muted, or nobody knows."""
    pipeline = Pipeline(load_signatures(), Names(b"k" * 32), MuteTracker(assume=muted))
    mitigation = Mitigation(policies, exchange)
    return mitigation, pipeline.feed(exchange, mitigation=mitigation)


def test_by_default_everything_is_forwarded() -> None:
    for body in (AUDIO, b"no message", None):
        mitigation, _ = decided(OBSERVE_ALL, message(body), muted=True)
        assert mitigation.decision.sent is Sent.FORWARDED


@pytest.mark.parametrize(
    ("when", "muted", "sent"),
    [
        (When.MUTED, True, Sent.REDACTED),
        (When.MUTED, None, Sent.REDACTED),
        (When.MUTED, False, Sent.FORWARDED),
        (When.ALWAYS, False, Sent.REDACTED),
    ],
)
def test_only_a_client_that_is_known_to_be_unmuted_may_send(when: When, muted: bool | None, sent: Sent) -> None:
    mitigation, facts = decided(Policies(replace(REDACT, when=when)), message(AUDIO), muted)
    assert mitigation.decision.sent is sent
    assert {one.source.sent for one in facts} == {sent}
    assert {report.source.sent for one in facts for report in one.audio} == {sent}


def test_what_is_sent_instead_has_no_audio_derived_value() -> None:
    mitigation, _ = decided(Policies(REDACT), message(AUDIO), muted=True)
    assert mitigation.decision.body
    assert json.loads(mitigation.decision.body).keys() == json.loads(AUDIO).keys()
    pipeline = Pipeline(load_signatures(), Names(b"k" * 32))
    for facts in pipeline.feed(message(mitigation.decision.body)):
        assert all(value.value == 0 for report in facts.audio for value in report.values)


@pytest.mark.parametrize("body", [b"{", b"no JSON", AUDIO[:-20], None])
def test_what_cannot_be_read_is_refused(body: bytes | None) -> None:
    mitigation, _ = decided(Policies(REDACT), message(body), muted=True)
    assert (mitigation.decision.sent, mitigation.decision.answer) == (Sent.REFUSED, Answer.FORBIDDEN)


@pytest.mark.parametrize("answer", Answer)
def test_a_blocked_client_gets_the_answer_that_the_operator_chose(answer: Answer) -> None:
    mitigation, _ = decided(Policies(replace(BLOCK, block_as=answer)), message(AUDIO), muted=True)
    assert (mitigation.decision.sent, mitigation.decision.answer) == (Sent.BLOCKED, answer)


def test_a_message_without_audio_is_left_alone() -> None:
    emptied, _ = decided(Policies(replace(REDACT, blank=Blank.REMOVE)), message(AUDIO), muted=True)
    mitigation, facts = decided(Policies(BLOCK), message(emptied.decision.body), muted=True)
    assert mitigation.decision.sent is Sent.FORWARDED
    assert not facts[0].undecoded


def test_a_message_of_no_signature_is_left_alone() -> None:
    mitigation, _ = decided(Policies(BLOCK), message(AUDIO, path="/elsewhere"), muted=True)
    assert mitigation.decision.sent is Sent.FORWARDED


def test_a_signature_may_have_a_policy_of_its_own() -> None:
    policies = Policies(BLOCK, {SIGNATURE: Policy()})
    assert decided(policies, message(AUDIO), muted=True)[0].decision.sent is Sent.FORWARDED
    assert policies.touch
    assert not Policies(Policy(), {SIGNATURE: Policy()}).touch
