"""The seam between the live door and the core: what the proxy needs of it, in one place.

The core (pipeline, store) is reached through this function and this protocol only.
A test passes its own `Recorder` and host patterns to `mute_audit.MuteAudit`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from addons.export_files import NO_EXPORT, ExportFiles, ExportSettings
from mutewatch import compose
from mutewatch.config import StateDirectory
from mutewatch.judged import Judged
from mutewatch.limits import DEFAULT_LIMITS
from mutewatch.mitigate import OBSERVE_ALL, Decision, Policies
from mutewatch.records import Exchange
from mutewatch.retention import FOR_A_WHILE, Periods, Tidied
from mutewatch.signatures import known_signatures, own_files, telemetry_hosts
from mutewatch.signatures.choice import Choice, choose
from mutewatch.signatures.matcher import Matcher
from mutewatch.uninspected import Passed

QUEUE_SIZE = 10_000  # exchanges; a minute of 10,000 clients that send one message a minute


@dataclass(frozen=True, slots=True)
class LiveSettings:
    """What the operator chose for the live door, checked (see `live_settings.py`)."""

    state: Path  # directory for store and log, mode 0700
    record_timeout: float = 2.0  # seconds one message waits for its commit before it is forwarded anyway
    queue_size: int = QUEUE_SIZE  # exchanges not yet committed
    activity: bool = False  # guess what could be inferred: only where the operator asks for it
    show_clients: bool = False  # names as on the wire, not pseudonyms
    max_body: int = DEFAULT_LIMITS.body  # bytes; a longer body is counted, not read
    mute_file: Path | None = None  # when clients were muted, for what no message tells
    policies: Policies = OBSERVE_ALL  # what is sent of telemetry messages
    strict: bool = False  # refuse what is not recorded in time
    refuses_pinned: bool = (
        False  # refuse clients that refuse our certificate each time, instead of letting them through
    )
    pin_ttl: float = 86_400.0  # seconds for which a client that refused our certificate is let through
    assume: str = ""  # "muted" or "unmuted" where nothing tells; "": unknown
    metrics: str = ""  # host:port of /metrics and /healthz; "": off
    periods: Periods = FOR_A_WHILE  # for how long the store keeps what it knows
    leaf_dir: Path | None = None  # of leaves made elsewhere; None: they are minted here
    passphrase_file: Path | None = None  # of the authority's keys; None: a systemd credential, or there is none
    exports: ExportSettings = NO_EXPORT  # where flagged minutes are told of
    canary_max_age: int = 900  # seconds; three runs of a canary every five minutes. 0: no canary is expected
    signatures: Path | None = None  # folder of the operator's own; None: as `own_files` finds it
    without: tuple[str, ...] = ()  # ids and apps of signatures that are left out

    @property
    def holds_back(self) -> bool:
        """May a message be kept from leaving as it is? Then none may leave while it still comes in."""
        return self.policies.touch or self.strict

    @property
    def choice(self) -> Choice:
        """Which of the bundled signatures and the operator's are used. OperatorError."""
        return choose(known_signatures(self.signatures), self.without)

    @property
    def hosts(self) -> tuple[str, ...]:
        """Patterns of what is opened: the hosts of those that are used. OperatorError."""
        return telemetry_hosts(self.choice.used)


class Recorder(Protocol):
    """Takes exchanges to disk. Built, used and closed on one thread, the writer's.

    `judged`: what was judged so far; any thread may look at it.
    """

    judged: Judged

    def record(self, exchanges: Sequence[Exchange]) -> Sequence[Decision]:
        """Feed and commit all of `exchanges`, durably, and say what is to become of each; raise if that failed.

        With none: commit what an earlier, failed call could not, or raise again. So the thread learns whether
        the store works. After a failure the same exchanges come again, alone or with others, and must end up
        as if they had come once. An exchange comes twice when its response is known (`status`), and the
        second may come first where the first had to be tried again.
        """
        ...

    def forget(self, exchanges: Sequence[Exchange]) -> None:
        """These failed and do not come again: they are counted as lost, and must not be committed after all."""
        ...

    def note(self, passed: Sequence[Passed]) -> None:
        """Keep what was not inspected; raise if that failed: then all of it is kept for the next call."""
        ...

    def use(self, policies: Policies, periods: Periods, matcher: Matcher) -> None:
        """From now on, decide by these policies, keep for these periods, and look for what `matcher` knows.

        Called on any thread.
        """
        ...

    def tick(self, now: datetime) -> None:
        """Judge and commit what time alone has decided. Called about once a minute."""
        ...

    def tidy(self, now: datetime) -> Tidied:
        """Delete a few rows that have been kept for long enough, in some milliseconds. Called about once a second."""
        ...

    def deliver(self) -> bool:
        """Write some of what is to be exported to its files; is there perhaps more? Raise if that failed."""
        ...

    def close(self) -> None:
        """Commit what is left and let go of the store."""
        ...


BuildRecorder = Callable[[LiveSettings], Recorder]


def build_recorder(settings: LiveSettings) -> Recorder:
    """Return the recorder of the core, with its store open in the state directory."""
    assumed = {"muted": True, "unmuted": False}.get(settings.assume)
    options = compose.PipelineOptions(
        settings.mute_file,
        assumed,
        settings.activity,
        settings.show_clients,
        own_files(settings.signatures),
        settings.without,
    )
    files = ExportFiles(settings.exports)
    return compose.build_recorder(
        StateDirectory(settings.state),
        options,
        datetime.now(UTC),
        settings.policies,
        settings.periods,
        files.write if files else None,
    )
