"""Each app end to end: a scripted client and server in its published format, through a real mitmdump and from a capture.

The same five minutes in all of them (tests/apps/script.py): what is found is what the script says, at both doors alike.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mutewatch.compose import PipelineOptions, build_pipeline
from mutewatch.ports import ReadOptions
from mutewatch.records import Finding
from mutewatch.sinks.record import finding_record
from mutewatch.store import Store
from pcap_tools import read_inputs
from tests.apps.app import App
from tests.apps.buttons import discord, zoom
from tests.apps.chime import chime
from tests.apps.jitsi import jitsi, jitsi_with_xmpp
from tests.apps.live import stage
from tests.apps.recorded import write_capture
from tests.apps.script import START, TRUTH, samples
from tests.apps.teams import teams
from tests.apps.webex import webex
from tests.apps.whereby import whereby, whereby_with_signal

APPS = (
    *(jitsi(), whereby(), chime(), webex(), teams()),
    *(jitsi_with_xmpp(), whereby_with_signal(), discord(), zoom()),
)
CONNECTIONS = tuple(connection for app in APPS for connection in app.connections)
DOOR_FIELDS = ("origin", "wireshark_filter", "seen_at")  # where it was read; all else must agree, addresses and all
Record = dict[str, Any]


@dataclass(frozen=True)
class Read:
    """What a door gave: findings as records, mute events by signature, messages that could not be read."""

    findings: list[Record]
    mute_events: dict[str, int]

    def of(self, app: App) -> list[Record]:
        """The findings of an app's client."""
        return [one for one in self.findings if one["address"] in app.clients]


def records(findings: Iterable[Finding]) -> list[Record]:
    """Findings in a settled order, less what belongs to the door."""
    found = sorted(map(finding_record, findings), key=lambda one: (one["signature"], one["address"], one["minute"]))
    return [{name: value for name, value in one.items() if name not in DOOR_FIELDS} for one in found]


def scan(path: Path, keylog: Path | None = None) -> Read:
    """Read a file as `mutewatch scan` does."""
    pipeline = build_pipeline(None, PipelineOptions(show_clients=True, activity=False))
    keylogs = (keylog,) if keylog else ()
    reading = ReadOptions(keylogs=keylogs, is_host=pipeline.is_host, wants_answer=pipeline.wants_answer)
    events: dict[str, int] = {}
    for exchange in read_inputs([path], reading):
        for fact in pipeline.feed(exchange):
            events[fact.source.signature.id] = events.get(fact.source.signature.id, 0) + len(fact.mute)
    assert (pipeline.counts.undecoded, pipeline.counts.unread, pipeline.counts.unmatched) == (0, 0, 0)
    return Read(records(pipeline.finish()), events)


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Read:
    return scan(*write_capture(CONNECTIONS, tmp_path_factory.mktemp("captured")))


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, confdir: Path) -> Read:
    folder = tmp_path_factory.mktemp("live")
    with stage(folder, confdir, {one.host for one in CONNECTIONS}) as it:
        it.play(CONNECTIONS)
        assert it.proxy.stop() == 0
        status = it.proxy.status()
    assert [status[name] for name in ("unrecorded", "dropped", "lost", "hook_errors")] == [0] * 4
    with Store(it.proxy.state / "mutewatch.db") as store:
        events: dict[str, int] = {}
        for fact in store.facts_since(START.replace(year=1980), 10_000):
            events[fact.source.signature.id] = events.get(fact.source.signature.id, 0) + len(fact.mute)
        return Read(records(store.findings()), events)


def told(findings: list[Record]) -> list[Record]:
    """What the script can say of findings."""
    return [
        {
            "starts_at": one["starts_at"],
            "verdict": one["verdict"],
            "rule": one["rule"],
            "signature": one["signature"],
            "mute_basis": one["mute_basis"],
            "muted_seconds": one["muted_seconds"],
            "varies": [name for name, field in one["information"].items() if field["distinct"] > 1],
            "samples": (one["samples"]["number"], one["samples"]["muted"]),
        }
        for one in findings
    ]


def truth(app: App) -> list[Record]:
    return [
        {
            "starts_at": f"2026-03-02T09:{minute:02}:00.000Z",
            "verdict": true.verdict,
            "rule": true.rule,
            "signature": app.signature,
            "mute_basis": [app.basis.value],
            "muted_seconds": 60 if minute in (1, 2, 3) else 0,
            "varies": list(app.fields) if true.moves else [],
            "samples": samples(app.polled, app.period, minute),
        }
        for minute, true in enumerate(TRUTH)
        if app.fields
    ]


@pytest.mark.parametrize("app", APPS, ids=lambda app: app.name)
def test_from_a_capture_each_minute_is_what_the_script_says(app: App, captured: Read) -> None:
    assert told(captured.of(app)) == truth(app)


@pytest.mark.live
@pytest.mark.parametrize("app", APPS, ids=lambda app: app.name)
def test_through_the_live_proxy_it_is_the_same(app: App, captured: Read, live: Read) -> None:
    assert told(live.of(app)) == truth(app)
    assert live.of(app) == captured.of(app)
