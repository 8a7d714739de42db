"""The command `mutewatch export`. It imports what it needs when it runs."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from mutewatch.cli_options import StateOption, StoreOption
from mutewatch.errors import OperatorError
from mutewatch.records import Verdict


def export(
    output_format: Annotated[
        Literal["eve", "ecs", "csv", "jsonl", "parquet"],
        typer.Option("--format", "-f", help="Suricata's EVE JSON, ECS documents, CSV, JSON Lines or Parquet."),
    ],
    since: Annotated[
        str | None,
        typer.Option("--since", help="Minutes that end from then on: 2026-03-02, or 7d, 24h, 30m ago. UTC."),
    ] = None,
    until: Annotated[str | None, typer.Option("--until", help="Minutes that end before then.")] = None,
    verdict: Annotated[
        list[Verdict] | None,
        typer.Option("--verdict", help="Only findings with this verdict. Repeatable. (default: flagged)"),
    ] = None,
    all_minutes: Annotated[bool, typer.Option("--all-minutes", help="Findings with whatever verdict.")] = False,
    with_guesses: Annotated[
        bool, typer.Option("--with-guesses", help="Also say what could be inferred from the values.")
    ] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")] = None,
    store: StoreOption = None,
    state: StateOption = None,
) -> None:
    """Write findings of a store for a SIEM or a spreadsheet, redacted: docs/integrations.md.

    Clients and calls are pseudonyms as stored, and guesses are left out unless asked for. The same finding has the
    same event id each time: export a span again, and the receiver can tell what it has.
    """
    from mutewatch.commands.audited import audit_command
    from mutewatch.commands.export import export as run
    from mutewatch.config import StateDirectory, default_state, store_location

    if all_minutes and verdict:
        raise OperatorError("--all-minutes and --verdict contradict each other: leave one out")
    directory = StateDirectory(state or default_state())
    audit_command(directory.root, "export", {"format": output_format, "since": since, "until": until})
    run(
        store_location(store) if store else directory.store_location,
        output_format,
        output,
        since=since,
        until=until,
        verdicts=tuple(Verdict) if all_minutes else tuple(verdict or (Verdict.FLAGGED,)),
        with_guesses=with_guesses,
    )
