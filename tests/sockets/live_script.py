"""What mitmdump loads: the real addon, and behind it the real core with the signature of the tests.

`MUTEWATCH_TEST_RECORDER=sqlite`: the recorder of the tests instead, which can be made to wait.
"""

import os
from datetime import UTC, datetime

from addons.mute_audit import MuteAudit
from addons.recorder import LiveSettings, Recorder
from mutewatch import compose
from mutewatch.config import StateDirectory
from mutewatch.signatures import load_signatures
from tests.live_recorder import SqliteRecorder
from tests.sockets.talk import HOST, SIGNATURE_FILE


def build(settings: LiveSettings) -> Recorder:
    if os.environ.get("MUTEWATCH_TEST_RECORDER") == "sqlite":
        return SqliteRecorder(settings)
    options = compose.PipelineOptions(activity=False, show_clients=True, signatures=(SIGNATURE_FILE,))
    state = StateDirectory(settings.state)
    return compose.build_recorder(state, options, datetime.now(UTC), settings.policies, settings.periods)


addons = [MuteAudit(hosts=lambda: (HOST,), build=build, signatures=lambda: load_signatures(SIGNATURE_FILE))]
