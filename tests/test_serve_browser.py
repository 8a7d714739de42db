"""The served page in a real browser, before a real server and a store that somebody else writes."""

import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from mutewatch.commands.scan import ScanOptions, scan
from mutewatch.compose import PipelineOptions
from mutewatch.history import History
from mutewatch.report.build import ReportOptions, static_report
from mutewatch.report.payload import SAMPLE, Role
from mutewatch.serve.tokens import TokenFile
from mutewatch.store import Store
from tests.facts import START
from tests.report_browser import Watched, watched
from tests.report_browser import browser as chromium
from tests.serve_process import Server, running
from tests.serve_support import SECRETS, finding, record
from tests.test_sinks import naughty

pytestmark = pytest.mark.browser


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    tmp_path.chmod(0o700)
    record(tmp_path / "mutewatch.db", *(finding(number) for number in range(1, 6)))
    with running(tmp_path, "--poll", "0.2") as it:
        yield it


@pytest.fixture(scope="module")
def started() -> Iterator[Any]:
    with chromium() as it:
        yield it


@pytest.fixture
def browser(started: Any) -> Iterator[Watched]:
    with watched(started) as it:
        yield it


@dataclass
class Office:
    """A server that several tests share, with a token for each role, and the file of these."""

    server: Server
    tokens: TokenFile
    by_role: dict[Role, str]

    def enter(self, browser: Watched, token: str) -> None:
        """Log in by the form."""
        browser.page.goto(self.server.url)
        browser.page.fill("#token", token)
        browser.page.get_by_role("button", name="Log in").click()
        browser.page.wait_for_selector("body[data-ready]")


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    state = tmp_path_factory.mktemp("office")
    record(state / "mutewatch.db", *(finding(number) for number in range(1, 6)))
    tokens = TokenFile(state / "serve.tokens")
    by_role = {role: tokens.add(role, role.value, START) for role in Role}
    with running(state, "--poll", "0.2") as server:
        yield Office(server, tokens, by_role)


def flagged(page: Watched, number: int) -> None:
    """Wait until the page says so."""
    page.page.wait_for_selector(f"#legend >> text={number} flagged")


def test_the_link_opens_the_page_which_shows_what_is_recorded_meanwhile(
    server: Server, browser: Watched, tmp_path: Path
) -> None:
    assert server.link
    browser.page.goto(server.link)
    browser.page.wait_for_selector("body[data-ready]")
    assert browser.page.url == f"{server.url}/"
    flagged(browser, 5)
    record(tmp_path / "mutewatch.db", *(finding(number) for number in (6, 7)))
    flagged(browser, 7)
    browser.page.wait_for_selector("#day-words >> text=7 flagged")
    assert browser.faults == []
    assert [url for url in browser.requests if not url.startswith(f"{server.url}/")] == []
    secret = server.link.partition("#")[2]
    assert [url for url in browser.requests if secret in url.partition("#")[0]] == []
    assert secret not in (tmp_path / "audit.log").read_text()


def test_the_page_shows_a_minute_that_is_corrected_while_the_counts_stay(
    server: Server, browser: Watched, tmp_path: Path
) -> None:
    browser.page.goto(server.link)
    browser.page.wait_for_selector("body[data-ready]")
    flagged(browser, 5)
    browser.page.wait_for_selector("#evidence >> text=left while the client was muted")
    record(tmp_path / "mutewatch.db", replace(finding(1), reason="a better reason"))
    browser.page.wait_for_selector("#evidence >> text=a better reason")
    assert browser.faults == []


def test_the_page_says_who_looks_as_what_and_how_fresh_it_is(office: Office, browser: Watched) -> None:
    office.enter(browser, office.by_role[Role.VIEWER])
    assert browser.page.locator("#visitor").inner_text() == "viewer, viewer"
    assert re.fullmatch(r"live, last looked at \d\d:\d\d:\d\d UTC", browser.page.locator("#live").inner_text())
    assert browser.page.locator("#log-out").is_visible()
    assert not browser.page.locator("#enter-hint").is_visible()


def test_who_need_not_log_in_is_not_offered_to_log_out(tmp_path: Path, browser: Watched) -> None:
    tmp_path.chmod(0o700)
    record(tmp_path / "mutewatch.db", finding(1))
    with running(tmp_path, "--no-token") as server:
        browser.page.goto(server.url)
        browser.page.wait_for_selector("body[data-ready]")
        assert browser.page.locator("#visitor").inner_text() in {role.value for role in Role}
        assert not browser.page.locator("#log-out").is_visible()


# All that a page says, but for when it was made.
SAID = ("sample", "span", "lead", "legend", "advice", "unseen", "clients-title", "what-client", "client-list")
SAID_OF_DAY = ("day-title", "day-words", "unit", "strip-hint", "in-words", "evidence", "minutes")
SAID_OF_MONTH = ("month-title", "month-lead", "month-clients", "month-apps", "month-unseen", "meanings")


def test_the_served_page_says_what_the_report_of_the_same_store_says(tmp_path: Path, browser: Watched) -> None:
    tmp_path.chmod(0o700)
    store = tmp_path / "mutewatch.db"
    scan([SAMPLE / "meeting.pcapng"], ScanOptions(tmp_path, store=store), PipelineOptions())

    def said() -> dict[str, str]:
        for summary in browser.page.locator("details summary").all():
            summary.click()
        all_of_it = (*SAID, *SAID_OF_DAY, *SAID_OF_MONTH)
        return {name: browser.page.locator(f"#{name}").inner_text() for name in all_of_it}

    with Store(store) as opened, opened.begin() as connection:
        (tmp_path / "report.html").write_text(static_report(History(connection), ReportOptions(), None))
    browser.open(tmp_path / "report.html")
    reported = said()
    with running(tmp_path) as server:
        assert server.link
        browser.page.goto(server.link)
        browser.page.wait_for_selector("body[data-ready]")
        browser.page.wait_for_selector("#month-apps tbody tr")
        assert said() == reported
    assert "Nobody is in it" in reported["sample"]
    assert "12 for the whole minute, 4 for a part of it." in reported["lead"]
    assert "muted for 50 s of it" in reported["unseen"]
    assert reported["month-title"] == "March 2026"


def test_days_without_data_are_stepped_over_and_lead_back(tmp_path: Path, browser: Watched) -> None:
    tmp_path.chmod(0o700)
    days = {number: START + timedelta(days=number) for number in (-20, 0)}
    record(tmp_path / "mutewatch.db", *(finding(n, minute=str(n), ends_at=at) for n, at in days.items()))
    with running(tmp_path) as server:
        assert server.link
        browser.page.goto(server.link)
        browser.page.wait_for_selector("body[data-ready]")
        title = browser.expect("#clients-title")
        title.to_have_text("Clients, 2 March 2026")
        browser.expect("#span").to_contain_text("a part of the store, which has minutes of 10 February 2026 to 2 March")
        browser.expect("#day-after").to_be_disabled()
        browser.page.locator("#day-before").click()
        title.to_have_text("Clients, 10 February 2026")
        browser.expect("#day-before").to_be_disabled()
        browser.page.locator("#day-choice").fill("2026-02-12")
        browser.expect("#day-words").to_have_text("Nothing on 12 February 2026.")
        browser.page.get_by_role("button", name="Go to 10 February 2026").click()
        title.to_have_text("Clients, 10 February 2026")
        browser.page.locator("#day-after").click()
        title.to_have_text("Clients, 2 March 2026")


def test_more_flagged_minutes_are_told_to_who_cannot_see_them_come(
    server: Server, browser: Watched, tmp_path: Path
) -> None:
    assert server.link
    browser.page.goto(server.link)
    browser.page.wait_for_selector("body[data-ready]")
    record(tmp_path / "mutewatch.db", *(finding(number) for number in (6, 7)))
    browser.expect("#heard").to_have_text("2 flagged minutes more: 7 of 7 minutes.")
    assert browser.page.locator("#heard").get_attribute("aria-live") == "polite"


def test_a_server_that_does_not_answer_is_told_until_it_does(server: Server, browser: Watched) -> None:
    assert server.link
    browser.page.goto(server.link)
    browser.page.wait_for_selector("body[data-ready]")
    browser.page.route("**/api/*", lambda route: route.abort())
    away = "The server does not answer; what is shown may be old."
    browser.expect("#live").to_have_text(away)
    assert browser.page.locator("#heard").inner_text() == away
    browser.page.unroute("**/api/*")
    browser.expect("#live").to_contain_text("last looked at")


def test_evidence_is_there_for_an_analyst(office: Office, browser: Watched) -> None:
    office.enter(browser, office.by_role[Role.ANALYST])
    browser.page.locator("#minutes tbody tr").first.click()
    assert "secret-file.pcap" in browser.page.locator("#evidence-body").inner_text()


def test_a_link_that_was_used_is_told_and_a_token_is_asked_for(server: Server, browser: Watched) -> None:
    assert server.link
    browser.page.goto(server.link)
    browser.page.wait_for_selector("body[data-ready]")
    browser.page.get_by_role("button", name="Log out").click()
    browser.page.wait_for_selector("input#token")
    browser.page.goto(server.link)
    browser.page.wait_for_selector("[role=alert] >> text=was used before")


def test_a_viewers_browser_never_gets_what_is_not_for_viewers(office: Office, browser: Watched) -> None:
    answers: list[str] = []
    browser.page.on("response", lambda answer: answers.append(answer.url + (answer.text() if answer.ok else "")))
    office.enter(browser, office.by_role[Role.VIEWER])
    flagged(browser, 5)
    data = "".join(answer for answer in answers if "/api/" in answer)
    assert "flagged" in data
    assert [secret for secret in SECRETS if secret in data] == []
    assert office.by_role[Role.VIEWER] not in "".join(answers)
    assert browser.faults == []


def test_a_session_that_ends_leads_back_to_the_form(office: Office, browser: Watched) -> None:
    path = office.tokens.path
    office.enter(browser, office.tokens.add(Role.VIEWER, "guest", START))
    path.write_text("".join(line for line in path.read_text().splitlines(True) if "guest" not in line))
    browser.page.wait_for_selector("input#token")


def test_a_page_of_another_origin_reads_nothing_and_frames_nothing(office: Office, browser: Watched) -> None:
    office.enter(browser, office.by_role[Role.ANALYST])
    server = office.server
    with other_site() as other:
        browser.page.goto(other)
        for options in ({}, {"credentials": "include"}, {"credentials": "include", "mode": "no-cors"}):
            read = f"fetch('{server.url}/api/overview', {json.dumps(options)}).then((a) => a.text(), () => 'refused')"
            assert browser.page.evaluate(read) == "refused"
        frame = "url => { const f = document.createElement('iframe'); f.src = url; document.body.append(f); }"
        with browser.page.expect_event("console", lambda said: "frame-ancestors" in said.text):
            browser.page.evaluate(frame, f"{server.url}/")
        post = (
            f"fetch('{server.url}/logout', {{method: 'POST', credentials: 'include', mode: 'no-cors'}}).catch(() => 0)"
        )
        browser.page.evaluate(post)
    browser.page.goto(server.url)
    browser.page.wait_for_selector("body[data-ready]")


def test_names_from_the_wire_run_nothing_in_the_page(tmp_path: Path, shared: Path, browser: Watched) -> None:
    tmp_path.chmod(0o700)
    names = naughty(shared)
    found = [finding(n, client=name, call=name, minute=str(n)) for n, name in enumerate(names, 1)]
    record(tmp_path / "mutewatch.db", *found)
    with running(tmp_path) as server:
        assert server.link
        browser.page.goto(server.link)
        browser.page.wait_for_selector("body[data-ready]")
        flagged(browser, len(names))
        assert browser.faults == []
        assert [url for url in browser.requests if not url.startswith(f"{server.url}/")] == []


class _Other(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>another site</title><body>")

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the test's output is its own."""


class other_site:  # noqa: N801 (used as a function)
    """A site of somebody else, on another port of this machine."""

    def __enter__(self) -> str:
        self._server = HTTPServer(("127.0.0.1", 0), _Other)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_port}/"

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
