"""Gateways that somebody broke: the canary fails, and says in one line what it is."""

import os
import resource
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import pytest

from addons.launch import addon_path
from certs.authority import Authority
from certs.leaves import issue
from mutewatch.mitigate import Action, Policies, Policy, When
from mutewatch.redact import Blank
from mutewatch.signatures import telemetry_hosts
from tests.canary_support import gateway, run_canary
from tests.live_support import ROOT, Proxy, Scene, free_port

pytestmark = pytest.mark.live
DAY = timedelta(days=1)
PAGE = 4096  # bytes of SQLite's page


def test_a_store_that_is_full_is_named(live: Scene) -> None:
    with gateway(live) as proxy:
        proxy.wait_status(messages=0)
        # as on a disk that is full: an entry of the write-ahead log is longer, the status file is not
        resource.prlimit(proxy.process.pid, resource.RLIMIT_FSIZE, (PAGE, PAGE))
        code, reasons = run_canary(proxy)
        assert proxy.status()["record_failures"] > 0
    assert "recorded before it left (tsa3.webex.com): it was not in the store when it arrived" in reasons
    assert (code, "it is not in the store: the gateway has not written its store" in reasons) == (3, True), reasons


def test_a_mitmproxy_without_the_addon_is_named(live: Scene) -> None:
    proxy = live.make()
    proxy.start_bare([])
    try:
        proxy.wait_ready()
        code, reasons = run_canary(proxy)
    finally:
        proxy.end()
    assert (code, "did not take the canary's ticket" in reasons) == (3, True), reasons
    assert live.upstream.received == []


def test_a_next_proxy_that_is_gone_is_named(live: Scene) -> None:
    dead = free_port()
    with gateway(live, mode=f"upstream:http://127.0.0.1:{dead}") as proxy:
        code, reasons = run_canary(proxy)
    assert (code, f"the next proxy, 127.0.0.1:{dead}, does not answer" in reasons) == (3, True), reasons


def test_a_certificate_that_has_run_out_is_named(live: Scene, tmp_path: Path) -> None:
    authority, now = Authority(tmp_path / "elsewhere"), datetime.now(UTC)
    hosts = telemetry_hosts()
    authority.create(hosts, now - 30 * DAY)
    issuer, root, folder = authority.issuer(hosts, now), authority.certificate("root"), tmp_path / "leaves"
    issue(issuer, root, ["*.webex.com"], folder, now - 30 * DAY, days=29)
    issue(issuer, root, ["*.wbx2.com"], folder, now, days=30)
    with gateway(live, live={"activity": False, "leaf_dir": folder}) as proxy:
        code, reasons = run_canary(proxy, authority=folder / "root.crt")
        proxy.wait_status(without_leaf=1)
        assert "was valid until" in proxy.text()
    assert code == 3
    assert "opened by the gateway (tsa3.webex.com): the connection was not opened" in reasons


def test_a_clock_that_nobody_has_set_is_named(live: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    class Unset(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Unset":
            return cls(1970, 1, 1, 0, 7, tzinfo=tz)

    monkeypatch.setattr("mutewatch.commands.canary.datetime", Unset)
    proxy = live.make()
    proxy.state.mkdir(mode=0o700)
    proxy.port = live.relay.port
    assert run_canary(proxy, authority=live.upstream.ca_file) == (
        3,
        "clock: this machine's clock says 1970-01-01: set it",
    )


# -- a signature that somebody edited, in an installation of its own ---------------------------------------------


@pytest.fixture
def installation(tmp_path: Path) -> Path:
    """A copy of all packages, whose signatures can be edited."""
    for package in ("mutewatch", "addons", "certs", "classifier", "pcap_tools"):
        shutil.copytree(ROOT / package, tmp_path / "installed" / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "installed"


EDITED = {
    "its elements": ('each = "document.telemetrics"', 'each = "document.renamed"', "could not read it: nothing at"),
    "its steps": ('["base64", "gzip", "json"]', '["base64", "json"]', "could not read it: JSON: not UTF-8"),
    "its event": (
        "== 'client.mediaquality.event'",
        "== 'client.else'",
        "could not read it: names audio-derived values, and none of them was found",
    ),
    "one field": ("audioMaxGain = {", "audioMaxPain = {", "the signature did not find audioMaxGain in it"),
}


@pytest.mark.parametrize("edit", EDITED)
def test_a_signature_that_was_edited_so_that_it_does_not_read_is_named(
    live: Scene, installation: Path, edit: str
) -> None:
    before, after, said = EDITED[edit]
    change(installation, before, after)
    environment = {"PYTHONPATH": str(installation)}
    script = installation / "addons/mute_audit.py"
    with live.proxy(script=script, environment=environment, live={"activity": False}) as proxy:
        done = canary_of(installation, proxy)
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert (done.returncode, len(failed)) == (3, 1), done.stdout + done.stderr
    assert said in failed[0]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('hosts = ["tsa*.webex.com"]', 'hosts = ["tsb*.webex.com"]', "canary: its method, host and path are none"),
        ('steps = ["first_json_value"]', 'steps = ["brotli"]', "no step 'brotli'"),
    ],
)
def test_with_a_signature_that_is_none_the_gateway_does_not_start_and_the_canary_says_why(
    live: Scene, installation: Path, before: str, after: str, said: str
) -> None:
    change(installation, before, after)
    proxy = live.make(
        script=installation / "addons/mute_audit.py",
        environment={"PYTHONPATH": str(installation)},
        live={"activity": False},
    )
    proxy.start()
    try:
        assert proxy.process.wait(60) != 0
        done = canary_of(installation, proxy)
    finally:
        proxy.end()
    lines = done.stderr.splitlines()
    assert (done.returncode, done.stdout, len(lines)) == (2, "", 1), done.stderr
    assert said in lines[0]
    assert said in proxy.text()


def change(installation: Path, before: str, after: str) -> None:
    """Edit the signature of the gains."""
    signature = installation / "mutewatch/signatures/webex_tsa_v1.toml"
    text = signature.read_text(encoding="utf-8")
    assert text.count(before) == 1
    signature.write_text(text.replace(before, after), encoding="utf-8")


def canary_of(installation: Path, proxy: Proxy) -> subprocess.CompletedProcess[str]:
    where = ["--proxy", f"http://127.0.0.1:{proxy.port}", "--ca", str(proxy.ca_file), "--state", str(proxy.state)]
    line = [sys.executable, "-m", "mutewatch", "canary", *where]
    environment = {**os.environ, "PYTHONPATH": str(installation)}
    return subprocess.run(
        line, env=environment, cwd=installation, capture_output=True, text=True, timeout=90, check=False
    )


# -- gateways that redact and block, as they are set --------------------------------------------------------------


@pytest.mark.parametrize(
    ("policies", "expected", "said"),
    [
        (Policies(Policy(Action.REDACT, When.ALWAYS, Blank.REMOVE, identifiers=True)), "redact", ""),
        (Policies(Policy(Action.BLOCK)), "block", ""),
        (Policies(), "redact", "it arrived unredacted: audioMaxGain, audioMeanGain, audioMinGain"),
        (Policies(Policy(Action.REDACT), {"webex.tsa.v1": Policy()}), "redact", "it arrived unredacted: audioMaxGain"),
        (Policies(Policy(Action.REDACT)), "observe", "it arrived changed, although nothing is to be redacted"),
        (Policies(Policy(Action.BLOCK)), "observe", "it arrived 0 times, not once"),
        (Policies(Policy(Action.REDACT)), "block", "it arrived, although it is to be blocked"),
    ],
)
def test_a_gateway_is_held_to_what_it_is_expected_to_do(
    live: Scene, policies: Policies, expected: str, said: str
) -> None:
    with live.proxy(script=addon_path(), live={"activity": False, "policies": policies}) as proxy:
        code, reasons = run_canary(proxy, expected)
    assert (code, said in reasons, bool(reasons)) == (3 if said else 0, True, bool(said)), reasons
