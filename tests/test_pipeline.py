"""The way through the house: exchanges in, findings out, whatever the order."""

import gc
import json
import random
from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from mutewatch.identity import Names
from mutewatch.limits import Limits
from mutewatch.mute import EVERYONE, MuteTracker
from mutewatch.pipeline import Pipeline
from mutewatch.records import ActivityGuess, AudioReport, Direction, Exchange, Finding, Origin, Verdict
from mutewatch.signatures import load_signatures
from tests.facts import (
    at,
    controls_exchange,
    decoded,
    exchange,
    gains,
    locus_exchange,
    report,
    tsa_body,
    tsa_event,
    tsa_exchange,
)


class CountingModel:
    """Guesses how many reports it was shown."""

    model_id = "counting"
    horizon = 3

    def guesses(self, batch: Sequence[Sequence[AudioReport]]) -> list[ActivityGuess | None]:
        return [self._guess(reports) for reports in batch]

    def _guess(self, reports: Sequence[AudioReport]) -> ActivityGuess:
        label = f"{len(reports)} reports"
        first, last = reports[0], reports[-1]
        return ActivityGuess("counting", label, {label: 1.0}, first.starts_at, last.ends_at, len(reports), 0)


def pipeline(mute: MuteTracker | None = None, limits: Limits | None = None, model: bool = False) -> Pipeline:
    return Pipeline(load_signatures(), Names(None), mute, CountingModel() if model else None, limits or Limits())


def findings(exchanges: Sequence[Exchange], mute: MuteTracker | None = None) -> list[Finding]:
    """What is found, oldest first."""
    through = pipeline(mute)
    for one in exchanges:
        through.feed(one)
    return sorted(through.finish(), key=lambda finding: finding.minute.zfill(9))


def verdicts(exchanges: Sequence[Exchange], mute: MuteTracker | None = None) -> list[str]:
    return [f"{f.minute} {f.verdict}" for f in findings(exchanges, mute)]


MEETING = [
    locus_exchange(0.1, True),
    *(tsa_exchange(number) for number in range(1, 5)),
    locus_exchange(4.5, False),
    *(tsa_exchange(number) for number in (5, 6, 8)),
    controls_exchange(8, True),
    tsa_exchange(9),
    controls_exchange(9.25, False),
    tsa_exchange(10),
]


def test_a_meeting_is_judged_minute_by_minute() -> None:
    assert verdicts(MEETING) == [
        "1 flagged",
        "2 flagged",
        "3 flagged",
        "4 flagged",
        "5 flagged",
        "6 unmuted",
        "7 missing",
        "8 unmuted",
        "9 flagged",
        "10 flagged",
    ]
    assert [f.mute.muted_seconds for f in findings(MEETING) if f.mute] == [54, 60, 60, 60, 30, 0, 0, 0, 60, 15]


def test_without_a_word_on_the_mute_state_nothing_is_flagged_and_nothing_called_clean() -> None:
    assert verdicts([tsa_exchange(1), tsa_exchange(2)]) == ["1 mute-unknown", "2 mute-unknown"]


def test_an_assumption_flags_them() -> None:
    assert verdicts([tsa_exchange(1)], MuteTracker(assume=True)) == ["1 flagged"]
    assert verdicts([tsa_exchange(1)], MuteTracker(assume=False)) == ["1 unmuted"]


@pytest.mark.parametrize("name", ["U1", "192.0.2.10", EVERYONE])
def test_the_operator_may_name_the_client_by_id_by_address_or_as_everyone(name: str) -> None:
    assert verdicts([tsa_exchange(1)], MuteTracker({name: [(at(0), True)]})) == ["1 flagged"]


@pytest.mark.parametrize("status", [403, 409, 500, None])
def test_a_request_without_success_changes_no_state(status: int | None) -> None:
    said = [locus_exchange(0, True), locus_exchange(1, False, status), tsa_exchange(3)]
    assert verdicts(said) == ["3 flagged"]


def test_a_request_counts_once_and_its_answer_makes_it_effective() -> None:
    through = pipeline()
    asked = locus_exchange(0, True, status=None)
    through.feed(asked)
    through.feed(tsa_exchange(1))
    assert [f.verdict for f in through.advance(at(1))] == [Verdict.MUTE_UNKNOWN]
    through.feed(replace(asked, status=200), again=True)
    assert [f.verdict for f in through.advance(at(2))] == [Verdict.FLAGGED]
    assert (through.counts.exchanges, through.counts.mute_events) == (2, 1)
    assert (through.counts.mute_unanswered, through.counts.mute_refused) == (0, 0)


@settings(deadline=None, max_examples=25)
@given(st.randoms(use_true_random=False))
def test_shuffled_and_repeated_input_gives_the_same_findings(chance: random.Random) -> None:
    mixed = chance.sample(MEETING, len(MEETING)) + chance.sample(MEETING, 3)
    assert findings(mixed) == findings(MEETING)


def test_judged_as_it_comes_the_last_word_on_each_minute_is_the_same() -> None:
    through, last = pipeline(), {}
    for one in [MEETING[3], *MEETING[:3], *MEETING[4:]]:
        through.feed(one)
        last.update({finding.key: finding for finding in through.advance(at(0))})
    last.update({finding.key: finding for finding in through.finish()})
    assert sorted(last.values(), key=lambda f: f.minute.zfill(9)) == findings(MEETING)


def test_only_what_changed_is_judged_again() -> None:
    through = pipeline()
    for one in MEETING[:4]:
        through.feed(one)
    assert len(through.advance(at(3))) == 3
    through.feed(tsa_exchange(4))
    assert [finding.minute for finding in through.advance(at(4))] == ["4"]
    through.feed(tsa_exchange(4))
    assert through.advance(at(4)) == []


def test_a_capture_whose_clock_is_off_gives_the_same_verdicts() -> None:
    ahead = timedelta(hours=-2, minutes=7)
    moved = [replace(one, sent_at=one.sent_at + ahead) for one in MEETING if one.sent_at]
    assert verdicts(moved) == verdicts(MEETING)


def test_everything_that_went_through_is_counted() -> None:
    through = pipeline()
    volume = tsa_event(3, at(3))
    volume["event"]["intervals"][0]["audioTransmit"][0]["levels"] = {"audioMaxVolume": 30000}
    for one in (
        *MEETING[:3],
        tsa_exchange(1),
        locus_exchange(2, False, 409),
        locus_exchange(2, False, None),
        exchange(tsa_body(volume)),
        exchange(b"no JSON"),
        exchange(None),
        exchange(b"{}", path="/elsewhere"),
        exchange(b"{}", host="www.example.test"),
    ):
        through.feed(one)
    counts = through.counts
    assert (counts.exchanges, counts.matched, counts.decoded) == (11, 9, 7)
    assert (counts.undecoded, counts.unread, counts.without_audio, counts.repeats) == (1, 1, 1, 1)
    assert (counts.mute_events, counts.mute_refused, counts.mute_unanswered) == (3, 1, 1)
    assert counts.decoded + counts.undecoded + counts.unread == counts.matched


def test_a_connection_that_stayed_dark_counts_where_it_leads_to_a_telemetry_host() -> None:
    through = pipeline()
    for host in ("tsa3.webex.com", "www.example.test", None):
        through.feed(exchange(None, method="", path="", host=host))
    assert (through.counts.dark, through.counts.exchanges, through.finish()) == (1, 0, [])


def test_one_bad_element_costs_only_itself() -> None:
    body = tsa_body(tsa_event(1, at(1)), tsa_event(2, at(2))).replace(
        b'"gzipb64data": "H4sI', b'"gzipb64data": "****', 1
    )
    found = findings([exchange(body, sent_at=at(2))])
    assert sorted(f.verdict for f in found) == [Verdict.MUTE_UNKNOWN, Verdict.UNDECODED]


def test_several_intervals_in_one_message_follow_each_other() -> None:
    event = tsa_event(8, at(8))
    first = json.loads(json.dumps(event["event"]["intervals"][0])) | {"intervalNumber": 7}
    event["event"]["intervals"].insert(0, first)
    found = findings([locus_exchange(6.5, False), locus_exchange(7.5, True), exchange(tsa_body(event), sent_at=at(8))])
    assert [(f.minute, f.ends_at, f.verdict) for f in found] == [
        ("7", at(7), Verdict.MUTE_UNKNOWN),
        ("8", at(8), Verdict.FLAGGED),
    ]


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"7", b'{"telemetrics": 7}', b'{"telemetrics": [7, null, []]}'])
def test_a_body_of_another_shape_is_undecoded_not_clean(body: bytes) -> None:
    assert {finding.verdict for finding in findings([exchange(body)])} == {Verdict.UNDECODED}


def test_intervals_and_values_beyond_the_limit_are_told() -> None:
    event = tsa_event(1, at(1))
    interval = event["event"]["intervals"][0]
    event["event"]["intervals"] = [{**interval, "intervalNumber": number} for number in range(5)]
    through = pipeline(limits=Limits(elements=3, values=2))
    through.feed(exchange(tsa_body(event)))
    found = through.finish()
    assert {f.reason for f in found if f.verdict == "undecoded"} == {"5 intervals, limit 3", "3 values, limit 2"}
    assert [len(f.values) for f in found if f.verdict != "undecoded"] == [2, 2, 2]


@pytest.mark.parametrize(
    ("method", "host", "path", "name"),
    [
        ("POST", "eu-teams.events.data.microsoft.com", "/OneCollector/1.0/", "nearEndInputRMS_dBFS"),
        ("POST", "tsa3.webex.com", "/metric/v1", "audioMaxGain"),
        ("WEBSOCKET", "rtcstats-server-8x8.jitsi.net", "/room", "audioLevel"),
    ],
)
def test_levels_in_an_event_of_another_name_are_said(method: str, host: str, path: str, name: str) -> None:
    event = {"event": {"name": "renamed"}, "originTime": {"sent": "2026-01-01T00:00:00Z"}, "levels": {name: 4}}
    document = {"telemetrics": [{"v": event}], "type": "stats-entry", "data": json.dumps(["renamed", "PC_0", event])}
    (found,) = findings([exchange(json.dumps(document).encode(), method=method, host=host, path=path)])
    assert found.verdict is Verdict.UNDECODED
    assert found.reason == "names audio-derived values, and none of them was found"


@pytest.mark.parametrize("levels", [[46, 38, 27], "46", 7, True])
def test_levels_that_are_no_object_are_a_change_of_format_not_a_clean_minute(levels: object) -> None:
    event = tsa_event(1, at(1))
    event["event"]["intervals"][0]["audioTransmit"][0]["levels"] = levels
    assert [f.verdict for f in findings([exchange(tsa_body(event))])] == [Verdict.UNDECODED]


@pytest.mark.parametrize(("first", "second"), [(1, 9999), (9999, 1)])
def test_a_capturing_clock_beside_all_sense_is_not_believed(first: int, second: int) -> None:
    said = [
        replace(one, sent_at=at(0).replace(year=year))
        for one, year in ((tsa_exchange(1), first), (locus_exchange(0, True), second))
    ]
    assert sorted(f.verdict for f in findings(said)) == [Verdict.MUTE_UNKNOWN, Verdict.UNDECODED]


@given(st.binary(max_size=400), st.sampled_from([None, "gzip", "deflate", "br"]))
def test_no_body_raises(body: bytes, encoding: str | None) -> None:
    assert {f.verdict for f in findings([exchange(body, encoding=encoding)])} == {Verdict.UNDECODED}


def test_guesses_are_asked_for_in_bounded_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mutewatch.pipeline.GUESSES_AT_ONCE", 3)
    sizes: list[int] = []

    class Watched(CountingModel):
        def guesses(self, batch: Sequence[Sequence[AudioReport]]) -> list[ActivityGuess | None]:
            sizes.append(len(batch))
            return super().guesses(batch)

    through = Pipeline(load_signatures(), Names(None), MuteTracker(assume=True), Watched())
    for number in range(1, 9):
        through.feed(tsa_exchange(number))
    found = {f.minute: f.guess.label if f.guess else None for f in through.finish()}
    assert sizes == [3, 3, 2]
    assert found["1"] == "1 reports" and found["8"] == "3 reports" and None not in found.values()


def test_guesses_look_back_over_the_horizon_and_only_where_something_could_be_inferred() -> None:
    through = pipeline(model=True)
    for one in MEETING:
        through.feed(one)
    guesses = {f.minute: f.guess.label if f.guess else None for f in through.finish()}
    assert guesses["1"] == "1 reports"
    assert guesses["5"] == "3 reports"
    assert guesses["6"] is None
    assert guesses["7"] is None


def test_a_call_that_fell_silent_keeps_what_shows_the_gap() -> None:
    through = pipeline()
    for number in range(1, 4):
        through.feed(tsa_exchange(number))
    through.advance(at(3))
    through.advance(at(60))
    through.feed(tsa_exchange(6))
    assert [f"{f.minute} {f.verdict}" for f in through.advance(at(61))] == ["4 missing", "5 missing", "6 mute-unknown"]


def test_a_clock_that_is_set_back_does_not_stop_the_letting_go() -> None:
    through = pipeline()
    through.advance(at(48 * 60))
    through.feed(tsa_exchange(1))
    through.advance(at(1))
    through.advance(at(14 * 60))
    through.feed(tsa_exchange(4))
    assert [finding.minute for finding in through.advance(at(14 * 60 + 1))] == ["4"]  # the call was over: a new one


def last_words(exchanges: Sequence[Exchange], mute: MuteTracker | None = None) -> dict[str, str]:
    """The verdicts, where each exchange is judged as it comes and what is old is let go."""
    through, last = pipeline(mute), {}
    for one in exchanges:
        through.feed(one)
        last.update({f.minute: str(f.verdict) for f in through.advance(one.sent_at or at(0))})
    return last


LONG_MEETING = [
    locus_exchange(0, True),
    *(tsa_exchange(number, lowest=20 + number % 7) for number in range(1, 41)),
    locus_exchange(40.1, False),
]


def test_a_resend_that_comes_after_its_neighbours_were_let_go_changes_nothing() -> None:
    late = replace(tsa_exchange(5, lowest=25), sent_at=at(41))
    assert last_words([*LONG_MEETING, late]) == last_words(LONG_MEETING)


def test_a_count_that_begins_anew_leaves_the_minutes_before_it_alone() -> None:
    anew = [tsa_exchange(number, 40 + number, lowest=20 + number % 5) for number in range(1, 31)]
    judged = last_words([*LONG_MEETING, *anew])
    assert judged == {f.minute: str(f.verdict) for f in findings([*LONG_MEETING, *anew])}
    assert list(judged.values()).count("flagged") == 41


def test_a_call_beyond_the_limit_is_judged_before_it_is_let_go() -> None:
    through = pipeline(limits=Limits(minutes_per_call=8))
    for one in LONG_MEETING:
        through.feed(one)
    assert [f.verdict for f in through.finish()] == [Verdict.FLAGGED] * 40


def test_a_message_that_cannot_be_read_is_one_finding_however_often_it_comes() -> None:
    assert len(findings([exchange(b"no JSON")] * 2)) == 1


@pytest.mark.parametrize("status", [200, 409])
def test_a_link_that_comes_late_reaches_back_to_the_remote_mute(status: int) -> None:
    said = [
        controls_exchange(2.1, True),
        locus_exchange(2.2, False, 409) if status == 200 else controls_exchange(2.2, True),
        *(tsa_exchange(number, lowest=20 + number) for number in range(3, 7)),
        locus_exchange(6.5, False, status),
    ]
    assert last_words(said) == {f.minute: str(f.verdict) for f in findings(said)}


def test_an_address_that_comes_late_brings_its_timeline() -> None:
    said = [tsa_exchange(1), tsa_exchange(2), replace(tsa_exchange(3), client="192.0.2.11")]
    timeline = {"192.0.2.11": [(at(0), True)]}
    assert last_words(said, MuteTracker(timeline)) == dict.fromkeys("123", "flagged")
    assert verdicts(said, MuteTracker(timeline)) == ["1 flagged", "2 flagged", "3 flagged"]


def test_the_number_of_calls_is_bounded_and_none_goes_unjudged() -> None:
    through = pipeline(limits=Limits(calls=2))
    for number in range(5):
        event = tsa_event(1, at(1))
        event["event"]["identifiers"]["correlationId"] = f"C{number}"
        through.feed(exchange(tsa_body(event)))
    assert len(through.finish()) == 5
    assert through.counts.forgotten_calls == 3


def test_constant_minutes_turn_inert() -> None:
    same = [exchange(tsa_body(tsa_event(n, at(n), 50, 47, 44)), sent_at=at(n)) for n in range(1, 13)]
    found = findings(same, MuteTracker(assume=True))
    assert [f.verdict for f in found] == [Verdict.FLAGGED] * 9 + [Verdict.INERT] * 3
    assert found[-1].values == gains(50, 47, 44)


@pytest.mark.parametrize(("status", "body"), [(204, b""), (200, b""), (409, b"<html>"), (500, b'{"locus":{}}')])
def test_an_answer_that_says_nothing_is_no_message(status: int, body: bytes) -> None:
    path = "/locus/api/v1/loci/L1/participant/P1/media"
    answer = Exchange(
        at(1), "192.0.2.7", "locus-a.wbx2.com", 443, "PUT", path, "", body, Origin("test"), status=status,
        direction=Direction.TO_CLIENT,
    )  # fmt: skip
    pipeline = Pipeline(load_signatures(), Names(None))
    assert (pipeline.feed(answer), pipeline.finish(), pipeline.counts.exchanges) == ([], [], 0)


def more_to_look_at() -> int:
    """How many objects more has the garbage collector to look at after ten reports of one call?"""
    through = pipeline()
    through.absorb(decoded(report(1))[0])
    gc.collect()
    before = len(gc.get_objects())
    for minute in range(2, 12):
        through.absorb(decoded(report(minute))[0])
    gc.collect()
    return len(gc.get_objects()) - before


def test_the_garbage_collector_does_not_look_at_what_was_reported() -> None:
    least = min(more_to_look_at() for _ in range(5))  # threads that other tests left behind make objects now and then
    assert least <= 2, "ten reports more, one call: a look at each would stop a busy gateway"


@pytest.mark.parametrize("is_named", [True, False])
def test_a_connection_that_is_made_anew_under_its_id_is_the_same_call(is_named: bool) -> None:
    def said(seconds: float, *row: object, connection: str) -> Exchange:
        sent_at = at(0) + timedelta(seconds=seconds)
        body = json.dumps([*row, round(sent_at.timestamp() * 1000)]).encode()
        host = "rtcstats.srv.whereby.com"
        one = exchange(body, method="WEBSOCKET", host=host, path="/room", sent_at=sent_at)
        return replace(one, connection=connection)

    def report(seconds: float, connection: str) -> Exchange:
        microphone = {"type": "media-source", "kind": "audio", "audioLevel": seconds / 1000}
        return said(seconds, "getstats", "PC_0", {"SA1": microphone}, connection=connection)

    def opened(seconds: float, number: int) -> Exchange:
        data = {"id": "I1", "connectionNumber": number}
        return said(seconds, "clientInfo" if is_named else "other", None, data, connection=f"k{number}")

    muted = said(1, "customEvent", None, {"type": "audio_muted", "value": {"muted": True}}, connection="k1")
    before = [report(10.0 * n, "k1") for n in range(1, 12)]
    after = [report(120 + 10.0 * n, "k2") for n in range(1, 12)]
    through = pipeline()
    for one in (opened(0, 1), muted, *before, opened(121, 2), *after):
        through.feed(one)
    told = {(f.call, f.starts_at): f.verdict for f in through.finish()}
    if is_named:
        assert set(told.values()) == {Verdict.FLAGGED}
        assert {call for call, _ in told} == {"I1"} and len(told) == 4
    else:  # it may be anybody's
        assert [told["k2", at(minute)] for minute in (2, 3)] == [Verdict.MUTE_UNKNOWN] * 2


def test_two_clients_of_teams_behind_one_address_are_told_apart_by_their_ids_in_the_call() -> None:
    def button(person: str, muted: bool) -> Exchange:
        body = {"from": {"participantId": person}, "endpointState": {"state": {"isMuted": muted}}}
        host, path = "api.flightproxy.teams.microsoft.com", "/api/v2/ep/x/conv/c1/updateEndpointState"
        return exchange(json.dumps(body).encode(), host=host, path=path, sent_at=at(0))

    def levels(person: str) -> Exchange:
        series = [
            {"timestamp": 8_000 * n, "payload": {"noiseLevels": {"nearEndInputRMS_dBFS": -40 - n % 7}}}
            for n in range(40)
        ]
        data = {"participant_id": person, "metrics_AudioEffects": json.dumps(series)}
        event = {"name": "mdsc_webrtc_session", "time": at(6).isoformat(), "data": data}
        host, path = "eu-teams.events.data.microsoft.com", "/OneCollector/1.0/"
        return exchange(json.dumps(event).encode(), host=host, path=path, sent_at=at(6.1))

    found = findings([button("P1", True), button("P2", False), levels("P1"), levels("P2")])
    assert {f.verdict for f in found if f.call == "P1"} == {Verdict.FLAGGED}
    assert {f.verdict for f in found if f.call == "P2"} == {Verdict.UNMUTED}
