"""An operator's own signatures: used wherever the bundled ones are, refused by file and field, never left out."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from addons import service_unit
from addons.settings_sources import WrongSettingsError, load
from bench.faults import kill_live
from certs.authority import Authority
from mutewatch.api import scan
from mutewatch.commands.live import check_signatures_for_service, printed
from mutewatch.config import StateDirectory
from mutewatch.errors import OperatorError
from mutewatch.report.payload import app_of
from mutewatch.signatures import FOLDER, Signature, known_signatures, load_signature, load_signatures, telemetry_hosts
from mutewatch.signatures.fixtures import run_fixtures
from mutewatch.signatures.own import FOLDER_VARIABLE, own_files
from mutewatch.store import Store
from tests.facts import at, tsa_body, tsa_event
from tests.live_support import OTHER, ROOT, Scene, wait_until

EXTENSION = 'extends = "webex.tsa.v1"\nid = "example.tsa"\nhosts = ["tsa.example.org"]\n'
TELLABLE = [signature for signature in load_signatures() if signature.hosts]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one signature of one's own."""
    path = tmp_path / "signatures"
    path.mkdir()
    (path / "own.toml").write_text(EXTENSION)
    return path


@pytest.fixture(autouse=True)
def no_leftovers() -> Iterator[None]:
    """What is read once in the life of a process is read anew for each test, and after the last."""
    known_signatures.cache_clear()
    yield
    known_signatures.cache_clear()
    load_signatures.cache_clear()


def run(*arguments: object, **variables: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **{name: str(value) for name, value in variables.items()}}
    command = [sys.executable, "-m", "mutewatch", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def beacon(folder: Path, host: str = "tsa.example.org") -> Path:
    """An exchange log with one message to `host`."""
    path = folder / "meeting.jsonl"
    record = {"method": "POST", "host": host, "path": "/metric/v1", "sent_at": at(1).isoformat()}
    path.write_text(json.dumps(record | {"body": tsa_body(tsa_event(1, at(1))).decode()}) + "\n")
    return path


# -- extends ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", TELLABLE, ids=lambda one: one.id)
def test_every_signature_that_is_told_by_hosts_can_be_extended_in_three_lines(base: Signature, tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(f'extends = "{base.id}"\nid = "example.own"\nhosts = ["meet.example.org", "meet.lan"]\n')
    own = load_signature(path)
    assert [result.name for result in run_fixtures(own) if not result.holds] == []
    assert (own.id, own.app, own.version, own.confidence) == ("example.own", base.app, base.version, base.confidence)
    assert (own.messages, own.redact, len(own.fixtures)) == (base.messages, base.redact, len(base.fixtures))
    assert own.is_for("meet.lan")
    assert not any(own.is_for(host.replace("*", "0")) for host in base.hosts)
    assert own.canary is None


def test_an_extension_says_its_own_evidence_beside_the_bases(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(
        EXTENSION + 'title = "Ours"\nsource = ["capture of 2026-02-03"]\n'
        'client_versions = "42.1"\nlast_checked = 2026-02-03\n'
    )
    own, base = load_signature(path), next(one for one in load_signatures() if one.id == "webex.tsa.v1")
    assert own.source == (*base.source, "capture of 2026-02-03")
    assert (own.title, own.client_versions, own.last_checked.isoformat()) == ("Ours", "42.1", "2026-02-03")


def test_the_three_lines_of_the_document_are_a_signature(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "signatures.md").read_text(encoding="utf-8")
    (lines,) = re.findall(r"```toml\n(extends = .*?)```", text, re.DOTALL)
    path = tmp_path / "own.toml"
    path.write_text(lines)
    assert load_signature(path).hosts
    assert len(lines.splitlines()) == 3


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (EXTENSION.replace("webex.tsa.v1", "webex.tsa"), "extends: no bundled signature 'webex.tsa'; there are "),
        (EXTENSION.replace('["tsa.example.org"]', "[]"), "hosts: Tuple should have at least 1 item"),
        (EXTENSION.replace("tsa.example.org", "*.org"), "hosts.0: Value error, a host is lower-case labels"),
        (EXTENSION.replace("example.tsa", "Example"), "id: String should match pattern"),
        (EXTENSION + 'confidence = "captured"\n', "confidence: Extra inputs are not permitted"),
        (EXTENSION.replace("example.tsa", "webex.tsa.v1"), "id: there is already a signature webex.tsa.v1"),
        ("extends = [[", "not TOML"),
        ((FOLDER / "webex_locus.toml").read_text(), "id: there is already a signature webex.locus"),
        ((FOLDER / "webex_locus.toml").read_text().replace('app = "Webex"', "app = 1"), "app: Input should be a valid"),
    ],
)
def test_a_faulty_file_in_the_folder_is_refused_by_name_and_field(folder: Path, text: str, fault: str) -> None:
    (folder / "own.toml").write_text(text)
    with pytest.raises(OperatorError) as caught:
        known_signatures(folder)
    assert str(caught.value).startswith(f"{folder / 'own.toml'}: {fault}")
    assert "\n" not in str(caught.value)


# -- the folder ---------------------------------------------------------------------------------------------------


def test_a_folder_is_named_or_in_a_variable_or_where_settings_are(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = tmp_path / "config" / "mutewatch" / "signatures"
    usual.mkdir(parents=True)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert own_files() == ()
    (usual / "b.toml").touch()
    (usual / "a.toml").touch()
    (usual / "notes.md").touch()
    assert own_files() == (usual / "a.toml", usual / "b.toml")
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    assert own_files() == (folder / "own.toml",)
    assert own_files(usual) == (usual / "a.toml", usual / "b.toml")


def test_only_the_usual_folder_may_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert own_files() == ()
    missing = tmp_path / "nowhere"
    with pytest.raises(OperatorError, match=f"the folder of signatures {missing}: No such file"):
        own_files(missing)
    monkeypatch.setenv(FOLDER_VARIABLE, str(missing))
    with pytest.raises(OperatorError, match="No such file"):
        own_files()


def test_without_a_home_there_is_no_usual_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert own_files() == ()


# -- where they are used --------------------------------------------------------------------------------------------


def test_a_scan_reads_what_an_own_signature_names_under_its_own_id(folder: Path, tmp_path: Path) -> None:
    path = beacon(tmp_path)
    unread = run("scan", path, "-f", "jsonl", "--assume", "muted", MUTEWATCH_STATE=tmp_path / "state")
    assert '"kind": "finding"' not in unread.stdout
    done = run(
        *("scan", path, "-f", "jsonl", "--assume", "muted", "--signatures", folder), MUTEWATCH_STATE=tmp_path / "state"
    )
    first = json.loads(done.stdout.splitlines()[0])
    assert (done.returncode, first["verdict"], first["signature"], first["app"]) == (
        *(0, "flagged", "example.tsa"),
        "Webex",
    )


def test_a_scan_refuses_a_faulty_own_signature_and_reads_nothing(folder: Path, tmp_path: Path) -> None:
    (folder / "own.toml").write_text(EXTENSION + "colour = 1\n")
    done = run("scan", beacon(tmp_path), "--signatures", folder, MUTEWATCH_STATE=tmp_path / "state")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"mutewatch: {folder / 'own.toml'}: colour: Extra inputs are not permitted\n"


def test_notebooks_and_reports_know_them_too(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    found = scan(beacon(tmp_path), assume="muted", state=tmp_path / "state", activity=False)
    assert [one.signature.id for one in found.findings] == ["example.tsa"]
    assert app_of("example.tsa") == "Webex"


def test_a_server_does_not_start_with_a_faulty_one(folder: Path, tmp_path: Path) -> None:
    (folder / "own.toml").write_text("x = 1")
    done = run("serve", "--state", tmp_path / "state", **{FOLDER_VARIABLE: folder})
    assert (done.returncode, done.stderr.startswith(f"mutewatch: {folder / 'own.toml'}: ")) == (2, True)


def test_the_pac_file_names_their_hosts(folder: Path, tmp_path: Path) -> None:
    done = run("live", "--print-pac", "--signatures", folder, "--state", tmp_path / "state")
    assert r"tsa\.example\.org" in done.stdout


def test_a_unit_is_not_made_for_signatures_that_the_service_would_not_find(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_option = load(None, {("signatures", "folder"): folder})
    with pytest.raises(OperatorError, match=r"does not find your own signatures in .*: name a folder in the file"):
        printed("unit", by_option)
    file = folder.parent / "mutewatch.toml"
    file.write_text(f'signatures.folder = "{folder}"\n')
    in_file = load(file, {})
    check_signatures_for_service(in_file)
    program = Path("/opt/mutewatch/bin/mutewatch")
    monkeypatch.setattr(service_unit, "HIDDEN", (str(folder.parent),))
    with pytest.raises(OperatorError, match=f"a service cannot see {folder}"):
        service_unit.service_unit(in_file.settings, program, None, is_state_chosen=False)
    monkeypatch.setattr(service_unit, "HIDDEN", ("/home",))
    assert "ExecStart=" in service_unit.service_unit(in_file.settings, program, None, is_state_chosen=False)


def test_mitigation_may_name_them(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "mutewatch.toml"
    rule = '[mitigation.signatures."example.tsa"]\naction = "block"\n'
    file.write_text(rule)
    with pytest.raises(WrongSettingsError, match=r"example\.tsa: no such signature"):
        load(file, {})
    file.write_text(f'signatures.folder = "{folder}"\n{rule}')
    assert load(file, {}).settings.mitigation.rule_for("example.tsa").action == "block"


def test_settings_say_what_is_wrong_in_the_folder(folder: Path, tmp_path: Path) -> None:
    (folder / "own.toml").write_text("x = 1")
    with pytest.raises(WrongSettingsError, match=r"own\.toml: "):
        load(None, {("signatures", "folder"): folder})


def test_a_host_that_the_authority_does_not_permit_is_said_with_what_to_do(folder: Path, tmp_path: Path) -> None:
    (folder / "more.toml").write_text(EXTENSION.replace("example.tsa", "example.two").replace("tsa.example", "a.lab"))
    state = StateDirectory(tmp_path / "state")
    state.root.mkdir(mode=0o700)
    Authority(state.authority).create(telemetry_hosts(), datetime.now(UTC))
    own = {"MUTEWATCH_STATE": state.root, FOLDER_VARIABLE: folder}
    wanted = "the authority does not permit a.lab.org, tsa.example.org: mutewatch ca add-host a.lab.org tsa.example.org"
    told = run("check", COLUMNS=200, **own)
    assert told.returncode == 2
    assert wanted in told.stdout
    assert run("ca", "add-host", **own).returncode == 0
    assert "mutewatch ca rotate --finish, once every client" in run("check", COLUMNS=200, **own).stdout
    assert run("ca", "rotate", "--finish", **own).returncode == 0
    assert "does not permit" not in run("check", COLUMNS=200, **own).stdout
    assert "every host of the signatures is permitted already" in run("ca", "add-host", **own).stdout


@pytest.mark.live
def test_the_live_proxy_opens_what_they_name_and_a_changed_file_needs_a_restart(live: Scene, folder: Path) -> None:
    own = folder / "own.toml"
    own.write_text(EXTENSION.replace("tsa.example.org", OTHER))
    proxy = live.make()
    proxy.start_command("clients.assume = 'muted'", "--signatures", str(folder))
    try:
        proxy.wait_ready()
        body = kill_live.telemetry_body(client=1, number=1, seed=1)
        assert proxy.post(OTHER, body, path=kill_live.PATH) == 204
        proxy.wait_status(recorded=1)
        own.write_text(own.read_text() + 'title = "Changed"\n')
        proxy.process.send_signal(signal.SIGHUP)
        told = "files of your own signatures have changed: restart mutewatch"
        wait_until(lambda: told in proxy.text(), "the reload's answer")
        assert proxy.stop() == 0
    finally:
        proxy.end()
    with Store(proxy.state / "mutewatch.db") as store:
        assert {finding.signature.id for finding in store.findings()} == {"example.tsa"}
