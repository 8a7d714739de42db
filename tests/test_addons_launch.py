"""Settings, their checks, and what mitmdump is told."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from addons.gate import allow_hosts
from addons.launch import LaunchSettings, addon_path, mitmdump_arguments, run
from addons.launched import Launched
from addons.live_settings import check_settings, prepare_state
from addons.recorder import LiveSettings
from addons.settings_sources import load
from mutewatch.config import open_state
from mutewatch.errors import OperatorError
from tests.live_support import SECONDS, Scene

HOSTS = ("tsa*.webex.com",)


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def arguments(tmp_path: Path, *extra: str) -> list[str]:
    return mitmdump_arguments(LaunchSettings(LiveSettings(tmp_path), extra=extra), hosts=HOSTS)


def test_the_addon_is_loaded_and_hosts_are_limited_from_the_start(tmp_path: Path) -> None:
    told = arguments(tmp_path)
    assert told[-2:] == ["-s", str(addon_path())]
    assert addon_path().is_file()
    assert "allow_hosts=" + allow_hosts(HOSTS)[0] in told
    assert {"onboarding=false", "flow_detail=0", f"confdir={tmp_path / 'mitmproxy'}"} <= set(told)


def test_block_global_and_http2_stay_as_mitmproxy_has_them(tmp_path: Path) -> None:
    assert not [word for word in arguments(tmp_path) if word.startswith(("block_global", "http2"))]


def test_the_operators_own_option_replaces_a_default(tmp_path: Path) -> None:
    told = arguments(tmp_path, "flow_detail=2")
    assert [word for word in told if word.startswith("flow_detail")] == ["flow_detail=2"]


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("allow_hosts=.*", "hosts of its signatures"),
        ("ignore_hosts=x", "does not combine"),
        ("confdir=/x", "in the state directory"),
        ("certs=/x", "certificates of its own"),
        ("mode=socks5", "mutewatch live --mode"),
        ("listen_port=1", "mutewatch live --listen-port"),
        ("server=true", "as soon as its store is open"),
        ("mutewatch_serve=false", "as soon as its store is open"),
        ("flow_detail", "write name=value"),
        ("mutewatch_qeue_size=1", "no such option"),
    ],
)
def test_an_option_that_is_not_the_operators_is_refused(tmp_path: Path, option: str, said: str) -> None:
    with pytest.raises(OperatorError, match=said):
        arguments(tmp_path, option)


@pytest.mark.parametrize(
    "wrong",
    [
        {"record_timeout": 0},
        {"record_timeout": 61},
        {"record_timeout": float("nan")},
        {"queue_size": 0},
        {"max_body": 10},
    ],
)
def test_a_value_out_of_range_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(OperatorError, match=f"mutewatch_{next(iter(wrong))}"):
        check_settings(LiveSettings(Path("x"), **wrong))  # type: ignore[arg-type]


def test_the_state_directory_and_what_is_written_there_is_private(tmp_path: Path) -> None:
    state = tmp_path / "a" / "state"
    prepare_state(state)
    (state / "file").touch()
    assert [stat.S_IMODE(path.stat().st_mode) for path in (state, state / "file")] == [0o700, 0o600]


def test_the_folders_above_a_new_state_directory_are_private_too(tmp_path: Path) -> None:
    os.umask(0)
    open_state(tmp_path / "a" / "b" / "state")
    made = [tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "state"]
    assert [stat.S_IMODE(path.stat().st_mode) for path in made] == [0o700] * 3


def test_a_directory_open_to_others_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(OperatorError, match="chmod 700"):
        prepare_state(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_a_file_in_place_of_the_state_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(OperatorError, match="state directory"):
        prepare_state(tmp_path / "state")


def test_an_authority_that_cannot_be_kept_stops_the_start_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Launched, "outlast_hangups", lambda _self: None)  # the signal handlers are pytest's
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (state / "authority").write_text("in the way")
    with pytest.raises(OperatorError, match="cannot keep certificates in"):
        run(LaunchSettings(LiveSettings(state)), Launched(load(None, {}), {}))


@pytest.mark.live
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ("--set", "termlog_verbosty=info"),
            "--set termlog_verbosty: neither mitmproxy nor mutewatch has such an option",
        ),
        (("--set", "mutewatch_action=zap"), "mutewatch_action is 'zap'; write observe, redact, block"),
    ],
)
def test_a_wrong_option_of_mitmproxys_ends_the_start_in_one_line(
    live: Scene, options: tuple[str, ...], said: str
) -> None:
    proxy = live.make()
    proxy.start_command("clients.activity = false", *options)
    try:
        assert proxy.process.wait(SECONDS) == 1
    finally:
        proxy.end()
    assert said in proxy.text()
    assert "Traceback" not in proxy.text()


@pytest.mark.live
def test_a_store_that_cannot_be_used_ends_the_start_in_one_line(live: Scene) -> None:
    proxy = live.make()
    proxy.state.mkdir(mode=0o700)
    (proxy.state / "mutewatch.db").write_bytes(b"no database" * 1000)
    proxy.start_command("clients.activity = false")
    try:
        assert proxy.process.wait(SECONDS) == 1
    finally:
        proxy.end()
    assert "mutewatch.db: not a store that can be used: file is not a database" in proxy.text()
    assert "Traceback" not in proxy.text()
