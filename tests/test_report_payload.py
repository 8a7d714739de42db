"""What the page shows is what the store holds; and a viewer gets no more than verdicts under pseudonyms."""

import json
from collections import Counter
from collections.abc import Collection, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from mutewatch.history import History, Uninspected
from mutewatch.identity import Names
from mutewatch.records import AudioValue, Verdict
from mutewatch.report.columns import packed
from mutewatch.report.payload import Role, client_minutes, overview, summary
from mutewatch.store import Store
from tests.report_scene import DAY, day_of, end_of, finding, guess_of, name_of, sampled, write_store

NEXT = DAY + timedelta(days=1)
NAMES = Names(b"k" * 32)
CLOSED = Uninspected("client-0123456789ab", "tsa*.webex.com", "QUIC", end_of(3), end_of(9), 2, "meeting.pcapng")


class Closed(History):
    """A history with one thing that was not inspected."""

    def uninspected(self, since: object, until: object, addresses: Collection[str] | None = None) -> list[Uninspected]:
        return [CLOSED] if addresses is None or CLOSED.address in addresses else []


FINDINGS = [
    *day_of(name_of(1), 1, minutes=600),
    replace(finding("Ada Lovelace", 5, call="secret-call"), client_version="44.6.0"),
    finding("Ada Lovelace", 6, Verdict.MISSING),
    finding("Ada Lovelace", 7, guess=guess_of("cooking", 0.8, end_of(7))),
    replace(finding("nobody", 8, Verdict.UNDECODED), starts_at=None, ends_at=None),
]


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    path = write_store(tmp_path_factory.mktemp("store") / "a.db", FINDINGS)
    with Store(path) as store, store.begin() as connection:
        yield Closed(connection)


def unpacked(column: Any, length: int) -> list[Any]:
    """As data.js does it."""
    if column is None:
        return [None] * length
    if isinstance(column, list):
        return column
    runs = column["runs"]
    return [entry for i in range(0, len(runs), 2) for entry in [runs[i]] * runs[i + 1]]


@pytest.mark.parametrize("entries", [[1], [1, 1, 1, 2], [1, 2, 3], [None, 1, 1, 1, 1], [0, 0, 0], ["a", "a", None]])
def test_a_column_unpacks_to_what_went_in(entries: list[Any]) -> None:
    assert unpacked(packed(entries), len(entries)) == entries


def test_a_column_of_nothing_is_left_out() -> None:
    assert packed([None, None]) is None
    assert packed([]) is None


def test_the_counts_of_the_overview_are_the_stores(history: History) -> None:
    told = overview(history, DAY, NEXT, Role.ANALYST)
    counted = Counter(one.verdict.value for one in FINDINGS if one.ends_at)
    assert told["totals"] == counted
    by_hour: Counter[str] = Counter()
    for client in told["clients"]:
        for verdict, number in zip(client["hours"][1::3], client["hours"][2::3], strict=True):
            by_hour[told["verdicts"][verdict]] += number
    assert by_hour == counted
    assert [client["name"] for client in told["clients"]] == [name_of(1), "Ada Lovelace"]
    assert told["undated"] == {"undecoded": 1}
    assert told["coverage"]["counted"] - told["coverage"]["seen"] == counted["missing"]


def test_flagged_minutes_begin_and_end_where_the_overview_says(history: History) -> None:
    flagged = [one for one in FINDINGS if one.verdict is Verdict.FLAGGED and one.starts_at and one.ends_at]
    told = overview(history, DAY, NEXT, Role.ANALYST)["flagged"]
    first = min(one.starts_at.timestamp() for one in flagged if one.starts_at)
    last = max(one.ends_at.timestamp() for one in flagged if one.ends_at)
    assert told == {"first": first, "last": last}
    assert overview(history, NEXT, NEXT + timedelta(days=1), Role.ANALYST)["flagged"] is None


def test_the_columns_hold_every_minute_as_the_store_does(history: History) -> None:
    wanted = sorted((one for one in FINDINGS if one.client == name_of(1)), key=lambda one: str(one.ends_at))
    told = client_minutes(history, name_of(1), DAY, NEXT, Role.ANALYST)
    n = told["count"]
    ends, at = [], 0
    for step in unpacked(told["end_step"], n):
        at += step
        ends.append(at)
    assert ends == [round(one.ends_at.timestamp()) for one in wanted if one.ends_at]
    assert [list(Verdict)[k] for k in unpacked(told["verdict"], n)] == [one.verdict for one in wanted]
    assert unpacked(told["muted"], n) == [one.mute and one.mute.muted_seconds for one in wanted]
    for value in told["values"]:
        assert unpacked(value["at"], n) == [
            next((v.value for v in one.values if v.name == value["name"]), None) for one in wanted
        ]
    evidence, texts = told["evidence"], told["texts"]
    assert [texts[k] for k in unpacked(evidence["rule"], n)] == [one.rule for one in wanted]
    frames = [one.source.origin.frame if one.source else None for one in wanted]
    assert unpacked(evidence["frame"], n) == frames
    labels = [k if k is None else texts[told["guesses"][k][0]] for k in unpacked(told["guess"], n)]
    assert labels == [one.guess.label if one.guess else None for one in wanted]


def test_the_readings_of_a_minute_of_samples_are_told_as_max_mean_and_min_of_one_field(tmp_path: Path) -> None:
    made_up = AudioValue("peak.max", 3, "1")  # of a maker that names a value so: nothing says that it is a summary
    found = sampled("a", 1, 0.1, 0.2, 0.4)
    path = write_store(tmp_path / "a.db", [replace(found, values=(*found.values, made_up)), finding("a", 2)])
    with Store(path) as store, store.begin() as connection:
        told = client_minutes(History(connection), "a", DAY, NEXT, Role.ANALYST)["values"]
    assert [(one["name"], one.get("field"), one.get("statistic")) for one in told] == [
        ("audioLevel.max", "audioLevel", "max"),
        ("audioLevel.mean", "audioLevel", "mean"),
        ("audioLevel.min", "audioLevel", "min"),
        ("peak.max", None, None),
        *((f"audio{what}Gain", None, None) for what in ("Max", "Mean", "Min")),
    ]
    assert told[0]["meaning"].startswith("level of the microphone")
    assert "meaning" not in told[3]


def test_minutes_that_nobody_counts_are_not_called_seen_to_the_last(tmp_path: Path) -> None:
    found = [sampled("a", 1, 0.1, 0.2, 0.4), finding("b", 1), finding("b", 2, Verdict.MISSING)]
    path = write_store(tmp_path / "a.db", found)
    with Store(path) as store, store.begin() as connection:
        told = overview(History(connection), DAY, NEXT, Role.ANALYST)["coverage"]
    assert told == {"counted": 2, "seen": 1, "judged": 2, "uncounted": {"Jitsi Meet": 1}}


def test_the_overview_says_what_more_the_store_has(tmp_path: Path) -> None:
    days = [DAY - timedelta(days=3), DAY, NEXT]
    path = write_store(tmp_path / "a.db", [finding("a", 1, day=day) for day in days])
    ends = [int(end_of(1, day).timestamp()) for day in days]
    with Store(path) as store, store.begin() as connection:
        told = overview(History(connection), DAY, NEXT, Role.VIEWER, names=NAMES)["store"]
        none = overview(History(connection), days[0], NEXT + timedelta(days=1), Role.ANALYST)["store"]
    assert told == {"first": ends[0], "last": ends[2], "before": ends[0], "after": ends[2]}
    assert none == {"first": ends[0], "last": ends[2], "before": None, "after": None}


def test_flagged_minutes_are_whole_or_in_part_and_a_viewer_is_not_told_which(history: History) -> None:
    told = overview(history, DAY, NEXT, Role.ANALYST)
    assert told["muted"] == {"whole": told["totals"]["flagged"], "part": 0, "missing": 0}
    assert "muted" not in overview(history, DAY, NEXT, Role.VIEWER, names=NAMES)


def test_minutes_that_accuse_carry_the_hash_of_their_message(history: History) -> None:
    told = client_minutes(history, name_of(1), DAY, NEXT, Role.ANALYST)
    hashes, verdicts = unpacked(told["evidence"]["sha256"], told["count"]), unpacked(told["verdict"], told["count"])
    with_hash = {list(Verdict)[v] for v, sha in zip(verdicts, hashes, strict=True) if sha}
    assert with_hash == {Verdict.FLAGGED, Verdict.MUTE_UNKNOWN}


def test_what_was_not_inspected_is_told_in_all_and_beside_the_client_whose_address_it_was(history: History) -> None:
    told = overview(history, DAY, NEXT, Role.VIEWER, names=NAMES)["uninspected"]
    first, last = round(end_of(3).timestamp()), round(end_of(9).timestamp())
    assert told == [{"reason": "QUIC", "host": "tsa*.webex.com", "number": 2, "first": first, "last": last}]
    assert client_minutes(history, name_of(1), DAY, NEXT, Role.ANALYST)["uninspected"] == [[first, last, "QUIC"]]


def test_without_guesses_there_are_none(history: History) -> None:
    told = client_minutes(history, "Ada Lovelace", DAY, NEXT, Role.ANALYST, guesses=False)
    assert "cooking" not in json.dumps(told)
    assert "cooking" in json.dumps(client_minutes(history, "Ada Lovelace", DAY, NEXT, Role.ANALYST))
    assert overview(history, DAY, NEXT, Role.ANALYST, guesses=False)["guesses"] is False


def test_a_viewer_sees_verdicts_under_pseudonyms_and_nothing_else(history: History) -> None:
    ada = NAMES.pseudonym("Ada Lovelace")
    told = [
        overview(history, DAY, NEXT, Role.VIEWER, names=NAMES),
        client_minutes(history, ada, DAY, NEXT, Role.VIEWER, names=NAMES),
        summary(history, DAY.date(), Role.VIEWER, names=NAMES),
    ]
    text = json.dumps(told)
    for word in ("Ada", "secret-call", "cooking", "Gain", "pcapng", "MW-", "client-0123456789ab", "audio-derived"):
        assert word not in text
    assert set(told[1]) == {"client", "since", "until", "count", "end_step", "length", "verdict", "uninspected"}
    assert told[1]["count"] == 3
    assert [client["name"] for client in told[0]["clients"]] == [name_of(1), ada]


def test_a_viewer_cannot_ask_for_a_client_by_its_name(history: History) -> None:
    assert client_minutes(history, "Ada Lovelace", DAY, NEXT, Role.VIEWER, names=NAMES)["count"] == 0


def test_a_viewer_without_pseudonyms_is_a_mistake_of_ours(history: History) -> None:
    with pytest.raises(ValueError, match="give `names`"):
        overview(history, DAY, NEXT, Role.VIEWER)


def test_the_month_adds_up(history: History) -> None:
    told = summary(history, date(2026, 3, 20), Role.ANALYST)
    flagged = sum(one.verdict is Verdict.FLAGGED for one in FINDINGS)
    assert told["month"] == "2026-03"
    assert len(told["days"]) == 31
    assert told["days"][1]["minutes"] == told["totals"]
    assert sum(client["flagged"] for client in told["clients"]) == told["totals"]["flagged"] == flagged
    assert {client["days"] for client in told["clients"]} == {1}
    seen = told["coverage"]["seen"]
    webex = {"app": "Webex", "signature": "webex.tsa.v1"}
    assert told["apps"] == [
        webex | {"version": None, "flagged": flagged - 1, "minutes": seen - 1},
        webex | {"version": "44.6.0", "flagged": 1, "minutes": 1},
    ]


def test_who_and_which_app_had_how_many_minutes_add_up_to_those_seen(tmp_path: Path) -> None:
    unread = replace(finding("c", 9, Verdict.UNDECODED), starts_at=None)
    rows = [finding("a", 1), finding("a", 2, Verdict.MISSING), sampled("b", 1, 0.1, 0.2, 0.4), unread]
    path = write_store(tmp_path / "a.db", rows)
    with Store(path) as store, store.begin() as connection:
        told = summary(History(connection), DAY.date(), Role.ANALYST)
    assert [(one["name"], one["minutes"]) for one in told["clients"]] == [("a", 1), ("b", 1)]
    assert [(one["app"], one["minutes"]) for one in told["apps"]] == [("Jitsi Meet", 1), ("Webex", 1)]
    assert told["coverage"]["seen"] + sum(told["coverage"]["uncounted"].values()) == 2


def test_what_expired_in_a_month_is_counted_in_it(tmp_path: Path) -> None:
    from mutewatch.expiry import expire

    old = DAY - timedelta(days=400)
    path = write_store(tmp_path / "a.db", [finding("a", 1, day=old), finding("a", 2, day=old), finding("a", 3)])
    with Store(path) as store, store.begin() as connection:
        expire(connection, DAY, old - timedelta(days=1), 100)
        told = summary(Closed(connection), old.date(), Role.ANALYST)
        assert told["expired"] == {"flagged": 2}
        assert summary(Closed(connection), DAY.date(), Role.ANALYST)["expired"] == {}
