"""What the operator leaves out of a gateway that runs: not opened, a reload changes it, and the canary says so."""

import contextlib
import http.client
import json
import signal
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from addons.gateway_remarks import remarks
from addons.settings import Settings
from addons.settings_sources import load
from bench.faults import kill_live
from mutewatch.commands.canary import CanaryOptions, canary, options_for
from mutewatch.commands.report import load as load_store
from mutewatch.config import open_state
from mutewatch.history import History
from mutewatch.store import Store
from tests.canary_support import gateway, run_canary
from tests.live_support import METRICS, OTHER, TELEMETRY, Proxy, Scene, wait_until


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "mutewatch.toml"


# -- the canary ----------------------------------------------------------------------------------------------------


def test_a_canary_that_nothing_would_judge_fails_with_the_reason(config: Path, tmp_path: Path) -> None:
    config.write_text('signatures.without = ["webex.tsa.v1"]\n[mitigation]\naction = "redact"\n')
    options = options_for(config, open_state(tmp_path / "s").root, None, tmp_path / "ca.pem", None, None)
    assert canary(options) == 3
    told = json.loads((tmp_path / "s" / "canary.json").read_text())
    assert told["reasons"] == [
        "sent: webex.tsa.v1: left out by the operator; no signature has a canary that tells audio-derived values: "
        "write canary.stale_after = 0"
    ]


def test_a_canary_believes_the_gateway_that_runs(tmp_path: Path) -> None:
    state = open_state(tmp_path / "s").root
    (state / "live_status.json").write_text(json.dumps({"left_out": ["webex.tsa.v1", "of.another"]}))
    assert canary(CanaryOptions(state, "http://127.0.0.1:9", tmp_path / "ca.pem")) == 3
    assert "left out by the operator" in (state / "canary.json").read_text()


def test_check_says_that_no_canary_can_come(config: Path) -> None:
    text = 'metrics.listen = "127.0.0.1:9464"\nsignatures.without = ["Webex"]'
    config.write_text(text)
    (told,) = (one for one in remarks(load(config, {}).settings, is_running=True) if one.name == "canary")
    assert (told.is_good, told.text.startswith("webex.tsa.v1: left out by the operator; ")) == (False, True)
    config.write_text(f"{text}\ncanary.stale_after = 0")
    assert not [one for one in remarks(load(config, {}).settings, is_running=True) if one.name == "canary"]
    assert not [one for one in remarks(Settings(), is_running=True) if one.name == "canary"]


@pytest.mark.live
def test_a_canary_goes_with_what_is_left_and_says_what_is_not(live: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    with gateway(live, live={"without": ("webex.clientmetrics",)}) as proxy:
        proxy.wait_status(pending=0)
        assert run_canary(proxy) == (0, "")
        proxy.wait_status(canaries=1, messages=1)
    told = capsys.readouterr().out
    assert "ok    left out (webex.clientmetrics): by the operator, so nothing is sent for it" in told
    assert "ok    judged (webex.tsa.v1): mute-unknown" in told


# -- as it runs ----------------------------------------------------------------------------------------------------


# What a test asks for with the wrong authority must not be let through the next time.
COMMON = 'clients.activity = false\npins.policy = "fail"\n'


class Client:
    """A connection through the proxy that stays."""

    def __init__(self, proxy: Proxy, host: str, trusting: Path) -> None:
        self._connection = proxy.connect(host, trusting)

    def post(self) -> int:
        body = kill_live.telemetry_body(client=1, number=1, seed=1)
        self._connection.request("POST", kill_live.PATH, body=body)
        response = self._connection.getresponse()
        response.read()
        return response.status

    @property
    def is_cut(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            self._connection.auto_open = 0
            return self.post() != 204
        return True


def said_to_be_left_out(proxy: Proxy) -> object:
    status: dict[str, object] = {**proxy.status()}
    return status.get("left_out")


@contextlib.contextmanager
def started(live: Scene, settings: str) -> Iterator[Proxy]:
    """A gateway as an operator starts it."""
    proxy = live.make()
    proxy.start_command(COMMON + settings)
    try:
        proxy.wait_ready()
        yield proxy
        assert proxy.stop() == 0
    finally:
        proxy.end()
        print(proxy.text())


def is_shown(proxy: Proxy, host: str, authority: Path) -> bool:
    """Does a new client that trusts this authority alone get an answer?"""
    try:
        return proxy.post(host, b"{}", trusting=authority, path="/nothing") == 204
    except ssl.SSLCertVerificationError:
        return False


def reload(proxy: Proxy, settings: str, **counted: int) -> None:
    proxy.settings_file.write_text(COMMON + settings)
    proxy.process.send_signal(signal.SIGHUP)
    proxy.wait_status(**counted)


@pytest.mark.live
def test_a_host_that_is_left_out_keeps_its_certificate_and_a_reload_changes_which(live: Scene) -> None:
    theirs = live.upstream.ca_file
    with started(live, 'signatures.without = ["webex.clientmetrics"]') as proxy:
        ours = proxy.ca_file
        assert (is_shown(proxy, TELEMETRY, ours), is_shown(proxy, TELEMETRY, theirs)) == (True, False)
        assert (is_shown(proxy, METRICS, ours), is_shown(proxy, METRICS, theirs)) == (False, True)
        assert "left out by the operator: webex.clientmetrics" in proxy.text()
        passing, opened = Client(proxy, METRICS, theirs), Client(proxy, TELEMETRY, ours)
        assert (passing.post(), opened.post()) == (204, 204)
        proxy.wait_status(messages=2, recorded=2)
        assert said_to_be_left_out(proxy) == ["webex.clientmetrics"]

        reload(proxy, "", reloads=1)
        assert "signatures.without: ['webex.clientmetrics'] becomes []" in proxy.text()
        assert (passing.post(), opened.post()) == (204, 204)  # nothing changes for a connection that stands
        assert (is_shown(proxy, METRICS, ours), is_shown(proxy, METRICS, theirs)) == (True, False)

        reload(proxy, 'signatures.without = ["webex.tsa.v1"]', reloads=2)
        assert opened.is_cut  # it was open, and must not be
        assert (is_shown(proxy, TELEMETRY, ours), is_shown(proxy, TELEMETRY, theirs)) == (False, True)
        assert Client(proxy, TELEMETRY, theirs).post() == 204
        assert is_shown(proxy, METRICS, ours)
        proxy.wait_status(messages=5, recorded=5)  # of the host that is left out, those before

        reload(proxy, 'signatures.without = ["webex.tsa"]', reloads=2, reloads_refused=1)
        assert "no signature and no app is called 'webex.tsa'" in proxy.text()
        assert is_shown(proxy, TELEMETRY, theirs)
        state = proxy.state
    findings, summary = load_store(state / "mutewatch.db")
    assert len(findings) == 1
    assert summary.left_out == ("webex.clientmetrics", "webex.tsa.v1")
    with Store(state / "mutewatch.db") as store, store.begin() as connection:
        told = History(connection).uninspected(datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
    kept = [(one.host, one.address) for one in told if one.reason == "left out by the operator"]
    assert set(kept) == {("webex.clientmetrics", None), ("webex.tsa.v1", None)}


@pytest.mark.live
def test_a_reload_cuts_nothing_that_was_not_opened(live: Scene) -> None:
    context = ssl.create_default_context(cafile=str(live.upstream.ca_file))
    with started(live, "") as proxy, proxy.tunnel(TELEMETRY, OTHER, context) as passing:
        for settings in ("", 'signatures.without = ["Discord"]'):
            if settings:
                reload(proxy, settings, reloads=1)
            passing.sendall(f"POST /x HTTP/1.1\r\nHost: {OTHER}\r\nContent-Length: 0\r\n\r\n".encode())
            assert passing.recv(4096).startswith(b"HTTP/1.1 204")
        assert "connections that were cut" not in proxy.text()


@pytest.mark.live
def test_an_addon_that_mitmdump_loads_by_itself_is_told_by_its_option(live: Scene) -> None:
    with live.proxy(live={"without": ("discord.gateway",)}) as proxy:
        wait_until(lambda: said_to_be_left_out(proxy) == ["discord.gateway"], "it is said")
