"""The command `mutewatch serve`, which has many options. It imports what it needs when it runs."""

from pathlib import Path
from typing import Annotated

import typer

from mutewatch.cli_options import SignaturesOption, StateOption, StoreOption


def serve(
    store: StoreOption = None,
    listen: Annotated[str, typer.Option("--listen", help="Address and port.")] = "127.0.0.1:8480",
    new_token: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--new-token", metavar="ROLE NAME", help="Make a token, viewer or analyst, and exit.", show_default=False
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", help="Where tokens are. (default: in the state directory)", show_default=False),
    ] = None,
    no_token: Annotated[
        bool, typer.Option("--no-token", help="Let everybody on this machine view, without evidence.")
    ] = False,
    host: Annotated[
        list[str] | None,
        typer.Option("--host", help="A further name that browsers know it by. Repeatable.", show_default=False),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", help="Certificate chain, PEM.", show_default=False)
    ] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", help="Its key, PEM.", show_default=False)] = None,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="A reverse proxy does TLS, and says whom it speaks for.")
    ] = False,
    guesses: Annotated[
        bool, typer.Option("--guesses/--no-guesses", help="Show analysts what could be inferred.")
    ] = True,
    poll: Annotated[
        float, typer.Option("--poll", min=0.1, max=3600, help="Seconds after which a page looks again.")
    ] = 10,
    signatures: SignaturesOption = None,
    state: StateOption = None,
) -> None:
    """Show what a store holds as a page, live, to those who may see it.

    Viewers see verdicts under pseudonyms, analysts evidence and guesses too. On this machine alone a link that is
    printed at the start opens it; from elsewhere it takes tokens and TLS. See docs/serve.md.
    """
    from mutewatch.commands.serve import ServeOptions
    from mutewatch.commands.serve import new_token as make
    from mutewatch.commands.serve import serve as run
    from mutewatch.config import StateDirectory, default_state, store_location

    root = state or default_state()
    if new_token is not None:
        raise typer.Exit(make(root, token_file, *new_token))
    options = ServeOptions(
        store=store_location(store) if store else StateDirectory(root).store_location,
        listen=listen,
        token_file=token_file,
        hosts=tuple(host or ()),
        tls_cert=tls_cert,
        tls_key=tls_key,
        is_behind_proxy=behind_proxy,
        needs_token=not no_token,
        guesses=guesses,
        poll_seconds=poll,
        signatures=signatures,
    )
    raise typer.Exit(run(root, options))
