"""Settings read again on SIGHUP: a good file is taken and acts, a bad one changes nothing, neither ends the proxy."""

import asyncio
import json
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from mitmproxy import ctx
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.addons.termlog import TermLog, TermLogHandler
from mitmproxy.test import taddons

from addons.launch import mitmdump_arguments
from addons.launched import Launched
from addons.mute_audit import MuteAudit
from addons.recorder import LiveSettings
from addons.reload import LINE_LENGTH, take
from addons.settings_changes import RELOADABLE
from addons.settings_launch import launch_settings
from addons.settings_sources import FILE_BYTES, Path_, WrongSettingsError, load
from bench.faults import kill_live
from mutewatch.store import Store
from tests.live_recorder import SqliteRecorder
from tests.live_support import TELEMETRY, Proxy, Scene, sha256, wait_until
from tests.test_retention import add

NOTHING: Mapping[Path_, object] = {}


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    before = os.umask(0o077)
    monkeypatch.setenv("MUTEWATCH_STATE", str(tmp_path / "state"))
    yield
    os.umask(before)


class Gateway:
    """The addon in mitmproxy's test context, started with a settings file as `mutewatch live` starts it."""

    def __init__(self, folder: Path, text: str, arguments: Mapping[Path_, object] = NOTHING, *extra: str) -> None:
        self.file = folder / "mutewatch.toml"
        self.file.write_text(text)
        self.launched = Launched(load(self.file, arguments), arguments, extra)
        self.audit = MuteAudit(build=SqliteRecorder)
        self.reloads = self.audit._reloads

    def run(self, scenario: Callable[[], Awaitable[None]]) -> None:
        async def started() -> None:
            with taddons.context(Proxyserver(), TermLog(), self.launched, self.audit) as context:
                words = mitmdump_arguments(launch_settings(self.launched.loaded.settings, self.launched.extra))
                own = [word for word in words if word.startswith(("mutewatch_", "stream_", "termlog_"))]
                context.options.set(*(word for word in own if not word.startswith("mutewatch_serve")))
                self.reloads.begin(lambda: None)
                try:
                    await asyncio.wait_for(scenario(), 20)
                finally:
                    self.audit.done()

        asyncio.run(started())

    def take(self, text: str) -> str:
        self.file.write_text(text)
        return take(self.launched, load(self.file, self.launched.arguments))

    async def hang_up(self) -> str:
        """Send ourselves a SIGHUP; return what was said of it."""
        before = self.reloads.last
        os.kill(os.getpid(), signal.SIGHUP)
        while self.reloads.last is before:
            await asyncio.sleep(0.001)
        return str(self.reloads.last)


WITHOUT = 'signatures.without = ["discord.gateway", "Zoom"]'


# What a file may change, and how one sees that it acts.
TAKEN: list[tuple[str, Callable[[Gateway], object], object]] = [
    ("record.record_timeout = 3", lambda it: settings(it).record_timeout, 3.0),
    ("record.strict = true", lambda it: settings(it).strict, True),
    ('mitigation.when = "always"', lambda it: settings(it).policies.default.when, "always"),
    ('mitigation.action = "redact"', lambda it: settings(it).policies.default.action, "redact"),
    ('mitigation.action = "redact"', lambda _: ctx.options.stream_large_bodies, None),
    ('mitigation.action = "redact"', lambda _: ctx.options.body_size_limit, "16m"),
    ('mitigation.action = "redact"', lambda _: ctx.options.rawtcp, False),
    (
        '[mitigation.signatures."webex.tsa.v1"]\naction = "block"',
        lambda it: settings(it).policies.of("webex.tsa.v1").action,
        "block",
    ),
    ('pins.policy = "fail"', lambda it: settings(it).refuses_pinned, True),
    ("pins.ttl_seconds = 60", lambda it: it.audit._live.pins.ttl_seconds if it.audit._live else None, 60.0),
    ("retention.minutes_days = 7", lambda it: settings(it).periods.minutes_days, 7),
    ("retention.counts_days = 7", lambda it: settings(it).periods.counts_days, 7),
    (WITHOUT, lambda it: settings(it).without, ("discord.gateway", "Zoom")),
    (WITHOUT, lambda it: opens(it, "gateway.discord.gg"), False),
    (WITHOUT, lambda _: any("discord" in regex for regex in ctx.options.allow_hosts), False),
    (WITHOUT, lambda it: json.loads(it.audit.status())["left_out"], ["discord.gateway", "zoom.rwg"]),
    ("canary.stale_after = 1000", lambda it: settings(it).canary_max_age, 1000),
    ('log.level = "info"', lambda _: terminal_level(), logging.INFO),
]


def terminal_level() -> int:
    """From which level on mitmproxy prints."""
    (handler,) = (each for each in logging.getLogger().handlers if isinstance(each, TermLogHandler))
    return handler.level


def opens(gateway: Gateway, host: str) -> bool:
    assert gateway.audit._live is not None
    return gateway.audit._live.gate.inspects(host)


def settings(gateway: Gateway) -> LiveSettings:
    assert gateway.audit._live is not None
    return gateway.audit._live.settings


@pytest.mark.parametrize(("text", "seen", "expected"), TAKEN)
def test_a_change_acts_and_going_back_undoes_it(
    tmp_path: Path, text: str, seen: Callable[[Gateway], object], expected: object
) -> None:
    gateway = Gateway(tmp_path, "")

    async def scenario() -> None:
        before = seen(gateway)
        assert before != expected
        assert " becomes " in gateway.take(text)
        assert seen(gateway) == expected
        gateway.take("")
        assert seen(gateway) == before

    gateway.run(scenario)


def test_everything_that_may_change_is_tried_here() -> None:
    tried = {tuple(text.split(" =")[0].strip("[").split(".")) for text, _, _ in TAKEN}
    acted_on_elsewhere = {("canary", "interval")}
    for known in RELOADABLE:
        assert any(path[: len(known)] == known for path in tried | acted_on_elsewhere), known


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("listen.port = 9\npins.ttl_seconds = 60", "listen.port: 8080 becomes 9: restart mutewatch"),
        ("pins.ttl_seconds = 1", "pins.ttl_seconds is 1: write 10 to"),
        ("pins.ttl_secnds = 60", "pins.ttl_secnds: no such key; did you mean ttl_seconds?"),
        ("pins.ttl_seconds = 60 60", "not TOML"),
        ('mitigation.signatures."x".action = "block"', "no such signature"),
        ('"a\\nb".c = 1', "no such section"),
        (f"pins.ttl_seconds = 60{' ' * FILE_BYTES}", "longer than 65,536 bytes"),
        (f"x = {'[' * 30_000}", "not TOML"),
        ("\n".join(f"x{number} = 1" for number in range(100)), "and 97 more"),
    ],
)
def test_a_bad_file_changes_nothing_and_is_answered_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    gateway = Gateway(tmp_path, "pins.ttl_seconds = 30")

    async def scenario() -> None:
        before = (settings(gateway), dict(ctx.options.items()))
        gateway.file.write_text(text)
        told = await gateway.hang_up()
        assert f"the old ones stay: {gateway.file}: " in told
        assert said in told
        assert "\n" not in told
        assert len(told) <= LINE_LENGTH
        assert (settings(gateway), dict(ctx.options.items())) == before
        assert gateway.launched.loaded.settings.pins.ttl_seconds == 30
        assert (gateway.audit.counters.reloads, gateway.audit.counters.reloads_refused) == (0, 1)
        assert json.loads(gateway.audit.status())["reload"] == told

    gateway.run(scenario)


@pytest.mark.parametrize("kind", ["gone", "directory", "fifo"])
def test_what_is_no_file_any_more_changes_nothing(tmp_path: Path, kind: str) -> None:
    gateway = Gateway(tmp_path, "")

    async def scenario() -> None:
        gateway.file.unlink()
        if kind == "directory":
            gateway.file.mkdir()
        elif kind == "fifo":
            os.mkfifo(gateway.file)
        assert "there is no such file" in await gateway.hang_up()

    gateway.run(scenario)


@pytest.mark.parametrize("own", ["stream_large_bodies=5m", "rawtcp=true"])
def test_what_mitmproxy_refuses_changes_nothing(tmp_path: Path, own: str) -> None:
    gateway = Gateway(tmp_path, "", NOTHING, own)

    async def scenario() -> None:
        before = {name: getattr(ctx.options, name) for name in ctx.options.keys()}  # noqa: SIM118 (no mapping)
        with pytest.raises(WrongSettingsError, match=r"mutewatch.toml: .*holding messages back"):
            gateway.take('mitigation.action = "redact"\npins.ttl_seconds = 60')
        assert {name: getattr(ctx.options, name) for name in before} == before
        assert (ctx.options.mutewatch_action, ctx.options.mutewatch_pin_ttl) == ("observe", 3600)

    gateway.run(scenario)


def test_the_command_line_and_the_environment_still_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUTEWATCH_PINS_TTL_SECONDS", "50")
    gateway = Gateway(tmp_path, "", {("record", "record_timeout"): 7.0}, "mutewatch_canary_max_age=5")

    async def scenario() -> None:
        text = "record.record_timeout = 3\npins.ttl_seconds = 60\ncanary.stale_after = 2000\nrecord.strict = true"
        gateway.take(text)
        assert (settings(gateway).record_timeout, settings(gateway).pin_ttl) == (7.0, 50)
        assert (settings(gateway).canary_max_age, settings(gateway).strict) == (5, True)

    gateway.run(scenario)


def test_a_hangup_while_the_file_is_read_has_it_read_once_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway, read = Gateway(tmp_path, ""), []
    monkeypatch.setattr(
        "addons.reload.load",
        lambda file, arguments: read.append(file) or load(file, arguments),  # type: ignore[func-returns-value]
    )

    async def scenario() -> None:
        for _ in range(5):
            gateway.reloads.ask()
        while gateway.audit.counters.reloads < 2:
            await asyncio.sleep(0.001)

    gateway.run(scenario)
    assert len(read) == 2


def test_a_hangup_before_the_proxy_is_ready_is_answered_then(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, "")
    before = signal.getsignal(signal.SIGHUP)
    try:
        gateway.launched.outlast_hangups()
        os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)

    async def scenario() -> None:
        while gateway.audit.counters.reloads < 1:
            await asyncio.sleep(0.001)

    gateway.run(scenario)


def test_a_fault_of_our_own_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = Gateway(tmp_path, "")

    def fail(_file: Path, _arguments: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("addons.reload.load", fail)

    async def scenario() -> None:
        assert "ZeroDivisionError, a fault of mutewatch's own" in await gateway.hang_up()

    gateway.run(scenario)


# -- as it runs ---------------------------------------------------------------------------------------------


@pytest.mark.live
def test_a_running_gateway_takes_a_good_file_refuses_a_bad_one_and_goes_on(live: Scene) -> None:
    body = kill_live.telemetry_body(client=1, number=1, seed=1)
    proxy = live.make(environment={"MUTEWATCH_PINS_TTL_SECONDS": "50"})
    proxy.start_command("clients.activity = false", "--record-timeout", "7")
    try:
        proxy.wait_ready()
        assert proxy.post(TELEMETRY, body, path=kill_live.PATH) == 204
        assert live.upstream.hashes == [sha256(body)]

        redact = 'clients.activity = false\nmitigation = {action = "redact", when = "always"}\n'
        reload(proxy, redact + "pins.ttl_seconds = 60\nrecord.record_timeout = 3", reloads=1)
        assert "mitigation.action: 'observe' becomes 'redact'" in proxy.text()
        assert "ttl_seconds" not in proxy.text()  # of the environment
        assert proxy.post(TELEMETRY, body, path=kill_live.PATH) == 204
        assert live.upstream.hashes[1] != sha256(body)

        reload(proxy, "listen.host = 'x y'", reloads=1, reloads_refused=1)
        assert f"the old ones stay: {proxy.settings_file}: listen.host is 'x y': write an address" in proxy.text()
        assert proxy.post(TELEMETRY, body, path=kill_live.PATH) == 204
        assert live.upstream.hashes[2] == live.upstream.hashes[1]
        proxy.wait_status(recorded=3, redacted=2)
        assert proxy.stop() == 0
    finally:
        proxy.end()


@pytest.mark.live
def test_a_shorter_retention_deletes_while_the_gateway_runs(live: Scene) -> None:
    now = datetime.now(UTC)
    proxy = live.make()
    proxy.state.mkdir(mode=0o700)
    with Store(proxy.state / "mutewatch.db") as store:
        for number, days in enumerate((0, 40, 50)):
            add(store, number, now - timedelta(days=days), None)
    proxy.start_command("clients.activity = false\nretention.minutes_days = 60")
    try:
        proxy.wait_ready()
        proxy.wait_status(expired=0, clock_doubted=0)
        reload(proxy, "clients.activity = false\nretention.minutes_days = 45", reloads=1, expired=2)
        reload(proxy, "clients.activity = false", reloads=2, expired=4)
        assert proxy.stop() == 0
    finally:
        proxy.end()
    with Store(proxy.state / "mutewatch.db") as store:
        assert (store.verdicts(), [row["number"] for row in store.daily()]) == ({"flagged": 1}, [1, 1])


@pytest.mark.live
def test_mitmdump_without_a_settings_file_outlasts_a_hangup(live: Scene) -> None:
    with live.proxy() as proxy:
        proxy.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "there is no settings file to read again" in proxy.text(), "an answer")
        assert proxy.post(TELEMETRY, b"still here") == 204
        assert proxy.stop() == 0


def reload(proxy: Proxy, text: str, **counted: int) -> None:
    proxy.settings_file.write_text(text)
    proxy.process.send_signal(signal.SIGHUP)
    proxy.wait_status(**counted)
