"""Minutes for the benchmark of the store: clients in one long call each, every minute a message and a finding."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from msgspec.structs import replace

from mutewatch.identity import Names
from mutewatch.mute import MuteTracker
from mutewatch.pipeline import Pipeline
from mutewatch.records import Decoded, Finding, Verdict
from mutewatch.signatures import load_signatures
from tests.facts import tsa_exchange

BEGIN: Final = datetime(2026, 3, 2, tzinfo=UTC)
VERDICTS: Final = (Verdict.FLAGGED, *[Verdict.UNMUTED] * 3, Verdict.INERT)  # one minute in five is flagged


def template() -> tuple[Decoded, Finding]:
    """One message of a muted client and its finding, as the pipeline makes them."""
    through = Pipeline(load_signatures(), Names(b"k" * 32), MuteTracker(assume=True))
    (facts,) = through.feed(tsa_exchange(1))
    (finding,) = through.finish()
    return facts, finding


def batches(minutes: int, clients: int, size: int) -> Iterator[tuple[list[Decoded], list[Finding]]]:
    """Yield `minutes` minutes in batches of `size`, in order of time, all clients side by side."""
    template_facts, template_finding = template()
    facts: list[Decoded] = []
    found: list[Finding] = []
    for number in range(minutes):
        count, who = divmod(number, clients)
        client, ends_at = f"client-{who:012x}", BEGIN + timedelta(minutes=count + 1)
        assert template_finding.source is not None
        source = replace(
            template_finding.source, seen_at=ends_at, body_sha256=f"{number:064x}", address=f"client-a{who:011x}"
        )
        starts_at = ends_at - timedelta(minutes=1)
        mine: dict[str, Any] = {"client": client, "call": f"call-{who}", "starts_at": starts_at, "ends_at": ends_at}
        report = replace(template_facts.audio[0], source=source, number=count, **mine)
        facts.append(replace(template_facts, source=source, audio=(report,)))
        verdict = VERDICTS[(count // 10 + who) % len(VERDICTS)]
        found.append(replace(template_finding, source=source, verdict=verdict, minute=str(count), **mine))
        if len(found) == size or number == minutes - 1:
            yield facts, found
            facts, found = [], []
