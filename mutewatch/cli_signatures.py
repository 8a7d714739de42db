"""`mutewatch signatures`: what is known of which app, and how to add to it. Each command imports what it needs."""

from pathlib import Path
from typing import Annotated

import typer

from mutewatch.cli_help import PlainGroup
from mutewatch.cli_options import ConfigOption, SignaturesOption

app = typer.Typer(cls=PlainGroup, help="The endpoints that mutewatch knows, and your own.", no_args_is_help=True)

FilesArgument = Annotated[
    list[Path] | None, typer.Argument(help="Signature files. (default: all that are known)", show_default=False)
]


@app.command("list")
def list_(signatures: SignaturesOption = None, config: ConfigOption = None) -> None:
    """List the endpoints, what they tell, how well founded that is, where it is from, and whether it is left out."""
    from mutewatch.commands.signatures import list_signatures

    list_signatures(signatures, config)


@app.command()
def show(
    signature: Annotated[str, typer.Argument(help="Its id, as `mutewatch signatures list` has it.")],
    signatures: SignaturesOption = None,
) -> None:
    """Show one: what it matches and decodes, in what units, and on what evidence."""
    from mutewatch.commands.signatures import show

    show(signature, signatures)


@app.command()
def validate(paths: Annotated[list[Path], typer.Argument(help="Signature files (TOML).")]) -> None:
    """Check files: against the schema, and for what `lint` finds. Exit codes: 0 good; 2 something is not."""
    from mutewatch.commands.signatures import validate

    raise typer.Exit(validate(paths))


@app.command()
def lint(paths: FilesArgument = None, signatures: SignaturesOption = None) -> None:
    """Find what two signatures both read, and evidence that is missing. Exit codes: 0 good; 2 something is at fault."""
    from mutewatch.commands.signatures import lint_files

    raise typer.Exit(lint_files(paths or (), signatures))


@app.command()
def test(paths: FilesArgument = None, signatures: SignaturesOption = None) -> None:
    """Decode the fixtures inside the signatures and compare the facts. Exit codes: 0 all hold; 3 one does not."""
    from mutewatch.commands.signatures import test

    raise typer.Exit(test(paths or (), signatures))


@app.command()
def new(
    signature: Annotated[str, typer.Argument(help="Its id: app and endpoint, such as example.metrics.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A new file. (default: print it)")] = None,
) -> None:
    """Write the beginning of a signature: an example that decodes, with a TODO at all that is yours to say."""
    from mutewatch.commands.signatures import new

    new(signature, output)


@app.command()
def coverage(signatures: SignaturesOption = None) -> None:
    """Print what is covered of which app, and what nobody can see, as Markdown: docs/coverage.md."""
    from mutewatch.commands.signatures import coverage

    coverage(signatures)


@app.command("schema")
def schema() -> None:
    """Print the JSON Schema of signature files, for editors."""
    from mutewatch.commands.signatures import print_schema

    print_schema()
