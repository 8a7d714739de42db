"""The commands that look after a store: prune, backup, forget."""

from pathlib import Path
from typing import Annotated

import typer

from mutewatch.cli_options import ConfigOption, StateOption, StoreOption
from mutewatch.config import StateDirectory, default_state, store_location


def prune(
    config: ConfigOption = None,
    store: StoreOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how much is due.")] = False,
    trust_clock: Annotated[
        bool, typer.Option("--trust-clock", help="The clock is right, though far ahead of the store's newest message.")
    ] = False,
    state: StateOption = None,
) -> None:
    """Delete from a store what is older than the settings allow. `mutewatch live` does that by itself."""
    from mutewatch.commands.audited import audit_command
    from mutewatch.commands.prune import prune as run

    if not dry_run:
        audit_command(state or default_state(), "prune")
    chosen = store_location(store) if store else None
    raise typer.Exit(run(config, state, chosen, dry_run=dry_run, trust_clock=trust_clock))


def backup(
    destination: Annotated[Path, typer.Argument(help="The file to write.", show_default=False)],
    store: StoreOption = None,
    state: StateOption = None,
) -> None:
    """Copy a store into one file, whole, while `mutewatch live` writes."""
    from mutewatch.commands.audited import audit_command
    from mutewatch.commands.backup import backup as run

    directory = StateDirectory(state or default_state())
    audit_command(directory.root, "backup", {"to": str(destination)})
    run(store_location(store) if store else directory.store_location, destination)


def forget(
    client: Annotated[
        str, typer.Argument(help="Its pseudonym, that of an address, or its name on the wire.", show_default=False)
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how much there is.")] = False,
    store: StoreOption = None,
    state: StateOption = None,
) -> None:
    """Delete from a store all that stands there under one client's name. Counts by day are nobody's, and stay."""
    from mutewatch.commands.audited import audit_command
    from mutewatch.commands.forget import forget_client

    directory = StateDirectory(state or default_state())
    if not dry_run:
        audit_command(directory.root, "forget")  # not whom: that is to be forgotten
    location = store_location(store) if store else directory.store_location
    forget_client(client, location, directory, dry_run=dry_run)
