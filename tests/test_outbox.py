"""The outbox: what an export is to be told of is known as long as the finding is, and no longer."""

from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlalchemy import select, text

from mutewatch import outbox
from mutewatch.compose import Recorder
from mutewatch.forget import forget
from mutewatch.identity import CANARY, Names
from mutewatch.mute import MuteTracker
from mutewatch.pipeline import Pipeline
from mutewatch.records import Exchange, Finding, Verdict
from mutewatch.signatures import load_signatures
from mutewatch.store import Store
from tests.facts import locus_exchange, tsa_exchange
from tests.test_sinks_siem import findings


def noting(path: Path) -> Store:
    store = Store(path)
    with store.begin() as connection:
        outbox.prepare(connection)
    store.before_findings = outbox.note
    return store


def waiting(store: Store) -> list[outbox.Waiting]:
    with store.begin() as connection:
        return outbox.waiting(connection, 1000)


def cross_out(store: Store) -> None:
    found = waiting(store)
    with store.begin() as connection:
        outbox.cross_out(connection, found)


FOUND = findings()
FLAGGED = [finding for finding in FOUND if finding.verdict is Verdict.FLAGGED]


def test_flagged_minutes_wait_in_their_order_and_others_do_not(tmp_path: Path) -> None:
    with noting(tmp_path / "s.db") as store:
        store.record((), FOUND)
        assert [one.finding for one in waiting(store)] == FLAGGED


def test_the_same_again_is_noted_once_whether_it_was_told_or_not(tmp_path: Path) -> None:
    with noting(tmp_path / "s.db") as store:
        for _ in range(2):
            store.record((), FOUND)
        assert len(waiting(store)) == len(FLAGGED)
        cross_out(store)
        store.record((), FOUND)
        assert waiting(store) == []


def test_a_minute_that_is_no_longer_flagged_is_told_of_again(tmp_path: Path) -> None:
    with noting(tmp_path / "s.db") as store:
        store.record((), FLAGGED)
        cross_out(store)
        anew = replace(FLAGGED[0], verdict=Verdict.UNMUTED, rule="MW-UNMUTED")
        store.record((), [anew])
        assert [one.finding for one in waiting(store)] == [anew]
        cross_out(store)
        store.record((), [anew])
        assert waiting(store) == []


def test_what_waits_is_told_as_it_is_by_then(tmp_path: Path) -> None:
    with noting(tmp_path / "s.db") as store:
        store.record((), FLAGGED[:1])
        anew = replace(FLAGGED[0], verdict=Verdict.UNMUTED, rule="MW-UNMUTED")
        store.record((), [anew])
        assert [one.finding for one in waiting(store)] == [anew]


def test_a_finding_that_was_deleted_is_told_to_nobody(tmp_path: Path) -> None:
    told: list[Finding] = []
    with noting(tmp_path / "s.db") as store:
        store.record((), FLAGGED)
        with store.begin() as connection:
            connection.execute(text("DELETE FROM findings"))
        recorder = Recorder(Pipeline(load_signatures(), Names(None)), store, export=told.extend)
        assert recorder.deliver()
        assert not recorder.deliver()
    assert told == []


def test_of_a_client_that_is_forgotten_nothing_waits(tmp_path: Path) -> None:
    with noting(tmp_path / "s.db") as store:
        store.record((), [*FLAGGED, replace(FLAGGED[0], client="another")])
        forget(store, FLAGGED[0].client)
        with store.begin() as connection:
            assert connection.execute(select(outbox.outbox.c.client)).scalars().all() == ["another"]


def test_of_a_call_that_is_forgotten_nothing_waits(tmp_path: Path) -> None:
    with noting(tmp_path / "s.db") as store:
        store.record((), [replace(FLAGGED[0], client="another", call="alice's room")])
        forget(store, "alice's room")
        assert waiting(store) == []


def test_the_canary_is_told_of_to_nobody(tmp_path: Path) -> None:
    with noting(tmp_path / "s.db") as store:
        store.record((), [replace(FLAGGED[0], client=CANARY)])
        assert waiting(store) == []


def test_many_at_once_are_noted_each(tmp_path: Path) -> None:
    many = [replace(FLAGGED[0], minute=str(number)) for number in range(1201)]
    with noting(tmp_path / "s.db") as store:
        store.record((), many)
        with store.begin() as connection:
            assert len(outbox.waiting(connection, 2000)) == 1201
        cross_out(store)
        assert len(waiting(store)) == 201


def test_noting_reads_no_more_than_the_rows_in_question(tmp_path: Path) -> None:
    with noting(tmp_path / "s.db") as store, store.begin() as connection:
        plan = connection.execute(
            text(
                "EXPLAIN QUERY PLAN SELECT client FROM findings "
                "WHERE (client, call, signature, minute) IN (VALUES ('a', 'b', 'c', 'd')) AND verdict = 'flagged'"
            )
        )
        told = " ".join(str(row[3]) for row in plan)
    assert "SEARCH findings" in told
    assert "SCAN findings" not in told


# -- the recorder --------------------------------------------------------------------------------------------


def recorder(path: Path, told: list[Finding], assume: bool | None = None) -> Recorder:
    through = Pipeline(load_signatures(), Names(b"k" * 32), MuteTracker(assume=assume))
    return Recorder(through, Store(path), export=told.extend)


def passing(*exchanges: Exchange) -> list[Exchange]:
    """As the proxy sees them: a request, and once more when it is answered."""
    return [stage for one in exchanges for stage in (replace(one, status=None), one)]


def verdicts(told: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.minute, finding.verdict.value) for finding in told]


def test_what_is_committed_is_exported_once_and_the_rest_at_the_close(tmp_path: Path) -> None:
    told: list[Finding] = []
    live = recorder(tmp_path / "s.db", told, assume=True)
    live.record(passing(tsa_exchange(1)))
    assert told == []
    while live.deliver():
        pass
    assert verdicts(told) == [("1", "flagged")]
    live.record(passing(tsa_exchange(2)))
    live.close()
    assert verdicts(told) == [("1", "flagged"), ("2", "flagged")]


def test_what_an_earlier_process_did_not_get_to_is_exported_by_the_next(tmp_path: Path) -> None:
    told: list[Finding] = []
    first = recorder(tmp_path / "s.db", [], assume=True)
    first.record(passing(tsa_exchange(1)))  # and is killed
    second = recorder(tmp_path / "s.db", told, assume=True)
    assert second.deliver()
    assert verdicts(told) == [("1", "flagged")]


def test_what_the_export_refused_comes_again(tmp_path: Path) -> None:
    told: list[Finding] = []
    is_full = True

    def export(found: list[Finding]) -> None:
        if is_full:
            raise OSError("disk full")
        told.extend(found)

    through = Pipeline(load_signatures(), Names(b"k" * 32), MuteTracker(assume=True))
    live = Recorder(through, Store(tmp_path / "s.db"), export=export)  # type: ignore[arg-type]
    live.record(passing(tsa_exchange(1)))
    for _ in range(2):
        with pytest.raises(OSError, match="disk full"):
            live.deliver()
    is_full = False
    live.close()
    assert verdicts(told) == [("1", "flagged")]


def test_a_close_takes_no_longer_than_some_steps_and_the_rest_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Finding] = []
    monkeypatch.setattr("mutewatch.compose.DELIVERED_AT_ONCE", 3)
    live = recorder(tmp_path / "s.db", told)
    live.store.record((), [replace(FLAGGED[0], minute=str(number)) for number in range(35)])
    live.close()
    assert len(told) == 30
    following = recorder(tmp_path / "s.db", told)
    following.close()
    assert len({finding.minute for finding in told}) == len(told) == 35


def test_a_mute_that_is_lifted_after_the_fact_withdraws_what_was_told(tmp_path: Path) -> None:
    """The client says later, by its own clock, that it had unmuted before that minute."""
    told: list[Finding] = []
    live = recorder(tmp_path / "s.db", told)
    live.record(passing(locus_exchange(0, True), tsa_exchange(1), tsa_exchange(2)))
    while live.deliver():
        pass
    assert ("2", "flagged") in verdicts(told)
    live.record(passing(locus_exchange(0.9, False)))
    live.close()
    assert verdicts(told)[-1] == ("2", "unmuted")
