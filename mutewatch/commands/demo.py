"""`mutewatch demo`: the main job on the bundled sample, a synthetic meeting of twenty minutes."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path

from mutewatch.commands.page import made_words, write_page
from mutewatch.commands.report import load
from mutewatch.commands.scan import Exit, ScanOptions, scan
from mutewatch.compose import PipelineOptions
from mutewatch.errors import OperatorError
from mutewatch.report.build import ReportOptions
from mutewatch.report.payload import SAMPLE


def demo(folder: Path) -> Exit:
    """Scan the sample capture, which carries its TLS secrets; write `folder`/report.html and name it at the end."""
    path = SAMPLE / "meeting.pcapng"
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OperatorError(f"cannot make {folder}: {error.strerror}; name another one with --folder") from None
    print("A synthetic meeting: its client mutes, unmutes and mutes again, and reports its microphone's")
    print(f"gain every minute. Reading {path.name}, a capture that carries its TLS secrets.\n")
    with tempfile.TemporaryDirectory() as kept:
        state, store, report = Path(kept), Path(kept) / "demo.db", folder / "report.html"
        # the names in the sample are made up, so they may be shown
        code = scan([path], ScanOptions(state, store=store), PipelineOptions(show_clients=True))
        made = made_words(f"the bundled sample, {path.name}", datetime.now(UTC))
        write_page(store, report, ReportOptions(made=made), state)
        _, summary = load(store)
    print(f"\n{next(iter(summary.lines()))}\nWhich minutes, how bad, what now: open this page in a browser.")
    print(report.resolve().as_uri())
    print("Your own: mutewatch scan FILE --store my.db")
    return code
