"""What mitmdump loads: the addon, the core and the signatures as they ship, with the clock of the script."""

import time
from datetime import UTC, datetime

from addons.committer import WriterLimits
from addons.mute_audit import MuteAudit
from addons.recorder import LiveSettings, Recorder
from mutewatch import compose
from mutewatch.config import StateDirectory


def clock() -> datetime:
    """`time.time` is moved (clock/sitecustomize.py), `datetime.now` is not."""
    return datetime.fromtimestamp(time.time(), UTC)


def build(settings: LiveSettings) -> Recorder:
    options = compose.PipelineOptions(activity=False, show_clients=True)
    return compose.build_recorder(StateDirectory(settings.state), options, clock(), settings.policies, settings.periods)


# Here each message waits for the one before, so that no more would come for the same commit.
addons = [MuteAudit(build=build, limits=WriterLimits(commit_seconds=0), clock=clock)]
