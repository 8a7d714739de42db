"""What mitmdump loads in `rotation`: the addon as it ships, but it writes its log often, and puts it aside soon."""

import os

from addons.committer import WriterLimits
from addons.mute_audit import MuteAudit

LOG_BYTES = int(os.environ.get("MUTEWATCH_BENCH_LOG_BYTES", "4000"))

addons = [MuteAudit(limits=WriterLimits(tick_seconds=0.02, log_bytes=LOG_BYTES))]
