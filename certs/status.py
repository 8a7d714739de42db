"""What an authority's state is, for people, metrics and cron."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from certs.authority import RENEW_BEFORE, REPLACE_BEFORE, Authority
from certs.keys import read_file
from certs.profile import common_name, permitted_by


@dataclass(frozen=True, slots=True)
class CertificateStatus:
    """One certificate of an authority. `is_due`: it should be replaced now."""

    role: str
    name: str
    fingerprint: str  # SHA-256, hex
    expires_at: datetime
    days_left: int
    permitted: tuple[str, ...]
    has_key: bool
    is_due: bool

    @property
    def remedy(self) -> str:
        """The command that replaces it."""
        return "rotate" if "root" in self.role else "renew"


def describe(authority: Authority, now: datetime) -> Iterator[CertificateStatus]:
    """Yield what there is, roots first.

    CertificateError for what cannot be read, for a key that is open to others, and for what is not constrained.
    """
    for role in ("root", "next-root", "intermediate", "next-intermediate"):
        if authority.key_path(role).exists():
            read_file(authority.key_path(role), private=True)
        if authority.certificate_path(role).exists():
            yield _status(authority, role, authority.certificate(role), now)


def _status(authority: Authority, role: str, certificate: x509.Certificate, now: datetime) -> CertificateStatus:
    left = certificate.not_valid_after_utc - now
    return CertificateStatus(
        role,
        common_name(certificate),
        certificate.fingerprint(SHA256()).hex(),
        certificate.not_valid_after_utc,
        left.days,
        permitted_by(certificate),
        authority.key_path(role.removeprefix("next-") if "intermediate" in role else role).exists(),
        left < (REPLACE_BEFORE if "root" in role else RENEW_BEFORE),
    )
