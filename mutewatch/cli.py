"""The command line. Each command imports what it needs when it runs, so that --help answers at once."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mutewatch.cli_analysts import show
from mutewatch.cli_ca import app as ca_app
from mutewatch.cli_discover import discover
from mutewatch.cli_end import run
from mutewatch.cli_export import export
from mutewatch.cli_groups import classifier_app
from mutewatch.cli_help import PLAIN, PlainGroup
from mutewatch.cli_options import (
    ActivityOption,
    AddressOption,
    AssumeOption,
    ConfigOption,
    EngineOption,
    KeylogOption,
    MuteOption,
    RotatedOption,
    ShowClientsOption,
    SignatureOption,
    SignaturesOption,
    StateOption,
    WithoutOption,
)
from mutewatch.cli_report import report
from mutewatch.cli_serve import serve
from mutewatch.cli_signatures import app as signatures_app
from mutewatch.cli_store import backup, forget, prune
from mutewatch.config import default_state, store_location
from mutewatch.errors import shown

# As a newcomer needs them; typer lists groups behind all commands. What is not named here comes last.
ORDER = ("scan", "show", "report", "serve", "export", "discover", "live", "check", "canary", "ca", "convert")
HELP = """Shows, minute by minute, whether a video-conferencing client sends audio-derived data while it is muted.

\b
Start here:
  mutewatch scan FILE --store my.db
  mutewatch report --store my.db -o report.html
"""


class _InOrder(PlainGroup):
    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands as they are listed."""
        return sorted(self.commands, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))


app = typer.Typer(
    cls=_InOrder,
    help=HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=PLAIN,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(signatures_app, name="signatures")
app.add_typer(classifier_app, name="classifier")
app.add_typer(ca_app, name="ca")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"mutewatch {version('mutewatch')}")
        except PackageNotFoundError:
            print("mutewatch, not installed")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Takes the options that stand before a command."""


@app.command()
def scan(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="Captures (pcap, pcapng, .gz, .zst, - for stdin), HAR files, mitmproxy flow dumps, JSON Lines of "
            "exchanges, API-hook logs.",
            show_default=False,
            readable=False,
        ),
    ],
    keylog: KeylogOption = None,
    mute: MuteOption = None,
    assume: AssumeOption = None,
    output_format: Annotated[
        Literal["table", "jsonl", "csv", "parquet", "eve", "ecs"],
        typer.Option("--format", "-f", help="What to print; eve and ecs: flagged minutes for a SIEM."),
    ] = "table",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Print to this file.")] = None,
    store: Annotated[
        str | None, typer.Option("--store", help="Also keep the findings in this SQLite file, or PostgreSQL by URL.")
    ] = None,
    engine: EngineOption = "native",
    address: AddressOption = None,
    rotated: RotatedOption = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on reading a capture that still grows, until Ctrl-C.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Ask tshark for a second opinion on the flows that were opened.")
    ] = False,
    fail_on: Annotated[
        Literal["flagged"] | None, typer.Option("--fail-on", help="Exit with 1 if there are flagged minutes.")
    ] = None,
    require_match: Annotated[
        bool, typer.Option("--require-match", help="Exit with 4 if nothing matched a signature.")
    ] = False,
    activity: ActivityOption = True,
    show_clients: ShowClientsOption = False,
    signature: SignatureOption = None,
    signatures: SignaturesOption = None,
    without: WithoutOption = None,
    state: StateOption = None,
) -> None:
    """Find the minutes in saved traffic in which audio-derived data left while the client was muted.

    Exit codes: 0 ran; 1 flagged minutes, with --fail-on flagged; 2 wrong usage; 3 an input or a matched
    message could not be read; 4 nothing matched, with --require-match; 130 interrupted.
    """
    from mutewatch.commands.output import Format
    from mutewatch.commands.scan import ScanOptions, stored
    from mutewatch.commands.scan import scan as run
    from mutewatch.compose import PipelineOptions
    from mutewatch.signatures import own_files
    from mutewatch.signatures.choice import asked_without

    options = ScanOptions(
        state=state,
        keylogs=tuple(keylog or ()),
        format=Format(output_format),
        output=output,
        store=store_location(store) if store else None,
        engine=engine,
        addresses=tuple(address or ()),
        rotated=rotated,
        follow=follow,
        verify=verify,
        fail_on_flagged=fail_on == "flagged",
        require_match=require_match,
        show_hosts=show_clients,
    )
    assumed = None if assume is None else assume == "muted"
    files = (*own_files(signatures), *(signature or ()))
    judging = PipelineOptions(mute, assumed, activity, show_clients, files, asked_without(without))
    code = run(paths, options, judging)
    if store:
        print(shown(stored(store)), file=sys.stderr)
    raise typer.Exit(code)


@app.command()
def convert(
    paths: Annotated[
        list[Path], typer.Argument(help="Captures: pcap, pcapng, .gz, .zst.", show_default=False, readable=False)
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="What to write: .mitm (mitmproxy flows), .har, or .pcapng.")
    ],
    keylog: KeylogOption = None,
    host: Annotated[
        list[str] | None,
        typer.Option("--host", help="Host names to take, e.g. '*.webex.com'. Repeatable. (default: all that open)"),
    ] = None,
    address: AddressOption = None,
    rotated: RotatedOption = False,
) -> None:
    """Write the HTTP messages of captures as mitmproxy flows or HAR, or their flows as a small capture.

    Replay the flows with `mitmweb -r out.mitm` or `mitmdump -nr out.mitm`.
    """
    from mutewatch.commands.convert import convert as run

    raise typer.Exit(run(paths, output, tuple(keylog or ()), tuple(host or ()), tuple(address or ()), rotated))


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--folder", help="Where the report goes.")] = Path("mutewatch-demo"),
) -> None:
    """Judge the bundled sample, a synthetic meeting of twenty minutes, and write a report of it."""
    from mutewatch.commands.demo import demo as run

    raise typer.Exit(run(folder))


@app.command()
def live(
    config: ConfigOption = None,
    host: Annotated[
        str | None, typer.Option("--listen-host", help="Address to listen on. (default: 127.0.0.1)", show_default=False)
    ] = None,
    port: Annotated[
        int | None, typer.Option("--listen-port", "-p", help="Port to listen on. (default: 8080)", show_default=False)
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(
            "--mode",
            help="How traffic gets here: regular, transparent, wireguard, upstream:URL. (default: regular)",
            show_default=False,
        ),
    ] = None,
    record_timeout: Annotated[
        float | None,
        typer.Option(
            "--record-timeout",
            help="Seconds a telemetry message waits to be recorded before it goes on. (default: 2)",
            show_default=False,
        ),
    ] = None,
    mute: MuteOption = None,
    assume: AssumeOption = None,
    activity: Annotated[
        bool | None,
        typer.Option(
            "--activity/--no-activity", help="Guess what could be inferred from the values.", show_default=False
        ),
    ] = None,
    show_clients: Annotated[
        bool | None, typer.Option("--show-clients", help="Show client names as they are on the wire, not pseudonyms.")
    ] = None,
    leaf_dir: Annotated[
        Path | None,
        typer.Option(
            "--leaf-dir", help="Show certificates that `mutewatch ca issue` made elsewhere.", show_default=False
        ),
    ] = None,
    passphrase_file: Annotated[
        Path | None,
        typer.Option("--passphrase-file", help="File with the passphrase of the CA's keys.", show_default=False),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics", help="Serve /metrics and /healthz at this host:port. (default: off)", show_default=False
        ),
    ] = None,
    signatures: SignaturesOption = None,
    without: WithoutOption = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any further option of mitmproxy, name=value. Repeatable.", show_default=False),
    ] = None,
    state: StateOption = None,
    print_firewall: Annotated[
        bool, typer.Option("--print-firewall", help="Print the nftables rules for mode transparent, and exit.")
    ] = False,
    print_pac: Annotated[
        bool, typer.Option("--print-pac", help="Print a PAC file that sends only telemetry hosts here, and exit.")
    ] = False,
    print_unit: Annotated[bool, typer.Option("--print-unit", help="Print a systemd unit, and exit.")] = False,
    print_canary_unit: Annotated[
        bool, typer.Option("--print-canary-unit", help="Print the systemd unit of the canary, and exit.")
    ] = False,
    print_canary_timer: Annotated[
        bool, typer.Option("--print-canary-timer", help="Print the timer that starts it, and exit.")
    ] = False,
) -> None:
    """Judge live traffic: a proxy that opens connections to telemetry hosts and passes all others through.

    Point a client's proxy settings at it and trust the CA in the state directory. Findings go to the store
    there: see `mutewatch report`. Stop with Ctrl-C or SIGTERM. Options win over variables (MUTEWATCH_LISTEN_PORT),
    variables over the file of --config: see `mutewatch check`.
    """
    from mutewatch.commands.live import live as run

    wanted = {"firewall": print_firewall, "pac": print_pac, "unit": print_unit}
    wanted |= {"canary-unit": print_canary_unit, "canary-timer": print_canary_timer}
    values: dict[tuple[str, ...], object] = {
        ("listen", "host"): host,
        ("listen", "port"): port,
        ("listen", "mode"): mode,
        ("state", "directory"): state,
        ("record", "record_timeout"): record_timeout,
        ("clients", "mute_file"): mute,
        ("clients", "assume"): assume,
        ("clients", "activity"): activity,
        ("clients", "show"): show_clients,
        ("certificates", "leaf_dir"): leaf_dir,
        ("certificates", "passphrase_file"): passphrase_file,
        ("metrics", "listen"): metrics,
        ("signatures", "folder"): signatures,
        ("signatures", "without"): without or None,
    }
    raise typer.Exit(run(config, values, tuple(options or ()), [name for name in wanted if wanted[name]]))


@app.command()
def check(
    config: ConfigOption = None,
    running: Annotated[
        bool, typer.Option("--running", help="The proxy runs already: its port is meant to be taken.")
    ] = False,
    state: StateOption = None,
) -> None:
    """Check the settings of `mutewatch live` and what it stands on, and show what holds and where it is from.

    Exit codes: 0 it would start; 2 it would not, or not as it should.
    """
    from mutewatch.commands.check import check as run

    raise typer.Exit(run(config, state, is_running=running))


@app.command()
def canary(
    config: ConfigOption = None,
    proxy: Annotated[
        str | None,
        typer.Option("--proxy", help="The running gateway. (default: as the settings say)", show_default=False),
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option(
            "--ca", help="The CA that clients trust. (default: that in the state directory)", show_default=False
        ),
    ] = None,
    expect: Annotated[
        Literal["observe", "redact", "block"] | None,
        typer.Option(
            "--expect",
            help="What the gateway does with telemetry of muted clients. (default: as the settings say)",
            show_default=False,
        ),
    ] = None,
    every: Annotated[
        float | None, typer.Option("--every", help="Run again every so many seconds.", show_default=False)
    ] = None,
    state: StateOption = None,
) -> None:
    """Send telemetry of nobody through the running gateway and check that it was opened, recorded and judged.

    Nothing of it reaches a vendor: the gateway leads it to a server of the canary's own. Exit codes: 0 all
    checks held; 3 one did not.
    """
    from mutewatch.canary import Expectation
    from mutewatch.commands.canary import canary as run
    from mutewatch.commands.canary import options_for

    expected = Expectation(expect) if expect else None
    raise typer.Exit(run(options_for(config, state, proxy, ca, expected, every)))


for command in (report, serve, show, export, discover, prune, backup, forget):
    app.command()(command)


@app.command()
def doctor(state: StateOption = None) -> None:
    """Show what is installed and set up here, and what is missing for what."""
    from mutewatch.commands.doctor import doctor as run

    raise typer.Exit(run(state or default_state()))


def main() -> None:
    """Run the command line; an operator's mistake is one line on stderr, without a traceback."""
    run(app)


if __name__ == "__main__":
    main()
