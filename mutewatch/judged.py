"""What was judged since the start, in nobody's name: for whoever watches the gateway from outside.

Written by one thread and read by another: a reader takes a copy at once, and adds nothing up.
"""

from collections.abc import Iterable
from datetime import datetime

from mutewatch.identity import CANARY
from mutewatch.records import Decoded, Finding, Verdict


class Judged:
    """Counts by app and verdict, from zero for the `apps` that are known; the canary's are left out.

    A minute that is judged anew counts again.
    """

    def __init__(self, apps: Iterable[str] = ()) -> None:
        self._minutes: dict[tuple[str, str], int] = {}
        self._last_report_at: dict[str, datetime] = {}
        self.expect(apps)

    def expect(self, apps: Iterable[str]) -> None:
        """Count these from now on, too. Called on any thread."""
        for app in sorted(set(apps)):
            for verdict in Verdict:
                self._minutes.setdefault((app, verdict.value), 0)

    def count(self, findings: Iterable[Finding]) -> None:
        """Take in what was committed."""
        for finding in findings:
            if finding.client != CANARY:
                key = (finding.signature.app, finding.verdict.value)
                self._minutes[key] = self._minutes.get(key, 0) + 1

    def hear(self, facts: Iterable[Decoded]) -> None:
        """Take in when clients last reported audio-derived values, by the capturing clock."""
        for decoded in facts:
            source = decoded.source
            if decoded.audio and source.seen_at is not None and source.address != CANARY:
                known = self._last_report_at.get(source.signature.app, source.seen_at)
                self._last_report_at[source.signature.app] = max(known, source.seen_at)

    def minutes(self) -> dict[tuple[str, str], int]:
        """Return how many minutes were judged, by app and verdict."""
        return dict(self._minutes)

    def last_report_at(self) -> dict[str, datetime]:
        """Return when the newest report was seen, by app; without those that have not reported."""
        return dict(self._last_report_at)
