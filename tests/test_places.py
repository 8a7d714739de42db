"""Audio and mute that only a network address joins: when that is enough, and when nobody can say."""

import random
from collections.abc import Hashable, Iterable, Sequence
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from mutewatch.identity import Names
from mutewatch.limits import Limits
from mutewatch.mute import EVERYONE, MuteTracker
from mutewatch.pipeline import Pipeline
from mutewatch.records import AudioReport, Basis, Finding, MuteEvent, Scope, SignatureRef
from tests.facts import START, STATS, at, decoded, press, sample

Fact = AudioReport | MuteEvent
SIGNAL = SignatureRef("signal.test", 1, STATS.app, "code")  # another signature of the same app


def findings(facts: Iterable[Fact], mute: MuteTracker | None = None, limits: Limits | None = None) -> list[Finding]:
    through = Pipeline((), Names(None), mute, limits=limits or Limits())
    for one in decoded(*facts):
        through.absorb(one)
    return sorted(through.finish(), key=lambda f: (f.client, f.call, f.minute))


def verdicts(facts: Iterable[Fact]) -> list[str]:
    return [f.verdict.value for f in findings(facts)]


def audio(minutes: Sequence[float], call: str = "C1", address: str | None = "A1") -> list[Fact]:
    """In each of these minutes three readings of something."""
    return [
        sample(60 * minute + 15 * n, 0.1 * n, call=call, client=f"client of {call}", address=address)
        for minute in minutes
        for n in (1, 2, 3)
    ]


def word(seconds: float, muted: bool, call: str | None = "S1", **others: object) -> MuteEvent:
    """What another connection of the client says of its button."""
    event = press(seconds, muted, call=call, **others)  # type: ignore[arg-type]
    return replace(event, source=replace(event.source, signature=SIGNAL))


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        pytest.param([word(-30, True), *audio([0, 1])], ["flagged"] * 2, id="one session and one call"),
        pytest.param([word(-30, False), *audio([0, 1])], ["unmuted"] * 2, id="unmuted, too"),
        pytest.param([word(70, True), *audio([0, 2])], ["mute-unknown", "flagged"], id="from its word on"),
        pytest.param([word(-30, True, None), *audio([0])], ["flagged"], id="a session without any id"),
        pytest.param(
            [word(-30, True, None, participant="P1"), *audio([0])], ["flagged"], id="a session by its participant's id"
        ),
        pytest.param([word(-30, True, address="A2"), *audio([0])], ["mute-unknown"], id="another address"),
        pytest.param([word(-30, True, address=None), *audio([0], address=None)], ["mute-unknown"], id="no address"),
        pytest.param(
            [press(-30, True, call="S1", basis=Basis.SERVER), *audio([0])], ["mute-unknown"], id="a server's echo"
        ),
        pytest.param(
            [word(-30, True, None, participant="P1", scope=Scope.REMOTE), *audio([0])],
            ["mute-unknown"],
            id="a moderator's word",
        ),
        pytest.param(
            [press(-30, True, call="S1", basis=Basis.PAYLOAD_HINT), *audio([0])], ["mute-unknown"], id="only a hint"
        ),
        pytest.param([word(-30, True, effective=False), *audio([0])], ["mute-unknown"], id="refused"),
        pytest.param(
            [word(-30, True), word(-20, False, "S2"), *audio([0])], ["mute-unknown"], id="two sessions at one address"
        ),
        pytest.param(
            [word(-30, True, participant="P1"), *audio([0]), word(290, False, "S2", participant="P1"), *audio([5])],
            ["flagged", "unmuted"],
            id="one participant, and its connection was made anew",
        ),
        pytest.param(
            [word(-30, True), word(-20, True, None, participant="P1"), word(-10, True, participant="P1"), *audio([0])],
            ["flagged"],
            id="two sessions that a third word shows to be one",
        ),
        pytest.param(
            [word(-30, True, participant="P1"), word(-20, True, participant="P2"), *audio([0])],
            ["flagged"],
            id="two participants of one session",
        ),
        pytest.param(
            [word(-30, True), *audio([0]), *audio([0], "C2")], ["mute-unknown"] * 2, id="two calls at one address"
        ),
        pytest.param(
            [word(-30, True), *audio([0, 1]), *audio([5], "C2"), *audio([5])],
            ["flagged", "flagged", "mute-unknown", "mute-unknown"],
            id="a call that comes later takes nothing back",
        ),
        pytest.param(
            [word(-30, True), *audio([0]), word(600, False, "S2"), *audio([11], "C2")],
            ["flagged", "unmuted"],
            id="a call after a call, each with its session",
        ),
        pytest.param(
            [word(-30, True), *audio([0, 1]), word(290, False, "S2"), *audio([5])],
            ["flagged", "flagged", "mute-unknown"],
            id="a session that comes later takes nothing back",
        ),
        pytest.param(
            [word(-30, True), press(70, False), *audio([0, 2])],
            ["flagged", "unmuted"],
            id="its own is better, from its first word on",
        ),
        pytest.param(
            [word(-30, True), *audio([0]), word(290, False, address="A2"), *audio([5], address="A2")],
            ["flagged", "unmuted"],
            id="the address changes in mid-call",
        ),
        pytest.param(
            [word(-30, True), *audio([0]), word(290, False, "S2", address="A2"), *audio([5], address="A2")],
            ["flagged", "mute-unknown"],
            id="and somebody else is at the new one",
        ),
    ],
)
def test_an_address_joins_what_can_be_nobody_elses(facts: list[Fact], expected: list[str]) -> None:
    assert verdicts(facts) == expected
    assert verdicts(facts[::-1]) == expected


def test_another_app_at_the_address_is_no_neighbour() -> None:
    other = replace(STATS, app="Other")
    said = word(-30, False, "S2")
    alien = [replace(one, source=replace(one.source, signature=other)) for one in audio([0], "C2")]
    facts = [word(-30, True), *audio([0]), replace(said, source=replace(said.source, signature=other)), *alien]
    told = {f.call: f.verdict.value for f in findings(facts)}
    assert told == {"C1": "flagged", "C2": "unmuted"}


def test_the_basis_is_the_address_and_the_reason_says_why_nobody_knows() -> None:
    (joined,) = findings([word(-30, True), *audio([0])])
    assert joined.mute and joined.mute.bases == (Basis.ADDRESS,)
    (shared,) = findings([word(-30, True), word(-20, True, "S2"), *audio([0])])
    assert "; several clients at one address" in shared.reason
    assert shared.mute and shared.mute.is_address_shared


def test_it_ranks_after_a_server_and_before_the_operator() -> None:
    linked = press(-50, False, participant="P1")
    moderator = press(-40, True, call=None, participant="P1", scope=Scope.REMOTE, basis=Basis.SERVER)
    unheard = replace(linked, effective=False)  # links the participant to the call, and says nothing
    (muted,) = findings([unheard, moderator, word(-30, False), *audio([0])])
    assert muted.mute and (muted.mute.muted_seconds, muted.mute.bases) == (60, (Basis.SERVER,))
    timeline = MuteTracker({EVERYONE: [(at(-5), True)]})
    (disputed,) = findings([word(-30, False), *audio([0])], timeline)
    assert disputed.mute and disputed.mute.bases == (Basis.ADDRESS,) and disputed.mute.disputed_seconds == 60


def test_a_hint_in_the_payload_ranks_after_the_operator() -> None:
    hint = press(-30, False, basis=Basis.PAYLOAD_HINT)
    assert verdicts([hint, *audio([0])]) == ["unmuted"]
    assert verdicts([hint, word(-20, True), *audio([0])]) == ["flagged"]
    (said,) = findings([hint, *audio([0])], MuteTracker({EVERYONE: [(at(-5), True)]}))
    assert said.mute and said.mute.bases == (Basis.OPERATOR,)


def test_a_crowd_at_one_address_is_bounded_and_nobody_is_taken_for_another() -> None:
    crowd = [fact for n in range(20) for fact in (word(-30, True, f"S{n}"), *audio([0], f"C{n}"))]
    assert set(verdicts(crowd)) == {"mute-unknown"}
    assert {f.verdict.value for f in findings(crowd, limits=Limits(neighbours=3))} == {"mute-unknown"}


def test_an_address_long_silent_is_forgotten() -> None:
    through = Pipeline((), Names(None))
    for one in decoded(word(-30, True), *audio([0])):
        through.absorb(one)
    through.advance(at(5))
    through.advance(at(14 * 60))
    for one in decoded(*audio([14 * 60])):
        through.absorb(one)
    assert [f.verdict.value for f in through.finish()] == ["mute-unknown"]


moments = st.integers(0, 900).map(float)
addresses = st.sampled_from(["A1", "A1", "A2"])
calls = st.sampled_from(["C1", "C1", "C2"])
sessions = st.sampled_from(["S1", "S1", "S2", "C1", None])
heard = st.builds(sample, moments, st.sampled_from([0.0, 0.1, 0.2]), call=calls, address=addresses)
participants = st.sampled_from([None, None, "P1", "P2"])
spoken = st.builds(word, moments, st.booleans(), sessions, address=addresses, participant=participants)


@settings(deadline=None, max_examples=100)
@given(st.lists(heard | spoken, max_size=30), st.randoms(use_true_random=False))
def test_order_and_repetition_change_nothing(said: list[Fact], chance: random.Random) -> None:
    assert findings(chance.sample(said, len(said)) + said[:4]) == findings(said)


@settings(deadline=None, max_examples=100)
@given(st.lists(heard | spoken, max_size=30), st.randoms(use_true_random=False))
def test_judged_as_it_comes_the_last_word_is_the_same(said: list[Fact], chance: random.Random) -> None:
    through = Pipeline((), Names(None))
    last: dict[Hashable, Finding] = {}
    for one in sorted(said, key=lambda one: _at(one) + timedelta(seconds=chance.choice((0, 0, 100)))):
        through.absorb(decoded(one)[0])
        last |= {finding.key: finding for finding in through.advance(_at(one))}
    last |= {finding.key: finding for finding in through.finish()}
    assert sorted(last.values(), key=lambda f: (f.client, f.call, f.minute)) == findings(said)


@settings(deadline=None, max_examples=100)
@given(st.lists(spoken, max_size=12))
def test_with_two_calls_at_an_address_nothing_there_is_muted_by_it(said: list[MuteEvent]) -> None:
    both = [*audio(range(16), "D1"), *audio(range(16), "D2")]
    assert all(Basis.ADDRESS not in f.mute.bases for f in findings([*said, *both]) if f.mute)


def _at(fact: Fact) -> datetime:
    return fact.ends_at if isinstance(fact, AudioReport) else max(fact.at, START)
