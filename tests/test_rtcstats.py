"""getStats reports that leave out what has not changed are filled in again, in each dialect."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutewatch.decode import Budget
from mutewatch.errors import DecodeError
from mutewatch.limits import DEFAULT_LIMITS
from mutewatch.rtcstats import Dialect, StatsStates

WANTED = frozenset({"audioLevel", "totalAudioEnergy"})
MICROPHONE = {"type": "media-source", "kind": "audio", "trackIdentifier": "t1"}
RECEIVED = {"type": "inbound-rtp", "kind": "audio"}

levels = st.sampled_from([0, 0.0, 0.25, 0.5, 1])
reports = st.fixed_dictionaries(
    {"audioLevel": levels, "totalAudioEnergy": st.floats(0, 10)}, optional={"totalSamplesDuration": st.integers(0, 9)}
)
polls = st.lists(st.dictionaries(st.sampled_from(["SA1", "SA2", "IT1"]), reports, min_size=1), min_size=1, max_size=8)


def compress(poll: dict[str, Any], before: dict[str, Any], dialect: Dialect) -> Any:
    """A poll as a client of this dialect sends it, if it sent `before` just now."""
    sent: dict[str, Any] = {}
    for name, report in poll.items():
        whole = {**(RECEIVED if name == "IT1" else MICROPHONE), **report}
        if name in before:
            last = {**(RECEIVED if name == "IT1" else MICROPHONE), **before[name]}
            whole = {key: value for key, value in whole.items() if last.get(key) != value}
            if dialect is Dialect.WEBEX:
                whole["type"] = (RECEIVED if name == "IT1" else MICROPHONE)["type"]
            if not whole and dialect is Dialect.WHEREBY:
                continue
        sent[name] = whole
    if dialect is Dialect.WEBEX:
        return [json.dumps({"id": name, **report}) for name, report in sent.items()]
    return {**sent, "timestamp": 1700000000000.0}


def fill_in(states: StatsStates, sent: Any, dialect: Dialect, connection: str = "c", peer: str = "PC_0") -> Any:
    return states.fill_in(connection, peer, dialect, sent, WANTED, Budget(DEFAULT_LIMITS))


@pytest.mark.parametrize("dialect", Dialect)
@given(polls)
def test_what_was_left_out_is_filled_in(dialect: Dialect, polls: list[dict[str, Any]]) -> None:
    states, order = StatsStates(10, 8), list[str]()
    before: dict[str, Any] = {}
    known: dict[str, Any] = {}
    for poll in polls:
        found, faults = fill_in(states, compress(poll, before, dialect), dialect)
        ended = before.keys() - poll.keys() if dialect is Dialect.JITSI else set()
        known = {name: report for name, report in known.items() if name not in ended} | poll
        before = known if dialect is not Dialect.JITSI else poll
        order += [name for name in poll if name != "IT1" and name not in order]
        wanted = [{key: known[name][key] for key in WANTED} if name in known else None for name in order]
        assert (found, faults) == (wanted, [])


@pytest.mark.parametrize("dialect", [Dialect.JITSI, Dialect.WHEREBY])
def test_a_level_that_stays_zero_is_a_reading_each_time(dialect: Dialect) -> None:
    states = StatsStates(10, 8)
    fill_in(states, {"SA1": {**MICROPHONE, "audioLevel": 0}}, dialect)
    assert fill_in(states, {"SA1": {}}, dialect) == ([{"audioLevel": 0}], [])


def test_a_report_that_is_not_there_has_ended_for_jitsi_and_not_changed_for_the_others() -> None:
    for dialect, reading in ((Dialect.JITSI, None), (Dialect.WHEREBY, {"audioLevel": 0.5})):
        states = StatsStates(10, 8)
        fill_in(states, {"SA1": {**MICROPHONE, "audioLevel": 0.5}}, dialect)
        assert fill_in(states, {"other": {"type": "codec"}}, dialect) == ([reading], [])


def test_sound_that_was_received_is_not_the_microphones() -> None:
    states = StatsStates(10, 8)
    assert fill_in(states, {"IT1": {**RECEIVED, "audioLevel": 0.5}}, Dialect.WHEREBY) == ([], [])
    assert fill_in(states, {"IT1": {"audioLevel": 0.6}}, Dialect.WHEREBY) == ([], [])


def test_a_change_without_its_beginning_is_a_fault_and_no_reading() -> None:
    found, faults = fill_in(StatsStates(10, 8), {"SA1": {"audioLevel": 0.6}}, Dialect.WHEREBY)
    assert (found, faults) == ([], ["a change to a report whose beginning was not seen"])


UNSEEN = ["a change to a report whose beginning was not seen"]


@pytest.mark.parametrize("dialect", Dialect)
def test_a_silence_whose_beginning_was_not_seen_is_a_fault_until_all_is_said_again(dialect: Dialect) -> None:
    """A level that stays zero is in no report, so that what is not told looks like nothing at all."""
    states, silence = StatsStates(10, 8), {"audioLevel": 0.0, "totalAudioEnergy": 0.5}
    quiet = [{"SA1": {**silence, "totalSamplesDuration": n}, "IT1": {"packetsReceived": n}} for n in range(6)]
    sent = [compress(now, before, dialect) for before, now in zip([{}, *quiet], quiet, strict=False)]
    for change in sent[1:4]:
        assert fill_in(states, change, dialect) == ([], UNSEEN)
    for whole in (sent[0], *sent[4:]):
        assert fill_in(states, whole, dialect) == ([silence], [])


@pytest.mark.parametrize("dialect", Dialect)
def test_a_peer_connection_that_only_receives_has_no_fault(dialect: Dialect) -> None:
    states, polls = StatsStates(10, 8), [{"IT1": {"audioLevel": n / 9}} for n in range(4)]
    for before, now in zip([{}, *polls], polls, strict=False):
        assert fill_in(states, compress(now, before, dialect), dialect) == ([], [])


def test_a_change_that_repeats_its_type_gives_what_it_says_and_is_a_fault_for_what_it_leaves_out() -> None:
    states = StatsStates(10, 8)
    for key, faults in (("totalAudioEnergy", UNSEEN), ("totalSamplesDuration", UNSEEN), ("audioLevel", [])):
        (found,), wrong = fill_in(states, [json.dumps({"id": "SA1", "type": "media-source", key: 0.5})], Dialect.WEBEX)
        assert (found["totalAudioEnergy"], wrong) == (0.5, faults)


def test_each_source_of_each_peer_connection_keeps_its_place() -> None:
    states = StatsStates(10, 8)
    fill_in(states, {"SA1": {**MICROPHONE, "audioLevel": 0.1}}, Dialect.WHEREBY, peer="PC_0")
    assert fill_in(states, {"SA1": {**MICROPHONE, "audioLevel": 0.2}}, Dialect.WHEREBY, peer="PC_1") == (
        [None, {"audioLevel": 0.2}],
        [],
    )


def test_state_is_bounded_and_what_is_forgotten_is_counted() -> None:
    states = StatsStates(2, 2)
    for name in "abc":
        fill_in(states, {"SA1": {**MICROPHONE, "audioLevel": 0.1}}, Dialect.WHEREBY, connection=name)
    assert (len(states), states.forgotten) == (2, 1)
    assert fill_in(states, {"SA1": {"audioLevel": 0.2}}, Dialect.WHEREBY, connection="a")[1] != []  # it was let go
    many = {f"SA{number}": {**MICROPHONE, "audioLevel": 0.1} for number in range(3)}
    assert fill_in(states, many, Dialect.WHEREBY, connection="x")[1] == ["more than 2 audio sources"]


@pytest.mark.parametrize("is_peer", [False, True])
def test_sources_and_peers_that_come_and_go_are_read_and_do_not_grow_without_end(is_peer: bool) -> None:
    states = StatsStates(2, 2)
    for number in range(100):
        peer, source = (f"PC_{number}", "SA1") if is_peer else ("PC_0", f"SA{number}")
        whole = {source: {**MICROPHONE, "audioLevel": number}}
        found, faults = fill_in(states, whole, Dialect.JITSI, peer=peer)
        assert [one for one in found if one] == [{"audioLevel": number}] and faults == []
        assert len(found) <= 8
        if number < 8:
            assert found[-1] == {"audioLevel": number}  # as long as there are places none is taken twice
    assert fill_in(states, {"SA1": {"audioLevel": 0.2}}, Dialect.JITSI, peer="PC_0")[1] != []  # it was let go


@pytest.mark.parametrize(("dialect", "sent"), [(Dialect.WEBEX, {}), (Dialect.JITSI, []), (Dialect.WHEREBY, None)])
def test_reports_of_another_shape_are_refused(dialect: Dialect, sent: Any) -> None:
    with pytest.raises(DecodeError, match="stats: "):
        fill_in(StatsStates(2, 2), sent, dialect)


@pytest.mark.parametrize("strange", ["x" * 100_000, [0] * 1_000, {"a": 1}])
def test_of_a_reading_that_is_no_number_nothing_but_its_type_is_remembered(strange: Any) -> None:
    found, _ = fill_in(StatsStates(10, 8), {"SA1": {**MICROPHONE, "audioLevel": strange}}, Dialect.WHEREBY)
    assert found == [{"audioLevel": type(strange)()}]
