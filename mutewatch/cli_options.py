"""Options that several commands of the command line have in common.

`readable=False`: whether a file can be read is found out, and said, by whoever reads it; one of many is no wrong usage.
"""

from pathlib import Path
from typing import Annotated, Literal

import typer

StateOption = Annotated[
    Path | None,
    typer.Option(
        "--state",
        help="Directory for store, keys and certificates. (default: $MUTEWATCH_STATE or ~/.local/state/mutewatch)",
        show_default=False,
    ),
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store", help="The store: a file, or a URL. (default: that of `mutewatch live`)", show_default=False
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="Settings of the gateway, TOML. See docs/gateway.md.", show_default=False, readable=False
    ),
]
MuteOption = Annotated[
    Path | None,
    typer.Option("--mute", help="When clients were muted: CSV or JSON Lines of time, client, muted.", readable=False),
]
AssumeOption = Annotated[
    Literal["muted", "unmuted"] | None,
    typer.Option("--assume", help="What to assume where no source says whether a client was muted."),
]
ActivityOption = Annotated[
    bool, typer.Option("--activity/--no-activity", help="Guess what could be inferred from the values.")
]
ShowClientsOption = Annotated[
    bool, typer.Option("--show-clients", help="Show client names as they are on the wire, not pseudonyms.")
]
SignatureOption = Annotated[
    list[Path] | None,
    typer.Option("--signature", help="One more signature file. Repeatable.", show_default=False, readable=False),
]
SignaturesOption = Annotated[
    Path | None,
    typer.Option(
        "--signatures",
        help="Folder with signatures of your own. (default: $MUTEWATCH_SIGNATURES_FOLDER or "
        "~/.config/mutewatch/signatures)",
        show_default=False,
        readable=False,
    ),
]
WithoutOption = Annotated[
    list[str] | None,
    typer.Option(
        "--without",
        help="Leave out a signature, or all of an app: discord.gateway, Zoom. Repeatable. "
        "(default: $MUTEWATCH_SIGNATURES_WITHOUT)",
        show_default=False,
    ),
]
KeylogOption = Annotated[
    list[Path] | None,
    typer.Option("--keylog", "-k", help="NSS key log for captures. Repeatable.", show_default=False, readable=False),
]
EngineOption = Annotated[
    Literal["native", "tshark"], typer.Option("--engine", help="What decodes captures; tshark is the reference.")
]
AddressOption = Annotated[
    list[str] | None,
    typer.Option("--address", help="Also look into flows of this server in captures. Repeatable.", show_default=False),
]
RotatedOption = Annotated[
    bool, typer.Option("--rotated", help="The files hold one capture, one after the other (tcpdump -C, -G).")
]
