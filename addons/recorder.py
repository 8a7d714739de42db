"""The seam between the live door and the core: what the proxy needs of it, in one place.

The core (signatures, pipeline, store) is reached through these two functions and this protocol only.
A test passes its own `Recorder` and host patterns to `mute_audit.MuteAudit`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from mutewatch.limits import DEFAULT_LIMITS
from mutewatch.records import Exchange

QUEUE_SIZE = 10_000  # exchanges; a minute of 10,000 clients that send one message a minute


@dataclass(frozen=True, slots=True)
class LiveSettings:
    """What the operator chose for the live door, checked (see `live_settings.py`)."""

    state: Path  # directory for store and log, mode 0700
    record_timeout: float = 2.0  # seconds one message waits for its commit before it is forwarded anyway
    queue_size: int = QUEUE_SIZE  # exchanges not yet committed
    activity: bool = False  # guess activities too: off unless asked for
    max_body: int = DEFAULT_LIMITS.body  # bytes; a longer body is counted, not read


class Recorder(Protocol):
    """Takes exchanges to disk. Built, used and closed on one thread, the writer's."""

    def record(self, exchanges: Sequence[Exchange]) -> None:
        """Feed and commit all of `exchanges`, durably, in one transaction; raise if that failed.

        After a failure the same exchanges come again, later, alone or with others: that call must have the
        effect the first would have had. An exchange comes twice when its response is known (`status`), and
        the second may come first if the first had to be tried again.
        """
        ...

    def tick(self, now: datetime) -> None:
        """Judge and commit what time alone has decided. Called about once a minute."""
        ...

    def close(self) -> None:
        """Commit what is left and let go of the store."""
        ...


BuildRecorder = Callable[[LiveSettings], Recorder]


def build_recorder(settings: LiveSettings) -> Recorder:
    """Return the recorder of the core, with its store open in the state directory."""
    # By name, because the core's factory knows every room of the core and is only needed in the proxy itself.
    return cast(Recorder, import_module("mutewatch.live").build_recorder(settings))


def telemetry_hosts() -> tuple[str, ...]:
    """Return the host patterns of all signatures, such as `tsa*.webex.com`; `*` stays inside one label."""
    signatures = import_module("mutewatch.signatures").load_signatures()
    return tuple(sorted({host for signature in signatures for host in signature.hosts}))
