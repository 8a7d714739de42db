"""Stops the wall clock of a Python process: `time.time` is what stands in the file $APPS_CLOCK, in seconds since 1970.

Python imports this by its name when the folder is on PYTHONPATH. Only what asks `time.time` is told this (mitmproxy's
timestamps are); waiting, certificates and monotonic clocks go on.
"""

import os
import time
from pathlib import Path

_file = Path(os.environ["APPS_CLOCK"])


def _told() -> float:
    return float(_file.read_text(encoding="ascii"))


time.time = _told
