"""Where the passphrase of the keys comes from: a file, a systemd credential, or the terminal; never argv."""

import getpass
import os
import sys
from pathlib import Path

from certs.keys import read_file
from certs.names import CertificateError

CREDENTIAL = "mutewatch-ca-passphrase"  # systemd: LoadCredential=mutewatch-ca-passphrase:/etc/mutewatch/passphrase
SHORTEST = 12  # characters of a new one


def known_passphrase(file: Path | None) -> bytes | None:
    """Return the systemd credential, else the passphrase in `file`, else None. CertificateError.

    Within a service the credential comes first: it is what the unit made of the file, which the service cannot read.
    """
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if folder and (Path(folder) / CREDENTIAL).exists():
        return _first_line(Path(folder) / CREDENTIAL, private=False)  # systemd has seen to its mode
    return _first_line(file, private=True) if file else None


def ask_passphrase(*, is_new: bool) -> bytes:
    """Return what the operator types. CertificateError without a terminal, or if a new one is too short."""
    if not sys.stdin.isatty():
        raise CertificateError("no terminal to ask for the passphrase: give --passphrase-file")
    typed = getpass.getpass("Passphrase of the CA's keys: ")
    if is_new and getpass.getpass("Again: ") != typed:
        raise CertificateError("the two differ")
    return _checked(typed.encode(), "the passphrase", is_new=is_new)


def _first_line(path: Path, *, private: bool) -> bytes:
    return _checked(read_file(path, private=private).partition(b"\n")[0].rstrip(b"\r"), str(path), is_new=False)


def _checked(passphrase: bytes, where: str, *, is_new: bool) -> bytes:
    if not passphrase or (is_new and len(passphrase) < SHORTEST):
        raise CertificateError(f"{where}: write at least {SHORTEST} characters")
    return passphrase
