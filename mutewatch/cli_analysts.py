"""Commands for a closer look at single messages. Each imports what it needs when it runs."""

from pathlib import Path
from typing import Annotated

import typer

from mutewatch.cli_options import EngineOption, KeylogOption, SignaturesOption


def show(
    path: Annotated[
        Path, typer.Argument(help="Capture, HAR file, flow dump or log.", show_default=False, readable=False)
    ],
    keylog: KeylogOption = None,
    frame: Annotated[
        int | None, typer.Option("--frame", help="Only the message that ends with this frame.", show_default=False)
    ] = None,
    body: Annotated[
        str | None, typer.Option("--body", help="Only messages whose body's SHA-256 begins so.", show_default=False)
    ] = None,
    payload: Annotated[
        Path | None,
        typer.Option(
            "--payload", help="Write what they decode to, with all names in it, to this file.", show_default=False
        ),
    ] = None,
    engine: EngineOption = "native",
    signatures: SignaturesOption = None,
) -> None:
    """Show every audio-derived value of single messages: where it stands, its raw reading, and how it was decoded."""
    from mutewatch.commands.show import show as run

    raise typer.Exit(run(path, tuple(keylog or ()), frame, body, payload, engine, signatures))
