"""`mutewatch demo`: the main job on the bundled sample, a synthetic meeting of twenty minutes."""

import tempfile
from pathlib import Path

from mutewatch.commands.scan import Exit, ScanOptions, scan
from mutewatch.compose import PipelineOptions

SAMPLE = Path(__file__).parents[1] / "sample"


def demo() -> Exit:
    """Scan the sample capture, which carries its TLS secrets."""
    path = SAMPLE / "meeting.pcapng"
    print("A synthetic meeting: its client mutes, unmutes and mutes again, and reports its microphone's")
    print(f"gain every minute. Reading {path.name}, a capture that carries its TLS secrets.\n")
    with tempfile.TemporaryDirectory() as state:
        # the names in the sample are made up, so they may be shown
        return scan([path], ScanOptions(Path(state)), PipelineOptions(show_clients=True))
