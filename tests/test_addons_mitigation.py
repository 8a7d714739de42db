"""Redaction and blocking as they run: what a real server gets through a real mitmdump."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from addons.launch import addon_path
from bench.faults.kill_live import PATH, STORE, telemetry_body
from mutewatch.identity import Names
from mutewatch.mitigate import Action, Answer, Policies, Policy, When
from mutewatch.pipeline import Pipeline
from mutewatch.records import Exchange, Origin
from mutewatch.signatures import load_signatures
from mutewatch.store import Store
from tests.live_support import OTHER, ROOT, SECONDS, TELEMETRY, Proxy, Scene, sha256
from tests.redact_scene import Capture, Sending, redacting, send_all, why_not_captured

pytestmark = pytest.mark.live

AUDIO = telemetry_body(client=1, number=1, seed=1)


def choices(*, action: Action, when: When = When.MUTED, **more: Any) -> dict[str, Any]:
    """Return what makes a proxy with this policy; nobody says who is muted."""
    policies = Policies(Policy(action, when, **more))
    return {"script": addon_path(), "live": {"activity": False, "policies": policies, "assume": "muted"}}


def post(proxy: Proxy, body: bytes, how: str, host: str = TELEMETRY) -> int:
    """Post `body` plain, gzip or chunked; return the status."""
    connection = proxy.connect(host)
    try:
        if how == "chunked":
            connection.request("POST", PATH, body=iter([body[:100], body[100:]]), encode_chunked=True)
        elif how == "gzip":
            connection.request("POST", PATH, gzip.compress(body), {"Content-Encoding": "gzip", "Digest": "x=y"})
        else:
            connection.request("POST", PATH, body)
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


def gains(body: bytes) -> list[float]:
    """Return every gain that a message tells."""
    exchange = Exchange(None, None, TELEMETRY, 443, "POST", PATH, "", body, Origin("test"))
    facts = Pipeline(load_signatures(), Names(b"k" * 32)).feed(exchange)
    assert not any(one.undecoded for one in facts)
    return [float(value.value) for one in facts for report in one.audio for value in report.values]


@pytest.mark.parametrize("how", ["plain", "gzip", "chunked"])
def test_a_muted_clients_message_arrives_without_its_gains(live: Scene, how: str) -> None:
    with live.proxy(**choices(action=Action.REDACT)) as proxy:
        assert post(proxy, AUDIO, how) == 204
        proxy.wait_status(redacted=1, recorded=1, unrecorded=0)
    [received] = live.upstream.received
    body = gzip.decompress(received.body) if how == "gzip" else received.body
    assert all(gains(AUDIO))
    assert not any(gains(body))


def test_identifiers_go_too_if_that_is_asked_for(live: Scene) -> None:
    with live.proxy(**choices(action=Action.REDACT, identifiers=True)) as proxy:
        connection = proxy.connect(TELEMETRY)
        connection.request("POST", f"{PATH}?appid=1&sitename=acme", AUDIO)
        assert connection.getresponse().status == 204
    [received] = live.upstream.received
    assert received.path == f"{PATH}?appid=1&sitename="
    assert b"call-1-1-1" in AUDIO
    assert b"call-1-1-1" not in received.body


def test_the_record_says_what_was_sent_instead(live: Scene) -> None:
    with live.proxy(**choices(action=Action.REDACT)) as proxy:
        assert post(proxy, AUDIO, "plain") == 204
        assert proxy.stop() == 0
    with Store(proxy.state / STORE) as store:
        [finding] = store.findings()
    assert finding.source
    assert finding.source.sent == "redacted"
    assert finding.verdict == "flagged"  # what would have left
    assert finding.source.body_sha256 == sha256(AUDIO)


@pytest.mark.parametrize("body", [b"{", AUDIO[:-30], b"\x00" * 100])
def test_a_message_that_cannot_be_read_is_refused(live: Scene, body: bytes) -> None:
    with live.proxy(**choices(action=Action.REDACT)) as proxy:
        assert post(proxy, body, "plain") == 403
        proxy.wait_status(unredacted=1, recorded=1)
    assert live.upstream.received == []


def test_and_one_that_is_too_large_to_be_read(live: Scene) -> None:
    made = choices(action=Action.REDACT)
    made["live"]["max_body"] = 4096
    with live.proxy(**made) as proxy:
        for how in ("plain", "chunked"):
            assert post(proxy, AUDIO + b" " * 8000, how) == 403
        proxy.wait_status(unredacted=2, too_large=2)
    assert live.upstream.received == []


@pytest.mark.parametrize(("answer", "status"), [(Answer.OK, 200), (Answer.NO_CONTENT, 204), (Answer.FORBIDDEN, 403)])
def test_a_blocked_message_is_answered_and_does_not_leave(live: Scene, answer: Answer, status: int) -> None:
    with live.proxy(**choices(action=Action.BLOCK, block_as=answer)) as proxy:
        connection = proxy.connect(TELEMETRY)
        connection.request("POST", PATH, AUDIO)
        with connection.getresponse() as response:
            assert (response.status, response.headers["content-length"] is None) == (status, status == 204)
            assert response.read() == (b"{}" if status == 200 else b"")
        proxy.wait_status(blocked=1, recorded=1)
    assert live.upstream.received == []


def test_a_blocked_connection_can_be_reset(live: Scene) -> None:
    with live.proxy(**choices(action=Action.BLOCK, block_as=Answer.RESET)) as proxy:
        with pytest.raises((ConnectionError, OSError)):
            post(proxy, AUDIO, "plain")
        proxy.wait_status(blocked=1)
    assert live.upstream.received == []


def test_what_is_not_recorded_in_time_does_not_leave_either(live: Scene) -> None:
    made = choices(action=Action.REDACT)
    made["script"] = Path(__file__).with_name("live_script.py")
    made["live"]["record_timeout"] = 0.2
    with live.proxy(**made) as proxy:
        (proxy.state / "block").touch()
        assert post(proxy, AUDIO, "plain") == 503
        (proxy.state / "block").unlink()
        proxy.wait_status(refused=1, unrecorded=0)
    assert live.upstream.received == []


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("stream_large_bodies=20m", "stream_large_bodies lets bodies leave before they are recorded"),
        ("tcp_hosts=webex", "tcp_hosts lets messages pass"),
    ],
)
def test_it_does_not_start_where_messages_could_leave_before_they_were_looked_at(
    live: Scene, option: str, said: str
) -> None:
    proxy = live.make(**choices(action=Action.REDACT), raw=("--set", option))
    proxy.start()
    try:
        assert proxy.process.wait(SECONDS) != 0
    finally:
        proxy.end()
    assert said in proxy.text()


def test_mitmdump_that_listens_before_the_addon_stands_does_not_start(live: Scene) -> None:
    proxy = live.make()
    wanted = ("mutewatch_action=redact", f"mutewatch_state={proxy.state}")
    proxy.start_bare(["-s", str(addon_path()), *(f"--set={option}" for option in wanted)])
    try:
        assert proxy.process.wait(SECONDS) != 0
    finally:
        proxy.end()
    assert "redact, block and strict need mitmdump -n and mutewatch_serve=true" in proxy.text()


def test_others_are_not_touched(live: Scene) -> None:
    with live.proxy(**choices(action=Action.BLOCK, when=When.ALWAYS)) as proxy:
        assert proxy.post(OTHER, AUDIO, trusting=live.upstream.ca_file, path=PATH) == 204
    assert live.upstream.hashes == [sha256(AUDIO)]


def test_a_capture_and_the_gateways_own_keys_prove_what_left(tmp_path: Path, confdir: Path) -> None:
    """As docs/mitigation.md says."""
    if why := why_not_captured():
        pytest.skip(why)
    keylog, policy = tmp_path / "keys.log", Policy(Action.REDACT)
    environment = {"SSLKEYLOGFILE": str(keylog)}
    with redacting(tmp_path, confdir, policy, environment=environment) as (proxy, far_end):
        capture = Capture(tmp_path / "left.pcap", far_end.port)
        with capture.running():
            assert send_all(proxy, [Sending("1", AUDIO, "plain"), Sending("2", AUDIO, "h2")]) == {"1": 200, "2": 200}
        assert proxy.stop() == 0
    with Store(proxy.state / STORE) as store:
        recorded = {finding.source.sent_sha256 for finding in store.findings() if finding.source}
    done = subprocess.run(
        [sys.executable, "-m", "mutewatch", "scan", capture.path, "--keylog", keylog, "--format", "jsonl"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "MUTEWATCH_STATE": str(tmp_path / "analyst")},
        capture_output=True,
        text=True,
        check=False,
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert {line["verdict"] for line in found if line["type"] == "finding"} == {"inert"}
    assert {line["body_sha256"] for line in found if line["type"] == "finding"} == recorded
    assert (found[-1]["matched"], done.returncode) == (2, 0), done.stderr
