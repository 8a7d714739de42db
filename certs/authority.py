"""The certificate authority of the live proxy, on disk: made, checked, renewed, replaced.

| file | what it is |
|---|---|
| `root.pem` | what clients trust; its key may be kept elsewhere |
| `intermediate.pem` | signs leaves; replaced under the same root without a client noticing |
| `next-root.pem` | only while a root is being replaced: clients are given it beside the old one |
| `next-intermediate.pem` | the intermediate's key again, certified by the next root |

While two roots overlap, clients are given both, and leaves come under the old one until the rotation is finished.
(Sent with certificates of both roots, leaves are refused by clients that trust the second alone: OpenSSL and what is
built on it follow the first only.) What is loaded has been checked: it belongs together, holds now, is constrained.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from certs.keys import key_pem, load_key, make_directory, read_file, write_private
from certs.leaves import ROOT
from certs.names import CertificateError, is_below, permitted_names
from certs.profile import (
    KeyKind,
    PrivateKey,
    Signer,
    common_name,
    make_intermediate,
    make_root,
    new_key,
    permitted_by,
)

RENEW_BEFORE: Final = timedelta(days=30)  # an intermediate, before its end
REPLACE_BEFORE: Final = timedelta(days=90)  # a root: clients have to be given the next one


@dataclass(frozen=True, slots=True)
class Authority:
    """An authority in a directory of ours."""

    directory: Path

    def certificate_path(self, role: str) -> Path:
        """`role`: root, intermediate, next-root, next-intermediate."""
        return self.directory / f"{role}.pem"

    def key_path(self, role: str) -> Path:
        return self.directory / f"{role}-key.pem"

    @property
    def exists(self) -> bool:
        return self.certificate_path("root").exists() or self.key_path("root").exists()

    @property
    def is_rotating(self) -> bool:
        """Is a root being replaced?"""
        return self.certificate_path("next-root").exists()

    def create(
        self, hosts: Iterable[str], now: datetime, passphrase: bytes | None = None, root_key: KeyKind = KeyKind.EC
    ) -> None:
        """Make a root and an intermediate that permit the hosts of `hosts` alone. CertificateError if there is one."""
        if self.exists:
            raise CertificateError(f"there is an authority in {self.directory}: mutewatch ca status")
        make_directory(self.directory)
        permitted = permitted_names(hosts)
        self._save_key("intermediate", new_key(), passphrase)
        self._make_root("root", new_key(root_key), permitted, now, passphrase)
        self.renew(now, passphrase)

    def renew(self, now: datetime, passphrase: bytes | None = None) -> None:
        """Make the intermediate's certificates again, under the same roots and for the same key."""
        key = load_key(self.key_path("intermediate"), passphrase)
        for prefix in ("", "next-") if self.is_rotating else ("",):
            root = self.signer(f"{prefix}root", passphrase)
            made = make_intermediate(key.public_key(), root, root.permitted, now, _title("intermediate", now))
            self._save_certificate(f"{prefix}intermediate", made)

    def can_renew(self, now: datetime) -> bool:
        """Does the intermediate end soon, and is there a root with its key that allows it more time?"""
        end = self.certificate("intermediate").not_valid_after_utc
        is_allowed = self.certificate("root").not_valid_after_utc > end and self.key_path("root").exists()
        return is_allowed and end - now < RENEW_BEFORE

    def replace_key(self, now: datetime, passphrase: bytes | None = None) -> None:
        """Make a new key for the intermediate, and its certificates; no client notices."""
        self._save_key("intermediate", new_key(), passphrase)
        self.renew(now, passphrase)

    def begin_rotation(
        self, now: datetime, passphrase: bytes | None = None, more_hosts: Iterable[str] = (), kind: KeyKind = KeyKind.EC
    ) -> None:
        """Make the next root, which may permit `more_hosts` too. Clients are to be given it beside the old one."""
        if self.is_rotating:
            raise CertificateError("a root is being replaced already: mutewatch ca rotate --finish")
        permitted = permitted_names([*self.permitted(), *more_hosts])
        self._make_root("next-root", new_key(kind), permitted, now, passphrase)
        self.renew(now, passphrase)

    def finish_rotation(self) -> Path:
        """Let go of the old root; return where its certificate is kept, so that it can be taken from clients."""
        if not self.is_rotating:
            raise CertificateError("no root is being replaced: mutewatch ca rotate")
        old = self.certificate("root")
        kept = self.directory / f"retired-root-{old.fingerprint(SHA256()).hex()[:16]}.pem"
        write_private(kept, old.public_bytes(Encoding.PEM))
        self.key_path("root").unlink(missing_ok=True)
        for role in ("root", "intermediate"):
            if self.key_path(f"next-{role}").exists():
                self.key_path(f"next-{role}").replace(self.key_path(role))
            self.certificate_path(f"next-{role}").replace(self.certificate_path(role))
        return kept

    def permitted(self) -> tuple[str, ...]:
        """Return the subtrees that the newest root permits."""
        return permitted_by(self.certificate("next-root" if self.is_rotating else "root"))

    def certificate(self, role: str) -> x509.Certificate:
        """Return a certificate. CertificateError if it cannot be read."""
        path = self.certificate_path(role)
        if not path.exists() and not self.exists:
            raise CertificateError(f"there is no authority in {self.directory}: mutewatch ca init")
        try:
            return x509.load_pem_x509_certificate(read_file(path))
        except ValueError:
            raise CertificateError(f"{path}: it is not a certificate in PEM") from None

    def signer(self, role: str, passphrase: bytes | None) -> Signer:
        """Return a certificate with its key. CertificateError if they do not belong together."""
        certificate = self.certificate(role)
        path = self.key_path("intermediate" if role == "next-intermediate" else role)
        if not path.exists():
            raise CertificateError(f"{path} is not here: put the key back for this, and take it away again")
        key = load_key(path, passphrase)
        if key.public_key() != certificate.public_key():
            raise CertificateError(f"{path} is not the key of {self.certificate_path(role)}")
        return Signer(certificate, key)

    def issuer(self, hosts: Iterable[str] | None, now: datetime, passphrase: bytes | None = None) -> Signer:
        """Return what mints leaves, for `hosts` (patterns), if they are said; else for those that it permits.

        CertificateError for anything that is not as it must be.
        """
        signer = self.signer("intermediate", passphrase)
        root = self.certificate("root")
        self._check(root, root, now)
        self._check(signer.certificate, root, now)
        if hosts is not None:
            self.check_permits(hosts)
        return signer

    def check_permits(self, hosts: Iterable[str]) -> None:
        """Raise CertificateError if a host of `hosts` (patterns) is not permitted now, with what to do."""
        permitted = permitted_by(self.certificate("intermediate"))
        outside = [host for host in permitted_names(hosts) if not is_below(host, permitted)]
        if not outside:
            return
        is_coming = self.is_rotating and all(is_below(host, self.permitted()) for host in outside)
        remedy = (
            "rotate --finish, once every client has the next root" if is_coming else f"add-host {' '.join(outside)}"
        )
        raise CertificateError(f"the authority does not permit {', '.join(outside)}: mutewatch ca {remedy}")

    def _check(self, certificate: x509.Certificate, root: x509.Certificate, now: datetime) -> None:
        name = common_name(certificate)
        permitted_by(certificate)
        if not certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc:
            until = f"{certificate.not_valid_before_utc:%Y-%m-%d} to {certificate.not_valid_after_utc:%Y-%m-%d}"
            what = "mutewatch ca rotate" if certificate is root else "mutewatch ca renew"
            raise CertificateError(f"{name} is valid from {until}, not on {now:%Y-%m-%d}: {what}")
        try:
            certificate.verify_directly_issued_by(root)
        except (ValueError, TypeError, InvalidSignature):
            raise CertificateError(f"{name} was not signed by {common_name(root)}") from None

    def _make_root(
        self, role: str, key: PrivateKey, permitted: tuple[str, ...], now: datetime, passphrase: bytes | None
    ) -> None:
        self._save_key(role, key, passphrase)
        self._save_certificate(role, make_root(key, permitted, now, _title("root", now)))

    def _save_key(self, role: str, key: PrivateKey, passphrase: bytes | None) -> None:
        write_private(self.key_path(role), key_pem(key, passphrase))

    def _save_certificate(self, role: str, certificate: x509.Certificate) -> None:
        write_private(self.certificate_path(role), certificate.public_bytes(Encoding.PEM))


def trusted_root(directory: Path, leaf_dir: Path | None) -> Path:
    """Return the file of what clients trust: the authority's root, or the one beside leaves made elsewhere."""
    return leaf_dir / ROOT if leaf_dir else Authority(directory).certificate_path("root")


def _title(role: str, now: datetime) -> str:
    """What people see; no two of an authority are called the same, which would lead clients astray."""
    return f"mutewatch {role} {now:%Y-%m-%d} {secrets.token_hex(3)}"
