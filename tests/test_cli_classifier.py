import json
from pathlib import Path

import pytest

from classifier.configuration import configuration
from classifier.results import KEYS
from tests.classifier_minutes import write_csv, write_published
from tests.test_cli_scan import ROOT, Run

SAMPLE = ROOT / "mutewatch/sample/meeting.pcapng"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def findings(tmp_path: Path, state: Path) -> Path:
    """The findings of the bundled sample as JSON lines."""
    run = Run("scan", SAMPLE, "--format", "jsonl", state=state)
    (tmp_path / "findings.jsonl").write_text(run.out)
    return tmp_path / "findings.jsonl"


def guessed_minute(findings: Path, **wanted: object) -> dict[str, object]:
    """Return the first finding whose guess has these fields."""
    records = [json.loads(line) for line in findings.read_text().splitlines()]
    fitting = (r for r in records if r["type"] == "finding" and r["guess"])
    return next(r for r in fitting if wanted.items() <= r["guess"].items())


def test_the_published_folder_becomes_a_csv_and_every_quirk_is_told(tmp_path: Path, state: Path) -> None:
    folder = write_published(tmp_path / "published")
    run = Run("classifier", "import", folder, "-o", tmp_path / "g.csv", state=state)
    assert run.code == 0
    assert run.out.startswith(f"{tmp_path / 'g.csv'}: 77 recordings, 1,162 minutes (dev 686, eval1 357, eval2 119)")
    assert (tmp_path / "g.csv").read_text().count("\n") == 1 + 1162
    kinds = {line.split()[0] for line in run.out.splitlines()[1:]}
    assert kinds == {"spelling", "video", "straddling"}


def test_a_folder_of_something_else_is_one_line(tmp_path: Path, state: Path) -> None:
    run = Run("classifier", "import", tmp_path, "-o", tmp_path / "g.csv", state=state)
    assert (run.code, run.out) == (2, "") and run.err.count("\n") == 1
    assert not (tmp_path / "g.csv").exists()


@pytest.mark.torch
def test_evaluate_writes_json_and_the_card_reads_it(tmp_path: Path, state: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed (extra 'train')")
    Run("classifier", "import", write_published(tmp_path / "p"), "-o", tmp_path / "g.csv", state=state)
    options = ("--data", tmp_path / "g.csv", "--seeds", 2, "--model", "logistic_stats", "--json", tmp_path / "e.json")
    run = Run("classifier", "evaluate", "--protocol", "HA", *options, state=state)
    assert run.code == 0, run.err
    assert "logistic_stats   7 eval1" in run.out and f"all of it: {tmp_path / 'e.json'}" in run.err
    card = Run("classifier", "card", tmp_path / "e.json", "-o", tmp_path / "card.md", state=state)
    assert card.code == 0 and "## Protocol HA" in (tmp_path / "card.md").read_text()


@pytest.mark.torch
def test_a_model_nobody_configured_and_a_csv_without_evaluation_recordings_are_one_line(
    tmp_path: Path, state: Path
) -> None:
    pytest.importorskip("torch", reason="torch is not installed (extra 'train')")
    data = ("classifier", "evaluate", "--data", write_csv(tmp_path / "g.csv"))
    unknown = Run(*data, "--protocol", "folds", "--model", "oracle", state=state)
    assert (unknown.code, unknown.out) == (2, "")
    assert "no model oracle; there are mlp_stats, logistic_stats, paper_cnn" in unknown.err
    development = Run(*data, "--protocol", "HA", "--model", "logistic_stats", state=state)
    assert development.code == 3 and "no recording that protocol HA could score" in development.err


def test_explain_tells_what_drove_a_guess(findings: Path, state: Path) -> None:
    asked = guessed_minute(findings, minutes=7)
    run = Run("classifier", "explain", findings, "--minute", asked["minute"], "--client", asked["client"], state=state)
    assert run.code == 0, run.err
    assert max(map(len, run.out.splitlines())) <= 80
    assert f"model        {configuration().default}_n7@" in run.out
    assert (
        "minute 1 of 7" in run.out
        and "this window without those before it" in run.out
        and "the level of max gain" in run.out
    )


def test_explain_tells_the_reason_where_there_is_no_label(findings: Path, state: Path) -> None:
    asked = guessed_minute(findings, label=None, minutes=7)
    run = Run("classifier", "explain", findings, "--minute", asked["minute"], "--client", asked["client"], state=state)
    assert run.code == 0 and f"told         {asked['guess']['reason']}" in run.out  # type: ignore[index]


def test_a_guess_by_another_model_is_said_to_be_one(findings: Path, tmp_path: Path, state: Path) -> None:
    asked = guessed_minute(findings, minutes=7)
    (tmp_path / "f.jsonl").write_text(findings.read_text().replace(f"{configuration().default}_n7@", "oracle_n7@"))
    run = Run("classifier", "explain", tmp_path / "f.jsonl", "--minute", asked["minute"], state=state)
    assert run.code == 0 and "the finding's guess is by oracle_n7@" in run.err


def test_explain_says_why_there_is_no_window(findings: Path, state: Path) -> None:
    asked = guessed_minute(findings, minutes=1)
    run = Run("classifier", "explain", findings, "--minute", asked["minute"], "--client", asked["client"], state=state)
    assert run.code == 2 and "warming up: 1 of 3 minutes" in run.err
    missing = Run("classifier", "explain", findings, "--minute", "9999", state=state)
    assert missing.code == 2 and "no minute 9999" in missing.err


def broken(findings: Path, **fields: object) -> str:
    return json.dumps(json.loads(findings.read_text().splitlines()[0]) | fields)


def test_findings_that_were_edited_are_one_line(findings: Path, tmp_path: Path, state: Path) -> None:
    edits: tuple[dict[str, object], ...] = (
        {"values": []},
        {"starts_at": "2026-03-02T09:00:00"},
        {"values": {"a": {"value": "x", "unit": ""}}},
    )
    for fields in edits:
        (tmp_path / "f.jsonl").write_text(broken(findings, **fields))
        run = Run("classifier", "explain", tmp_path / "f.jsonl", "--minute", "1", state=state)
        assert run.code == 3 and "line 1: not a finding" in run.err


def test_what_cannot_be_written_is_said_before_training(tmp_path: Path, state: Path) -> None:
    data = ("classifier", "evaluate", "--data", write_csv(tmp_path / "g.csv"), "--protocol", "folds")
    run = Run(*data, "--json", tmp_path / "none" / "e.json", state=state)
    assert run.code == 2 and "cannot write" in run.err
    (tmp_path / "e.json").write_text(json.dumps({key: [] for key in KEYS} | {"format": 1, "protocol": "P"}))
    card = Run("classifier", "card", tmp_path / "e.json", "-o", tmp_path / "card.md", state=state)
    assert card.code == 2 and "not whole evaluations" in card.err and not (tmp_path / "card.md").exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"type": "finding"}', "\x00"])
def test_explain_refuses_what_are_no_findings(tmp_path: Path, state: Path, text: str) -> None:
    (tmp_path / "f.jsonl").write_text(text)
    run = Run("classifier", "explain", tmp_path / "f.jsonl", "--minute", "1", state=state)
    assert run.code == 3 and "line 1: not a finding" in run.err
