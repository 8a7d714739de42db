"""Leaves: certificates for one host each, minted when a client asks for it, or made beforehand and loaded.

A store of leaves gives the same leaf until a day before its end. How many it holds is bounded: the names that
clients ask for are theirs to choose, within what is inspected.
"""

import re
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certs.keys import key_pem, load_key, make_directory, read_file, write_private
from certs.names import CertificateError, checked_name
from certs.profile import PrivateKey, Signer, make_leaf, new_key

RENEW_BEFORE: Final = timedelta(days=1)
ROOT: Final = "root.crt"  # beside leaves that were issued: what clients trust
MOST: Final = 1000  # leaves held; the stalest goes first
PEM_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Leaf:
    """A server's certificate with its key, and what is sent after it."""

    certificate: x509.Certificate
    key: PrivateKey
    chain: tuple[x509.Certificate, ...]


class Leaves(Protocol):
    """Where leaves come from."""

    def leaf(self, name: str, now: datetime) -> Leaf:
        """Return one for the host `name` that holds for a day at least. CertificateError if there is none."""
        ...


class MintedLeaves:
    """Mints what is asked for. One key for all of them: the gateway's own, of this run, and no authority's."""

    def __init__(self, issuer: Signer, most: int = MOST) -> None:
        self._issuer, self._most = issuer, most
        self._key = new_key()
        self._leaves: OrderedDict[str, Leaf] = OrderedDict()

    def leaf(self, name: str, now: datetime) -> Leaf:
        name = checked_name(name)
        known = self._leaves.get(name)
        if known is None or _is_due(known, now):
            certificate = make_leaf(self._key.public_key(), self._issuer, name, now)
            known = Leaf(certificate, self._key, (self._issuer.certificate,))
            self._leaves[name] = known
            if len(self._leaves) > self._most:
                self._leaves.popitem(last=False)
        self._leaves.move_to_end(name)
        return known


class LeafDirectory:
    """Leaves that were issued elsewhere: no key that could sign is on this machine."""

    def __init__(self, directory: Path, now: datetime) -> None:
        """Load every `*.pem` in `directory`.

        CertificateError for one that cannot be used, and where none holds now.
        """
        self._directory = directory
        self._leaves: dict[str, Leaf] = {}
        try:
            paths = sorted(path for path in directory.iterdir() if path.suffix == ".pem")
        except OSError as error:
            raise CertificateError(f"cannot read the leaves in {directory}: {error.strerror}") from None
        for path in paths:
            leaf = load_leaf(path)
            for name in names_of(leaf.certificate):
                self._leaves[name] = leaf
        if not self._leaves:
            raise CertificateError(f"{directory} holds no leaves (*.pem): mutewatch ca issue makes them")
        if not any(_holds(leaf, now) for leaf in self._leaves.values()):
            raise CertificateError(f"none of the leaves in {directory} holds now: mutewatch ca issue makes new ones")

    def leaf(self, name: str, now: datetime) -> Leaf:
        name = checked_name(name)
        found = self._leaves.get(name) or self._leaves.get(f"*.{name.partition('.')[2]}")
        if found is None:
            raise CertificateError(f"{self._directory} holds no leaf for {name}: mutewatch ca issue {name}")
        if not _holds(found, now):
            until = f"{found.certificate.not_valid_after_utc:%Y-%m-%d}"
            raise CertificateError(f"the leaf for {name} in {self._directory} was valid until {until}")
        return found

    def all(self) -> list[Leaf]:
        return list(self._leaves.values())

    def expires_at(self) -> datetime:
        """Return when the first of them expires."""
        return min(leaf.certificate.not_valid_after_utc for leaf in self._leaves.values())


def issue(
    issuer: Signer, root: x509.Certificate, names: Iterable[str], directory: Path, now: datetime, days: float
) -> list[Path]:
    """Write a leaf with a key of its own for each name (`*.webex.com` for a wildcard); return their files."""
    make_directory(directory)
    write_private(directory / ROOT, root.public_bytes(Encoding.PEM))
    written = []
    for name in names:
        key = new_key()
        certificate = make_leaf(key.public_key(), issuer, name, now, days)
        path = directory / f"{name.replace('*', '_')}.pem"
        pem = [key_pem(key, None), *(one.public_bytes(Encoding.PEM) for one in (certificate, issuer.certificate))]
        write_private(path, b"".join(pem))
        written.append(path)
    return written


def load_leaf(path: Path) -> Leaf:
    """Return the leaf in a file: its key, its certificate, what is sent after it. CertificateError."""
    key = load_key(path, None)
    try:
        certificates = [x509.load_pem_x509_certificate(pem) for pem in PEM_CERTIFICATE.findall(read_file(path))]
    except ValueError:
        raise CertificateError(f"{path}: a certificate in it cannot be read") from None
    if not certificates or certificates[0].public_key() != key.public_key():
        raise CertificateError(f"{path}: its first certificate does not belong to its key")
    if any(_may_sign(certificate) for certificate in certificates[:1]):
        raise CertificateError(f"{path}: it may sign others, and has no place on a gateway")
    return Leaf(certificates[0], key, tuple(certificates[1:]))


def names_of(certificate: x509.Certificate) -> list[str]:
    """Return the DNS names that a leaf is for."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return [name.lower() for name in found.value.get_values_for_type(x509.DNSName)]


def _may_sign(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _holds(leaf: Leaf, now: datetime) -> bool:
    return leaf.certificate.not_valid_before_utc <= now < leaf.certificate.not_valid_after_utc


def _is_due(leaf: Leaf, now: datetime) -> bool:
    return leaf.certificate.not_valid_after_utc - now < RENEW_BEFORE or now < leaf.certificate.not_valid_before_utc
