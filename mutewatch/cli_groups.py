"""The commands below `mutewatch signatures` and `mutewatch classifier`. Each imports what it needs when it runs."""

from pathlib import Path
from typing import Annotated, Literal

import typer

signatures_app = typer.Typer(help="The telemetry endpoints that mutewatch knows.", no_args_is_help=True)
classifier_app = typer.Typer(help="The model behind the guesses.", no_args_is_help=True)


@signatures_app.command("list")
def signatures_list() -> None:
    """List the endpoints, what they tell, and how well founded that is."""
    from mutewatch.commands.signatures import list_signatures

    list_signatures()


@signatures_app.command("validate")
def signatures_validate(paths: Annotated[list[Path], typer.Argument(help="Signature files (TOML).")]) -> None:
    """Check signature files against the schema."""
    from mutewatch.commands.signatures import validate

    raise typer.Exit(validate(paths))


@signatures_app.command("test")
def signatures_test(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Signature files. (default: the bundled ones)", show_default=False)
    ] = None,
) -> None:
    """Decode the fixtures inside the signatures and compare the facts."""
    from mutewatch.commands.signatures import test

    raise typer.Exit(test(paths or ()))


@signatures_app.command("schema")
def signatures_schema() -> None:
    """Print the JSON Schema of signature files, for editors."""
    from mutewatch.commands.signatures import print_schema

    print_schema()


@classifier_app.command("train")
def classifier_train(
    data: Annotated[Path, typer.Argument(help="CSV of labelled gain minutes, one row a minute.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the weights and their manifest.")],
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of split and training.")] = 0,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Epochs at most; the best is kept.")] = 700,
) -> None:
    """Train the paper's network, with whole recordings held out for validation. Needs torch (extra: train)."""
    from mutewatch.commands.classifier import train

    train(data, output, seed, epochs)


@classifier_app.command("evaluate")
def classifier_evaluate(
    data: Annotated[Path, typer.Argument(help="CSV of labelled gain minutes, one row a minute.")],
    weights: Annotated[
        Path | None, typer.Option("--weights", help="Weights file. (default: the shipped one)", show_default=False)
    ] = None,
    held_out: Annotated[
        bool, typer.Option("--held-out", help="Score only recordings that the training held out.")
    ] = False,
    output_format: Annotated[Literal["table", "json"], typer.Option("--format", "-f", help="What to print.")] = "table",
) -> None:
    """Score a model on labelled minutes. Needs no torch."""
    from mutewatch.commands.classifier import evaluate

    evaluate(data, weights, held_out, output_format == "json")
