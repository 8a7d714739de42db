"""The command `mutewatch report`. It imports what it needs when it runs."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from mutewatch.cli_options import SignaturesOption, StateOption, StoreOption
from mutewatch.errors import OperatorError


def report(
    store: StoreOption = None,
    output_format: Annotated[
        Literal["table", "jsonl", "csv", "parquet", "html"] | None,
        typer.Option(
            "--format", "-f", help="What to make. (default: html for FILE.html, else table)", show_default=False
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", help="html: from 2026-03-02 or 7d (ago) on, UTC.", show_default=False),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", help="html: up to this day or time, UTC.", show_default=False)
    ] = None,
    month: Annotated[str | None, typer.Option("--month", help="html: a month, 2026-03.", show_default=False)] = None,
    role: Annotated[
        Literal["analyst", "viewer"],
        typer.Option("--role", help="html: who will see it. A viewer: verdicts under pseudonyms, without evidence."),
    ] = "analyst",
    guesses: Annotated[
        bool, typer.Option("--guesses/--no-guesses", help="html: what could be inferred, where the store has it.")
    ] = True,
    signatures: SignaturesOption = None,
    state: StateOption = None,
) -> None:
    """Show what a store holds: live findings, or those of `scan --store`.

    With -o FILE.html, as one page that opens without a network: see docs/report.md.
    """
    from mutewatch.commands.audited import audit_command
    from mutewatch.commands.output import Format
    from mutewatch.config import StateDirectory, default_state, store_location

    directory = StateDirectory(state or default_state())
    location = store_location(store) if store else directory.store_location
    is_page = output_format == "html" or (output_format is None and output is not None and output.suffix == ".html")
    audit_command(directory.root, "report", {"format": "html" if is_page else output_format or "table", "role": role})
    if not is_page:
        if since or until or month or role == "viewer" or not guesses:
            raise OperatorError("--since, --until, --month, --role and --guesses are for pages: add -o report.html")
        from mutewatch.commands.report import report as run

        run(location, Format(output_format or "table"), output, directory.root)
        return
    if output is None:
        raise OperatorError("a page goes to a file: add -o report.html")
    from mutewatch.commands.page import report_options, write_page

    options = report_options(location, since, until, month, role, guesses=guesses, signatures=signatures)
    write_page(location, output, options, directory.root)
    print(output)
