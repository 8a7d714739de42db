"""What becomes of a telemetry message on its way out, by policy, mute state and what could be read of it."""

import base64
import gzip
import hashlib
import json
from dataclasses import replace

import pytest
from msgspec import structs

from bench.faults.kill_live import PATH, telemetry_body
from mutewatch.extract import UNREAD
from mutewatch.identity import Names
from mutewatch.mitigate import OBSERVE_ALL, Action, Answer, Mitigation, Policies, Policy, When
from mutewatch.mute import MuteTracker
from mutewatch.pipeline import Pipeline
from mutewatch.records import Decoded, Exchange, Origin, Sent
from mutewatch.redact import Blank, redact
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


CHIME = {fixture.name: fixture for one in load_signatures() if one.id == "chime.signal" for fixture in one.fixtures}


@pytest.mark.parametrize(
    ("name", "redacted", "blocked"),
    [
        ("AUDIO_CONTROL, muted", Sent.FORWARDED, Sent.FORWARDED),
        ("another frame", Sent.FORWARDED, Sent.FORWARDED),
        ("CLIENT_METRIC, level 0.02", Sent.REDACTED, Sent.BLOCKED),
        ("cut off in a frame", Sent.REFUSED, Sent.BLOCKED),
    ],
)
def test_of_what_is_binary_only_what_carries_a_value_is_kept_from_leaving(
    name: str, redacted: Sent, blocked: Sent
) -> None:
    body, where = bytes.fromhex(CHIME[name].body), Origin("test")
    frame = Exchange(None, "192.0.2.7", "signal.m1.ue1.app.chime.aws", 443, "WEBSOCKET", "/control/1", "", body, where)
    for policy, sent in ((REDACT, redacted), (BLOCK, blocked)):
        mitigation, _ = decided(Policies(policy), frame, muted=True)
        assert mitigation.decision.sent is sent


def test_a_level_in_a_frame_is_zeroed_in_its_place() -> None:
    body, where = bytes.fromhex(CHIME["CLIENT_METRIC, level 0.02"].body), Origin("test")
    frame = Exchange(None, "192.0.2.7", "signal.m1.ue1.app.chime.aws", 443, "WEBSOCKET", "/control/1", "", body, where)
    mitigation, _ = decided(Policies(REDACT), frame, muted=True)
    assert mitigation.decision.body == body[:-8] + bytes(8)
    removing, _ = decided(Policies(replace(REDACT, blank=Blank.REMOVE)), frame, muted=True)
    assert removing.decision.sent is Sent.REFUSED


def test_a_message_without_audio_is_left_alone() -> None:
    emptied, _ = decided(Policies(replace(REDACT, blank=Blank.REMOVE)), message(AUDIO), muted=True)
    mitigation, facts = decided(Policies(BLOCK), message(emptied.decision.body), muted=True)
    assert mitigation.decision.sent is Sent.FORWARDED
    assert not facts[0].undecoded


def renamed() -> bytes:
    """A message whose event has a name that no signature knows, with values where they always were."""
    inner = gzip.decompress(base64.b64decode(json.loads(AUDIO)["telemetrics"][0]["v"]["gzipb64data"]))
    inner = inner.replace(b"mediaquality", b"mediaqualities")
    body = json.loads(AUDIO)
    body["telemetrics"][0]["v"]["gzipb64data"] = base64.b64encode(gzip.compress(inner)).decode()
    return json.dumps(body).encode()


@pytest.mark.parametrize("policy", [REDACT, BLOCK])
def test_values_that_were_not_read_do_not_leave_either(policy: Policy) -> None:
    mitigation, facts = decided(Policies(policy), message(renamed()), muted=True)
    assert not facts[0].audio
    assert [one.reason for one in facts[0].undecoded] == [UNREAD]
    assert mitigation.decision.sent is (Sent.REDACTED if policy is REDACT else Sent.BLOCKED)
    if mitigation.decision.body is not None:
        signature = next(each for each in load_signatures() if each.id == SIGNATURE)
        kind, left = signature.messages[0], mitigation.decision.body
        assert redact(left, None, signature, kind, blank=Blank.ZERO, identifiers=False).values == 0


def test_identifiers_go_from_messages_without_audio_too() -> None:
    body = b'{"telemetrics":[{"cid":"C1","v":{"event":{"name":"client.feature.x"}}}]}'
    mitigation, _ = decided(Policies(replace(REDACT, identifiers=True)), message(body))
    assert mitigation.decision.body == body.replace(b"C1", b"")


def test_what_was_not_read_of_an_unmuted_clients_message_may_be_of_a_muted_minute() -> None:
    body = json.loads(AUDIO)
    body["telemetrics"].append({"cid": "C1", "v": {"gzipb64data": "H4sIAAAAAAAA"}})
    mitigation, facts = decided(Policies(REDACT), message(json.dumps(body).encode()), muted=False)
    assert facts[0].audio
    assert mitigation.decision.sent is Sent.REFUSED


def test_the_record_has_the_hash_of_what_left() -> None:
    packed = structs.replace(message(gzip.compress(AUDIO)), content_encoding="gzip")
    mitigation, facts = decided(Policies(REDACT), packed, muted=True)
    left = gzip.decompress(mitigation.decision.body or b"")
    assert facts[0].source.sent_sha256 == hashlib.sha256(left).hexdigest()
    assert facts[0].source.body_sha256 == hashlib.sha256(AUDIO).hexdigest()
    after, again = decided(OBSERVE_ALL, message(left))
    assert again[0].source.body_sha256 == facts[0].source.sent_sha256  # as a reader of the far side says it
    assert after.decision.sent_sha256 is None


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        (AUDIO, Sent.REFUSED),
        (None, Sent.REFUSED),
        (b"", Sent.FORWARDED),
        (b'{"telemetrics":[]}', Sent.FORWARDED),
    ],
)
def test_a_message_that_no_signature_knows_leaves_only_if_it_names_no_value(body: bytes | None, sent: Sent) -> None:
    mitigation, facts = decided(Policies(REDACT), message(body, path="/metric/v2"), muted=False)
    assert mitigation.decision.sent is sent
    assert mitigation.decision.is_known is (body == b"")
    assert [undecoded.source.sent for one in facts for undecoded in one.undecoded] == [sent] * (sent is Sent.REFUSED)
    blocked, _ = decided(Policies(BLOCK), message(body, path="/metric/v2"), muted=True)
    assert blocked.decision.sent is (Sent.BLOCKED if sent is Sent.REFUSED else sent)
    observed, _ = decided(OBSERVE_ALL, message(body, path="/metric/v2"), muted=True)
    assert observed.decision.sent is Sent.FORWARDED


def test_a_message_to_a_host_of_no_telemetry_is_left_alone() -> None:
    other = structs.replace(message(AUDIO, path="/elsewhere"), host="locus-a.wbx2.com")
    mitigation, facts = decided(Policies(BLOCK), other, muted=True)
    assert (mitigation.decision.sent, facts) == (Sent.FORWARDED, [])


def test_a_signature_may_have_a_policy_of_its_own() -> None:
    policies = Policies(BLOCK, {SIGNATURE: Policy()})
    assert decided(policies, message(AUDIO), muted=True)[0].decision.sent is Sent.FORWARDED
    assert policies.touch
    assert not Policies(Policy(), {SIGNATURE: Policy()}).touch
