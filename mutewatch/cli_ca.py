"""`mutewatch ca`: the certificate authority of the gateway. Each command imports what it needs when it runs."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from mutewatch.cli_help import PlainGroup
from mutewatch.cli_options import SignaturesOption, StateOption, WithoutOption

app = typer.Typer(
    cls=PlainGroup, help="The gateway's certificates, which hold for telemetry hosts only.", no_args_is_help=True
)

PassphraseOption = Annotated[
    Path | None,
    typer.Option("--passphrase-file", help="File, mode 0600, whose first line is the passphrase of the keys."),
]
AskOption = Annotated[bool, typer.Option("--ask-passphrase", help="Ask for the passphrase of the keys.")]
RootKeyOption = Annotated[Literal["ec", "rsa"], typer.Option("--root-key", help="Kind of the root's key.")]


@app.command()
def init(
    root_key: RootKeyOption = "ec",
    passphrase_file: PassphraseOption = None,
    ask_passphrase: AskOption = False,
    signatures: SignaturesOption = None,
    without: WithoutOption = None,
    state: StateOption = None,
) -> None:
    """Make a root and an intermediate that permit the hosts of the signatures, and nothing else."""
    from mutewatch.commands import ca

    hosts = ca.hosts_of(signatures, without)
    ca.init(ca.keeper(state, passphrase_file, ask_passphrase, is_new=True), hosts, root_key)


@app.command()
def status(
    output_format: Annotated[Literal["text", "json"], typer.Option("--format", "-f", help="What to print.")] = "text",
    signatures: SignaturesOption = None,
    without: WithoutOption = None,
    state: StateOption = None,
) -> None:
    """Show what there is, what it permits, and for how long. Exit codes: 0 good; 1 due soon; 2 cannot be used."""
    from mutewatch.commands import ca

    hosts = ca.hosts_of(signatures, without)
    raise typer.Exit(ca.status(ca.keeper(state), hosts, as_json=output_format == "json"))


@app.command()
def renew(
    new_key: Annotated[bool, typer.Option("--new-key", help="Give the intermediate a new key, too.")] = False,
    passphrase_file: PassphraseOption = None,
    ask_passphrase: AskOption = False,
    state: StateOption = None,
) -> None:
    """Make the intermediate again under the same root. No client notices; a running proxy takes it up by itself."""
    from mutewatch.commands import ca

    ca.renew(ca.keeper(state, passphrase_file, ask_passphrase), new_key=new_key)


@app.command()
def rotate(
    finish: Annotated[
        bool, typer.Option("--finish", help="Every client has the next root: use it, let go of the old one.")
    ] = False,
    root_key: RootKeyOption = "ec",
    passphrase_file: PassphraseOption = None,
    ask_passphrase: AskOption = False,
    state: StateOption = None,
) -> None:
    """Make the next root, to be given to clients beside the old one; with --finish, begin to use it."""
    from mutewatch.commands import ca

    ca.rotate(ca.keeper(state, passphrase_file, ask_passphrase), root_key, finish=finish)


@app.command("add-host")
def add_host(
    hosts: Annotated[
        list[str] | None,
        typer.Argument(
            help="Hosts, or patterns such as telemetry-*.example.org. (default: the signatures')", show_default=False
        ),
    ] = None,
    root_key: RootKeyOption = "ec",
    passphrase_file: PassphraseOption = None,
    ask_passphrase: AskOption = False,
    signatures: SignaturesOption = None,
    without: WithoutOption = None,
    state: StateOption = None,
) -> None:
    """Permit more hosts: nothing to do below a name that is permitted; else this begins a rotation."""
    from mutewatch.commands import ca

    known = ca.hosts_of(signatures, without)
    ca.add_hosts(ca.keeper(state, passphrase_file, ask_passphrase), hosts or [], known, root_key)


@app.command()
def issue(
    out: Annotated[Path, typer.Option("--out", help="Directory for the leaves, for mutewatch live --leaf-dir.")],
    names: Annotated[
        list[str] | None, typer.Argument(help="Hosts; *.webex.com for all of one label. (default: the signatures')")
    ] = None,
    days: Annotated[int, typer.Option("--days", min=1, max=90, help="How long they hold.")] = 30,
    passphrase_file: PassphraseOption = None,
    ask_passphrase: AskOption = False,
    signatures: SignaturesOption = None,
    without: WithoutOption = None,
    state: StateOption = None,
) -> None:
    """Sign leaves here for a gateway that then holds nothing that can sign."""
    from mutewatch.commands import ca

    hosts = ca.hosts_of(signatures, without)
    ca.issue(ca.keeper(state, passphrase_file, ask_passphrase), names or [], hosts, out, days)


@app.command()
def export(
    form: Annotated[
        Literal["pem", "der", "p12", "mobileconfig", "gpo", "firefox", "nss", "java", "debian"],
        typer.Option("--format", "-f", help="What the client takes."),
    ] = "pem",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="(default: mutewatch-root.* here)")] = None,
    state: StateOption = None,
) -> None:
    """Write the public certificate for clients, and say how to install it and how to remove it."""
    from mutewatch.commands import ca

    ca.export(ca.keeper(state), form, output)


@app.command()
def verify(
    host: Annotated[str, typer.Argument(help="Host, or 127.0.0.1 for an address.")],
    state: StateOption = None,
    passphrase_file: PassphraseOption = None,
    ask_passphrase: AskOption = False,
) -> None:
    """Show what each client on this machine says to a certificate for HOST from this authority.

    For a host that it does not permit, an authority of the same form with keys of its own signs: with the real key
    no such certificate is ever made.
    """
    from mutewatch.commands import ca

    raise typer.Exit(ca.verify(ca.keeper(state, passphrase_file, ask_passphrase), host))
