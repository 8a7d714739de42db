"""The authority on disk: what is loaded is whole, ours alone, and holds now."""

import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import DNSName
from cryptography.x509.verification import PolicyBuilder, Store

from certs.authority import Authority
from certs.keys import key_pem, write_private
from certs.leaves import Leaf, LeafDirectory, MintedLeaves, issue, load_leaf, names_of
from certs.names import CertificateError
from certs.profile import LEAF_DAYS, KeyKind, new_key
from certs.status import describe

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOSTS = ("tsa*.webex.com", "metrics.wbx2.com")
PASSPHRASE = b"correct horse battery"


@pytest.fixture
def made(tmp_path: Path) -> Authority:
    authority = Authority(tmp_path / "authority")
    authority.create(HOSTS, NOW)
    return authority


def days(count: float) -> datetime:
    return NOW + timedelta(days=count)


def accepts(trusted: list[str], made: Authority, leaf: Leaf, name: str, at: datetime) -> None:
    """Raise unless a client that trusts these roots of `made` accepts the leaf."""
    store = Store([made.certificate(role) for role in trusted])
    verifier = PolicyBuilder().store(store).time(at).build_server_verifier(DNSName(name))
    verifier.verify(leaf.certificate, list(leaf.chain))


def test_leaves_of_a_new_authority_are_accepted(made: Authority) -> None:
    leaf = MintedLeaves(made.issuer(HOSTS, NOW)).leaf("TSA3.webex.com.", NOW)
    accepts(["root"], made, leaf, "tsa3.webex.com", NOW)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize("passphrase", [None, PASSPHRASE])
def test_every_file_is_ours_alone(tmp_path: Path, umask: int, passphrase: bytes | None) -> None:
    before = os.umask(umask)
    try:
        authority = Authority(tmp_path / "authority")
        authority.create(HOSTS, NOW, passphrase)
        authority.begin_rotation(NOW, passphrase)
        authority.replace_key(NOW, passphrase)
        root = authority.certificate("root")
        issue(authority.issuer(HOSTS, NOW, passphrase), root, ["tsa3.webex.com"], tmp_path / "leaves", NOW, 30)
    finally:
        os.umask(before)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o700}
    own = [path for path in files if path.name.endswith("-key.pem")]
    assert len(own) == 3
    assert all((b"ENCRYPTED" in path.read_bytes()) is bool(passphrase) for path in own)


def test_what_is_loose_damaged_or_foreign_is_refused_in_one_line(made: Authority, tmp_path: Path) -> None:
    key, certificate = made.key_path("intermediate"), made.certificate_path("intermediate")
    kept = key.read_bytes(), certificate.read_bytes()
    other = Authority(tmp_path / "other")
    other.create(HOSTS, NOW)

    def fault(at: datetime = NOW, hosts: tuple[str, ...] = HOSTS, passphrase: bytes | None = None) -> str:
        with pytest.raises(CertificateError) as caught:
            made.issuer(hosts, at, passphrase)
        write_private(key, kept[0])
        write_private(certificate, kept[1])
        text = str(caught.value)
        assert "\n" not in text
        assert "PRIVATE" not in text
        return text

    key.chmod(0o640)
    assert fault() == f"{key} is open to others: chmod 600 {key}"
    write_private(key, key_pem(new_key(), None))
    assert fault() == f"{key} is not the key of {certificate}"
    write_private(key, key_pem(new_key(), PASSPHRASE))
    assert "is encrypted: give its passphrase" in fault()
    write_private(key, key_pem(new_key(), PASSPHRASE))
    assert "this is not its passphrase" in fault(passphrase=b"another one")
    write_private(key, b"nonsense")
    assert "it is not a private key in PEM" in fault()
    write_private(key, other.key_path("intermediate").read_bytes())
    write_private(certificate, other.certificate_path("intermediate").read_bytes())
    assert "was not signed by" in fault()
    write_private(certificate, b"\xff" * 100)
    assert "it is not a certificate in PEM" in fault()
    key.unlink()
    assert "is not here" in fault()
    assert "mutewatch ca renew" in fault(at=days(100))
    assert "not on 2026-11-11" in fault(at=days(-10))
    assert (
        fault(hosts=("example.com",)) == "the authority does not permit example.com: mutewatch ca add-host example.com"
    )


def test_a_directory_without_an_authority_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match="mutewatch ca init"):
        Authority(tmp_path).issuer(HOSTS, NOW)


def test_an_authority_is_never_made_over_another(made: Authority) -> None:
    with pytest.raises(CertificateError, match="there is an authority"):
        made.create(HOSTS, NOW)


def test_a_key_that_is_kept_elsewhere_is_asked_for_where_it_is_needed(made: Authority) -> None:
    made.key_path("root").unlink()
    MintedLeaves(made.issuer(HOSTS, NOW)).leaf("tsa3.webex.com", NOW)
    with pytest.raises(CertificateError, match="put the key back"):
        made.renew(NOW)


def test_leaves_are_kept_and_renewed_a_day_before_their_end(made: Authority) -> None:
    leaves = MintedLeaves(made.issuer(HOSTS, NOW), most=2)
    first = leaves.leaf("tsa3.webex.com", NOW)
    assert leaves.leaf("tsa3.webex.com", days(LEAF_DAYS - 1.1)) is first
    renewed = leaves.leaf("tsa3.webex.com", days(LEAF_DAYS - 0.9))
    assert renewed is not first
    for name in ("a.webex.com", "b.webex.com"):
        leaves.leaf(name, NOW)
    assert leaves.leaf("tsa3.webex.com", NOW) is not renewed, "the stalest went"


def test_a_new_intermediate_changes_nothing_for_clients(made: Authority) -> None:
    for at in (0, 60, 120, 180, 240):
        made.replace_key(days(at))
        leaf = MintedLeaves(made.issuer(HOSTS, days(at))).leaf("tsa3.webex.com", days(at))
        accepts(["root"], made, leaf, "tsa3.webex.com", days(at))


def test_nobody_is_cut_off_while_two_roots_overlap(made: Authority, tmp_path: Path) -> None:
    """A frozen clock: from the day the next root is made to the day the old one is taken away."""
    start, finish, end = 600, 690, 760
    made.replace_key(days(start))
    made.begin_rotation(days(start))
    old = made.certificate("root")
    for day in range(start, finish, 15):
        made.renew(days(day))
        leaf = MintedLeaves(made.issuer(HOSTS, days(day))).leaf("tsa3.webex.com", days(day))
        accepts(["root"], made, leaf, "tsa3.webex.com", days(day))  # has not been given the next one yet
        accepts(["root", "next-root"], made, leaf, "tsa3.webex.com", days(day))
    kept = made.finish_rotation()
    assert kept.read_bytes() == old.public_bytes(Encoding.PEM)
    assert made.certificate("root") != old
    for day in range(finish, end, 15):
        made.renew(days(day))
        leaf = MintedLeaves(made.issuer(HOSTS, days(day))).leaf("tsa3.webex.com", days(day))
        accepts(["root"], made, leaf, "tsa3.webex.com", days(day))
    assert not list(made.directory.glob("next-*"))


def test_the_next_root_may_permit_more(made: Authority) -> None:
    made.begin_rotation(NOW, more_hosts=["telemetry.example.org"], kind=KeyKind.RSA)
    made.finish_rotation()
    hosts = (*HOSTS, "telemetry.example.org")
    leaf = MintedLeaves(made.issuer(hosts, NOW)).leaf("telemetry.example.org", NOW)
    accepts(["root"], made, leaf, "telemetry.example.org", NOW)


def test_a_gateway_with_leaves_holds_nothing_that_can_sign(made: Authority, tmp_path: Path) -> None:
    folder = tmp_path / "leaves"
    issue(made.issuer(HOSTS, NOW), made.certificate("root"), ["*.webex.com", "metrics.wbx2.com"], folder, NOW, days=30)
    leaves = LeafDirectory(folder, NOW)
    accepts(["root"], made, leaves.leaf("metrics.wbx2.com", NOW), "metrics.wbx2.com", NOW)
    assert names_of(leaves.leaf("tsa3.webex.com", NOW).certificate) == ["*.webex.com"]
    with pytest.raises(CertificateError, match=r"no leaf for a\.b\.webex\.com"):
        leaves.leaf("a.b.webex.com", NOW)
    with pytest.raises(CertificateError, match="was valid until 2026-12-21"):
        leaves.leaf("tsa3.webex.com", days(31))
    signing = folder / "intermediate.pem"
    write_private(
        signing, made.key_path("intermediate").read_bytes() + made.certificate_path("intermediate").read_bytes()
    )
    with pytest.raises(CertificateError, match="may sign others"):
        load_leaf(signing)


def test_an_empty_leaf_directory_is_no_start(tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match="mutewatch ca issue"):
        LeafDirectory(tmp_path, NOW)


def test_the_status_tells_days_and_reach(made: Authority) -> None:
    root, intermediate = describe(made, days(70))
    assert (root.role, root.days_left, root.is_due, root.has_key) == ("root", 660, False, True)
    assert (intermediate.role, intermediate.days_left, intermediate.is_due) == ("intermediate", 20, True)
    assert intermediate.permitted == ("metrics.wbx2.com", "webex.com")
