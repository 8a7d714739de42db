"""The commands below `mutewatch classifier`. Each imports what it needs when it runs."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from mutewatch.cli_help import PlainGroup

classifier_app = typer.Typer(cls=PlainGroup, help="The model behind the guesses.", no_args_is_help=True)


@classifier_app.command("import")
def classifier_import(
    folder: Annotated[Path, typer.Argument(help="The authors' folder BgActivityClassifier/ParseSourceData.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="CSV to write, one row a minute.")],
) -> None:
    """Turn the paper's published recordings into one CSV, and tell every quirk of them."""
    from mutewatch.commands.classifier import import_published

    import_published(folder, output)


@classifier_app.command("train")
def classifier_train(
    data: Annotated[Path, typer.Argument(help="CSV of labelled gain minutes, one row a minute.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the weights and their manifests.")],
) -> None:
    """Train the configured models on the development recordings. Needs torch (extra: train)."""
    from mutewatch.commands.classifier import train

    train(data, output)


@classifier_app.command("evaluate")
def classifier_evaluate(
    data: Annotated[Path, typer.Option("--data", help="CSV of labelled gain minutes, one row a minute.")],
    protocol: Annotated[
        Literal["P", "HA", "HB", "LOVO", "folds", "distances"],
        typer.Option("--protocol", help="Who is trained on, who is scored: docs/classifier.md."),
    ],
    seeds: Annotated[int, typer.Option("--seeds", min=1, max=100, help="How often each model is trained.")] = 10,
    model: Annotated[
        list[str] | None, typer.Option("--model", help="Only this model; again for more. (default: all)")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for all figures.")] = None,
    plots: Annotated[Path | None, typer.Option("--plots", help="Folder for plots (PNG).")] = None,
) -> None:
    """Train the configured models anew for each seed and score them under a protocol. Needs torch."""
    from mutewatch.commands.classifier import evaluate

    evaluate(data, protocol, seeds, model or [], json_file, plots)


@classifier_app.command("card")
def classifier_card(
    evaluations: Annotated[list[Path], typer.Argument(help="JSON files that `evaluate --json` wrote.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Markdown file to write.")],
) -> None:
    """Write the model card from evaluations."""
    from mutewatch.commands.classifier import card

    card(evaluations, output)


@classifier_app.command("explain")
def classifier_explain(
    findings: Annotated[Path, typer.Argument(help="Findings as JSON lines: mutewatch scan --format jsonl.")],
    minute: Annotated[str, typer.Option("--minute", help="The minute of the guess, as the finding names it.")],
    client: Annotated[str | None, typer.Option("--client", help="Only this client's.", show_default=False)] = None,
) -> None:
    """Tell which minutes and which values drove one guess."""
    from mutewatch.commands.classifier import explain

    explain(findings, minute, client)
