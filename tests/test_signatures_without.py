"""Signatures that the operator leaves out: neither opened nor judged, and never without a word."""

import asyncio
import json
import logging
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mitmproxy.websocket import WebSocketMessage
from wsproto.frame_protocol import Opcode

from addons import leaf_source
from addons.counters import HookCounters
from addons.gate import allow_hosts
from addons.recorder import LiveSettings
from addons.settings_sources import WrongSettingsError, load
from addons.ws_messages import Websockets
from certs.authority import Authority
from mutewatch.api import scan
from mutewatch.commands.live import check_signatures_for_service
from mutewatch.compose import PipelineOptions, build_pipeline, build_recorder
from mutewatch.config import StateDirectory, open_state
from mutewatch.errors import OperatorError
from mutewatch.history import History
from mutewatch.identity import Names
from mutewatch.mitigate import OBSERVE_ALL, Action, Policies, Policy
from mutewatch.records import Exchange
from mutewatch.report.payload import Role, overview
from mutewatch.retention import FOR_A_WHILE
from mutewatch.signatures import load_signatures, telemetry_hosts
from mutewatch.signatures.choice import VARIABLE, choose
from mutewatch.signatures.matcher import Matcher
from mutewatch.store import Store
from mutewatch.uninspected import Reason
from tests.facts import at, exchange, locus_exchange, tsa_body, tsa_event, tsa_exchange
from tests.live_support import ROOT

KNOWN = load_signatures()
TSA = exchange(tsa_body(tsa_event(1, at(1))), sent_at=at(1), status=None)
EXTENSION = 'extends = "{}"\nid = "example.own"\nhosts = ["tsa3.webex.com"]\n'


def run(*arguments: object, code: int = 0, without: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command of ours; `without`: what the variable says."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", VARIABLE: without}
    command = [sys.executable, "-m", "mutewatch", *map(str, arguments)]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert told.returncode == code, told.stdout + told.stderr
    return told


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Settings of a gateway that leaves two apps alone."""
    file = tmp_path / "mutewatch.toml"
    file.write_text('signatures.without = ["discord.gateway", "Zoom"]\n')
    return file


@pytest.fixture
def meeting(tmp_path: Path) -> Path:
    """An exchange log of a client that pressed mute, and of its gains a minute later."""
    path = tmp_path / "meeting.jsonl"
    pressed, said = locus_exchange(0, muted=True), tsa_exchange(2)
    path.write_text("".join(json.dumps(record(one)) + "\n" for one in (pressed, said)))
    return path


def record(one: Exchange) -> dict[str, object]:
    sent_at = one.sent_at.isoformat() if one.sent_at else None
    said: dict[str, object] = {
        "method": one.method,
        "host": one.host,
        "path": one.path,
        "status": one.status,
        "sent_at": sent_at,
    }
    return said | {"body": (one.body or b"").decode()}


# -- which ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("without", "left_out"),
    [
        ([], []),
        (["discord.gateway"], ["discord.gateway"]),
        (["Discord"], ["discord.gateway"]),
        (["discord", "DISCORD.gateway"], ["discord.gateway"]),
        (["microsoft teams", "zoom.rwg"], ["teams.callcontrol", "teams.onecollector", "zoom.rwg"]),
        (["Jitsi Meet"], ["jitsi.rtcstats", "jitsi.xmpp"]),
    ],
)
def test_an_id_leaves_out_one_and_an_app_all_of_its_own(without: list[str], left_out: list[str]) -> None:
    choice = choose(KNOWN, without)
    assert list(choice.left_out_ids) == left_out
    assert [*choice.used, *choice.left_out] == sorted(KNOWN, key=lambda one: (one in choice.left_out, one.id))


@pytest.mark.parametrize("name", ["discord.*", "", "Teams", "x\ny", "discord.gateway "])
def test_a_name_that_nothing_has_is_refused_with_those_that_there_are(name: str) -> None:
    with pytest.raises(OperatorError, match=r"there are .*discord\.gateway.*; of .*Discord.*Zoom") as refused:
        choose(KNOWN, ["Zoom", name])
    assert repr(name) in str(refused.value)
    assert "\n" not in str(refused.value)


# -- what is judged ------------------------------------------------------------------------------------------------


def test_what_is_left_out_is_neither_judged_nor_counted_as_a_message_that_nobody_knows() -> None:
    pipeline = build_pipeline(None, PipelineOptions(activity=False, without=("webex.tsa.v1",)))
    assert not pipeline.is_host("tsa3.webex.com")
    assert pipeline.is_host("locus-a.wbx2.com")
    assert pipeline.feed(TSA) == []
    assert (pipeline.counts.matched, pipeline.counts.unmatched) == (0, 0)


@pytest.mark.parametrize("left_out", ["webex.tsa.v1", "example.own"])
def test_of_two_that_know_a_message_only_the_other_judges_it(tmp_path: Path, left_out: str) -> None:
    own = tmp_path / "own.toml"
    own.write_text(EXTENSION.format("webex.tsa.v1"))
    both = build_pipeline(None, PipelineOptions(activity=False, signatures=(own,)))
    assert {fact.source.signature.id for fact in both.feed(TSA)} == {"webex.tsa.v1", "example.own"}
    one = build_pipeline(None, PipelineOptions(activity=False, signatures=(own,), without=(left_out,)))
    assert {fact.source.signature.id for fact in one.feed(TSA)} == {"webex.tsa.v1", "example.own"} - {left_out}


@pytest.mark.parametrize("action", [Action.OBSERVE, Action.REDACT, Action.BLOCK])
def test_at_a_host_that_another_opens_its_messages_pass_unread_and_strange_ones_are_counted(
    tmp_path: Path, action: Action
) -> None:
    (tmp_path / "own.toml").write_text(EXTENSION.format("jitsi.rtcstats"))
    options = PipelineOptions(activity=False, signatures=(tmp_path / "own.toml",), without=("webex.tsa.v1",))
    recorder = build_recorder(open_state(tmp_path / "s"), options, at(0), Policies(Policy(action)))
    strange = exchange(b'{"audioMaxGain": 40, "audioLevel": 1}', path="/elsewhere", sent_at=at(1), status=None)
    known, unknown = recorder.record([TSA, strange])
    assert (known.answer, known.body, known.is_known, unknown.is_known) == (None, None, True, False)
    assert (recorder.pipeline.counts.unmatched, recorder.pipeline.counts.matched) == (1, 0)


def test_a_recorder_goes_over_to_another_choice_between_two_messages(tmp_path: Path) -> None:
    recorder = build_recorder(open_state(tmp_path / "s"), PipelineOptions(activity=False), at(0))
    for without, matched in ((["Webex"], 0), ([], 1), (["webex.tsa.v1"], 1), ([], 2)):
        choice = choose(KNOWN, without)
        recorder.use(OBSERVE_ALL, FOR_A_WHILE, Matcher(choice.used, choice.left_out))
        recorder.record([TSA])
        assert recorder.pipeline.counts.matched == matched


def test_an_app_that_is_judged_from_now_on_is_counted_from_zero(tmp_path: Path) -> None:
    options = PipelineOptions(activity=False, without=("Discord",))
    recorder = build_recorder(open_state(tmp_path / "s"), options, at(0))
    assert ("Discord", "flagged") not in recorder.judged.minutes()
    recorder.use(OBSERVE_ALL, FOR_A_WHILE, Matcher(KNOWN))
    assert recorder.judged.minutes()["Discord", "flagged"] == 0


@pytest.mark.parametrize("left_out", [True, False])
def test_its_websocket_messages_pass_uncounted_and_strange_ones_are_counted(left_out: bool) -> None:
    counters, notes = HookCounters(), list[object]()
    reader = Websockets(counters, lambda *_, **_more: None, lambda *told: notes.append(told))
    live: Any = SimpleNamespace(knows=lambda _: False, is_left_out=lambda _: left_out)
    flow: Any = SimpleNamespace(client_conn=None)
    asyncio.run(reader.take(live, flow, WebSocketMessage(Opcode.TEXT, True, b"{}"), TSA))
    assert (counters.websocket_messages, len(notes)) == ((0, 0) if left_out else (1, 1))


# -- settings ------------------------------------------------------------------------------------------------------


def test_settings_name_them_in_the_file_in_a_variable_or_by_option(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = load(config, {}).settings.signatures.choice.left_out_ids
    assert ids == ("discord.gateway", "zoom.rwg")
    monkeypatch.setenv(VARIABLE, "Microsoft Teams, discord.gateway,")
    ids = load(config, {}).settings.signatures.choice.left_out_ids
    assert ids == ("discord.gateway", "teams.callcontrol", "teams.onecollector")
    chosen = load(config, {("signatures", "without"): ["webex.locus"]}).settings.signatures
    assert chosen.choice.left_out_ids == ("webex.locus",)


EVERYTHING = json.dumps(sorted({one.app for one in KNOWN}))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ('["discrod"]', ": no signature and no app is called 'discrod'; there are chime.signal, "),
        ('"Discord"', ' is \'Discord\': write a list of signatures or apps: ["discord.gateway", "Zoom"]'),
        ("[1]", ' is 1: write a list of signatures or apps: ["discord.gateway", "Zoom"]'),
        ("[[]]", " is []: write a list of signatures or apps"),
        (EVERYTHING, " leaves no host to open: leave out less, or run no gateway"),
    ],
)
def test_a_fault_says_where_it_is_and_what_to_write(tmp_path: Path, value: str, said: str) -> None:
    file = tmp_path / "mutewatch.toml"
    file.write_text(f"signatures.without = {value}")
    with pytest.raises(WrongSettingsError) as wrong:
        load(file, {})
    (line,) = wrong.value.faults
    assert line.startswith(f"{file}: signatures.without{said}")


def test_a_fault_in_the_variable_or_the_option_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WrongSettingsError, match=r"^--without: no signature and no app is called 'x'"):
        load(None, {("signatures", "without"): ["x"]})
    monkeypatch.setenv(VARIABLE, "Zoom,y")
    with pytest.raises(WrongSettingsError, match=rf"^{VARIABLE}: no signature and no app is called 'y'"):
        load(None, {})


def test_mitmproxy_is_never_told_to_open_nothing_for_it_would_open_everything() -> None:
    with pytest.raises(ValueError, match="would open everything"):
        allow_hosts(())


def test_a_wrong_name_stops_the_check_and_the_start_in_one_line(config: Path, tmp_path: Path) -> None:
    config.write_text('signatures.without = ["discord.x"]')
    told = run("check", "--config", config, "--state", tmp_path / "s", code=2)
    assert "no signature and no app is called 'discord.x'; there are" in told.stdout
    told = run("live", "--config", config, "--state", tmp_path / "s", code=2)
    assert told.stderr.startswith(f"mutewatch: {config}: signatures.without: no signature and no app is called")
    assert len(told.stderr.splitlines()) == 1


@pytest.mark.parametrize("option", ["mutewatch_without=discord.gateway", "mutewatch_signatures=/etc"])
def test_what_allow_hosts_is_made_of_is_no_option_of_mitmproxy(option: str, tmp_path: Path) -> None:
    told = run("live", "--set", option, "--state", tmp_path / "s", code=2)
    assert "allow_hosts is made of it: mutewatch live --" in told.stderr


def test_check_shows_what_is_left_out(config: Path, tmp_path: Path) -> None:
    told = run("check", "--running", "--config", config, "--state", tmp_path / "s").stdout
    assert 'signatures.without = ["discord.gateway", "Zoom"] # ' in told
    assert "left out" in told
    assert "discord.gateway, zoom.rwg: neither opened nor judged, as the operator wants" in told
    assert "Zoom" not in next(line for line in told.splitlines() if "fixtures hold" in line)


def test_a_service_leaves_out_what_its_file_says_and_no_unit_is_printed_where_that_is_less(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_signatures_for_service(load(config, {}))
    with pytest.raises(OperatorError, match=r"a service would not leave out zoom\.rwg: say so in the file"):
        check_signatures_for_service(load(config, {("signatures", "without"): ["zoom.rwg"]}))
    monkeypatch.setenv(VARIABLE, "Discord")
    with pytest.raises(OperatorError, match="a service would not leave out Discord"):
        check_signatures_for_service(load(config, {}))


# -- what goes with the gateway ------------------------------------------------------------------------------------


def test_clients_are_not_told_to_send_its_hosts_here(config: Path, tmp_path: Path) -> None:
    told = run("live", "--print-pac", "--config", config, "--state", tmp_path / "s").stdout
    assert "tsa" in told
    assert "discord" not in told
    assert "zoom" not in told
    assert "discord" in run("live", "--print-pac", "--state", tmp_path / "s").stdout


def test_a_new_authority_does_not_permit_its_hosts(tmp_path: Path) -> None:
    told = run("ca", "init", "--without", "Discord", "--without", "zoom.rwg", "--state", tmp_path / "s").stdout
    assert "webex.com" in told
    assert "discord.gg" not in told
    assert "zoom.us" not in told
    run("ca", "status", "--state", tmp_path / "s", without="Discord,Zoom")
    said = run("ca", "status", "--without", "Discord", "--state", tmp_path / "s", code=1).stderr
    assert "does not permit zoom.us: mutewatch ca add-host" in said
    leaves = tmp_path / "leaves"
    run("ca", "issue", "--out", leaves, "--without", "Discord", "--without", "Zoom", "--state", tmp_path / "s")
    assert not [path.name for path in leaves.iterdir() if "discord" in path.name]
    run("ca", "init", "--without", "Discrod", "--state", tmp_path / "other", code=2)


def test_a_folder_of_own_signatures_is_an_option_of_ca_report_serve_and_show_too(tmp_path: Path, meeting: Path) -> None:
    folder = tmp_path / "signatures"
    folder.mkdir()
    (folder / "own.toml").write_text(EXTENSION.format("webex.tsa.v1").replace("tsa3.webex.com", "tsa.example.org"))
    told = run("ca", "init", "--signatures", folder, "--state", tmp_path / "s").stdout
    assert "example.org" in told
    meeting.write_text(meeting.read_text().replace("tsa3.webex.com", "tsa.example.org"))
    store, page = tmp_path / "s.db", tmp_path / "page.html"
    run("scan", meeting, "--signatures", folder, "--store", store, "--state", tmp_path / "s")
    run("report", "--store", store, "-o", page, "--signatures", folder, "--state", tmp_path / "s")
    assert '"apps":["Webex"]' in page.read_text()
    assert "audioMaxGain" in run("show", meeting, "--signatures", folder).stdout
    (folder / "own.toml").write_text("x = 1")
    said = run("serve", "--signatures", folder, "--state", tmp_path / "s", code=2).stderr
    assert said.startswith(f"mutewatch: {folder / 'own.toml'}: ")


def test_the_list_says_which_a_gateway_leaves_out(config: Path) -> None:
    told = run("signatures", "list", "--config", config).stdout
    assert told.count("LEFT OUT") == 2
    assert "LEFT OUT" not in run("signatures", "list").stdout
    assert run("signatures", "list", without="Zoom").stdout.count("LEFT OUT") == 1


def test_hosts_that_are_opened_again_and_not_permitted_are_told_of_at_the_next_look(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = StateDirectory(tmp_path / "s")
    few = telemetry_hosts(choose(KNOWN, ["Discord"]).used)
    Authority(state.authority).create(few, datetime.now(UTC))
    source = leaf_source.LeafSource(LiveSettings(state.root), few)
    with caplog.at_level(logging.WARNING, "mutewatch.live"):
        source.look()
        assert caplog.text == ""
        source.use(telemetry_hosts())
        source.look()
    assert "the authority does not permit discord.gg: mutewatch ca add-host discord.gg" in caplog.text


# -- a report never takes it for silence ---------------------------------------------------------------------------

TOLD = "Left out by the operator, so nothing of it was looked for: webex.tsa.v1."


def test_a_scan_says_what_it_left_out_and_so_does_every_report_of_its_store(tmp_path: Path, meeting: Path) -> None:
    store, state = tmp_path / "s.db", tmp_path / "state"
    told = run("scan", meeting, "--without", "webex.tsa.v1", "--store", store, "--state", state).stdout
    assert TOLD in told
    lines = run("scan", meeting, "-f", "jsonl", "--state", state, without="webex.tsa.v1").stdout.splitlines()
    assert json.loads(lines[-1])["left_out"] == ["webex.tsa.v1"]
    assert not [line for line in lines if '"finding"' in line]
    assert TOLD in run("report", "--store", store, "--state", state).stdout
    other = tmp_path / "other.jsonl"
    other.write_bytes(meeting.read_bytes())
    run("scan", other, "--store", store, "--state", state)
    told = run("report", "--store", store, "--state", state).stdout
    assert "Left out by the operator for a part of the time: webex.tsa.v1." in told and TOLD not in told
    with Store(store) as opened, opened.begin() as connection:
        for role in Role:
            (shown,) = overview(History(connection), at(0), at(60), role, names=Names(b"k"))["uninspected"]
            assert (shown["reason"], shown["host"], shown["first"]) == (Reason.LEFT_OUT, "webex.tsa.v1", None)
    whole = run("scan", meeting, "--store", store, "--state", state).stdout
    assert "Left out" not in whole + run("report", "--store", store, "--state", state).stdout


def test_a_wrong_name_stops_a_scan_before_anything_is_read(tmp_path: Path, meeting: Path) -> None:
    told = run("scan", meeting, "--without", "Discrod", "--state", tmp_path / "state", code=2)
    assert (told.stdout, len(told.stderr.splitlines())) == ("", 1)


def test_notebooks_leave_out_too(tmp_path: Path, meeting: Path) -> None:
    options = {"state": tmp_path / "state", "activity": False}
    assert [one.verdict for one in scan(meeting, **options).findings] == ["flagged"]  # type: ignore[arg-type]
    found = scan(meeting, without=["webex.tsa.v1"], **options)  # type: ignore[arg-type]
    assert (found.findings, found.summary.left_out) == ([], ("webex.tsa.v1",))
    assert TOLD in found.summary.lines()
