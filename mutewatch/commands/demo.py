"""`mutewatch demo`: the main job on the bundled sample, a synthetic meeting of twenty minutes."""

import shutil
import tempfile
from pathlib import Path

from mutewatch.commands.scan import Exit, ScanOptions, scan
from mutewatch.compose import PipelineOptions

SAMPLE = Path(__file__).parents[1] / "sample"


def demo() -> Exit:
    """Scan the sample capture, or, where tshark is not installed, the flow dump of the same meeting."""
    path = SAMPLE / ("meeting.pcapng" if shutil.which("tshark") else "meeting.mitm")
    print("A synthetic meeting: its client mutes, unmutes and mutes again, and reports its microphone's")
    print(f"gain every minute. Reading {path.name}" + _why(path) + ".\n")
    with tempfile.TemporaryDirectory() as state:
        # the names in the sample are made up, so they may be shown
        return scan([path], ScanOptions(Path(state)), PipelineOptions(show_clients=True))


def _why(path: Path) -> str:
    if path.suffix == ".pcapng":
        return ", a capture that carries its TLS secrets"
    return ", a mitmproxy flow dump (the capture beside it needs tshark, which is not installed)"
