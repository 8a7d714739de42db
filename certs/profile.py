"""What each certificate says (RFC 5280): a constrained root, a constrained intermediate, and leaves for one name.

Pure but for the random serial numbers: keys and times in, certificates out. Every authority here has critical
name constraints with all addresses excluded, so that none can be made that signs for everything.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import ip_network
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certs.names import CertificateError, checked_name, is_below

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

ROOT_DAYS: Final = 730
INTERMEDIATE_DAYS: Final = 90
LEAF_DAYS: Final = 7
BACKDATED: Final = timedelta(days=1)  # clients' clocks go wrong
COMMON_NAME: Final = 64  # characters at most (RFC 5280, appendix A.1)
EVERY_ADDRESS: Final = [x509.IPAddress(ip_network(network)) for network in ("0.0.0.0/0", "::/0")]


class KeyKind(StrEnum):
    """EC: P-256. RSA, of 3072 bits: for clients that take no other root."""

    EC = "ec"
    RSA = "rsa"


def new_key(kind: KeyKind = KeyKind.EC) -> PrivateKey:
    return ec.generate_private_key(ec.SECP256R1()) if kind is KeyKind.EC else rsa.generate_private_key(65537, 3072)


@dataclass(frozen=True, slots=True)
class Signer:
    """A certificate with its key. They belong together: whoever loads them has checked it."""

    certificate: x509.Certificate
    key: PrivateKey

    @property
    def permitted(self) -> tuple[str, ...]:
        return permitted_by(self.certificate)


def make_root(key: PrivateKey, permitted: tuple[str, ...], now: datetime, name: str) -> x509.Certificate:
    """Return a self-signed root that permits the subtrees `permitted` alone. `name`: what people see."""
    builder = _builder(key.public_key(), now, now + timedelta(days=ROOT_DAYS))
    subject = _named(name)
    return _authority(builder.subject_name(subject).issuer_name(subject), permitted, 1).sign(key, SHA256())


def make_intermediate(
    public_key: PublicKey, root: Signer, permitted: tuple[str, ...], now: datetime, name: str
) -> x509.Certificate:
    """Return an intermediate under `root`, for servers' certificates alone. CertificateError beyond its reach."""
    outside = [subtree for subtree in permitted if not is_below(subtree, root.permitted)]
    if outside:
        raise CertificateError(
            f"the root does not permit {', '.join(outside)}: mutewatch ca rotate makes one that does"
        )
    end = min(now + timedelta(days=INTERMEDIATE_DAYS), root.certificate.not_valid_after_utc)
    builder = _builder(public_key, now, end).subject_name(_named(name)).issuer_name(root.certificate.subject)
    builder = _authority(builder, permitted, 0).add_extension(_servers_only(), critical=False)
    return _issued_by(builder, root.certificate).sign(root.key, SHA256())


def make_leaf(
    public_key: PublicKey, issuer: Signer, name: str, now: datetime, days: float = LEAF_DAYS
) -> x509.Certificate:
    """Return a server's certificate for `name` alone; `*` as its first label is one wildcard.

    CertificateError for what is no name, and for a name that the issuer does not permit.
    """
    host = checked_name(name.removeprefix("*."))
    found = f"*.{host}" if name.startswith("*.") else host
    if not is_below(host, issuer.permitted):
        raise CertificateError(f"the authority does not permit {found}")
    end = min(now + timedelta(days=days), issuer.certificate.not_valid_after_utc)
    subject = _named(found, organization=False) if len(found) <= COMMON_NAME else x509.Name([])
    alternative = x509.SubjectAlternativeName([x509.DNSName(found)])
    builder = (
        _builder(public_key, now, end)
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject)
        .add_extension(alternative, critical=not subject.rdns)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(_servers_only(), critical=False)
    )
    return _issued_by(builder, issuer.certificate).sign(issuer.key, SHA256())


def permitted_by(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the permitted subtrees. CertificateError where anything beside DNS names in them is permitted."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.NameConstraints)
    except x509.ExtensionNotFound:
        raise CertificateError(
            f"{common_name(certificate)} has no name constraints: it could sign for any host"
        ) from None
    names = found.value.permitted_subtrees or []
    excludes_addresses = all(network in (found.value.excluded_subtrees or []) for network in EVERY_ADDRESS)
    if not found.critical or not names or not excludes_addresses or not all(isinstance(n, x509.DNSName) for n in names):
        raise CertificateError(f"{common_name(certificate)} is not constrained to names of hosts")
    return tuple(name.value for name in names)


def common_name(certificate: x509.Certificate) -> str:
    """Return what people see of the subject."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else certificate.subject.rfc4514_string()


def _builder(public_key: PublicKey, now: datetime, end: datetime) -> x509.CertificateBuilder:
    if end <= now:
        raise CertificateError("its issuer has expired: mutewatch ca status")
    return (
        x509.CertificateBuilder()
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(end)
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False
        )  # SHA-1, as mitmproxy 11 wants
    )


def _authority(builder: x509.CertificateBuilder, permitted: tuple[str, ...], path: int) -> x509.CertificateBuilder:
    subtrees = [x509.DNSName(name) for name in permitted]
    if not subtrees:
        raise CertificateError("no hosts: an authority must be constrained to some")
    return (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=path), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.NameConstraints(subtrees, EVERY_ADDRESS), critical=True)
    )


def _issued_by(builder: x509.CertificateBuilder, issuer: x509.Certificate) -> x509.CertificateBuilder:
    key = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key), critical=False)


def _usage(*, digital_signature: bool = False, signs: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _servers_only() -> x509.ExtendedKeyUsage:
    return x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])


def _named(name: str, *, organization: bool = True) -> x509.Name:
    whose = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "mutewatch")] if organization else []
    return x509.Name([*whose, x509.NameAttribute(NameOID.COMMON_NAME, name)])
