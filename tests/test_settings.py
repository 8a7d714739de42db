"""The gateway's settings: where they come from, what is refused and in which words, what may change later."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addons.export_files import ExportSettings
from addons.launch import mitmdump_arguments
from addons.settings import Listen, Log, Mitigation, MitigationOverride, Record, Settings
from addons.settings_changes import changes
from addons.settings_launch import launch_settings
from addons.settings_sources import OPTIONS, Loaded, Path_, Source, WrongSettingsError, load
from mutewatch.commands.check import shown_settings
from mutewatch.errors import OperatorError
from mutewatch.mitigate import Action, Answer, Policy, When

NOTHING: Mapping[Path_, object] = {}
PORT = ("listen", "port")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUTEWATCH_STATE", raising=False)


def read(folder: Path, text: str, arguments: Mapping[Path_, object] = NOTHING) -> Loaded:
    file = folder / "mutewatch.toml"
    file.write_text(text)
    return load(file, arguments)


@pytest.mark.parametrize(
    ("in_file", "in_environment", "in_arguments", "port", "source"),
    [
        (False, False, False, 8080, Source.DEFAULT),
        (True, False, False, 1001, Source.FILE),
        (True, True, False, 1002, Source.ENVIRONMENT),
        (True, True, True, 1003, Source.COMMAND_LINE),
        (True, False, True, 1003, Source.COMMAND_LINE),
        (False, True, False, 1002, Source.ENVIRONMENT),
    ],
)
def test_the_command_line_wins_over_the_environment_over_the_file_over_the_default(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    in_file: bool,
    in_environment: bool,
    in_arguments: bool,
    port: int,
    source: Source,
) -> None:
    if in_environment:
        monkeypatch.setenv("MUTEWATCH_LISTEN_PORT", "1002")
    loaded = read(tmp_path, "listen.port = 1001" if in_file else "", {PORT: 1003 if in_arguments else None})
    assert (loaded.settings.listen.port, loaded.source(PORT)) == (port, source)


def test_the_gateway_guesses_nothing_of_other_people_unless_it_is_told_to() -> None:
    settings = load(None, {}).settings
    assert settings.clients.activity is False
    assert launch_settings(settings).live.activity is False


def test_the_variable_that_other_commands_read_names_the_state_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUTEWATCH_STATE", "/srv/state")
    loaded = load(None, NOTHING)
    assert loaded.settings.state.directory == Path("/srv/state")
    assert 'state.directory = "/srv/state"' in "\n".join(shown_settings(loaded))
    assert any(line.endswith("# MUTEWATCH_STATE") for line in shown_settings(loaded))


def test_a_key_of_two_words_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUTEWATCH_RECORD_QUEUE_SIZE", "7")
    assert load(None, NOTHING).settings.record.queue_size == 7


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('listen.port = "http"', "listen.port is 'http': write a port, 1 to 65535"),
        ("listen.port = 0", "listen.port is 0: write a port"),
        ("listen.port = true", "listen.port is true: write a port"),
        ("listen.prot = 1", "listen.prot: no such key; did you mean port?"),
        ("listen.zzz = 1", "listen.zzz: no such key; there are host, port, mode, advertise"),
        ("lisen.port = 1", "lisen: no such section; did you mean listen?"),
        ("listen = 3", "listen is 3: write a table: [listen]"),
        ('listen.mode = "transparant"', "listen.mode is 'transparant': write regular, transparent"),
        ('listen.host = "a b"', "listen.host is 'a b': write an address"),
        ("state.directory = 3", "state.directory is 3: write a directory"),
        ('state.directory = ""', "state.directory is '': write a directory"),
        ('certificates.leaf_dir = ""', "certificates.leaf_dir is '': write a directory"),
        ("record.record_timeout = 0", "record.record_timeout is 0: write seconds above 0, at most 60"),
        ("record.record_timeout = nan", "record.record_timeout is nan: write seconds"),
        ("record.queue_size = 0", "record.queue_size is 0: write 1 to 1000000 exchanges"),
        ("record.max_body = 10", "record.max_body is 10: write 1024 to"),
        ('record.strict = "perhaps"', "record.strict is 'perhaps': write true or false"),
        ('clients.assume = "quiet"', "clients.assume is 'quiet': write muted or unmuted"),
        ('clients.mute_file = "/no/such/file"', "clients.mute_file is /no/such/file: there is no such file"),
        (f'clients.mute_file = "{__file__}"', "test_settings.py: line 1: the first line must be: time,client,muted"),
        ('pins.policy = "drop"', "pins.policy is 'drop': write pass or fail"),
        ("pins.ttl_seconds = 1", "pins.ttl_seconds is 1: write 10 to"),
        ('mitigation.action = "zap"', "mitigation.action is 'zap': write observe, redact or block"),
        ("mitigation.block_as = 404", "mitigation.block_as is '404': write 204, 200, 403 or \"reset\""),
        ('mitigation.signatures."x.y".action = "block"', "mitigation.signatures.x.y: no such signature; there are"),
        ('mitigation.signatures."webex.tsa.v1".acton = "block"', "acton: no such key; did you mean action?"),
        ("retention.minutes_days = 0", "retention.minutes_days is 0: write 1 to 3650 days"),
        ('export.eve_file = "eve.json"', "export.eve_file is 'eve.json': write a file with its whole path"),
        ('export.mode = "0644"', 'export.mode is \'0644\': write "0600", or "0640"'),
        ("export.mode = 640", 'export.mode is 640: write "0600"'),
        ('export = {eve_file = "/a", ecs_file = "/a"}', "export.ecs_file is /a: write another file"),
        ('metrics.listen = "9464"', "metrics.listen is '9464': write an address and a port"),
        ('metrics.listen = "h:70000"', "metrics.listen is 'h:70000': write an address and a port"),
        ('metrics.listen = "127.0.0.1:8080"', "metrics.listen is 127.0.0.1:8080: write another port"),
        ("canary.interval = 900", "canary.stale_after is 900: write more seconds than the interval, which is 900"),
        ('log.level = "loud"', "log.level is 'loud': write error, warn, info or debug"),
        ("listen.port = 1 2", "not TOML: Expected newline or end of document after a statement (at line 1, column 17)"),
    ],
)
def test_a_fault_is_one_line_with_file_key_and_what_to_write(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(WrongSettingsError) as wrong:
        read(tmp_path, text)
    (line,) = wrong.value.faults
    assert line.startswith(f"{tmp_path}/mutewatch.toml: ")
    assert said in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("MUTEWATCH_LISTEN_PORT", "http", "MUTEWATCH_LISTEN_PORT is 'http': write a port"),
        ("MUTEWATCH_LISTEN_PROT", "1", "MUTEWATCH_LISTEN_PROT: no such key; did you mean port?"),
        ("MUTEWATCH_LISTN_PORT", "1", "MUTEWATCH_LISTN_PORT: no such setting; the names are like"),
        ("MUTEWATCH_STRICT", "1", "MUTEWATCH_STRICT: no such setting; did you mean MUTEWATCH_RECORD_STRICT?"),
        ("MUTEWATCH_MITIGATION_SIGNATURES", "webex.tsa.v1", "write JSON"),
    ],
)
def test_a_fault_in_the_environment_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(WrongSettingsError, match=r"MUTEWATCH|environment") as wrong:
        load(None, NOTHING)
    assert said in str(wrong.value)


def test_somebody_elses_variable_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUTEWATCH_SHARED", "/x")
    monkeypatch.setenv("MUTEWATCH_TEST_GATE", "raises")
    load(None, NOTHING)


@pytest.mark.parametrize("path", OPTIONS)
def test_a_fault_on_the_command_line_names_the_option(path: Path_) -> None:
    with pytest.raises(WrongSettingsError, match=f"^{OPTIONS[path]} is "):
        load(None, {path: -1 if path[1] != "mute_file" else "/no/such/file"})


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(WrongSettingsError) as wrong:
        read(tmp_path, "listen.port = 0\nlog.level = 1\npins.x = 2")
    assert len(wrong.value.faults) == 3


def test_a_file_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(WrongSettingsError, match="no such file"):
        load(tmp_path / "mutewatch.toml", NOTHING)


def test_a_password_is_refused_and_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(WrongSettingsError) as wrong:
        read(tmp_path, 'listen.mode = "upstream:http://user:secret@proxy:3128"')
    assert "secret" not in str(wrong.value)


@pytest.mark.parametrize("mode", ["regular", "transparent", "wireguard", "upstream:http://127.0.0.1:3128", "socks5"])
def test_a_mode_of_mitmproxy_is_taken(tmp_path: Path, mode: str) -> None:
    assert read(tmp_path, f'listen.mode = "{mode}"').settings.listen.mode == mode


def test_a_signature_has_its_own_rule_where_it_differs(tmp_path: Path) -> None:
    text = """
        [mitigation]
        action = "redact"
        block_as = 403
        [mitigation.signatures."webex.tsa.v1"]
        action = "block"
    """
    mitigation = read(tmp_path, text).settings.mitigation
    own, other = mitigation.rule_for("webex.tsa.v1"), mitigation.rule_for("webex.locus")
    assert (own.action, own.block_as) == (Action.BLOCK, Answer.FORBIDDEN)
    assert (other.action, other.block_as) == (Action.REDACT, Answer.FORBIDDEN)


def test_what_check_shows_is_a_settings_file_with_the_same_settings(tmp_path: Path) -> None:
    text = 'clients.show = true\n[mitigation.signatures."webex.tsa.v1"]\naction = "block"\nblock_as = 403'
    loaded = read(tmp_path, text, {PORT: 99})
    shown = "\n".join(shown_settings(loaded))
    assert tomllib.loads(shown)
    assert read(tmp_path, shown).settings == loaded.settings


@given(st.dictionaries(st.text(max_size=8), st.recursive(st.integers() | st.text(max_size=5), st.lists), max_size=3))
def test_whatever_a_section_holds_is_taken_or_refused_in_words(section: dict[str, object]) -> None:
    try:
        load(None, {("listen", key): value for key, value in section.items()})
    except OperatorError as error:
        assert str(error)


# -- reload -----------------------------------------------------------------------------------------------


RELOADED = {
    "record": {"record_timeout": 3.0, "strict": True},
    "mitigation": {"action": "block", "signatures": {"webex.tsa.v1": {"action": "observe"}}},
    "pins": {"policy": "fail"},
    "retention": {"minutes_days": 7},
    "canary": {"interval": 60},
    "log": {"level": "info"},
}
RESTARTED = {
    "listen": {"port": 9},
    "state": {"directory": "/srv"},
    "metrics": {"listen": "127.0.0.1:9464"},
    "export": {"eve_file": "/var/log/mutewatch/eve.json"},
    "clients": {"show": True},
}


@pytest.mark.parametrize("section", RELOADED)
def test_a_running_proxy_takes(section: str) -> None:
    new = Settings.model_validate({section: RELOADED[section]})
    found = changes(Settings(), new)
    assert (found.settings, found.reasons) == (new, ())
    assert {change.path[0] for change in found.changed} == {section}


@pytest.mark.parametrize("section", RESTARTED)
def test_a_restart_is_needed_for(section: str) -> None:
    old, new = Settings(), Settings.model_validate({section: RESTARTED[section]})
    found = changes(old, new)
    assert (found.settings, found.changed) == (old, ())
    assert "restart mutewatch" in found.reasons[0]


def test_nothing_is_taken_where_one_change_needs_a_restart() -> None:
    old = Settings()
    found = changes(old, Settings(listen=Listen(port=9), log=Log.model_validate({"level": "info"})))
    assert (found.settings, found.changed) == (old, ())
    assert found.reasons == ("listen.port: 8080 becomes 9: restart mutewatch",)


def test_the_same_settings_change_nothing() -> None:
    assert changes(Settings(), Settings()).changed == ()


def test_a_change_that_others_act_on_says_so() -> None:
    (change,) = changes(Settings(), Settings.model_validate({"canary": {"interval": 60}})).changed
    assert str(change) == "canary.interval: 300.0 becomes 60.0 (the timer has its own: print it anew)"


def test_an_override_that_is_gone_is_a_change() -> None:
    old = Settings(mitigation=Mitigation(signatures={"webex.tsa.v1": MitigationOverride(action=Action.BLOCK)}))
    (change,) = changes(old, Settings()).changed
    assert (change.path[-1], change.new) == ("action", None)


# -- launch -----------------------------------------------------------------------------------------------


def test_the_export_files_reach_what_is_launched_and_mitmproxys_options() -> None:
    chosen = {"eve_file": "/var/log/eve.json", "mode": "0640", "guesses": True}
    launched = launch_settings(Settings.model_validate({"export": chosen}))
    assert launched.live.exports == ExportSettings(Path("/var/log/eve.json"), None, 0o640, True)
    assert {
        "mutewatch_eve_file=/var/log/eve.json",
        "mutewatch_ecs_file=",
        "mutewatch_export_mode=0640",
        "mutewatch_export_guesses=true",
    } <= set(mitmdump_arguments(launched))


def test_settings_reach_what_is_launched() -> None:
    settings = Settings(listen=Listen(host="", port=9, mode="transparent"), record=Record(queue_size=5, max_body=2048))
    launched = launch_settings(settings)
    assert (launched.listen_host, launched.listen_port, launched.mode) == ("", 9, "transparent")
    assert (launched.live.queue_size, launched.live.max_body) == (5, 2048)


def test_the_operators_own_verbosity_wins_over_the_log_level() -> None:
    assert launch_settings(Settings(), ("termlog_verbosity=debug",)).extra == ("termlog_verbosity=debug",)


def test_settings_are_json_that_anybody_may_read() -> None:
    names = set(json.dumps(Settings.model_json_schema()).lower().split('"'))
    assert not names & {"password", "secret", "token", "key", "passphrase"}


def test_what_is_done_with_messages_reaches_the_proxy(tmp_path: Path) -> None:
    text = """
record.strict = true
pins = {policy = "fail", ttl_seconds = 60}
metrics.listen = "127.0.0.1:9464"
[mitigation]
action = "redact"
when = "always"
[mitigation.signatures."webex.tsa.v1"]
action = "block"
block_as = 403
"""
    loaded = read(tmp_path, text)
    live = launch_settings(loaded.settings).live
    assert (live.strict, live.refuses_pinned, live.pin_ttl, live.metrics) == (True, True, 60, "127.0.0.1:9464")
    assert live.policies.default == Policy(Action.REDACT, When.ALWAYS)
    assert live.policies.of("webex.tsa.v1") == Policy(Action.BLOCK, When.ALWAYS, block_as=Answer.FORBIDDEN)
    arguments = mitmdump_arguments(launch_settings(loaded.settings))
    own = "webex.tsa.v1=block,when=always,blank=zero,identifiers=false,block_as=403"
    assert f"mutewatch_actions={own}" in arguments
