"""`mutewatch live`: settings from all their places, then the proxy, or one of the files that go with it."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mutewatch.errors import OperatorError

if TYPE_CHECKING:
    from addons.settings_sources import Loaded


def live(
    config: Path | None, values: Mapping[tuple[str, ...], object], extra: tuple[str, ...], wanted: Sequence[str]
) -> int:
    """Run the proxy and return its exit code, or print what is `wanted`, one of those that `printed` knows.

    `values` are those of the command line, None where not given; `extra` are further options of mitmproxy.
    """
    from addons.settings_launch import launch_settings
    from addons.settings_sources import load

    if len(wanted) > 1:
        raise OperatorError(f"print one thing at a time: --print-{wanted[0]}, then --print-{wanted[1]}")
    loaded = load(config, values)
    if wanted:
        print(printed(wanted[0], loaded), end="")
        return 0
    from addons.gateway_remarks import ports
    from addons.launch import run
    from addons.launched import Launched

    if taken := next((one.text for one in ports(loaded.settings, is_running=False) if one.is_fault), None):
        # mitmproxy would say it later, in its own words; no fault of the settings: it may be free when started again
        print(f"mutewatch: {taken}", file=sys.stderr)
        return 3
    return run(launch_settings(loaded.settings, extra), Launched(loaded, values, extra))


def printed(what: str, loaded: "Loaded") -> str:
    """Return what goes with the settings: firewall, pac, unit, canary-unit or canary-timer. Raises OperatorError."""
    if what == "firewall":
        from addons.firewall_rules import firewall_rules

        return firewall_rules(loaded.settings)
    if what == "pac":
        from addons.pac_file import pac_file
        from mutewatch.signatures import telemetry_hosts

        return pac_file(loaded.settings, telemetry_hosts(loaded.settings.signatures.choice.used))
    from addons.service_unit import canary_timer, canary_unit, service_unit
    from addons.settings_sources import Source

    if what == "canary-timer":
        return canary_timer(loaded.settings)
    check_signatures_for_service(loaded)
    is_chosen = loaded.source(("state", "directory")) in (Source.FILE, Source.COMMAND_LINE)
    config = loaded.file.resolve() if loaded.file else None
    make = canary_unit if what == "canary-unit" else service_unit
    return make(loaded.settings, _program(), config, is_state_chosen=is_chosen)


def check_signatures_for_service(loaded: "Loaded") -> None:
    """Raise OperatorError for signatures that are read, or left out, here, and would not be by a service.

    It has another home, and other variables.
    """
    from addons.settings_sources import Source
    from mutewatch.signatures import own_files

    without = loaded.settings.signatures.without
    if without and loaded.source(("signatures", "without")) is not Source.FILE:
        raise OperatorError(
            f"--print-unit: a service would not leave out {', '.join(without)}: "
            "say so in the file of --config, signatures.without"
        )
    own = own_files(loaded.settings.signatures.folder)
    if own and loaded.source(("signatures", "folder")) is not Source.FILE:
        raise OperatorError(
            f"--print-unit: a service does not find your own signatures in {own[0].parent}: "
            "name a folder in the file of --config, signatures.folder"
        )


def _program() -> Path:
    """Return the command that runs now, for a unit to run again."""
    beside = Path(sys.executable).with_name("mutewatch")
    found = str(beside) if beside.exists() else shutil.which("mutewatch")
    if found is None:
        raise OperatorError("--print-unit: there is no command mutewatch to run: pip install it first")
    return Path(found)
