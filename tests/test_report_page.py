"""The report in a real browser: what it counts, how it is worked, and that no name from the wire ever runs.

Golden images of the strips are written anew with `MUTEWATCH_GOLDEN=write python -m pytest tests/test_report_page.py`.
"""

import base64
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import insert

from mutewatch.commands.scan import ScanOptions, scan
from mutewatch.compose import PipelineOptions
from mutewatch.history import History
from mutewatch.identity import Names
from mutewatch.records import Finding, Origin, SignatureRef, Verdict
from mutewatch.report.build import ReportOptions, static_report
from mutewatch.report.payload import Role
from mutewatch.sinks.record import wireshark_filter
from mutewatch.store import Store
from mutewatch.tables import inputs
from mutewatch.uninspected import Passed, left_out
from tests.report_browser import Watched, browser, watched
from tests.report_scene import DAY, day_of, end_of, finding, guess_of, name_of, sampled, write_store

pytestmark = pytest.mark.browser

SAMPLE = Path(__file__).parents[1] / "mutewatch/sample/meeting.pcapng"
GOLDEN = Path(__file__).parent / "golden"
CLIENTS = 20
MINUTES = 240
LOUD = 24  # of 255: how far a colour of a golden image may be off, for other versions of the browser
FINDINGS: list[Finding] = [
    *(one for number in range(CLIENTS) for one in day_of(name_of(number), number, minutes=MINUTES)),
    finding("a quiet client", 600, Verdict.UNMUTED, day=DAY + timedelta(days=1)),
]


def page_of(store: Path, output: Path, options: ReportOptions | None = None, names: Names | None = None) -> Path:
    with Store(store) as opened, opened.begin() as connection:
        output.write_text(static_report(History(connection), options or ReportOptions(), names))
    return output


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="module")
def meeting(folder: Path) -> Path:
    """The sample meeting, scanned and shown."""
    store = folder / "meeting.db"
    scan([SAMPLE], ScanOptions(folder / "state", store=store), PipelineOptions(show_clients=True))
    return page_of(store, folder / "meeting.html")


@pytest.fixture(scope="module")
def many(folder: Path) -> Path:
    """Twenty clients of four hours, and one of the next."""
    return page_of(write_store(folder / "many.db", FINDINGS), folder / "many.html")


@pytest.fixture
def it(chromium: Any) -> Iterator[Watched]:
    """A watched page; whatever a test does, nothing may be amiss and nothing asked of anybody."""
    with watched(chromium) as page:
        yield page
        assert page.faults == []
        assert {url.partition(":")[0] for url in page.requests} <= {"file", "blob"}
        assert len([url for url in page.requests if url.startswith("file")]) == 1


def chosen(it: Watched) -> str:
    return str(it.page.locator("#evidence-title").inner_text())


def view(it: Watched) -> str:
    """What the strip of verdicts shows, to see that a zoom changed it."""
    return str(it.page.evaluate("document.getElementById('strip-verdict').toDataURL()"))


# What it says


def test_a_newcomer_reads_which_minutes_how_bad_and_what_now(it: Watched, meeting: Path) -> None:
    it.open(meeting)
    lead = it.page.locator("#lead").inner_text()
    assert lead.startswith("16 of 19 minutes: audio-derived data left while the client was muted.")
    assert "First 09:00, last until 09:20 UTC on 2 March 2026. 1 client, Webex." in lead
    advice = it.page.locator("#advice").inner_text()
    for word in ("Mute in hardware", "Update the client", "Stop it at the gateway", "works council", "Wireshark"):
        assert word in advice
    for word in ("This client reports no version", "docs/mitigation.md", "docs/inputs.md", "docs/gateway.md"):
        assert word in advice
    for line in ("12 for the whole minute, 4 for a part of it.", "not the sound itself."):
        assert line in lead
    unseen = it.page.locator("#unseen").inner_text()
    assert "19 of 20 minutes that clients counted were seen (95\u00a0%)" in unseen
    assert "Missing: 1 minute (the client was muted for 50 s of it)" in unseen
    assert "16 flagged" in it.page.locator("#legend").inner_text()
    assert "16 flagged minutes of 1 client (of 1 seen) on 1 day." in it.page.locator("#month-lead").inner_text()
    assert "not reported" in it.page.locator("#month-apps").inner_text()


def test_the_counts_of_the_page_are_the_stores(it: Watched, many: Path) -> None:
    it.open(many)
    counted = Counter(one.verdict.value for one in FINDINGS)
    assert it.texts("#legend li > :nth-child(2)") == [f"{counted[v]:,} {v}" for v in Verdict if counted[v]]
    flagged = Counter(one.client for one in FINDINGS if one.verdict is Verdict.FLAGGED)
    rows = dict(zip(it.texts(".client .name"), it.texts(".client .number"), strict=True))
    seen = Counter(one.client for one in FINDINGS if one.verdict is not Verdict.MISSING)
    assert rows == {name: f"▲ {flagged[name]} of {seen[name]} minutes" for name in map(name_of, range(CLIENTS))}
    assert it.texts("#lead strong") == [f"{flagged.total():,} of {seen.total():,} minutes"]
    assert it.texts("#minutes caption small") == [f"1 to 50 of {max(flagged.values())}"]
    month = it.texts("#month-clients tbody tr")
    assert len(month) == CLIENTS
    assert month[0].split()[1] == str(max(flagged.values()))


@pytest.mark.parametrize(
    ("verdict", "lead", "row", "advice"),
    [
        (Verdict.MISSING, "Nothing was judged.", "none seen", "Close the gaps"),
        (Verdict.UNMUTED, "None of 1 judged minute was flagged.", "0 of 1 minute", "Nothing to do for these minutes."),
        (None, "Nothing was judged.", None, "Look whether anything is seen"),
    ],
)
def test_what_was_not_seen_is_never_nothing_to_do(
    it: Watched, folder: Path, verdict: Verdict | None, lead: str, row: str | None, advice: str
) -> None:
    store = write_store(folder / f"{verdict}.db", [finding("a", 1, verdict or Verdict.UNMUTED)])
    since = DAY if verdict else DAY + timedelta(days=40)
    options = ReportOptions(since=since, until=since + timedelta(days=1))
    it.open(page_of(store, folder / f"{verdict}.html", options))
    assert it.page.locator("#lead").inner_text().startswith(lead)
    assert it.texts(".client .number") == ([row] if row else [])
    assert advice in it.page.locator("#advice").inner_text()
    assert ("Nothing to do" in it.page.locator("#advice").inner_text()) is (verdict is Verdict.UNMUTED)


def test_a_store_without_flags_does_not_say_clean(it: Watched, folder: Path) -> None:
    store = write_store(
        folder / "unknown.db", [finding("a", 1, Verdict.MUTE_UNKNOWN), finding("a", 2, Verdict.MISSING)]
    )
    it.open(page_of(store, folder / "unknown.html"))
    lead = it.page.locator("#lead").inner_text()
    assert lead.startswith("In 1 minute audio-derived data left. Whether the client was muted is not known.")
    assert "Not clean" in lead
    assert it.texts(".client .number") == ["0 of 1 minute"]
    assert "Mute state unknown: 1 minute. Not clean." in it.page.locator("#unseen").inner_text()
    assert "Say who was muted" in it.page.locator("#advice").inner_text()


def test_only_what_is_in_sight_is_drawn_and_the_rest_when_it_comes_into_sight(it: Watched, many: Path) -> None:
    it.open(many)
    drawn = "[...document.querySelectorAll('.client')].filter(row => row.isDrawn).length"
    assert it.page.evaluate(drawn) < CLIENTS
    it.page.locator(".client").last.scroll_into_view_if_needed()
    it.expect("li:last-child .client").to_have_js_property("isDrawn", True)


def test_what_the_operator_left_out_is_said_and_is_no_gap_to_close(it: Watched, folder: Path) -> None:
    store = write_store(
        folder / "without.db", [finding(name_of(1), n) for n in range(12)], left_out(["zoom.rwg"], end_of(2))
    )
    it.open(page_of(store, folder / "without.html", ReportOptions(role=Role.VIEWER), Names(b"k")))
    told = it.page.locator("#unseen").inner_text()
    assert "Left out by the operator, so not looked for: zoom.rwg (2 March 2026 00:02 to 00:02)." in told
    assert "Not inspected: none known." in told
    assert "Close the gaps" not in it.page.locator("#advice").inner_text()


def test_what_was_not_inspected_stands_in_words_and_beside_the_client(it: Watched, folder: Path) -> None:
    passed = [Passed(end_of(2), end_of(9), "client-0123456789ab", "tsa*.webex.com", "QUIC", 2)]
    store = write_store(folder / "closed.db", [finding(name_of(1), n) for n in range(12)], passed)
    it.open(page_of(store, folder / "closed.html"))
    assert (
        "Not inspected: 2 to tsa*.webex.com, QUIC (2 March 2026 00:02 to 00:09)."
        in it.page.locator("#unseen").inner_text()
    )
    assert it.page.locator("#strip-closed").get_attribute("aria-label") == "Not inspected: 00:02 to 00:09, QUIC"


def test_sample_data_is_said_to_be_that_on_screen_and_on_paper(it: Watched, meeting: Path) -> None:
    it.open(meeting)
    for media in ("screen", "print"):
        it.page.emulate_media(media=media)
        assert it.page.locator("#sample").inner_text() == "Sample data: a synthetic meeting. Nobody is in it."
        assert it.page.locator("#sample").is_visible()


def test_other_data_is_not_called_a_sample(it: Watched, many: Path) -> None:
    it.open(many)
    assert not it.page.locator("#sample").is_visible()


def test_readings_within_a_minute_are_a_band_and_the_legend_says_of_what(it: Watched, folder: Path) -> None:
    levels = [(0.1, 0.2, 0.4), (0.1, 0.3, 0.4), (0.05, 0.2, 0.4)]
    store = write_store(
        folder / "samples.db", [sampled("a", n, *told, verdict=Verdict.UNMUTED) for n, told in enumerate(levels)]
    )
    it.open(page_of(store, folder / "samples.html"))
    assert it.texts("#series option") == ["audioLevel"]
    legend = it.page.locator("#unit").inner_text()
    assert legend.startswith("Level of the microphone when it was asked, linear, 0 to 1. The band goes from the lowest")
    assert "of the readings while muted" in legend
    shown = it.page.locator("#chart").get_attribute("aria-label")
    assert shown == "audioLevel, of 3 minutes: from 0.05 to 0.4, means from 0.2 to 0.3"
    assert it.texts("#evidence thead th") == ["Value", "Max", "Mean", "Min", "Floor"]
    assert it.texts("#evidence tbody tr") == ["audioLevel\t0.4\t0.2\t0.1\t0"]
    assert it.texts("#minutes tbody td:nth-child(4)") == [
        "0.4 / 0.2 / 0.1 audioLevel",
        "0.4 / 0.3 / 0.1 audioLevel",
        "0.4 / 0.2 / 0.05 audioLevel",
    ]
    assert it.page.evaluate(BAND_SHARE) > 0.1


# The share of the chart that has the colour of a band, which is the only one that shines through so far.
BAND_SHARE = """() => {
  const canvas = document.querySelector("#chart canvas");
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let found = 0;
  for (let i = 0; i < data.length; i += 4) if (data[i + 3] > 60 && data[i + 3] < 85 && data[i + 2] > 200) found += 1;
  return found / (data.length / 4);
}"""


def test_apps_that_count_no_minutes_are_not_said_to_miss_none(it: Watched, folder: Path) -> None:
    store = write_store(folder / "uncounted.db", [sampled("a", 1, 0.1, 0.2, 0.4)])
    it.open(page_of(store, folder / "uncounted.html"))
    unseen = it.page.locator("#unseen").inner_text()
    assert "Jitsi Meet: 1 minute seen that the client does not count: whether any is missing cannot be known." in unseen
    assert "Missing: none" not in unseen


def test_an_app_that_counts_some_minutes_is_not_said_to_count_none(it: Watched, folder: Path) -> None:
    statistics = SignatureRef("webex.rtcmetrics.v2", 1, "Webex", "code")
    rows = [replace(sampled("a", 1, 0.1, 0.2, 0.4), signature=statistics), finding("b", 1)]
    it.open(page_of(write_store(folder / "both.db", rows), folder / "both.html"))
    unseen = it.page.locator("#unseen").inner_text()
    assert "1 of 1 minute that clients counted were seen" in unseen
    assert "Webex: 1 minute seen that the client does not count" in unseen


def test_clients_of_several_apps_say_of_which(it: Watched, meeting: Path, folder: Path) -> None:
    store = write_store(folder / "apps.db", [sampled("a", 1, 0.1, 0.2, 0.4), finding("b", 1)])
    it.open(page_of(store, folder / "apps.html"))
    assert sorted(it.texts(".client .app")) == ["Jitsi Meet", "Webex"]
    assert it.page.locator(".client .app").first.is_visible()
    assert "the model knows Webex's gains only" in it.page.locator("#day-words").inner_text()
    it.page.locator("#with-app").select_option("Webex")
    assert it.texts(".client .name") == ["b"]


def test_of_which_days_it_tells_and_whether_that_is_all_stands_on_top(it: Watched, many: Path, folder: Path) -> None:
    part = page_of(folder / "many.db", folder / "part.html", ReportOptions(until=DAY + timedelta(days=1)))
    it.open(part)
    told = it.page.locator("#span").inner_text()
    assert told.startswith(
        "2 March 2026, 20 clients: a part of the store, which has minutes of 2 March 2026 to 3 March"
    )
    assert it.page.locator("#day-after").is_disabled()


def test_what_is_left_out_for_its_size_is_said_where_clients_are_listed(it: Watched, folder: Path) -> None:
    store = write_store(folder / "left.db", [finding("a", 1), finding("a", 2), finding("b", 1)])
    with Store(store) as opened, opened.begin() as connection:
        (folder / "left.html").write_text(static_report(History(connection), ReportOptions(), None, 2))
    it.open(folder / "left.html")
    assert (
        "Of 1 days of clients (1 minutes) only hours and counts are in" in it.page.locator("#what-client").inner_text()
    )


def test_a_short_meeting_is_no_speck_of_a_day(it: Watched, meeting: Path) -> None:
    it.open(meeting)
    assert it.texts("#hours span") == ["09:00", "09:15", "09:30", "09:45", "10:00"]


@pytest.mark.parametrize("strip", ["verdict", "mute", "guess", "missing", "closed"])
def test_each_strip_says_its_numbers_in_words(it: Watched, meeting: Path, strip: str) -> None:
    it.open(meeting)
    it.page.locator("#in-words summary").click()
    words = str(it.page.locator(f"#strip-{strip}").get_attribute("aria-label"))
    assert words == WORDS[strip]
    assert f"{words}." in it.texts("#in-words li")


WORDS = {
    "verdict": "Verdicts: 16 flagged, 09:00 to 09:09, 09:10 to 09:11, 09:14 to 09:20; "
    "3 unmuted, 09:09 to 09:10, 09:12 to 09:14; 1 missing, 09:11 to 09:12",
    "mute": "Minutes muted: wholly 12, in part 5, not at all 3; not known for all of 1; "
    "09:00 to 09:09, 09:10 to 09:12, 09:14 to 09:20",
    "guess": "Guesses of what was heard: (warming up) 09:00 to 09:02, cleaning? 91–93 % 09:02 to 09:08, "  # noqa: RUF001
    "(unfamiliar) 09:08 to 09:09, (unfamiliar) 09:10 to 09:11, (unfamiliar) 09:14 to 09:20",
    "missing": "Not seen: 1 missing, 09:11 to 09:12",
    "closed": "Not inspected: nothing known",
}


def test_the_chart_says_the_range_of_what_it_draws(it: Watched, meeting: Path) -> None:
    it.open(meeting)
    chart = it.page.locator("#chart")
    assert chart.get_attribute("aria-label") == "gain, dB, of 19 minutes: from 12 to 49, means from 21 to 36"
    it.page.locator("#series").select_option("speechLength, s")
    assert str(chart.get_attribute("aria-label")).startswith("speechLength, s, of 1 minute: from 1 to 1")


def test_nothing_drawn_is_without_its_numbers_for_who_hears_the_page(it: Watched, many: Path) -> None:
    it.open(many)
    tree = it.page.locator("main").aria_snapshot()
    drawn = [line.strip() for line in tree.splitlines() if re.match(r"\s*- '?img", line)]
    assert len(drawn) > CLIENTS
    assert [line for line in drawn if not re.search(r"\d|none|nothing known", line)] == []


def test_a_guess_is_called_one_wherever_it_stands(it: Watched, meeting: Path) -> None:
    it.open(meeting)
    assert "Guess (what was heard)" in it.texts("#minutes thead th")
    it.page.locator("#minutes tbody button").nth(3).click()
    told = it.page.locator("#minutes tr[aria-current]").inner_text()
    assert "cleaning? 9" in told
    assert "cleaning? 9" in it.page.locator("#evidence").inner_text()
    assert "cleaning?" in str(it.page.locator("#strip-guess").get_attribute("aria-label"))


# How it is worked


def test_a_click_on_a_minute_opens_its_evidence(it: Watched, meeting: Path) -> None:
    it.open(meeting)
    strip = it.page.locator("#strip-verdict")
    box = strip.bounding_box()
    strip.click(position={"x": box["width"] * 0.5, "y": 10})
    assert chosen(it) == "09:10:00 to 09:11:00 UTC: ▲ flagged"
    facts = it.page.locator("#evidence").inner_text()
    for word in ("MW-MUTED-PART", "client-reported, server", "meeting.pcapng", "151", "audioMaxGain", "45 dB"):
        assert word in facts
    assert "169a38f6f9426f540b14c674937ca7baeba0f317ddee126e74c8dafa91f304fd" in facts
    assert "09:10:00 to 09:11:00: flagged" in it.page.locator("#heard").inner_text()


def test_a_click_on_the_chart_opens_the_same_minute(it: Watched, meeting: Path) -> None:
    it.open(meeting)
    over = it.page.locator("#chart .u-over")
    over.click(position={"x": over.bounding_box()["width"] * 0.5, "y": 60})
    assert chosen(it) == "09:10:00 to 09:11:00 UTC: ▲ flagged"


def test_keys_move_from_minute_to_minute_and_enter_opens_the_evidence(it: Watched, meeting: Path) -> None:
    it.open(meeting)
    it.page.locator("#cursor").focus()
    told = []
    for key in ("Home", "ArrowRight", "End", "ArrowLeft", "Shift+ArrowLeft", "Home"):
        it.page.keyboard.press(key)
        told.append(chosen(it)[:5])
    assert told == ["09:00", "09:01", "09:19", "09:18", "09:17", "09:00"]
    for _ in range(10):
        it.page.keyboard.press("Shift+ArrowRight")
    assert chosen(it) == "09:14:00 to 09:15:00 UTC: ▲ flagged"  # past what was unmuted or missing
    cursor = it.page.get_by_role("slider", name="Minute")
    assert str(cursor.get_attribute("aria-valuetext")).startswith(
        "09:14:00 to 09:15:00: flagged. audio-derived data of"
    )
    assert (cursor.get_attribute("aria-valuenow"), cursor.get_attribute("aria-valuemax")) == ("15", "20")
    it.page.keyboard.press("Enter")
    assert it.page.evaluate("document.activeElement.id") == "evidence"


def drag(it: Watched, selector: str) -> None:
    box = it.page.locator(selector).bounding_box()
    y = box["y"] + box["height"] / 2
    it.page.mouse.move(box["x"] + box["width"] * 0.4, y)
    it.page.mouse.down()
    it.page.mouse.move(box["x"] + box["width"] * 0.5, y, steps=3)
    it.page.mouse.move(box["x"] + box["width"] * 0.6, y, steps=3)
    it.page.mouse.up()


ZOOMS: dict[str, Callable[[Watched], None]] = {
    "drag on a strip": lambda it: drag(it, "#strip-verdict"),
    "drag on the chart": lambda it: drag(it, "#chart .u-over"),
    "key": lambda it: (it.page.locator("#cursor").focus(), it.page.keyboard.press("+"))[1],
    "button": lambda it: it.page.locator("#zoom-in").click(),
}


@pytest.mark.parametrize("zoom", ZOOMS)
def test_a_zoom_is_undone_by_its_reset(it: Watched, meeting: Path, zoom: str) -> None:
    it.open(meeting)
    it.page.locator("#timeline").scroll_into_view_if_needed()
    before = view(it)
    ZOOMS[zoom](it)
    assert view(it) != before
    it.page.locator("#cursor").focus()
    it.page.keyboard.press("0")
    assert view(it) == before
    it.page.locator("#zoom-day").click()
    assert view(it) != before
    it.page.locator("#zoom-fit").click()
    assert view(it) == before


def test_clients_are_filtered_by_text_verdict_and_app(it: Watched, many: Path) -> None:
    it.open(many)
    it.page.locator("#find").fill(name_of(7)[:14])
    assert it.texts(".client .name") == [name_of(7)]
    assert it.page.locator("#shown").inner_text() == f"1 of {CLIENTS} clients"
    it.page.locator("#find").fill("webex")
    assert len(it.texts(".client")) == CLIENTS
    it.page.locator("#with-verdict").select_option("undecoded")
    assert it.texts(".client") == []
    it.page.locator("#with-verdict").select_option("inert")
    it.page.locator("#with-app").select_option("Webex")
    inert = {one.client for one in FINDINGS if one.verdict is Verdict.INERT}
    assert set(it.texts(".client .name")) == inert
    assert 0 < len(inert) < CLIENTS


@pytest.mark.parametrize("way", ["mouse", "keyboard"])
def test_another_client_is_opened(it: Watched, many: Path, way: str) -> None:
    it.open(many)
    names = it.texts(".client .name")
    if way == "mouse":
        it.page.locator(".client").nth(3).click()
    else:
        it.page.locator(".client").first.focus()
        for key in ("End", "Home", "ArrowDown", "ArrowDown", "ArrowDown", "Enter"):
            it.page.keyboard.press(key)
    it.expect("#day-title").to_be_focused()
    assert it.page.locator("#day-title").inner_text() == f"{names[3]}, 2 March 2026"
    assert it.page.locator(".client[aria-current]").inner_text().startswith(names[3])


def test_days_with_data_are_stepped_through_or_chosen(it: Watched, many: Path) -> None:
    it.open(many)
    assert it.page.locator("#day-before").is_disabled()
    it.page.locator("#day-after").click()
    assert it.texts(".client .name") == ["a quiet client"]
    assert it.page.locator("#day-choice").input_value() == "2026-03-03"
    assert it.page.locator("#minutes caption").inner_text() == "Minutes 1 to 1 of 1"
    it.page.locator("#day-choice").fill("2026-03-02")
    assert len(it.texts(".client")) == CLIENTS
    it.page.locator("#day-choice").fill("2026-03-09")
    assert it.page.locator("#day-words").inner_text() == "Nothing on 9 March 2026."
    assert not it.page.locator("#zoom").is_visible()
    it.page.get_by_role("button", name="Go to 3 March 2026").click()
    assert it.texts(".client .name") == ["a quiet client"]


def test_the_table_pages_through_all_minutes_and_says_where_it_is(it: Watched, many: Path) -> None:
    it.open(many)
    it.page.locator("#table-verdict").select_option("")
    seen = []
    while True:
        seen += it.texts("#minutes tbody td:first-child")
        if it.page.locator("#page-after").is_disabled():
            break
        it.page.locator("#page-after").click()
    assert it.page.locator("#minutes caption").inner_text() == f"Minutes 201 to {MINUTES} of {MINUTES}"
    assert len(set(seen)) == MINUTES
    it.page.locator("#minutes tbody button").last.click()
    assert chosen(it).startswith("03:58:40 to 03:59:40")


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("Copy the hash", "543b6dd9ba72da705dbe98b236fbdfc0e01e7521f95dd189bbb6da0bdecd47e5"),
        ("Copy the Wireshark filter", wireshark_filter(Origin("pcap", frame=54))),
        ("Copy the command that prints the values", f"mutewatch show {SAMPLE} --frame 54"),
    ],
)
def test_evidence_is_copied(it: Watched, meeting: Path, label: str, text: str) -> None:
    it.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    it.open(meeting)
    button = it.page.get_by_label(label)
    button.click()
    it.expect(f'[aria-label="{label}"]').to_have_text("Copied")
    assert it.page.evaluate("navigator.clipboard.readText()") == text


def test_the_theme_is_toggled(it: Watched, meeting: Path) -> None:
    it.open(meeting)
    assert it.page.evaluate("document.documentElement.dataset.theme") == "light"
    it.page.locator("#theme").click()
    assert it.page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert it.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 22, 28)"


def test_the_count_of_flagged_minutes_leads_to_the_first(it: Watched, many: Path) -> None:
    it.open(many)
    it.page.locator("#day-after").click()
    it.page.locator("#legend button").click()
    it.expect("#day-title").to_be_focused()
    assert it.page.locator("#day-choice").input_value() == "2026-03-02"
    assert chosen(it).endswith("flagged")


def test_flagged_minutes_end_where_their_buttons_do(it: Watched, meeting: Path) -> None:
    it.open(meeting)
    before, after = (it.page.get_by_role("button", name=name) for name in ("Flagged before", "Flagged after"))
    assert (before.is_disabled(), after.is_disabled()) == (True, False)
    it.page.locator("#cursor").press("End")
    assert (before.is_disabled(), after.is_disabled()) == (False, True)


def test_a_zoom_keeps_the_chosen_minute_in_sight(it: Watched, meeting: Path) -> None:
    it.open(meeting)
    it.page.locator("#cursor").press("End")
    for _ in range(4):
        it.page.locator("#zoom-in").click()
    over = it.page.locator("#chart .u-over").bounding_box()
    it.page.mouse.click(over["x"] + over["width"] / 2, over["y"] + 60)
    assert chosen(it).startswith("09:19:00")


def test_a_filter_that_nobody_matches_says_so_and_is_cleared(it: Watched, many: Path) -> None:
    it.open(many)
    it.page.locator("#find").fill("nobody of this name")
    assert it.texts("#client-list li") == ["No client matches. Clear the filter"]
    assert not it.page.locator("#day").is_visible()
    it.page.get_by_role("button", name="Clear the filter").click()
    assert len(it.texts(".client")) == CLIENTS
    assert it.page.locator("#day").is_visible()


# For whom, and from whom


def test_a_viewers_page_works_without_what_it_may_not_show(it: Watched, folder: Path) -> None:
    store = write_store(folder / "viewer.db", [finding("Ada Lovelace", n) for n in range(5)])
    names = Names(b"k" * 32)
    it.open(page_of(store, folder / "viewer.html", ReportOptions(role=Role.VIEWER), names))
    assert it.texts(".client .name") == [names.pseudonym("Ada Lovelace")]
    assert "Evidence is for analysts." in it.page.locator("#evidence").inner_text()
    assert not it.page.locator("#strip-mute").is_visible()
    assert not it.page.locator("#chart").is_visible()
    assert it.texts("#minutes thead th") == ["From (UTC)", "Verdict"]
    assert "Ada" not in it.page.content()


def test_naughty_strings_are_shown_as_they_are_and_run_nowhere(it: Watched, shared: Path, folder: Path) -> None:
    strings = json.loads((shared / "corpora/naughty-strings.json").read_text(encoding="utf-8"))
    assert len(strings) == 515
    told = [text.encode("utf-8", "replace").decode() or "empty" for text in strings]
    findings = [replace(finding(text, n), minute=str(n)) for n, text in enumerate(told)]
    for n, text in enumerate(told):
        guess = guess_of(text, 0.9, end_of(n))
        findings.append(finding("everything", n, call=text, file=text, reason=text, guess=guess))
    passed = [Passed(end_of(n), end_of(n + 1), text, text, text) for n, text in enumerate(told)]
    store = write_store(folder / "naughty.db", findings, passed)
    rows = [{"name": f"{text}{n}", "counts": {"matched": 1}, "error": text} for n, text in enumerate(told)]
    with Store(store) as opened, opened.begin() as connection:
        connection.execute(insert(inputs), rows)
    it.open(page_of(store, folder / "naughty.html"))
    shown = it.page.evaluate("[...document.querySelectorAll('.client .name')].map(name => name.textContent)")
    assert set(shown) == {"everything", *told}
    assert shown[0] == "everything"  # it has most flagged minutes, and is open
    walked = it.page.evaluate(WALK)
    assert len(walked) == len(told)
    assert [text for text, names in zip(told, walked, strict=True) if names.count(text) < 2] == []  # call and file
    for n in range(0, len(shown), 40):
        it.page.locator(".client").nth(n).click()
        it.expect("#day-title").to_be_focused()
        assert it.page.locator("#day-title").text_content() == f"{shown[n]}, 2 March 2026"
    unseen = it.page.locator("#unseen").text_content()
    assert [text for text in told if text not in unseen] == []
    assert it.page.evaluate("document.querySelectorAll('main img, main script, main iframe, main a[href]').length") == 0
    assert it.page.evaluate("typeof window.__pwned") == "undefined"


# Opens the evidence of each minute, from the first to the last, and tells the names from the wire in it.
WALK = """() => {
  const press = (key) => document.getElementById("cursor").dispatchEvent(new KeyboardEvent("keydown", { key }));
  const told = [];
  press("Home");
  for (let before = null; ; press("ArrowRight")) {
    const evidence = document.getElementById("evidence").textContent;
    if (evidence === before) return told;
    told.push([...document.querySelectorAll("#evidence dd bdi")].map((name) => name.textContent));
    before = evidence;
  }
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_that_keeps_people_out(chromium: Any, meeting: Path, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed (extra 'test')")
    with watched(chromium, color_scheme=scheme) as it:
        it.open(meeting)
        for summary in it.page.locator("details summary").all():
            summary.click()
        found = axe.Axe().run(it.page).response
    assert found["passes"]
    grave = [
        (one["id"], [node["target"] for node in one["nodes"]])
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]
    assert grave == []


def test_it_prints_whole_light_and_unpaged(chromium: Any, many: Path, tmp_path: Path) -> None:
    with watched(chromium, color_scheme="dark") as it:
        it.open(many)
        it.page.pdf(path=str(tmp_path / "a.pdf"), format="A4")
        assert (tmp_path / "a.pdf").read_bytes()[:5] == b"%PDF-"
        assert it.page.evaluate("document.documentElement.dataset.theme") == "dark"  # as it was before
        it.page.emulate_media(media="print")
        it.expect("html").to_have_attribute("data-theme", "light")
        rows = it.page.locator("#minutes tbody tr").count()
        assert it.texts("#minutes caption small") == [f"1 to {rows} of {rows}"]
        assert rows > 50
        assert it.page.evaluate("[...document.querySelectorAll('.client')].every(row => row.isDrawn)")
        assert it.faults == []


def test_on_paper_the_chart_stands_under_the_strips_as_wide_as_they_are(chromium: Any, meeting: Path) -> None:
    with watched(chromium, viewport={"width": 1600, "height": 800}) as it:
        it.open(meeting)
        it.page.emulate_media(media="print")
        it.expect("html").to_have_attribute("data-printing", "")
        strip, chart = (it.page.locator(one).bounding_box() for one in ("#strip-verdict", "#chart .u-over"))
        assert abs(strip["x"] - chart["x"]) < 2
        assert abs(strip["width"] - chart["width"]) < 2
        assert strip["x"] + strip["width"] <= 210 / 25.4 * 96
        it.page.emulate_media(media="screen")
        it.expect("html").not_to_have_attribute("data-printing", "")
        assert it.page.locator("#strip-verdict").bounding_box()["width"] > strip["width"]


def test_paper_is_white_even_where_nothing_tells_the_page_that_it_is_printed(chromium: Any, meeting: Path) -> None:
    with watched(chromium, color_scheme="dark") as it:
        it.open(meeting)
        it.page.emulate_media(media="print")
        it.page.evaluate("document.documentElement.dataset.theme = 'dark'")
        for where, colour in (("body", "rgb(27, 36, 48)"), ("#evidence dt", "rgb(86, 97, 110)")):
            assert it.page.evaluate(f"getComputedStyle(document.querySelector('{where}')).color") == colour
        assert it.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


@pytest.mark.parametrize("kept", ["#glance", "#evidence", "#trend", "#minutes tbody tr", "#client-list li"])
def test_on_paper_a_page_ends_neither_within_a_day_nor_behind_a_heading(it: Watched, meeting: Path, kept: str) -> None:
    it.open(meeting)
    it.page.emulate_media(media="print")
    assert it.page.evaluate(f"getComputedStyle(document.querySelector('{kept}')).breakInside") == "avoid"
    headings = "[...document.querySelectorAll('h2, h3, caption')].map(one => getComputedStyle(one).breakAfter)"
    assert set(it.page.evaluate(headings)) == {"avoid"}


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("a b's.pcapng", """mutewatch show 'a b'"'"'s.pcapng' --frame 56"""),
        ("$(reboot).pcapng", "mutewatch show '$(reboot).pcapng' --frame 56"),
        ("-x.pcapng", "mutewatch show ./-x.pcapng --frame 56"),
        ("a\nreboot\n.pcapng", None),
    ],
)
def test_a_command_is_safe_to_paste(it: Watched, tmp_path: Path, file: str, told: str | None) -> None:
    store = write_store(tmp_path / "a.db", [finding(name_of(1), 1, file=file)])
    it.open(page_of(store, tmp_path / "a.html"))
    shown = [text for text in it.texts("#evidence code") if text.startswith("mutewatch")]
    assert shown == ([told] if told else [])


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_window(chromium: Any, meeting: Path, width: int) -> None:
    with watched(chromium, viewport={"width": width, "height": 800}) as it:
        it.open(meeting)
        for summary in it.page.locator("details summary").all():
            summary.click()
        assert it.page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("strip", ["strip-verdict", "strip-mute", "strip-missing", "totals"])
def test_the_strips_look_as_they_did(it: Watched, meeting: Path, strip: str) -> None:
    it.open(meeting)
    url = it.page.evaluate(f"document.getElementById('{strip}').toDataURL()")
    golden = GOLDEN / f"report-{strip}.png"
    if os.environ.get("MUTEWATCH_GOLDEN") == "write":
        golden.parent.mkdir(exist_ok=True)
        golden.write_bytes(base64.b64decode(url.partition(",")[2]))
    kept = f"data:image/png;base64,{base64.b64encode(golden.read_bytes()).decode()}"
    it.page.goto("about:blank")
    assert it.page.evaluate(DIFFERENCE, [kept, url]) <= LOUD


DIFFERENCE = """async (urls) => {
  const pixels = await Promise.all(urls.map(async (url) => {
    const image = new Image();
    image.src = url;
    await image.decode();
    const canvas = new OffscreenCanvas(image.width, image.height);
    const pen = canvas.getContext("2d");
    pen.drawImage(image, 0, 0);
    return pen.getImageData(0, 0, image.width, image.height).data;
  }));
  const [a, b] = pixels;
  if (a.length !== b.length) return 255;
  return a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i])), 0);
}"""
