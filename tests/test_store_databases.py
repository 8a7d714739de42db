"""The store in SQLite and in PostgreSQL: the same answers, whatever stands in names; one line where there is none."""

import json
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlalchemy import Engine, delete, func, select
from sqlalchemy.exc import DBAPIError

from mutewatch import database
from mutewatch.commands.page import open_history
from mutewatch.compose import PipelineOptions, Recorder, build_pipeline
from mutewatch.config import open_state
from mutewatch.errors import OperatorError
from mutewatch.history import History
from mutewatch.identity import CANARY, Names
from mutewatch.judge import MUTED_PART
from mutewatch.mute import MuteTracker
from mutewatch.pipeline import Pipeline
from mutewatch.records import Decoded, Exchange, Finding, MuteSummary, Verdict
from mutewatch.signatures import load_signatures
from mutewatch.store import Store
from mutewatch.stored import Kinds
from mutewatch.tables import findings, kinds, microseconds
from tests.facts import at, tsa_exchange
from tests.postgres_support import PostgreSQL

HOSTILE = ("\x00", "a\x00b", "\ud800", "\udfff\ud800", "\uffff0000", "\uffff", "%_\\'\"", "\U0010ffff", "")
LONG_AGO = at(-1_000_000)


def judged() -> tuple[Decoded, Finding]:
    """One message and its finding, as the pipeline makes them."""
    through = Pipeline(load_signatures(), Names(b"k" * 32), MuteTracker(assume=True))
    (facts,) = through.feed(tsa_exchange(1))
    (finding,) = through.finish()
    return facts, finding


FACTS, FINDING = judged()


def named(name: str, number: int) -> tuple[Decoded, Finding]:
    """The message and the finding with `name` wherever a name may stand."""
    assert FINDING.source is not None
    source = replace(FINDING.source, address=name, body_sha256=f"{number:064}")
    audio = tuple(replace(report, client=name, call=name) for report in FACTS.audio)
    facts = replace(FACTS, source=source, audio=audio)
    return facts, replace(FINDING, client=name, call=name, minute=name, source=source, reason=name)


def check_names(location: Path | str, names: list[str]) -> None:
    """Every name comes back as it was: one message, one finding, one input of each."""
    made = [named(name, number) for number, name in enumerate(names)]
    with Store(location) as store:
        for _ in range(2):
            store.record([facts for facts, _ in made], [finding for _, finding in made])
            for name in names:
                store.record_input(name, {name: {name: 1}}, name)
        assert {finding.key: finding for finding in store.findings()} == {finding.key: finding for _, finding in made}
        kept = {one.source.body_sha256: one for one in store.facts_since(LONG_AGO, 10_000)}
        assert [kept[f"{number:064}"] for number in range(len(names))] == [facts for facts, _ in made]
        assert sorted(row["name"] for row in store.inputs()) == sorted(names)
        assert all(row["counts"] == {row["name"]: {row["name"]: 1}} for row in store.inputs())


def test_a_name_comes_back_as_it_was_whatever_stands_in_it(location: Path | str) -> None:
    check_names(location, list(HOSTILE))


def test_naughty_strings_come_back_as_they_were(location: Path | str, shared: Path) -> None:
    path = shared / "corpora" / "naughty-strings.json"
    if not path.is_file():
        pytest.skip(f"no {path}")
    check_names(location, sorted(set(json.loads(path.read_text(encoding="utf-8")))))


def with_value(number: int) -> Finding:
    """A minute of a kind of its own."""
    return replace(FINDING, minute=str(number), rules_version=number)


def test_findings_beyond_the_most_kinds_are_kept_whole(location: Path | str) -> None:
    made = [with_value(number) for number in range(6)]
    with Store(location) as store:
        store._kinds = Kinds(most=4)
        for _ in range(2):
            store.record((), made)
        assert list(store.findings()) == made
        with store.begin() as connection:
            whole = connection.execute(select(findings.c.minute).where(findings.c.kind.is_(None)))
            assert sorted(whole.scalars()) == ["4", "5"]
            assert connection.execute(select(func.count()).select_from(kinds)).scalar_one() == 4


@pytest.mark.parametrize("most", [0, 100], ids=["kept whole", "by kind"])
def test_minutes_that_were_muted_in_part_are_counted_by_their_rule(location: Path | str, most: int) -> None:
    part = replace(FINDING, rule=MUTED_PART)
    missing = replace(FINDING, verdict=Verdict.MISSING, mute=MuteSummary(50, 10, 0, ()), source=None)
    rows = [FINDING, replace(part, minute="2"), replace(part, minute="3"), replace(missing, minute="4")]
    with Store(location) as store:
        store._kinds = Kinds(most=most)
        store.record((), [*rows, replace(part, minute="5", ends_at=LONG_AGO), replace(part, client=CANARY)])
        with store.begin() as connection:
            assert History(connection).muted_parts(at(-60), at(60)) == (2, 50)
            assert History(connection).muted_parts(at(60), at(90)) == (0, 0)


@pytest.mark.parametrize("name", HOSTILE)
def test_minutes_of_older_stores_are_counted_by_their_rule_whatever_stands_in_them(
    location: Path | str, name: str
) -> None:
    forged = f'{name}"rule":"{MUTED_PART}"'
    part = replace(FINDING, rule=MUTED_PART, client=name, reason=name)
    with Store(location) as store:
        store._kinds = Kinds(most=0)
        store.record((), [part, replace(FINDING, client=forged, reason=forged, minute=forged)])
        with store.begin() as connection:
            assert History(connection).muted_parts(at(-60), at(60)) == (1, 0)


def test_a_look_is_of_one_moment_whoever_writes_meanwhile(location: Path | str) -> None:
    with Store(location) as store, Store(location) as writer:
        store.record((), [FINDING])
        with store.look() as connection:
            assert store.verdicts() == {"flagged": 1}
            writer.record((), [replace(FINDING, minute="2")])
            writer.record_input("late", {}, None)
            assert (store.verdicts(), list(store.findings()), store.inputs()) == ({"flagged": 1}, [FINDING], [])
            assert [one.number for one in History(connection).hours(at(-60), at(60))] == [1]
        assert store.verdicts() == {"flagged": 2}


def test_a_report_is_of_one_moment_whoever_writes_meanwhile(location: Path | str) -> None:
    with Store(location) as writer:
        writer.record((), [FINDING])
        with open_history(location) as history:
            assert history.undated() == {}
            writer.record((), [replace(FINDING, minute="2")])
            assert [one.number for one in history.hours(at(-60), at(60))] == [1]


def test_the_minutes_around_a_span_are_the_nearest_outside(location: Path | str) -> None:
    ends = [at(0), at(10), at(20)]
    with Store(location) as store:
        store.record((), [replace(FINDING, minute=f"{end}", ends_at=end) for end in ends])
        store.record((), [replace(FINDING, minute="undated", starts_at=None, ends_at=None)])
        with store.begin() as connection:
            history = History(connection)
            assert history.around(at(10), at(20)) == (at(0), at(20))
            assert history.around(at(0), at(21)) == (None, None)
            assert history.around(at(30), at(40)) == (at(20), None)


@pytest.mark.parametrize("most", [0, 1, 100], ids=["kept whole", "some by kind", "by kind"])
@pytest.mark.parametrize("reasons", [("plain", "too"), HOSTILE], ids=["plain", "hostile"])
def test_columns_have_whatever_stands_in_a_reason(location: Path | str, most: int, reasons: tuple[str, ...]) -> None:
    made = [replace(with_value(number), rules_version=number % 2, reason=one) for number, one in enumerate(reasons)]
    with Store(location) as store:
        store._kinds = Kinds(most=most)
        store.record((), made)
        with store.begin() as connection:
            found = History(connection).columns(FINDING.client, at(-60), at(60))
    told = [(found.kinds[number].rules_version, *one) for number, *one in zip(found.kind, *found.rest[:2], strict=True)]
    assert sorted(told) == sorted((one.rules_version, one.reason, microseconds(one.starts_at)) for one in made)


def test_kinds_are_written_again_to_whoever_connects_again(location: Path | str) -> None:
    """As to a database that was restored from before they came."""
    with Store(location) as store:
        store.record((), [FINDING])
        with store.begin() as connection:
            connection.execute(delete(kinds))
        store._engine.dispose()
        store.record((), [FINDING])
        assert list(store.findings()) == [FINDING]


def test_kinds_that_were_not_committed_are_written_with_the_next(location: Path | str) -> None:
    def fail(*_arguments: object) -> None:
        raise KeyboardInterrupt

    with Store(location) as store:
        store.before_findings = fail
        with pytest.raises(KeyboardInterrupt):
            store.record((), [FINDING])
        store.before_findings = lambda *_arguments: None
        store.record((), [FINDING])
        assert list(store.findings()) == [FINDING]


def test_many_rows_at_once_are_what_they_are_one_by_one(location: Path | str) -> None:
    made = [named(f"{HOSTILE[number % len(HOSTILE)]}{number}", number) for number in range(250)]
    with Store(location) as store:
        store.record([facts for facts, _ in made], [one for _, one in made])
        store.record([facts for facts, _ in made], [one for _, one in made])
        assert {one.key: one for one in store.findings()} == {one.key: one for _, one in made}
        kept = {one.source.body_sha256: one for one in store.facts_since(LONG_AGO, 10_000)}
        assert [kept[f"{number:064}"] for number in range(250)] == [facts for facts, _ in made]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql+psycopg://me:hunter2@127.0.0.1:1/x", "not a store that can be used"),
        ("postgresql://me:hunter2@127.0.0.1:1/x", "not a store that can be used"),
        ("postgresql+psycopg://me:hunter2@127.0.0.1:port/x", "write postgresql"),
        ("mysql://me:hunter2@127.0.0.1/x", "write postgresql"),
        ("postgresql+psycopg://me@127.0.0.1:1/x?password=hunter2", "not a store that can be used"),
        ("://me:hunter2@", "write postgresql"),
    ],
)
def test_what_is_wrong_with_a_url_is_one_line_without_its_password(url: str, told: str) -> None:
    with pytest.raises(OperatorError, match=told) as caught:
        Store(url)
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_without_psycopg_the_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(OperatorError, match=r"pip install 'mutewatch\[pg\]'"):
        Store("postgresql+psycopg://me@/x")


def test_the_url_of_a_file_is_that_file(tmp_path: Path) -> None:
    with Store(f"sqlite:///{tmp_path}/s.db") as store:
        store.record([FACTS], [FINDING])
    with Store(tmp_path / "s.db") as store:
        assert store.verdicts() == {"flagged": 1}


@pytest.fixture
def recorder(postgresql: PostgreSQL, tmp_path: Path) -> Recorder:
    """A recorder whose store is in PostgreSQL."""
    options = PipelineOptions(activity=False, assume_muted=True)
    return Recorder(build_pipeline(open_state(tmp_path / "state"), options), Store(postgresql.new_place(), 0.5))


def asked(number: int) -> Exchange:
    return replace(tsa_exchange(number), status=None)


def test_while_postgresql_is_down_all_is_kept_and_then_recorded_once(
    recorder: Recorder, postgresql: PostgreSQL
) -> None:
    recorder.record([asked(1)])
    held = [asked(2), asked(3)]
    postgresql.stop()
    try:
        for _attempt in range(2):
            with pytest.raises(DBAPIError):
                recorder.record(held)
            with pytest.raises(DBAPIError):
                recorder.tidy(at(3))
    finally:
        postgresql.start()
    recorder.record(())
    recorder.record(held)
    recorder.record([asked(4)])
    with Store(recorder.store.location) as other:
        assert (len(list(other.facts_since(LONG_AGO, 100))), other.verdicts()) == (4, {"flagged": 4})
    assert (recorder.pipeline.counts.exchanges, recorder.pipeline.counts.unstorable) == (4, 0)
    recorder.close()


def test_a_right_that_is_missing_is_the_databases_fault_not_the_messages(
    recorder: Recorder, postgresql: PostgreSQL
) -> None:
    user = database._url(recorder.store.location).username
    postgresql.query(f"ALTER TABLE {user}.findings OWNER TO tests")
    with pytest.raises(DBAPIError):
        recorder.record([asked(1)])
    postgresql.query(f"ALTER TABLE {user}.findings OWNER TO {user}")
    recorder.record(())
    assert recorder.store.verdicts() == {"flagged": 1}
    assert recorder.pipeline.counts.unstorable == 0
    recorder.close()


def test_a_row_that_postgresql_refuses_costs_only_itself(recorder: Recorder) -> None:
    too_long = "".join(chr(0x4E00 + 7919 * number % 20_000) for number in range(5000))  # for an index
    recorder._findings = [replace(FINDING, client=too_long), FINDING]
    recorder.record(())
    assert recorder.store.verdicts() == {"flagged": 1}
    assert recorder.pipeline.counts.unstorable == 1
    recorder.close()


def test_a_reader_without_the_right_to_write_may_look(postgresql: PostgreSQL) -> None:
    url = postgresql.new_place()
    owner = database._url(url).username
    with Store(url) as store:
        store.record([FACTS], [FINDING])
    postgresql.query(
        f"CREATE ROLE looks_at_{owner} LOGIN; ALTER ROLE looks_at_{owner} SET search_path = {owner};"
        f"GRANT USAGE ON SCHEMA {owner} TO looks_at_{owner};"
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {owner} TO looks_at_{owner}"
    )
    with Store(postgresql.url(f"looks_at_{owner}")) as store:
        assert store.verdicts() == {"flagged": 1}
        with pytest.raises(DBAPIError):
            store.record([FACTS], [FINDING])


def test_two_that_make_the_same_store_at_once_make_one(postgresql: PostgreSQL) -> None:
    from concurrent.futures import ThreadPoolExecutor

    url = postgresql.new_place()
    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(Store, [url] * 4))
    for store in stores:
        store.record([FACTS], [FINDING])
        assert store.verdicts() == {"flagged": 1}
        store.close()


def test_the_engine_quotes_no_values_in_its_errors(location: Path | str) -> None:
    with Store(location) as store:
        engine: Engine = store._engine
        assert engine.hide_parameters
