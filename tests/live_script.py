"""What mitmdump loads in the tests: the real addon with a recorder of the tests behind it.

`MUTEWATCH_TEST_GATE=raises` makes every decision of the gate fail.
"""

import os

from addons.gate import Gate
from addons.mute_audit import MuteAudit
from tests.live_recorder import HOSTS, SqliteRecorder


def raising(self: Gate, host: str | None) -> bool:
    raise RuntimeError("the gate is broken")


if os.environ.get("MUTEWATCH_TEST_GATE") == "raises":
    Gate.inspects = raising  # type: ignore[method-assign]

addons = [MuteAudit(hosts=lambda: HOSTS, build=SqliteRecorder)]
