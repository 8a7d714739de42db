"""How `--help` looks: plain text, whole at 80 columns. (Typer's boxes cut names of options off there.)"""

from typing import Any

from typer.core import TyperGroup

PLAIN = None  # Typer's rich_markup_mode
_WHOLE = 200  # characters of the first sentence of a command's help: all of it


class PlainGroup(TyperGroup):
    """Commands, each with its first sentence."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write them below each other; click would end each sentence where its line ends."""
        commands = ((name, self.commands[name]) for name in self.list_commands(ctx))
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.get_short_help_str(_WHOLE)) for name, command in commands])
