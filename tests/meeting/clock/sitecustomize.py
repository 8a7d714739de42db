"""Moves the wall clock of a Python process: `time.time` is that of the file $MEETING_CLOCK, seconds to add.

Python imports this by its name when the folder is on PYTHONPATH. Only what asks `time.time` is moved (mitmproxy's
timestamps are); waiting, certificates and monotonic clocks are not.
"""

import os
import time
from pathlib import Path

_real, _offset = time.time, Path(os.environ["MEETING_CLOCK"])


def _moved() -> float:
    return _real() + float(_offset.read_text(encoding="ascii"))


time.time = _moved
