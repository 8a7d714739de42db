"""The certificate authority of the live proxy: where it is, how long it holds, and what it may sign.

In this version it is the one that mitmproxy makes in its confdir, which may sign for any host. Only its
public certificate is read here.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

CERTIFICATE = "mitmproxy-ca-cert.pem"
KEY = "mitmproxy-ca.pem"


@dataclass(frozen=True, slots=True)
class AuthorityStatus:
    """What is known of an authority; `fault` is None if it can be used."""

    certificate: Path
    fingerprint: str  # SHA-256 of the certificate, hex
    expires_at: datetime
    is_constrained: bool  # has Name Constraints (RFC 5280, 4.2.1.10)
    fault: str | None

    @property
    def text(self) -> str:
        """One line for people."""
        reach = "constrained" if self.is_constrained else "may sign for any host"
        return f"{self.certificate}, until {self.expires_at:%Y-%m-%d}, {reach}, SHA-256 {self.fingerprint[:16]}…"


def describe(confdir: Path, now: datetime) -> AuthorityStatus | None:
    """Return what is known at `now` of the authority in `confdir`, None if there is none yet."""
    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256

    path, key = confdir / CERTIFICATE, confdir / KEY
    if not key.exists() and not path.exists():
        return None
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        is_loose = key.exists() and bool(key.stat().st_mode & 0o077)
    except (OSError, ValueError) as error:
        return AuthorityStatus(path, "", now, False, f"{path}: {error}")
    try:
        certificate.extensions.get_extension_for_class(x509.NameConstraints)
        is_constrained = True
    except x509.ExtensionNotFound:
        is_constrained = False
    expires_at = certificate.not_valid_after_utc
    fault = None
    if is_loose:
        fault = f"the key {key} is open to others: chmod 600 {key}"
    elif expires_at <= now:
        fault = f"{path} expired on {expires_at:%Y-%m-%d}: move {confdir} away to get a new one"
    return AuthorityStatus(path, certificate.fingerprint(SHA256()).hex(), expires_at, is_constrained, fault)
