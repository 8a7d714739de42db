"""The command line. Each command imports what it needs when it runs, so that --help answers at once."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from mutewatch.errors import InputError, OperatorError

app = typer.Typer(
    help="Shows, minute by minute, whether a video-conferencing client sends audio-derived data while it is muted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
signatures_app = typer.Typer(help="The telemetry endpoints that mutewatch knows.", no_args_is_help=True)
classifier_app = typer.Typer(help="The model behind the guesses.", no_args_is_help=True)
app.add_typer(signatures_app, name="signatures")
app.add_typer(classifier_app, name="classifier")

StateOption = Annotated[
    Path | None,
    typer.Option(
        "--state",
        help="Directory for store, keys and certificates. [default: $MUTEWATCH_STATE or ~/.local/state/mutewatch]",
        show_default=False,
    ),
]
ActivityOption = Annotated[
    bool, typer.Option("--activity/--no-activity", help="Guess what could be inferred from the values.")
]
ShowClientsOption = Annotated[
    bool, typer.Option("--show-clients", help="Show client names as they are on the wire, not pseudonyms.")
]
SignatureOption = Annotated[
    list[Path] | None, typer.Option("--signature", help="One more signature file. Repeatable.", show_default=False)
]


@app.command()
def scan(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="Captures (pcap, pcapng), HAR files, mitmproxy flow dumps, JSON Lines of exchanges, API-hook logs.",
            show_default=False,
        ),
    ],
    keylog: Annotated[
        list[Path] | None,
        typer.Option("--keylog", "-k", help="NSS key log for captures. Repeatable.", show_default=False),
    ] = None,
    mute: Annotated[
        Path | None,
        typer.Option("--mute", help="When clients were muted: CSV or JSON Lines of time, client, muted."),
    ] = None,
    assume: Annotated[
        Literal["muted", "unmuted"] | None,
        typer.Option("--assume", help="What to assume where no source says whether a client was muted."),
    ] = None,
    output_format: Annotated[
        Literal["table", "jsonl", "csv"], typer.Option("--format", "-f", help="What to print.")
    ] = "table",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Print to this file.")] = None,
    store: Annotated[Path | None, typer.Option("--store", help="Also keep the findings in this SQLite file.")] = None,
    engine: Annotated[
        Literal["tshark"], typer.Option("--engine", help="What decodes captures: tshark is the reference.")
    ] = "tshark",
    fail_on: Annotated[
        Literal["flagged"] | None, typer.Option("--fail-on", help="Exit with 1 if there are flagged minutes.")
    ] = None,
    require_match: Annotated[
        bool, typer.Option("--require-match", help="Exit with 4 if nothing matched a signature.")
    ] = False,
    activity: ActivityOption = True,
    show_clients: ShowClientsOption = False,
    signature: SignatureOption = None,
    state: StateOption = None,
) -> None:
    """Find the minutes in saved traffic in which audio-derived data left while the client was muted.

    Exit codes: 0 ran; 1 flagged minutes, with --fail-on flagged; 2 wrong usage; 3 an input or a matched
    message could not be read; 4 nothing matched, with --require-match; 130 interrupted.
    """
    from mutewatch.commands.scan import Format, ScanOptions
    from mutewatch.commands.scan import scan as run
    from mutewatch.compose import PipelineOptions
    from mutewatch.config import default_state

    options = ScanOptions(
        state=state or default_state(),
        keylogs=tuple(keylog or ()),
        format=Format(output_format),
        output=output,
        store=store,
        fail_on_flagged=fail_on == "flagged",
        require_match=require_match,
    )
    assumed = None if assume is None else assume == "muted"
    judging = PipelineOptions(mute, assumed, activity, show_clients, tuple(signature or ()))
    raise typer.Exit(run(paths, options, judging))


def main() -> None:
    """Run the command line; an operator's mistake is one line on stderr, without a traceback."""
    try:
        app()
    except OperatorError as error:
        print(f"mutewatch: {error}", file=sys.stderr)
        sys.exit(2)
    except InputError as error:
        print(f"mutewatch: {error}", file=sys.stderr)
        sys.exit(3)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
