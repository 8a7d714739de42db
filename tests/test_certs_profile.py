"""What certificates say: nothing but their own hosts, judged by other implementations too."""

import ipaddress
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from hypothesis import given, settings
from hypothesis import strategies as st

from certs.names import CertificateError, checked_name, is_below, permitted_names
from certs.profile import KeyKind, Signer, make_intermediate, make_leaf, make_root, new_key, permitted_by

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
PERMITTED = ("wbx2.com", "webex.com")
KEY = new_key()


def authority(permitted: tuple[str, ...] = PERMITTED, kind: KeyKind = KeyKind.EC) -> tuple[Signer, Signer]:
    """A root and an intermediate."""
    key = new_key(kind)
    root = Signer(make_root(key, permitted, NOW, "a root"), key)
    key = new_key()
    return root, Signer(make_intermediate(key.public_key(), root, permitted, NOW, "an intermediate"), key)


ROOT, ISSUER = authority()

labels = st.text("abcxyz019-_", min_size=1, max_size=12)
names = st.one_of(
    st.lists(labels, min_size=1, max_size=4).map(".".join),
    st.lists(labels, max_size=2).map(lambda found: ".".join([*found, "webex.com"])),
    st.sampled_from(
        ["webex.com.evil.com", "evilwebex.com", "127.0.0.1", "::1", "*.webex.com", "*.com", "*", "", ".", "com"]
    ),
    st.text(max_size=40),
)


@settings(max_examples=200, deadline=None)
@given(names)
def test_no_name_outside_the_constraints_gets_a_certificate(name: str) -> None:
    try:
        leaf = make_leaf(KEY.public_key(), ISSUER, name, NOW)
    except CertificateError:
        return
    found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [type(one) for one in found] == [x509.DNSName]
    (host,) = found.get_values_for_type(x509.DNSName)
    assert host == name.lower().removesuffix(".")
    assert is_below(host.removeprefix("*."), PERMITTED)
    assert leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(names, st.sampled_from(["tsa*.webex.com", "*.wbx2.com", "a-*.b.example.org"])), max_size=5))
def test_no_hosts_make_an_authority_without_constraints(patterns: list[str]) -> None:
    try:
        permitted = permitted_names(patterns)
    except CertificateError:
        return
    for signer in authority(permitted):
        constraints = signer.certificate.extensions.get_extension_for_class(x509.NameConstraints)
        assert constraints.critical
        assert permitted_by(signer.certificate) == permitted
        assert all(len(name.split(".")) >= 2 for name in permitted)


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["tsa3.webex.com"], ("tsa3.webex.com",)),
        (["tsa*.webex.com"], ("webex.com",)),
        (["tsa*.webex.com", "tsa3.webex.com", "metrics-*.wbx2.com", "metrics.wbx2.com"], ("wbx2.com", "webex.com")),
        (["a.*.example.org"], ("example.org",)),
    ],
)
def test_a_constraint_is_what_is_literal_at_the_end_of_a_pattern(
    patterns: list[str], expected: tuple[str, ...]
) -> None:
    assert permitted_names(patterns) == expected


@pytest.mark.parametrize(
    "patterns", [[], ["*.com"], ["*"], ["a*"], ["com"], ["10.0.0.1"], ["a..com"], ["tsa*.webex.*"]]
)
def test_what_would_permit_too_much_is_refused(patterns: list[str]) -> None:
    with pytest.raises(CertificateError):
        permitted_names(patterns)


@pytest.mark.parametrize(
    "name", ["localhost", "1.2.3.4", "0x7f.1", "::1", "tsa3.webex.com\n", "t\u017fa3.webex.com", "a" * 64 + ".com"]
)
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(CertificateError):
        checked_name(name)


def test_an_intermediate_cannot_reach_beyond_its_root() -> None:
    with pytest.raises(CertificateError, match=r"does not permit example\.com"):
        make_intermediate(KEY.public_key(), ROOT, ("example.com",), NOW, "too far")


def test_nothing_outlives_its_issuer() -> None:
    late = ISSUER.certificate.not_valid_after_utc - timedelta(days=1)
    leaf = make_leaf(KEY.public_key(), ISSUER, "tsa3.webex.com", late)
    assert leaf.not_valid_after_utc == ISSUER.certificate.not_valid_after_utc
    with pytest.raises(CertificateError, match="expired"):
        make_leaf(KEY.public_key(), ISSUER, "tsa3.webex.com", late + timedelta(days=2))


def forged(name: str | None, address: str | None = None) -> x509.Certificate:
    """A leaf as somebody who stole the intermediate's key would make it."""
    honest = make_leaf(KEY.public_key(), ISSUER, "tsa3.webex.com", NOW)
    alternative: list[x509.GeneralName] = [x509.DNSName(name)] if name else []
    alternative += [x509.IPAddress(ipaddress.ip_address(address))] if address else []
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(ISSUER.certificate.subject)
        .public_key(KEY.public_key())
        .serial_number(honest.serial_number)
        .not_valid_before(honest.not_valid_before_utc)
        .not_valid_after(honest.not_valid_after_utc)
        .add_extension(x509.SubjectAlternativeName(alternative), critical=True)
    )
    for extension in honest.extensions:
        if not isinstance(extension.value, x509.SubjectAlternativeName):
            builder = builder.add_extension(extension.value, extension.critical)
    return builder.sign(ISSUER.key, SHA256())


def openssl_says(folder: Path, leaf: x509.Certificate, root: Signer, issuer: Signer) -> str:
    """What `openssl verify -x509_strict` prints."""
    for name, certificate in (("root", root.certificate), ("issuer", issuer.certificate), ("leaf", leaf)):
        (folder / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    at = str(int(NOW.timestamp()))
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-attime", at, "-CAfile", "root.pem"]
    done = subprocess.run(
        [*command, "-untrusted", "issuer.pem", "leaf.pem"], check=False, cwd=folder, capture_output=True, text=True
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("kind", list(KeyKind))
@pytest.mark.parametrize("name", ["tsa3.webex.com", "*.webex.com", "webex.com", f"{'a' * 60}.{'b' * 60}.webex.com"])
def test_openssl_finds_nothing_to_complain_about(tmp_path: Path, kind: KeyKind, name: str) -> None:
    root, issuer = authority(kind=kind)
    leaf = make_leaf(KEY.public_key(), issuer, name, NOW)
    assert openssl_says(tmp_path, leaf, root, issuer) == "leaf.pem: OK\n"


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("example.com", None),
        ("evilwebex.com", None),
        ("webex.com.evil.com", None),
        (None, "192.0.2.1"),
        (None, "2001:db8::1"),
    ],
)
def test_a_stolen_key_signs_for_nobody_else(tmp_path: Path, name: str | None, address: str | None) -> None:
    leaf = forged(name, address)
    assert "subtree violation" in openssl_says(tmp_path, leaf, ROOT, ISSUER)
    subject = x509.DNSName(name) if name else x509.IPAddress(ipaddress.ip_address(address or ""))
    verifier = PolicyBuilder().store(Store([ROOT.certificate])).time(NOW).build_server_verifier(subject)
    with pytest.raises(VerificationError):
        verifier.verify(leaf, [ISSUER.certificate])
