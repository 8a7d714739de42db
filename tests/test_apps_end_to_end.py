"""Each app end to end: client and server by a script, in its published format, through a mitmdump and from a capture.

The same five minutes in all of them (tests/apps/script.py): what is found is what the script says, at both doors alike.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mutewatch.compose import PipelineOptions, build_pipeline
from mutewatch.flow_records import Flow, FlowOutcome
from mutewatch.ports import ReadOptions
from mutewatch.records import Decoded, Finding
from mutewatch.sinks.record import finding_record
from mutewatch.store import Store
from pcap_tools import read_inputs
from tests.apps.app import App
from tests.apps.buttons import discord, zoom
from tests.apps.chime import chime
from tests.apps.jitsi import jitsi, jitsi_cut_in_two, jitsi_that_moves, jitsi_with_xmpp
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
MUTE_EVENTS = {  # by signature, for each press of the button one; what a server tells of it is one more
    "jitsi.rtcstats": 3,
    "jitsi.xmpp": 3,
    "whereby.rtcstats": 3,
    "whereby.signal": 3 + 3,
    "chime.signal": 3,
    "webex.locus": 4 + 3,  # one press is refused; the server's is the state of the other switch
    "teams.callcontrol": 3,
    "discord.gateway": 3,
    "zoom.rwg": 3 + 3,
}
DOOR_FIELDS = ("origin", "wireshark_filter", "seen_at")  # where it was read; all else must agree, addresses and all
Record = dict[str, Any]


@dataclass(frozen=True)
class Read:
    """What a door gave: findings as records, mute events by signature, and flows of a capture."""

    findings: list[Record]
    mute_events: dict[str, int]
    flows: tuple[Flow, ...] = ()

    def of(self, app: App) -> list[Record]:
        """The findings of an app's client."""
        return [one for one in self.findings if one["address"] in app.clients]


def records(findings: Iterable[Finding]) -> list[Record]:
    """Findings in a settled order, less what belongs to the door."""
    found = sorted(map(finding_record, findings), key=lambda one: (one["signature"], one["address"], one["minute"]))
    return [{name: value for name, value in one.items() if name not in DOOR_FIELDS} for one in found]


def count(facts: Iterable[Decoded]) -> dict[str, int]:
    """Mute events by signature."""
    return dict(Counter(fact.source.signature.id for fact in facts for _ in fact.mute))


def scan(path: Path, keylog: Path | None = None) -> Read:
    """Read a file as `mutewatch scan` does."""
    pipeline = build_pipeline(None, PipelineOptions(show_clients=True, activity=False))
    keylogs = (keylog,) if keylog else ()
    flows: list[Flow] = []
    reading = ReadOptions(
        keylogs=keylogs, is_host=pipeline.is_host, wants_answer=pipeline.wants_answer, on_flow=flows.append
    )
    events = count(fact for exchange in read_inputs([path], reading) for fact in pipeline.feed(exchange))
    return Read(records(pipeline.finish()), events, tuple(flows))


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
        return Read(records(store.findings()), count(store.facts_since(START, 10_000)))


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


def test_the_capture_is_read_whole(captured: Read) -> None:
    assert [(flow.outcome, flow.detail) for flow in captured.flows] == [(FlowOutcome.DECRYPTED, "")] * len(CONNECTIONS)


@pytest.mark.live
@pytest.mark.parametrize("app", APPS, ids=lambda app: app.name)
def test_through_the_live_proxy_it_is_the_same(app: App, captured: Read, live: Read) -> None:
    assert told(live.of(app)) == truth(app)
    assert live.of(app) == captured.of(app)


def test_every_press_of_a_button_is_told_and_makes_no_minute_by_itself(captured: Read) -> None:
    assert captured.mute_events == MUTE_EVENTS
    assert {one["signature"] for one in captured.findings} == {app.signature for app in APPS if app.fields}


@pytest.mark.live
def test_and_the_live_proxy_keeps_every_one(live: Read) -> None:
    assert live.mute_events == MUTE_EVENTS


def test_a_client_that_changes_its_network_in_mid_call_stays_joined(tmp_path: Path) -> None:
    app = jitsi_that_moves(150)
    found = scan(*write_capture(app.connections, tmp_path)).findings
    assert [(one["minute"][14:16], one["verdict"], one["address"][-2:], one["mute_basis"]) for one in found] == [
        ("00", "unmuted", "31", ["client-address"]),
        ("01", "flagged", "31", ["client-address"]),
        ("02", "inert", "31", ["client-address"]),
        ("02", "inert", "32", ["client-address"]),
        ("03", "inert", "32", ["client-address"]),
        ("04", "unmuted", "32", ["client-address"]),
    ]


def test_behind_one_address_nobody_is_taken_for_another(tmp_path: Path) -> None:
    client = "127.0.0.33"
    neighbours = [jitsi_with_xmpp(f"neighbour {n}", client, 20_033 + n, f"S-{5 + n}") for n in range(2)]
    both = [connection for app in neighbours for connection in app.connections]
    found = scan(*write_capture(both, tmp_path)).findings
    assert [(one["verdict"], one["address_shared"]) for one in found] == [
        ("inert" if minute == 2 else "mute-unknown", True) for minute in range(len(TRUTH)) for _ in neighbours
    ]  # silence is that, whoever was muted
    assert sum("several clients at one address" in one["reason"] for one in found) == 8


@pytest.mark.live
def test_flow_dump_and_har_of_a_websocket_give_the_same(captured: Read, tmp_path: Path, confdir: Path) -> None:
    app = jitsi()
    dump, har = tmp_path / "jitsi.mitm", tmp_path / "jitsi.har"
    with stage(
        tmp_path, confdir, {one.host for one in app.connections}, ["-w", str(dump), f"--set=hardump={har}"]
    ) as it:
        it.play(app.connections)
        it.proxy.stop()
    assert scan(dump).findings == captured.of(app)
    nobody = {"client": "unknown", "address": None}  # a HAR does not say who asked
    assert scan(har).findings == [{**one, **nobody} for one in captured.of(app)]


@pytest.mark.live
def test_after_a_restart_changes_without_their_beginning_are_told_and_all_said_again_goes_on(
    tmp_path: Path, confdir: Path
) -> None:
    first, second = jitsi_cut_in_two(100, 140)
    with stage(tmp_path, confdir, {first.host}) as it:
        it.play([first])
        it.restart()
        it.play([second])
        assert it.proxy.stop() == 0
    with Store(it.proxy.state / "mutewatch.db") as store:
        found, (inputs,) = records(store.findings()), store.inputs()
    lost = sorted((one for one in found if one["verdict"] == "undecoded"), key=lambda one: str(one["ends_at"]))
    assert [(one["ends_at"][11:19], one["call"]) for one in lost] == [
        (f"09:0{at}", "S-3") for at in ("1:45", "1:55", "2:05", "2:15")
    ]
    assert {one["reason"] for one in lost} == {"a change to a report whose beginning was not seen"}
    assert inputs["counts"]["undecoded"] == 4
    minutes = told([one for one in found if one["verdict"] != "undecoded"])
    assert [(one["verdict"], one["samples"], one["muted_seconds"]) for one in minutes] == [
        ("unmuted", (6, 0), 0),
        ("flagged", (4, 3), 60),
        ("flagged", (4, 4), 60),  # the total has grown since the last that was seen, and all of that time was muted
        ("inert", (6, 6), 60),
        ("unmuted", (6, 0), 0),
    ]
    assert minutes[2]["varies"] == ["totalAudioEnergy"]
