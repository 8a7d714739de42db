"""`python -m tests.meeting FOLDER` writes the sample meeting."""

import sys
from pathlib import Path

from tests.meeting.record import record

record(Path(sys.argv[1]))
