"""The page as a file: one piece, nothing in it that could run but what we wrote, and all that was asked for."""

import base64
import hashlib
import json
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mutewatch.history import History
from mutewatch.identity import Names
from mutewatch.report.build import ReportOptions, static_report
from mutewatch.report.html import UPLOT, as_block, live_page, script, style
from mutewatch.report.payload import Role
from mutewatch.store import Store
from tests.report_scene import DAY, finding, name_of, write_store

ROOT = Path(__file__).parents[1]


def made(path: Path, options: ReportOptions | None = None, most_minutes: int = 1000, names: Names | None = None) -> str:
    with Store(path) as store, store.begin() as connection:
        return static_report(History(connection), options or ReportOptions(), names, most_minutes)


def block(page: str, name: str) -> Any:
    found = re.search(rf'<script type="application/json" id="data-{name}">(.*?)</script>', page)
    return found and json.loads(found[1])


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return write_store(tmp_path / "a.db", [finding(name_of(c), n) for c in range(3) for n in range(5 + c)])


def run(*arguments: object, state: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": str(ROOT), "MUTEWATCH_STATE": str(state), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-m", "mutewatch.cli", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=state.parent)


def test_the_vendored_library_is_the_one_that_its_readme_names() -> None:
    told = dict(re.findall(r"`(\S+)` \| `([0-9a-f]{64})`", (UPLOT / "README.md").read_text(encoding="utf-8")))
    assert set(told) == {path.name for path in UPLOT.iterdir()} - {"README.md"}
    assert {name: hashlib.sha256((UPLOT / name).read_bytes()).hexdigest() for name in told} == told


def test_the_policy_lets_nothing_run_but_the_scripts_of_the_page(store: Path) -> None:
    page = made(store)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy[1].replace("&#39;", "'").split(";"))
    ran = re.findall(r"<script>(.*?)</script>", page, re.DOTALL) + re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in ran]
    assert rules["default-src"] == "'none'"
    assert rules["script-src"].split() == hashes[:2]
    assert rules["style-src"].split() == hashes[2:]


def test_the_page_has_no_handler_and_no_address_in_its_markup(store: Path) -> None:
    markup = re.sub(r"<(script|style)\b.*?</\1>", "", made(store), flags=re.DOTALL)
    assert re.findall(r"\son\w+=|javascript:|https?:|\bsrc=|<link|<img", markup) == []
    assert re.findall(r"innerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", script()) == []
    assert re.findall(r"url\(|@import|</style", style()) == []
    assert "</script" not in script()


def test_the_served_page_asks_for_its_script_and_style_by_address() -> None:
    page = live_page("/page.js", "/page.css")
    assert '<script src="/page.js" defer></script>' in page
    assert '<link rel="stylesheet" href="/page.css">' in page
    assert "application/json" not in page
    assert "<style" not in page


@pytest.mark.parametrize(
    "text", ["</script><script>alert(1)</script>", "<!--<script>", "\u2028\u2029", "\ud800", "é\0"]
)
def test_nothing_in_the_data_ends_its_block(text: str) -> None:
    block = as_block({"name": text})
    assert "<" not in block
    assert block.isascii()
    assert json.loads(block) == {"name": text}


def test_what_has_no_room_is_left_out_and_named(store: Path) -> None:
    page = made(store, most_minutes=12)
    assert block(page, f"minutes-0-{round(DAY.timestamp()) // 86400}")["count"] == 7
    assert len(re.findall(r'id="data-minutes-', page)) == 2
    assert block(page, "about")["left_out"].startswith("Of 1 days of clients (6 minutes)")
    assert block(page, "overview")["totals"] == {"flagged": 18}


def test_a_span_cuts_minutes_and_counts_alike(store: Path) -> None:
    page = made(store, ReportOptions(since=DAY + timedelta(minutes=2), until=DAY + timedelta(hours=1)))
    assert block(page, f"minutes-0-{round(DAY.timestamp()) // 86400}")["count"] == 5
    assert block(page, "overview")["totals"] == {"flagged": 18 - 3 * 2}


def test_a_viewers_file_holds_no_name_value_evidence_or_guess(tmp_path: Path) -> None:
    secret = finding("Ada Lovelace", 1, call="secret-call", file="secret.pcapng", reason="secret reason")
    path = write_store(tmp_path / "a.db", [secret])
    page = made(path, ReportOptions(role=Role.VIEWER), names=Names(b"k" * 32))
    assert secret.source is not None
    data = "".join(re.findall(r'<script type="application/json".*?</script>', page))
    for word in (
        "Ada",
        "secret",
        "audioMaxGain",
        "MW-",
        secret.source.body_sha256,
        "meeting.pcapng",
        "mean-gain",
        "dB",
    ):
        assert word not in data
    assert "Ada Lovelace" not in page
    assert block(page, "overview")["clients"][0]["name"] == Names(b"k" * 32).pseudonym("Ada Lovelace")


@pytest.mark.parametrize("arguments", [["-o", "a.html"], ["--format", "html", "-o", "a.page"]])
def test_the_command_writes_a_private_file_and_names_it(store: Path, tmp_path: Path, arguments: list[str]) -> None:
    done = run("report", "--store", store, *arguments, state=tmp_path / "state")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{arguments[-1]}\n", "")
    written = tmp_path / arguments[-1]
    assert written.stat().st_mode & 0o777 == 0o600
    assert block(written.read_text(), "overview")["totals"] == {"flagged": 18}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--format", "html"], "a page goes to a file"),
        (["--month", "2026-03"], "are for pages"),
        (["-o", "a.html", "--month", "March"], "write it as 2026-03"),
        (["-o", "a.html", "--since", "yesterday"], "write 2026-03-02"),
        (
            ["-o", "a.html", "--since", "2026-04-01"],
            "the store's newest minute is of 2 March 2026, nothing since 1 April 2026",
        ),
        (
            ["-o", "a.html", "--since", "2026-04-01", "--until", "2026-03-03"],
            "nothing is both since 2026-04-01 and before 2026-03-03",
        ),
        (["-o", "a.html", "--month", "2026-03", "--since", "2026-03-02"], "leave out --since"),
    ],
)
def test_a_mistake_is_told_in_one_line(store: Path, tmp_path: Path, arguments: list[str], told: str) -> None:
    done = run("report", "--store", store, *arguments, state=tmp_path / "state")
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "a.html").exists()


def test_a_viewers_file_is_made_by_the_command_with_the_key_of_the_state(store: Path, tmp_path: Path) -> None:
    done = run("report", "--store", store, "-o", "v.html", "--role", "viewer", state=tmp_path / "state")
    assert done.returncode == 0
    page = (tmp_path / "v.html").read_text()
    assert "a.db" not in page
    assert block(page, "overview")["role"] == "viewer"


def test_the_demo_ends_with_the_answer_its_report_and_the_next_step_and_leaves_nothing_else(tmp_path: Path) -> None:
    done = run("demo", state=tmp_path / "state")
    report = tmp_path / "mutewatch-demo" / "report.html"
    assert done.returncode == 0
    assert done.stdout.splitlines()[-4:] == [
        "FLAGGED: in 16 minutes audio-derived data left while the client was muted.",
        "Which minutes, how bad, what now: open this page in a browser.",
        report.as_uri(),
        "Your own: mutewatch scan FILE --store my.db",
    ]
    assert block(report.read_text(), "overview")["totals"] == {"flagged": 16, "unmuted": 3, "missing": 1}
    assert block(report.read_text(), "overview")["is_sample"] is True
    assert block(report.read_text(), "overview")["muted"] == {"whole": 12, "part": 4, "missing": 50}
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["mutewatch-demo", "report.html"]
