"""What the operator chose, checked: ranges of the options, and the state directory.

Used by the addon (where a fault becomes mitmproxy's OptionsError) and by `launch.py` (where it is one line
on stderr). mitmproxy enforces neither `choices` nor ranges for `--set` (observed with 11.0.2).
"""

import os
from pathlib import Path

from addons.recorder import LiveSettings
from mutewatch.config import StateDirectory, open_state
from mutewatch.errors import OperatorError

PREFIX = "mutewatch_"
MOST_DAYS = 3650
PRIVATE = 0o077  # the umask: nothing this process creates is readable by others


def check_settings(settings: LiveSettings) -> None:
    """Raise OperatorError for a value outside its range, and for signatures that are not as they must be."""
    if not 0 < settings.record_timeout <= 60:
        raise OperatorError(f"{PREFIX}record_timeout is {settings.record_timeout:g}; write seconds above 0, at most 60")
    if not 1 <= settings.queue_size <= 1_000_000:
        raise OperatorError(f"{PREFIX}queue_size is {settings.queue_size}; write 1 to 1,000,000 exchanges")
    if not 1024 <= settings.max_body <= 64 << 20:
        raise OperatorError(f"{PREFIX}max_body is {settings.max_body}; write 1,024 to 67,108,864 bytes")
    if not 1 <= settings.pin_ttl <= 30 * 86_400:
        raise OperatorError(f"{PREFIX}pin_ttl is {settings.pin_ttl:g}; write 1 to 2,592,000 seconds")
    for name in ("minutes_days", "counts_days"):
        if not 1 <= getattr(settings.periods, name) <= MOST_DAYS:
            raise OperatorError(f"{PREFIX}{name} is {getattr(settings.periods, name)}; write 1 to {MOST_DAYS} days")
    if settings.assume not in ("", "muted", "unmuted"):
        raise OperatorError(f"{PREFIX}assume is {settings.assume!r}; write muted or unmuted, or leave it out")
    if settings.metrics:
        metrics_address(settings.metrics)
    if settings.canary_max_age < 0:
        raise OperatorError(f"{PREFIX}canary_max_age is {settings.canary_max_age}; write seconds, or 0 for no canary")
    if not settings.hosts:
        raise OperatorError(f"{PREFIX}without leaves no host to open: leave out less")
    if settings.mute_file is not None and not settings.mute_file.is_file():
        raise OperatorError(f"{PREFIX}mute: there is no file {settings.mute_file}")


def metrics_address(text: str) -> tuple[str, int]:
    """Return host and port of `text`, 127.0.0.1 where it names no host. Raises OperatorError."""
    host, colon, port = text.rpartition(":")
    host = host.strip("[]") if colon else ""
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise OperatorError(f"{PREFIX}metrics is {text!r}; write host:port, such as 127.0.0.1:9464")
    return host or "127.0.0.1", int(port)


def prepare_state(state: Path) -> StateDirectory:
    """Make `state` a directory of ours with mode 0700, and every file this process creates private.

    An existing directory is never changed: it may be somebody else's (/tmp), so one that others can enter is
    refused. The umask is the process's: mitmproxy writes key logs and flow dumps 0644 otherwise.
    """
    os.umask(PRIVATE)
    found = open_state(state)
    if state.stat().st_uid != os.geteuid():
        raise OperatorError(f"state directory {state} belongs to another user; name one of your own")
    return found
