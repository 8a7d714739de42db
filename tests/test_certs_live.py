"""The authority behind the running proxy: what clients are shown, and what holds when certificates come and go."""

import logging
import signal
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from addons import leaf_source
from addons.recorder import LiveSettings
from certs.authority import Authority, trusted_root
from certs.leaves import issue
from certs.names import CertificateError
from tests.live_recorder import HOSTS, recorded
from tests.live_support import OTHER, TELEMETRY, Proxy, Scene, wait_until

pytestmark = pytest.mark.live

NEIGHBOUR = "locus-a.wbx2.com"  # a telemetry host too
PASSPHRASE = "correct horse battery"


def now() -> datetime:
    return datetime.now(UTC)


def authority_of(proxy: Proxy) -> Authority:
    return Authority(proxy.state / "authority")


@pytest.fixture
def waiting(live: Scene) -> Iterator[Proxy]:
    """A proxy with a state directory that is not started yet."""
    proxy = live.make()
    proxy.state.mkdir(mode=0o700)
    yield proxy
    if hasattr(proxy, "process"):
        proxy.end()


def started(proxy: Proxy) -> Proxy:
    proxy.start()
    proxy.wait_ready()
    return proxy


def shown(proxy: Proxy, trusting: Path, host: str = TELEMETRY) -> x509.Certificate:
    """Return the certificate that a client is shown who trusts `trusting` alone. Raises ssl.SSLError."""
    connection = proxy.connect(host, trusting)
    connection.connect()
    found = x509.load_der_x509_certificate(connection.sock.getpeercert(binary_form=True) or b"")
    connection.close()
    return found


def leaves_in(folder: Path, *names: str, days: float = 30) -> Path:
    """Return a directory of leaves for `names`, issued by an authority that is then gone."""
    elsewhere = Authority(folder / "elsewhere")
    elsewhere.create(HOSTS, now())
    issue(elsewhere.issuer(HOSTS, now()), elsewhere.certificate("root"), names, folder / "leaves", now(), days)
    for path in elsewhere.directory.iterdir():
        path.unlink()
    return folder / "leaves"


def keys_that_sign(state: Path) -> list[Path]:
    """Return the files of keys in a state directory, but for those of the authority that nobody trusts."""
    return [path for path in state.rglob("*key*.pem") if path.parent.name != "mitmproxy"]


def test_a_first_start_makes_a_constrained_authority_that_clients_can_trust(live: Scene) -> None:
    with live.proxy() as proxy:
        leaf = shown(proxy, proxy.ca_file)
        assert leaf.not_valid_after_utc - now() <= timedelta(days=7)
        (root,) = x509.load_pem_x509_certificates(proxy.ca_file.read_bytes())
        constraints = root.extensions.get_extension_for_class(x509.NameConstraints)
        assert constraints.critical
        assert constraints.value.permitted_subtrees == [x509.DNSName("wbx2.com"), x509.DNSName("webex.com")]
        with pytest.raises(ssl.SSLCertVerificationError):  # the one that mitmproxy makes is not shown to anybody
            shown(proxy, proxy.confdir / "mitmproxy-ca-cert.pem")


def test_the_same_leaf_is_shown_until_it_is_due_whatever_the_case_of_the_name(live: Scene) -> None:
    with live.proxy() as proxy:
        first, second, other = (shown(proxy, proxy.ca_file, host) for host in (TELEMETRY, TELEMETRY.upper(), NEIGHBOUR))
        assert first == second != other


def test_a_gateway_with_leaves_from_elsewhere_holds_no_key_that_could_sign(live: Scene, tmp_path: Path) -> None:
    folder = leaves_in(tmp_path, TELEMETRY)
    with live.proxy(live={"leaf_dir": folder}) as proxy:
        assert shown(proxy, folder / "root.crt")
        assert proxy.post(TELEMETRY, b"seen", trusting=folder / "root.crt") == 204
        proxy.wait_status(recorded=1, without_leaf=0)
    assert keys_that_sign(proxy.state) == []
    assert trusted_root(proxy.state / "authority", folder) == folder / "root.crt"


def test_a_host_without_a_leaf_passes_and_is_counted(live: Scene, tmp_path: Path) -> None:
    folder = leaves_in(tmp_path, TELEMETRY)
    with live.proxy(live={"leaf_dir": folder}) as proxy:
        assert proxy.post(NEIGHBOUR, b"unseen", trusting=live.upstream.ca_file) == 204
        proxy.wait_status(without_leaf=1, intercepted=0, uninspected=0, messages=0)
        assert f"for want of a certificate: {folder} holds no leaf for {NEIGHBOUR}" in proxy.text()


def test_in_strict_mode_a_host_without_a_leaf_is_refused_and_no_pin(live: Scene, tmp_path: Path) -> None:
    folder = leaves_in(tmp_path, TELEMETRY)
    with live.proxy(live={"leaf_dir": folder, "strict": True}) as proxy:
        for count in (1, 2):
            with pytest.raises(ssl.SSLError, match="EOF"):
                shown(proxy, live.upstream.ca_file, NEIGHBOUR)
            proxy.wait_status(without_leaf=count, handshakes_failed=count, refused_by_client=0, pinned=0)
        assert shown(proxy, folder / "root.crt")
    assert live.upstream.received == []


def test_leaves_that_are_replaced_are_shown_after_a_hangup(live: Scene, tmp_path: Path) -> None:
    folder = leaves_in(tmp_path, TELEMETRY)
    with live.proxy(live={"leaf_dir": folder}) as proxy:
        before = shown(proxy, folder / "root.crt")
        leaves_in(tmp_path, TELEMETRY)
        proxy.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "certificates were read again" in proxy.text(), "the leaves are read")
        assert shown(proxy, folder / "root.crt") != before
        (folder / f"{TELEMETRY}.pem").write_text("nonsense")
        proxy.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "not taken, the old ones stay" in proxy.text(), "the fault is said")
        assert shown(proxy, folder / "root.crt")


def test_an_intermediate_near_its_end_is_renewed_by_itself(waiting: Proxy) -> None:
    authority = authority_of(waiting)
    authority.create(HOSTS, now() - timedelta(days=70))
    before = authority.certificate("intermediate")
    proxy = started(waiting)
    assert shown(proxy, proxy.ca_file)
    after = authority.certificate("intermediate")
    assert after.not_valid_after_utc > before.not_valid_after_utc
    assert after.public_key() == before.public_key()


def test_one_that_ran_out_while_its_root_was_elsewhere_stops_the_start(waiting: Proxy) -> None:
    authority = authority_of(waiting)
    authority.create(HOSTS, now() - timedelta(days=100))
    authority.key_path("root").unlink()
    waiting.start()
    assert waiting.process.wait(30) != 0
    assert "mutewatch ca renew" in waiting.text()


def test_encrypted_keys_open_with_the_passphrase_and_never_without(waiting: Proxy, tmp_path: Path) -> None:
    authority_of(waiting).create(HOSTS, now(), PASSPHRASE.encode())
    waiting.start()
    assert waiting.process.wait(30) != 0
    assert "give its passphrase with --passphrase-file" in waiting.text()
    file = tmp_path / "passphrase"
    file.touch(mode=0o600)
    file.write_text(f"{PASSPHRASE}\n")
    waiting.live["passphrase_file"] = file
    proxy = started(waiting)
    assert shown(proxy, proxy.ca_file)
    assert PASSPHRASE not in proxy.text()


def test_no_client_is_cut_off_while_one_root_takes_over_from_the_other(live: Scene, tmp_path: Path) -> None:
    def read_again(proxy: Proxy) -> None:
        count = proxy.text().count("certificates were read again")
        proxy.process.send_signal(signal.SIGHUP)
        wait_until(lambda: proxy.text().count("certificates were read again") > count, "certificates are read")

    both = tmp_path / "both.pem"
    with live.proxy() as proxy:
        authority = authority_of(proxy)
        old = tmp_path / "old.pem"
        old.write_bytes(proxy.ca_file.read_bytes())
        authority.begin_rotation(now(), more_hosts=["metrics.example.org"])
        both.write_bytes(old.read_bytes() + authority.certificate_path("next-root").read_bytes())
        read_again(proxy)
        assert shown(proxy, old)  # not yet given the next one
        assert shown(proxy, both)
        authority.finish_rotation()
        read_again(proxy)
        assert shown(proxy, both)
        assert shown(proxy, proxy.ca_file)
        with pytest.raises(ssl.SSLCertVerificationError):
            shown(proxy, old)
        proxy.wait_status(hook_errors=0, gate_errors=0)


def test_another_host_is_not_touched_by_any_of_it(live: Scene) -> None:
    with live.proxy() as proxy:
        assert shown(proxy, live.upstream.ca_file, OTHER)
        with pytest.raises(ssl.SSLCertVerificationError):
            shown(proxy, proxy.ca_file, OTHER)
    assert recorded(proxy.state) == []


def test_the_leaves_that_mitmproxy_holds_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held: dict[str, object] = {}
    monkeypatch.setattr(leaf_source, "_shown", lambda: held)
    monkeypatch.setattr(leaf_source, "MOST", 3)
    source = leaf_source.LeafSource(LiveSettings(tmp_path / "state"), HOSTS)
    names = ["tsa1.webex.com", "TSA1.webex.com", "tsa2.webex.com", "tsa3.webex.com", "tsa4.webex.com"]
    for name in names:
        source.provide(name)
    assert list(held) == names[-3:]
    assert [source.has_given(name) for name in names] == [False, False, True, True, True]


def test_a_host_that_the_authority_does_not_permit_is_told_of_and_keeps_no_other_from_its_leaf(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(leaf_source, "_shown", dict)
    leaf_source.LeafSource(LiveSettings(tmp_path / "state"), HOSTS)
    with caplog.at_level(logging.WARNING, "mutewatch.live"):
        source = leaf_source.LeafSource(LiveSettings(tmp_path / "state"), (*HOSTS, "rtcstats.example.org"))
    assert "the authority does not permit rtcstats.example.org: mutewatch ca add-host" in caplog.text
    source.provide("tsa1.webex.com")
    with pytest.raises(CertificateError):
        source.provide("rtcstats.example.org")


def test_leaves_that_could_not_be_read_are_taken_up_once_they_can(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere, leaves = Authority(tmp_path / "authority"), tmp_path / "leaves"
    elsewhere.create(HOSTS, now())
    issuer, root = elsewhere.issuer(HOSTS, now()), elsewhere.certificate("root")
    issue(issuer, root, ["tsa3.webex.com"], leaves, now(), days=5)
    source = leaf_source.LeafSource(LiveSettings(tmp_path / "state", leaf_dir=leaves), HOSTS)
    before = source.expirations
    (new,) = issue(issuer, root, ["tsa3.webex.com"], leaves, now(), days=20)
    new.chmod(0o640)  # as one that is not the proxy's user's yet
    with caplog.at_level(logging.WARNING, "mutewatch.live"):
        source.look()
        assert "not taken, the old ones stay" in caplog.text
        assert source.expirations == before
        new.chmod(0o600)
        source.look()
    assert source.expirations["leaves"] - before["leaves"] > timedelta(days=10)


def test_every_host_is_shown_a_leaf_of_its_own_in_time(live: Scene) -> None:
    with live.proxy() as proxy:
        began = time.monotonic()
        for number in range(30):
            assert shown(proxy, proxy.ca_file, f"tsa{number}.webex.com")
        assert time.monotonic() - began < 30
        proxy.wait_status(intercepted=30)
