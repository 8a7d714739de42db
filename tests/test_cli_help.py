"""`--help`: whole at 80 columns, and nothing in it that the documentation does not know."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from mutewatch.cli import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
ONLY_TO_TRAIN = "classifier"  # docs/classifier.md has its commands as they are run


def commands(group: object, *above: str) -> Iterator[tuple[str, ...]]:
    for name, command in getattr(group, "commands", {}).items():
        yield (*above, name)
        yield from commands(command, *above, name)


COMMANDS = [(), *commands(typer.main.get_command(app))]


def options(words: tuple[str, ...]) -> set[str]:
    command: object = typer.main.get_command(app)
    for word in words:
        command = getattr(command, "commands", {})[word]
    found = [option for one in getattr(command, "params", ()) for option in (*one.opts, *one.secondary_opts)]
    return {option for option in found if option.startswith("--")}


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_the_help_is_whole_at_80_columns(words: tuple[str, ...]) -> None:
    told = CliRunner().invoke(app, [*words, "--help"], terminal_width=80).stdout
    lines = told.splitlines()
    assert [line for line in lines if len(line) > 80] == []
    assert [line for line in lines if line.endswith(("…", "...")) and not line.startswith("Usage:")] == []
    assert options(words) <= set(told.replace(",", " ").split())


def test_the_documentation_has_every_option() -> None:
    pages = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    known = {one for words in COMMANDS if words[:1] != (ONLY_TO_TRAIN,) for one in options(words)}
    usual = {"--help", "--version", "--install-completion", "--show-completion"}
    assert [one for one in sorted(known - usual) if one not in pages and f"--no-{one[2:]}" not in pages] == []


def test_an_operators_mistake_is_told_without_a_box() -> None:
    told = CliRunner().invoke(app, ["scan", "--assume", "maybe", "x"]).stderr.splitlines()
    assert told[-1].startswith("Error: Invalid value for '--assume'")
