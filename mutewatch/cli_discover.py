"""The command `mutewatch discover`. It imports what it needs when it runs."""

from pathlib import Path
from typing import Annotated

import typer

from mutewatch.cli_options import AddressOption, KeylogOption, RotatedOption


def discover(
    paths: Annotated[
        list[Path],
        typer.Argument(help="Saved traffic, as for `mutewatch scan`.", show_default=False, readable=False),
    ],
    keylog: KeylogOption = None,
    host: Annotated[
        list[str] | None,
        typer.Option("--host", help="Host names to look at, e.g. '*.example.com'. Repeatable. (default: all)"),
    ] = None,
    answers: Annotated[bool, typer.Option("--answers", help="Look at what servers sent, too.")] = False,
    audio: Annotated[
        Path | None,
        typer.Option("--audio", help="What was played meanwhile (WAV): rank by what follows it.", show_default=False),
    ] = None,
    rtp: Annotated[
        bool,
        typer.Option(
            "--rtp",
            help="Rank by what follows the audio level beside the client's own RTP, in the same captures.",
        ),
    ] = False,
    start: Annotated[
        str | None,
        typer.Option(
            "--start", help="When it began to play, e.g. 2026-03-02T09:00:00Z. (default: with the first message)"
        ),
    ] = None,
    slack: Annotated[
        float | None,
        typer.Option(
            "--slack",
            help="By how many seconds that may be wrong. (default: 5; without --start 30 and half a period)",
            min=0,
        ),
    ] = None,
    names: Annotated[bool, typer.Option("--names", help="Let names count that speak of sound.")] = False,
    top: Annotated[int, typer.Option("--top", help="How many fields to show.", min=1)] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print all fields, as JSON.")] = False,
    html: Annotated[
        Path | None, typer.Option("--html", help="Also draw the first fields, in this file.", show_default=False)
    ] = None,
    draft: Annotated[
        Path | None, typer.Option("--draft", help="Also write a signature to edit (TOML).", show_default=False)
    ] = None,
    address: AddressOption = None,
    rotated: RotatedOption = False,
) -> None:
    """Rank the numbers in decrypted traffic by how much they behave like sound. For formats that nobody has published.

    Prints places and numbers, no texts from the traffic. Exit codes: 0 ran; 2 wrong usage; 3 an input could not be
    read to its end; 4 no number varies.
    """
    from mutewatch.commands.discover import DiscoverOptions
    from mutewatch.commands.discover import discover as run

    options = DiscoverOptions(
        keylogs=tuple(keylog or ()),
        hosts=tuple(host or ()),
        answers=answers,
        audio=audio,
        rtp=rtp,
        start=start,
        slack=slack,
        names=names,
        top=top,
        as_json=as_json,
        html=html,
        draft=draft,
        addresses=tuple(address or ()),
        rotated=rotated,
    )
    raise typer.Exit(run(paths, options))
