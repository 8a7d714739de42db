"""What the served page's data says, what it costs who asks too much, and what is written down about it."""

import csv
import io
import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mutewatch.records import Verdict
from mutewatch.report.payload import Role
from mutewatch.serve.desk import REPEATED_WITHIN, Settings
from mutewatch.sinks.record import finding_record
from tests.facts import START
from tests.serve_support import ANNA, DAY, OWN_FORM, Served, finding, record
from tests.test_sinks import naughty

VIEWER, ANALYST = Role.VIEWER, Role.ANALYST


@pytest.fixture
def served(tmp_path: Path) -> Served:
    record(tmp_path / "mutewatch.db", *(finding(number) for number in (1, 2, 3)))
    return Served(tmp_path)


# The store


def test_what_another_process_records_is_in_the_next_answer(served: Served) -> None:
    client = served.client(VIEWER)
    assert client.get("/api/overview").json()["totals"] == {"flagged": 3}
    record(served.store, finding(4), finding(5, verdict=Verdict.MUTE_UNKNOWN))
    assert client.get("/api/overview").json()["totals"] == {"flagged": 4, "mute-unknown": 1}


def test_an_answer_that_is_known_is_not_sent_again(served: Served) -> None:
    client = served.client(VIEWER)
    first = client.get("/api/overview", params=DAY)
    again = client.get("/api/overview", params=DAY, headers={"If-None-Match": f'"old", {first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    record(served.store, finding(4))
    anew = client.get("/api/overview", params=DAY, headers={"If-None-Match": first.headers["etag"]})
    assert (anew.status_code, anew.json()["totals"]) == (200, {"flagged": 4})


def test_without_a_span_the_week_that_ends_with_the_stores_last_day_is_told(served: Served) -> None:
    record(served.store, finding(1, minute="old", ends_at=START - timedelta(days=7)))
    served.now = datetime(2030, 1, 1, tzinfo=UTC)
    told = served.client(VIEWER).get("/api/overview").json()
    assert (told["since"], told["until"]) == (1771891200, 1772496000)  # 24 February to 2 March, whole
    assert told["totals"] == {"flagged": 3}


def test_a_store_that_is_away_is_told_and_seen_again_when_it_is_back(served: Served) -> None:
    client, aside = served.client(VIEWER), served.store.with_name("aside.db")
    served.store.rename(aside)
    page, data = client.get("/"), client.get("/api/overview")
    assert (page.status_code, data.status_code, data.headers["retry-after"]) == (503, 503, "10")
    assert "<code>mutewatch " in page.text
    assert "`" not in page.text
    assert "There is no store yet" in page.text
    assert "There is no store yet" in data.json()["detail"]
    assert str(served.folder) not in page.text + data.text
    assert not served.store.exists()
    aside.rename(served.store)
    assert client.get("/api/overview").json()["totals"] == {"flagged": 3}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "The store has no tables yet"),
        (b"no database at all, but text of some length" * 100, "cannot be read just now"),
    ],
)
def test_a_file_that_is_no_store_is_told(served: Served, content: bytes, said: str) -> None:
    for path in served.folder.glob("mutewatch.db*"):
        path.unlink()
    served.store.write_bytes(content)
    assert said in served.client(VIEWER).get("/api/overview").json()["detail"]
    assert served.store.read_bytes() == content


def test_a_store_of_another_version_is_told_and_left_as_it_is(served: Served) -> None:
    with sqlite3.connect(served.store) as database:
        database.execute("UPDATE meta SET value = '99' WHERE name = 'schema_version'")
    assert "is of version 99, not" in served.client(VIEWER).get("/api/overview").json()["detail"]


def test_a_locked_store_is_told(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mutewatch.serve.reading.LOCK_SECONDS", 0)
    locking = sqlite3.connect(served.store, isolation_level=None)
    locking.execute("PRAGMA journal_mode=DELETE")
    locking.execute("BEGIN EXCLUSIVE")
    assert "locked" in served.client(VIEWER).get("/api/overview").json()["detail"]
    locking.close()
    assert served.client(VIEWER).get("/api/overview").status_code == 200


# What is asked for


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/api/overview?since=yesterday", "since: write whole seconds since 1970."),
        ("/api/overview?until=-1", "until: write whole seconds since 1970."),
        ("/api/overview?since=99999999999", "since: write whole seconds since 1970."),
        ("/api/overview?since=1772409600&until=1772409600", "since before until"),
        ("/api/overview?since=0&until=1772409600", "at most 31 days"),
        ("/api/overview?since=0", "at most 31 days"),
        ("/export.csv?since=0&until=2678401", "at most 31 days"),
        ("/api/minutes?since=1772409600&until=1772413200", "Whose minutes?"),
        (f"/api/minutes?client={'x' * 1025}", "No client's name has more than"),
        ("/api/summary?month=march", "month: write it as 2026-03."),
        ("/api/summary?month=0000-01", "month: write it as 2026-03."),
        ("/api/summary?month=9999-12", "month: write it as 2026-03."),
    ],
)
def test_what_cannot_be_asked_for_is_told_in_one_line(served: Served, path: str, said: str) -> None:
    answer = served.client(ANALYST).get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert said in answer.json()["detail"]


def test_our_own_fault_is_told_without_what_went_wrong(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a secret of ours")

    monkeypatch.setattr("mutewatch.serve.api.overview", fail)
    answer = served.client(VIEWER).get("/api/overview")
    assert answer.status_code == 500
    assert answer.json()["title"] == "Internal Server Error"
    assert "secret" not in answer.text
    assert "content-security-policy" in answer.headers


# Exports


def test_an_export_holds_every_minute_of_the_span_once(served: Served) -> None:
    days = [finding(1 + 1440 * day, client=name) for day in range(3) for name in (ANNA, "client-000000000000")]
    record(served.store, *days)
    wanted = {"since": DAY["since"], "until": str(int(DAY["since"]) + 3 * 86_400)}
    lines = served.client(ANALYST).get("/export.jsonl", params=wanted | {"evidence": "1"}).text.splitlines()
    expected = [finding_record(one) for one in (*days, finding(2), finding(3))]
    in_order = sorted(expected, key=lambda one: (one["client"] != ANNA, one["ends_at"]))
    assert [json.loads(line) for line in lines] == in_order


def test_an_export_is_a_file_for_spreadsheets(served: Served) -> None:
    answer = served.client(VIEWER).get("/export.csv", params=DAY)
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [(row["verdict"], row["client"], row["values"], row["call"]) for row in rows] == [
        ("flagged", ANNA, "", "")
    ] * 3
    assert answer.headers["content-disposition"] == 'attachment; filename="mutewatch-20260302-20260303.csv"'


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_an_export_for_a_viewer_says_nothing_of_parts_reasons_and_hashes(served: Served, kind: str) -> None:
    unread = f"body-{'b0d1e5' * 3}-0-names audioMaxGain"
    part = finding(4, rule="MW-MUTED-PART")
    record(served.store, part, finding(5, verdict=Verdict.UNDECODED, rule="MW-UNDECODED", minute=unread))
    text = served.client(VIEWER).get(f"/export.{kind}", params=DAY).text
    assert text.count("flagged") == 4
    assert [word for word in ("PART", "MW-", "b0d1e5", "audioMaxGain") if word in text] == []


def test_an_export_of_nobodys_minutes_has_its_header(served: Served) -> None:
    text = served.client(VIEWER).get("/export.csv", params=DAY | {"client": "nobody"}).text
    assert (text.startswith("verdict,"), text.count("\n")) == (True, 1)


def test_names_from_the_wire_break_no_answer_and_no_line(served: Served, shared: Path) -> None:
    names = naughty(shared)
    found = [finding(n % 1400, client=name, call=name, minute=str(n)) for n, name in enumerate(names)]
    record(served.store, *found)
    analyst, viewer = served.client(ANALYST), served.client(VIEWER)
    told = analyst.get("/api/overview", params=DAY).json()["clients"]
    assert {one["name"] for one in told} == {*names, ANNA}
    lines = analyst.get("/export.jsonl", params=DAY | {"evidence": "1"}).text.split("\n")
    assert len(lines) == len(names) + 3 + 1
    assert {json.loads(line)["client"] for line in lines[:-1]} == {*names, ANNA}
    rows = list(
        csv.DictReader(io.StringIO(analyst.get("/export.csv", params=DAY | {"evidence": "1"}).text, newline=""))
    )
    assert len(rows) == len(names) + 3
    assert not any(row["client"].startswith(("=", "+", "-", "@", "\t", "\r")) for row in rows)
    for name in names:
        assert analyst.get("/api/minutes", params=DAY | {"client": name}).json()["count"] >= 1
    shown = json.dumps([one["name"] for one in viewer.get("/api/overview", params=DAY).json()["clients"]])
    assert [name for name in names if len(name) > 3 and name in shown and name not in "client-"] == []
    audited = [json.loads(line) for line in served.audited().splitlines()]
    assert {one["client"].partition("-")[0] for one in audited if one["what"] == "minutes"} == {"client"}


# The audit log


def test_who_looked_at_what_is_written_down(served: Served) -> None:
    viewer, analyst = served.client(VIEWER), served.client(ANALYST)
    served.log_in(served.token(VIEWER)).get("/")
    viewer.get("/api/minutes", params=DAY | {"client": ANNA})
    viewer.get("/export.csv", params=DAY | {"evidence": "1"})
    analyst.get("/export.csv", params=DAY | {"evidence": "1"})
    viewer.post("/login", data={"token": "wrong"}, headers=OWN_FORM)
    lines = [json.loads(line) for line in served.audited().splitlines()]
    assert [(one["who"], one["what"], one["result"]) for one in lines] == [
        ("the-viewer", "login", 200),
        ("the-viewer", "page", 200),
        ("the-viewer", "minutes", 200),
        ("the-viewer", "export csv", 403),
        ("the-analyst", "export csv", 200),
        ("-", "login", 401),
    ]
    assert lines[2] == {
        "at": "2026-03-02T09:00:00+00:00",
        "who": "the-viewer",
        "what": "minutes",
        "role": "viewer",
        "client": ANNA,
        "since": "2026-03-02T08:00:00+00:00",
        "until": "2026-03-03T08:00:00+00:00",
        "result": 200,
        "from": "testclient",
    }


def test_a_page_that_looks_every_few_seconds_is_one_line_in_a_while(served: Served) -> None:
    client = served.client(VIEWER)
    for _ in range(5):
        client.get("/api/overview", params=DAY)
        served.wait(seconds=10)
    assert len(served.audited().splitlines()) == 1
    served.wait(seconds=REPEATED_WITHIN.total_seconds())
    client.get("/api/overview", params=DAY)
    assert len(served.audited().splitlines()) == 2


def test_what_cannot_be_written_down_is_not_shown(served: Served) -> None:
    client = served.client(ANALYST)
    (served.folder / "audit.log").mkdir()
    for path in ("/", "/api/overview", "/api/summary", "/export.csv", f"/api/minutes?client={ANNA}"):
        answer = client.get(path)
        assert answer.status_code == 503
        assert "flagged" not in answer.text


@pytest.mark.parametrize(
    ("told", "written"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("198.51.100.1, 203.0.113.9", "203.0.113.9"),
        ("2001:db8::1", "2001:db8::1"),
        ('"}\n{"who": "x', "testclient"),
        ("", "testclient"),
    ],
)
def test_behind_a_proxy_the_address_is_the_one_that_the_proxy_adds(tmp_path: Path, told: str, written: str) -> None:
    record(tmp_path / "mutewatch.db", finding(1))
    served = Served(tmp_path, Settings(("testserver",), is_secure=True, is_behind_proxy=True))
    served.client(VIEWER, {"X-Forwarded-For": told.replace("\n", " ")}).get("/api/overview")
    line = json.loads(served.audited())
    assert (line["from"], line["proxy"]) == (written, "testclient")


def test_without_a_proxy_nobody_says_where_they_are_from(served: Served) -> None:
    served.client(VIEWER, {"X-Forwarded-For": "203.0.113.9"}).get("/api/overview")
    assert json.loads(served.audited())["from"] == "testclient"
