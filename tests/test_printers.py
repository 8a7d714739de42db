"""What `mutewatch live` prints for its surroundings: firewall rules, PAC file, systemd unit. Each is tried for real."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from addons.firewall_rules import firewall_rules
from addons.gate import Gate
from addons.pac_file import pac_file
from addons.service_unit import HIDDEN, canary_timer, canary_unit, service_unit
from addons.settings import Listen, Record, Settings, State
from mutewatch.errors import OperatorError
from mutewatch.signatures import telemetry_hosts
from tests.needs import tool, unshare
from tests.test_addons_gate import NOT_TELEMETRY
from tests.transparent_scene import CROWD, HAS_IPV6

ROOT = Path(__file__).parents[1]
PATTERNS = telemetry_hosts()


# -- firewall ---------------------------------------------------------------------------------------------


def rules(host: str = "", port: int = 8080) -> str:
    return firewall_rules(Settings(listen=Listen(host=host, port=port, mode="transparent")))


@pytest.mark.parametrize("host", ["", "0.0.0.0", "192.168.1.1"])  # noqa: S104 (nobody listens)
def test_nft_takes_the_rules(host: str) -> None:
    command = [*unshare(), tool("nft"), "-c", "-f", "-"]
    told = subprocess.run(command, input=rules(host), capture_output=True, text=True, timeout=30, check=False)
    assert (told.returncode, told.stderr) == (0, "")


@pytest.mark.parametrize(
    ("listen", "said"),
    [
        (Listen(host="", mode="regular"), "for mode transparent, not regular"),
        (Listen(host="127.0.0.1", mode="transparent"), "no redirected client reaches 127.0.0.1"),
        (Listen(host="::", mode="transparent"), 'write host = ""'),
        (Listen(host="localhost", mode="transparent"), 'write host = ""'),
    ],
)
def test_rules_that_would_lead_nowhere_are_not_printed(listen: Listen, said: str) -> None:
    with pytest.raises(OperatorError, match=re.escape(said)):
        firewall_rules(Settings(listen=listen))


def test_ipv6_is_refused_where_the_proxy_has_none_and_redirected_where_it_has() -> None:
    assert "ip6 saddr @clients6 tcp dport 443 counter redirect to :8080" in rules("")
    assert "ip6 saddr @clients6 tcp dport 443 counter reject" in rules("192.168.1.1")


@pytest.mark.live
@pytest.mark.parametrize("listen_host", ["", "10.9.0.1"])
def test_a_forwarded_client_is_inspected_and_nobody_else(tmp_path: Path, listen_host: str) -> None:
    for name in ("nft", "ip", "ss", "nsenter"):
        tool(name)
    tmp_path.chmod(0o700)
    (tmp_path / "rules.nft").write_text(rules(listen_host))
    proxy = [sys.executable, "-m", "mutewatch", "live", "--mode", "transparent", f"--listen-host={listen_host}"]
    proxy += ["--state", str(tmp_path / "state")]
    proxy += ["--set", f"ssl_verify_upstream_trusted_ca={tmp_path}/upstream-ca.pem"]
    scene = [*unshare(), sys.executable, "-m", "tests.transparent_scene", "run", str(tmp_path)]
    command = [*scene, str(tmp_path / "rules.nft"), *proxy]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert told.returncode == 0, told.stderr
    seen = json.loads(next(line for line in told.stdout.splitlines() if line.startswith("{")))
    refused = "ConnectionRefusedError"
    six = {
        "telemetry host, proxy's CA, IPv6": refused if listen_host else "204",
        "other host, server's CA, IPv6": refused if listen_host else "204",
        "QUIC, IPv6": refused,
    }
    assert seen == (six if HAS_IPV6 else {}) | {
        "telemetry host, proxy's CA": "204",
        "telemetry host, server's CA": "SSLCertVerificationError",
        "other host, server's CA": "204",
        "QUIC": refused,
        "straight to the proxy": refused,
        "connections at once": 256,
    }
    assert CROWD > 256


# -- PAC --------------------------------------------------------------------------------------------------


HOSTS = [
    "tsa3.webex.com",
    "TSA.webex.com",
    "tsa3.webex.com.",
    "locus-a.wbx2.com",
    "locus.a.b.meetapi.webex.com",
    "metrics.wbx2.com",
    "metrics-a.wbx2.com",
    "t\u017fa3.webex.com",  # Python takes U+017F for an "s" where case does not matter, JavaScript does not
    *(host for host in NOT_TELEMETRY if host is not None),
]
NAMES = st.text(alphabet="tsaTSA3.webxcomlu-k2metrilapn_:\n\u017f\u212a", max_size=30)


def decided(text: str, hosts: list[str]) -> list[str]:
    """What the PAC file answers for each host, by node."""
    script = f"{text}\nconst hosts = JSON.parse(require('fs').readFileSync(0));\n"
    script += "console.log(JSON.stringify(hosts.map(host => FindProxyForURL('https://' + host + '/', host))));"
    command = [tool("node"), "-e", script]
    told = subprocess.run(command, input=json.dumps(hosts), capture_output=True, text=True, timeout=60, check=True)
    found: list[str] = json.loads(told.stdout)
    return found


def test_the_pac_file_sends_what_the_gate_opens_and_nothing_else() -> None:
    gate, text = Gate(PATTERNS), pac_file(Settings(), PATTERNS)
    ways = dict(zip(HOSTS, decided(text, HOSTS), strict=True))
    assert {way for host, way in ways.items() if gate.inspects(host)} == {"PROXY 127.0.0.1:8080; DIRECT"}
    assert {way for host, way in ways.items() if not gate.inspects(host)} == {"DIRECT"}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(NAMES, st.sampled_from(HOSTS).flatmap(lambda host: NAMES.map(lambda n: n[:3] + host)))))
def test_the_pac_file_decides_as_the_gate_for_any_name(hosts: list[str]) -> None:
    gate = Gate(PATTERNS)
    assert [way != "DIRECT" for way in decided(pac_file(Settings(), PATTERNS), hosts)] == [*map(gate.inspects, hosts)]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_expression_of_the_pac_file_means_the_same_in_both_languages(pattern: str) -> None:
    found = re.search(r"/(\^.*\$)/i", pac_file(Settings(), [pattern]))
    assert found is not None
    assert re.fullmatch(r"[a-z0-9^$()?:|*.\\\[\]-]+", found[1])  # no construct that only one of them knows


@pytest.mark.parametrize(
    ("listen", "strict", "way"),
    [
        (Listen(host="10.0.0.1"), False, "PROXY 10.0.0.1:8080; DIRECT"),
        (Listen(host="10.0.0.1"), True, "PROXY 10.0.0.1:8080"),
        (Listen(host="", advertise="gw.example", port=3128), True, "PROXY gw.example:3128"),
        (Listen(host="fd00::1"), True, "PROXY [fd00::1]:8080"),
    ],
)
def test_the_pac_file_names_the_proxy_as_clients_reach_it(listen: Listen, strict: bool, way: str) -> None:
    assert f'? "{way}" : "DIRECT"' in pac_file(Settings(listen=listen, record=Record(strict=strict)), PATTERNS)


@pytest.mark.parametrize(
    ("listen", "said"),
    [(Listen(host=""), "write advertise"), (Listen(mode="transparent"), "clients need no PAC file")],
)
def test_a_pac_file_that_would_lead_nowhere_is_not_printed(listen: Listen, said: str) -> None:
    with pytest.raises(OperatorError, match=said):
        pac_file(Settings(listen=listen), PATTERNS)


# -- unit -------------------------------------------------------------------------------------------------


def unit(**choices: object) -> str:
    program, config = Path("/usr/bin/true"), Path("/etc/mutewatch.toml")
    return service_unit(Settings.model_validate(choices), program, config, is_state_chosen="state" in choices)


def canarys(**choices: object) -> str:
    program, config = Path("/usr/bin/true"), Path("/etc/mutewatch.toml")
    return canary_unit(Settings.model_validate(choices), program, config, is_state_chosen="state" in choices)


@pytest.mark.parametrize("port", [8080, 443])
def test_systemd_finds_no_fault_in_the_units(tmp_path: Path, port: int) -> None:
    (tmp_path / "mutewatch.service").write_text(unit(listen={"port": port}, **EXPORTING))
    (tmp_path / "mutewatch-canary.service").write_text(canarys(listen={"port": port}))
    (tmp_path / "mutewatch-canary.timer").write_text(canary_timer(Settings()))
    command = [tool("systemd-analyze"), "verify", *map(str, sorted(tmp_path.iterdir()))]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (told.returncode, [line for line in told.stderr.splitlines() if "mutewatch" in line]) == (0, [])


ENCRYPTED = {"certificates": {"passphrase_file": "/etc/mutewatch/passphrase"}}


def test_the_passphrase_comes_as_a_credential() -> None:
    assert "LoadCredential=mutewatch-ca-passphrase:/etc/mutewatch/passphrase" in unit(**ENCRYPTED).splitlines()
    assert "LoadCredential" not in unit()


def test_leaves_lie_where_the_services_user_can_own_them() -> None:
    lines = unit(certificates={"leaf_dir": "/var/lib/mutewatch/leaves"}).splitlines()
    text = "\n".join(lines)
    assert "install -d -m 700 /var/lib/mutewatch/leaves && cp leaves/* /var/lib/mutewatch/leaves/" in text
    assert "chown -R --reference=/var/lib/mutewatch /var/lib/mutewatch/leaves" in text
    assert set(unit().splitlines()) <= set(lines)
    assert "chown" not in unit()


@pytest.mark.parametrize(
    "folder", ["/etc/mutewatch/leaves", "/var/lib/mutewatch", "/var/lib/leaves", "/home/me/leaves"]
)
def test_a_unit_for_leaves_that_the_service_could_not_read_is_not_printed(folder: str) -> None:
    for make in (unit, canarys):
        with pytest.raises(OperatorError, match=r"put them in /var/lib/mutewatch/leaves, certificates\.leaf_dir"):
            make(certificates={"leaf_dir": folder})


EXPORTING = {"export": {"eve_file": "/var/log/mutewatch/eve.json", "ecs_file": "/srv/siem/ecs.json"}}


def test_a_service_may_write_where_its_exports_go_and_nowhere_else() -> None:
    lines = unit(**EXPORTING).splitlines()
    assert "ReadWritePaths=-/srv/siem -/var/log/mutewatch" in lines
    assert "SupplementaryGroups=adm" in lines
    assert "ReadWritePaths" not in unit()


UNITS = {"gateway": unit(), "encrypted": unit(**ENCRYPTED), "exporting": unit(**EXPORTING), "canary": canarys()}


@pytest.mark.parametrize("text", UNITS.values(), ids=UNITS)
def test_systemd_calls_a_unit_well_confined(tmp_path: Path, text: str) -> None:
    file = tmp_path / "mutewatch.service"
    file.write_text(text)
    command = [tool("systemd-analyze"), "security", "--offline=true", "--threshold=20", "--no-pager", str(file)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if "--offline" in told.stderr:
        pytest.skip("this systemd-analyze knows no --offline")
    assert told.returncode == 0, told.stdout[-200:]


def test_the_unit_holds_what_a_gateway_must_have() -> None:
    lines = set(unit().splitlines())
    assert lines >= {
        "DynamicUser=yes",
        "StateDirectory=mutewatch",
        "StateDirectoryMode=0700",
        "Environment=MUTEWATCH_STATE=/var/lib/mutewatch PYTHONUNBUFFERED=1",
        "UMask=0077",
        "LimitNOFILE=65536",
        "LimitCORE=0",
        "CapabilityBoundingSet=",
        "NoNewPrivileges=yes",
        "Restart=on-failure",
        "RestartPreventExitStatus=2",
        "TimeoutStopSec=10",
        "ExecReload=/usr/bin/true check --running --config /etc/mutewatch.toml",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "ExecStart=/usr/bin/true live --config /etc/mutewatch.toml",
    }


def test_the_canary_is_the_gateways_own_user_and_runs_as_often_as_the_settings_say() -> None:
    for own in ("DynamicUser=yes", "User=mutewatch", "StateDirectory=mutewatch", "UMask=0077"):
        assert own in unit().splitlines()
        assert own in canarys().splitlines()
    assert "ExecStart=/usr/bin/true canary --config /etc/mutewatch.toml" in canarys().splitlines()
    assert "OnUnitActiveSec=77" in canary_timer(Settings.model_validate({"canary": {"interval": 77}})).splitlines()


@pytest.mark.parametrize("mode", ["transparent", "wireguard", "socks5"])
def test_no_canary_is_printed_for_a_gateway_that_it_cannot_go_through(mode: str) -> None:
    chosen = Settings.model_validate({"listen": {"mode": mode}})
    with pytest.raises(OperatorError, match=f"not {mode}: write canary.stale_after = 0"):
        canary_timer(chosen)
    with pytest.raises(OperatorError, match=f"not {mode}"):
        canarys(listen={"mode": mode})


def test_a_low_port_brings_its_one_capability() -> None:
    assert "CapabilityBoundingSet=CAP_NET_BIND_SERVICE" in unit(listen={"port": 443})


def test_the_unit_does_not_forbid_the_memory_that_pyopenssl_needs() -> None:
    assert not [line for line in unit().splitlines() if line.startswith("MemoryDenyWriteExecute")]


@pytest.mark.parametrize(
    ("state", "program", "said"),
    [
        ("/srv/state", "/usr/bin/true", "keeps its state below /var/lib"),
        ("/var/lib/mutewatch", "/home/me/.venv/bin/mutewatch", "cannot see /home/me"),
        *(("/var/lib/mutewatch", f"{folder}/mutewatch", f"cannot see {folder}/") for folder in HIDDEN),
    ],
)
def test_a_unit_that_could_not_start_is_not_printed(state: str, program: str, said: str) -> None:
    chosen = Settings(state=State(directory=Path(state)))
    with pytest.raises(OperatorError, match=said):
        service_unit(chosen, Path(program), None, is_state_chosen=True)


@pytest.mark.parametrize(
    "path", ["/etc/my gateway.toml", "/etc/100%.toml", '/etc/"x".toml', "/etc/$HOME.toml", "/etc/a;b"]
)
@pytest.mark.parametrize("place", ["config", "program", "secret", "export"])
def test_a_path_that_systemd_would_take_apart_is_not_printed(place: str, path: str) -> None:
    chosen = {
        "secret": {"certificates": {"passphrase_file": path}},
        "export": {"export": {"eve_file": f"{path}/eve.json"}},
    }.get(place, {})
    program, config = (path if place == "program" else "/usr/bin/mutewatch"), Path(path) if place == "config" else None
    with pytest.raises(OperatorError, match="systemd would not read"):
        service_unit(Settings.model_validate(chosen), Path(program), config, is_state_chosen=False)
