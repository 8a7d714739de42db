"""What mitmdump loads in `clock_step`: the addon as it ships, in a process whose wall clock a file sets.

`$MUTEWATCH_BENCH_CLOCK` names a file with the seconds to add. Moved are `time.time`, which stamps mitmproxy's flows,
and the clock of the writer's thread; what OpenSSL checks certificates by is not, and monotonic clocks are not, as
with a real step. (Debian's libfaketime 0.9.10 cannot do it: under it `time.sleep` of Python 3.11 fails with EINVAL.)
"""

import os
import time
from datetime import UTC, datetime, tzinfo
from pathlib import Path

from addons import writer
from addons.committer import WriterLimits
from addons.mute_audit import MuteAudit

_real, _file = time.time, Path(os.environ["MUTEWATCH_BENCH_CLOCK"])


def _moved() -> float:
    return _real() + float(_file.read_text(encoding="ascii"))


class _Datetime(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> "_Datetime":
        return cls.fromtimestamp(_moved(), tz or UTC)


time.time = _moved
writer.datetime = _Datetime  # type: ignore[attr-defined]

addons = [MuteAudit(limits=WriterLimits(tick_seconds=0.5))]
