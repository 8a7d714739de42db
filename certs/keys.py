"""Private keys on disk: PKCS#8, 0600 whatever the umask, encrypted where there is a passphrase.

A key that others may read is not used, and a file is replaced as a whole or not at all.
"""

import os
import stat
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from certs.names import CertificateError
from certs.profile import PrivateKey

LARGEST = 1 << 20  # bytes of a file that is read


def write_private(path: Path, content: bytes) -> None:
    """Replace `path` by `content`, mode 0600, on disk when it returns. CertificateError if that fails."""
    new = path.with_name(f".{path.name}.new")
    try:
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        new.replace(path)
    except OSError as error:
        raise CertificateError(f"cannot write {path}: {error.strerror}") from None


def make_directory(path: Path) -> None:
    """Make `path` for its owner alone, if there is none. CertificateError if that fails."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CertificateError(f"cannot keep certificates in {path}: {error.strerror}") from None


def read_file(path: Path, *, private: bool = False) -> bytes:
    """Return what is in a regular file. CertificateError; also for a `private` one that others may read."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
            raise CertificateError(f"{path} is not a file of keys or certificates")
        if private and status.st_mode & 0o077:
            raise CertificateError(f"{path} is open to others: chmod 600 {path}")
        return path.read_bytes()
    except OSError as error:
        raise CertificateError(f"cannot read {path}: {error.strerror}") from None


def key_pem(key: PrivateKey, passphrase: bytes | None) -> bytes:
    """Return the key as PEM, PKCS#8."""
    encryption: KeySerializationEncryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def load_key(path: Path, passphrase: bytes | None) -> PrivateKey:
    """Return the key in `path`. CertificateError for loose modes, a wrong or missing passphrase, other kinds."""
    pem = read_file(path, private=True)
    is_encrypted = b"ENCRYPTED" in pem
    try:
        key = load_pem_private_key(pem, passphrase if is_encrypted else None)
    except TypeError:
        raise CertificateError(
            f"{path} is encrypted: give its passphrase with --passphrase-file, or as a systemd credential"
        ) from None
    except ValueError:
        why = "this is not its passphrase" if is_encrypted else "it is not a private key in PEM"
        raise CertificateError(f"{path}: {why}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise CertificateError(f"{path}: neither an EC nor an RSA key")
    return key
