"""The page of what is covered says all of it: the ten apps, every signature, and what nobody can see."""

import re
from pathlib import Path

import pytest

from mutewatch.commands.signatures import list_signatures, show
from mutewatch.errors import OperatorError
from mutewatch.signatures import FOLDER, Signature, known_signatures, load_signature, load_signatures
from mutewatch.signatures.coverage import coverage_page, known_apps
from mutewatch.signatures.described import WIDTH, describe

ROOT = Path(__file__).parents[1]
PAGE = coverage_page(load_signatures())
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("|")]
OF_THE_PAPER = [
    *("Zoom", "Slack", "Microsoft Teams, Skype", "Cisco Webex", "Google Meet", "BlueJeans", "Whereby", "GoToMeeting"),
    *("Jitsi Meet", "Discord"),
]


def test_the_committed_page_is_current() -> None:
    """Made by `mutewatch signatures coverage > docs/coverage.md`."""
    assert (ROOT / "docs" / "coverage.md").read_text(encoding="utf-8") == PAGE


def test_the_ten_apps_of_the_paper_are_there_in_its_order() -> None:
    assert [app.name for app in known_apps()] == OF_THE_PAPER
    assert re.findall(r"(?m)^### (.*)$", PAGE) == OF_THE_PAPER
    assert {name for name in OF_THE_PAPER if any(row[0].startswith(name) for row in ROWS)} == set(OF_THE_PAPER)


def test_every_signature_has_its_row_and_every_row_its_columns() -> None:
    head, _, *rows = ROWS
    assert head == [
        *("app", "signature", "audio values", "mute state", "doors", "source", "confidence", "last checked"),
    ]
    assert {len(row) for row in rows} == {len(head)}
    assert {row[1].strip("`") for row in rows} - {"none"} == {signature.id for signature in load_signatures()}


@pytest.mark.parametrize("app", ["Zoom", "Google Meet", "BlueJeans", "GoToMeeting", "Discord"])
def test_what_no_signature_reads_is_said_in_the_table(app: str) -> None:
    """No format of these apps' levels is known; see apps.toml."""
    assert any("not covered" in row[2] for row in ROWS if row[0] == app)


def test_what_no_proxy_can_see_is_said_plainly() -> None:
    assert any("not visible to a proxy" in row[3] for row in ROWS if row[0] == "Google Meet")
    sections = dict(re.findall(r"(?ms)^### (.*?)\n(.*?)(?=^##)", PAGE))
    assert "**Not visible to a proxy.**" in sections["Google Meet"]
    assert "data channel" in sections["Google Meet"]
    assert "as_type=2" in sections["Zoom"]
    for name, text in sections.items():
        assert "**Shown all the same.**" in text, name


def test_every_source_that_is_cited_is_listed() -> None:
    listed = {int(number) for number in re.findall(r"(?m)^(\d+)\. ", PAGE.partition("## Sources")[2])}
    in_table = {int(number) for row in ROWS[2:] for number in row[5].split(", ") if number != "none"}
    in_text = {int(number) for number in re.findall(r"Source (\d+),", PAGE)}
    assert in_table | in_text == listed == set(range(1, len(listed) + 1))


def test_an_own_signature_has_its_row_and_cannot_break_the_table(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    text = (FOLDER / "webex_locus.toml").read_text(encoding="utf-8")
    own.write_text(text.replace('id = "webex.locus"', 'id = "example.own"').replace('"Webex"', '"A | B"', 1))
    page = coverage_page([*load_signatures(), load_signature(own)])
    assert "| A &#124; B | `example.own` |" in page


@pytest.mark.parametrize("signature", load_signatures(), ids=lambda one: one.id)
def test_a_signature_is_shown_whole_within_80_columns(signature: Signature) -> None:
    lines = list(describe(signature, "bundled"))
    assert [line for line in lines if len(line) > WIDTH and " " in line.strip()] == []
    text = " ".join(" ".join(lines).split())
    told = [*signature.source, *signature.hosts, *signature.redact.identifiers, signature.confidence]
    told += [fixture.name for fixture in signature.fixtures]
    groups = [group for message in signature.messages if message.audio for group in message.audio.groups]
    told += [f"- {group.prefix}{name}: " for group in groups for name in group.fields]
    assert [one for one in told if " ".join(one.split()) not in text] == []


def test_the_list_points_to_the_page_and_names_own_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.toml").write_text('extends = "webex.tsa.v1"\nid = "example.tsa"\nhosts = ["tsa.example.org"]\n')
    list_signatures(tmp_path)
    told = capsys.readouterr().out
    assert "docs/coverage.md" in told
    assert "mine.toml" in told
    assert f"Your own are in {tmp_path}." in told
    lines = told.partition("Your own")[0].splitlines()
    assert [line for line in lines if len(line) > WIDTH] == []
    hosts = {host for signature in known_signatures(tmp_path) for host in signature.hosts}
    assert hosts <= set(told.replace(",", " ").split())  # whole, to be copied
    show("example.tsa", tmp_path)
    assert str(tmp_path / "mine.toml") in capsys.readouterr().out


def test_a_signature_that_is_not_there_is_said_with_those_that_are() -> None:
    with pytest.raises(OperatorError, match=r"no signature 'webex'; there are .*webex\.locus"):
        show("webex", None)
