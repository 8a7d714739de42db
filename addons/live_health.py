"""Is the live door well, and if not, why: what /healthz says, and the canary's part of it.

Read from other threads than those that write; each reading is one number or one small file. The reasons are ours:
nothing in them came from a client.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from addons.gate import Gate, allow_hosts
from addons.writer import Writer
from mutewatch.config import CANARY_RESULT

WRITER_SECONDS = 30.0  # a commit takes milliseconds, half a second for a lock, and is followed by a few tries at once
RESULT_BYTES = 64 << 10
NOT_OURS = "www.example.com"  # reserved (RFC 2606): no signature is for it


@dataclass(frozen=True, slots=True)
class CanaryState:
    """The newest result: how old it is, in seconds, and whether all its checks held."""

    age: float
    passed: bool


def canary_state(state: Path, now: datetime) -> CanaryState | None:
    """Return what `mutewatch canary` left in the state directory; None if there is nothing, or nothing readable."""
    try:
        descriptor = os.open(state / CANARY_RESULT, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            found = json.loads(file.read(RESULT_BYTES))
        at = datetime.fromisoformat(found["at"])
        age = (now - at).total_seconds()
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return CanaryState(max(0.0, age), found["passed"] is True)


class Health:
    """What stands and what does not.

    `opened`: mitmproxy's `allow_hosts` as it is now; `canary_max_age`: in seconds, 0 if no canary is expected, as it
    is now.
    """

    def __init__(
        self,
        state: Path,
        gate: Gate,
        writer: Writer,
        opened: Callable[[], Sequence[str]],
        canary_max_age: Callable[[], float],
    ) -> None:
        self._state, self._gate, self._writer, self._opened = state, gate, writer, opened
        self._canary_max_age = canary_max_age
        self._since = time.monotonic()

    def faults(self) -> Iterator[str]:
        """Yield what is wrong, in words; nothing if all is well."""
        if not self._writer.is_open:
            yield "writer: it has stopped, nothing is recorded"
        elif self._writer.idle_seconds > WRITER_SECONDS:
            yield f"writer: it has been busy with one task for more than {WRITER_SECONDS:.0f} s"
        if not self._writer.store_works:
            yield "store: the last write failed"
        yield from self._gate_faults()
        yield from self._canary_faults()

    def _gate_faults(self) -> Iterator[str]:
        """Does the gate still do what it is there for, and does mitmproxy's own say the same?"""
        try:
            own = [pattern.replace("*", "0") for pattern in self._gate.patterns]
            if not all(self._gate.inspects(host) for host in own):
                yield "gate: it lets telemetry hosts pass"
            if self._gate.inspects(NOT_OURS):
                yield "gate: it opens hosts that are none of ours"
        except Exception as error:  # a gate that raises lets everything pass
            yield f"gate: it fails: {type(error).__name__}"
        if list(self._opened()) != allow_hosts(self._gate.patterns):
            yield "gate: mitmproxy's allow_hosts is not what the signatures say"

    def _canary_faults(self) -> Iterator[str]:
        max_age = self._canary_max_age()
        if not max_age:
            return
        newest = canary_state(self._state, datetime.now(UTC))
        if newest is None:
            if time.monotonic() - self._since > max_age:
                yield "canary: none has run; start one, or set mutewatch_canary_max_age to 0"
            return
        if newest.age > max_age:
            yield f"canary: the newest is more than {max_age:.0f} s old"
        if not newest.passed:
            yield "canary: the newest failed; see canary.json in the state directory"
