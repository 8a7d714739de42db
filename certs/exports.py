"""The public part of an authority in the forms that clients take, each with how to install it and to remove it.

Never a key: only certificates come in. While two roots overlap, clients are given both, where a form has room.
"""

import plistlib
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates

from certs.profile import common_name

Roots = Sequence[x509.Certificate]
IDENTIFIER: Final = "org.mutewatch.root"
_WORD: Final = re.compile(r"\b(?:FILE|NAME|FINGERPRINT|THUMBPRINT)\b")


class Format(StrEnum):
    PEM = "pem"
    DER = "der"
    P12 = "p12"
    MOBILECONFIG = "mobileconfig"
    GPO = "gpo"
    FIREFOX = "firefox"
    NSS = "nss"
    JAVA = "java"
    DEBIAN = "debian"


@dataclass(frozen=True, slots=True)
class Form:
    """One form. In the texts, FILE is where the export lies, and NAME what the certificate is called."""

    suffix: str
    write: Callable[[Roots], bytes]
    install: str
    uninstall: str


@dataclass(frozen=True, slots=True)
class Export:
    """What to give to clients."""

    content: bytes
    install: str
    uninstall: str


def export(roots: Roots, form: Format, file: str) -> Export:
    """Return `roots`, the newest last, in one form; `file` is where it will lie, for the texts."""
    found, name = FORMS[form], common_name(roots[-1])
    fingerprint = roots[-1].fingerprint(SHA256()).hex().upper()
    thumbprint = roots[-1].fingerprint(SHA1()).hex().upper()  # noqa: S303  what Windows calls a certificate by

    def text(pattern: str) -> str:
        words = {"FILE": file, "NAME": name, "FINGERPRINT": fingerprint, "THUMBPRINT": thumbprint}
        return _WORD.sub(lambda found: words[found[0]], pattern)  # at once: a path may have such a word in it

    return Export(found.write(roots), text(found.install), text(found.uninstall))


def _pem(roots: Roots) -> bytes:
    return b"".join(root.public_bytes(Encoding.PEM) for root in roots)


def _newest_pem(roots: Roots) -> bytes:
    return roots[-1].public_bytes(Encoding.PEM)


def _der(roots: Roots) -> bytes:
    return roots[-1].public_bytes(Encoding.DER)


def _p12(roots: Roots) -> bytes:
    return serialize_key_and_certificates(None, None, None, list(roots), NoEncryption())


def _mobileconfig(roots: Roots) -> bytes:
    """A configuration profile (Apple, "Configuration Profile Reference", com.apple.security.root)."""
    payloads = [
        {
            "PayloadType": "com.apple.security.root",
            "PayloadVersion": 1,
            "PayloadIdentifier": f"{IDENTIFIER}.{root.fingerprint(SHA256()).hex()[:16]}",
            "PayloadUUID": _uuid(root),
            "PayloadDisplayName": common_name(root),
            "PayloadContent": root.public_bytes(Encoding.DER),
        }
        for root in roots
    ]
    profile = {
        "PayloadType": "Configuration",
        "PayloadVersion": 1,
        "PayloadIdentifier": IDENTIFIER,
        "PayloadUUID": _uuid(roots[-1]),
        "PayloadDisplayName": "mutewatch: inspection of telemetry hosts",
        "PayloadContent": payloads,
    }
    return plistlib.dumps(profile)


def _uuid(root: x509.Certificate) -> str:
    """The same for the same certificate, so that a profile that is installed again replaces itself."""
    return str(uuid.UUID(bytes=root.fingerprint(SHA256())[:16])).upper()


FORMS: Final[dict[Format, Form]] = {
    Format.PEM: Form(
        "pem",
        _pem,
        "curl --cacert FILE …, or NODE_EXTRA_CA_CERTS=FILE, or SSL_CERT_FILE=FILE, for one program alone",
        "leave the option out again",
    ),
    Format.DER: Form(
        "cer",
        _der,
        "Windows, one machine, as administrator: certutil -addstore Root FILE",
        "certutil -delstore Root THUMBPRINT",
    ),
    Format.P12: Form(
        "p12",
        _p12,
        "import FILE where a PKCS#12 file of certificates is asked for; it has no key and no password",
        "remove the certificate called NAME there",
    ),
    Format.MOBILECONFIG: Form(
        "mobileconfig",
        _mobileconfig,
        "macOS, iOS: through device management; by hand: open FILE, then on iOS also Settings, General, About, "
        "Certificate Trust Settings",
        "remove the profile 'mutewatch: inspection of telemetry hosts'; macOS: profiles remove -identifier "
        f"{IDENTIFIER}",
    ),
    Format.GPO: Form(
        "cer",
        _der,
        "Group Policy Management: Computer Configuration, Policies, Windows Settings, Security Settings, Public Key "
        "Policies, Trusted Root Certification Authorities: Import FILE; then gpupdate /force",
        "delete NAME in the same place; clients let go of it at their next gpupdate",
    ),
    Format.FIREFOX: Form(
        "pem",
        _newest_pem,
        "Firefox's policies.json (in the folder `distribution`, or /etc/firefox/policies): "
        '{"policies": {"Certificates": {"Install": ["FILE"]}}}',
        "take the entry out of policies.json; in about:preferences, Certificates, Authorities, delete NAME",
    ),
    Format.NSS: Form(
        "pem",
        _newest_pem,
        'Chromium on Linux: certutil -d "sql:$HOME/.pki/nssdb" -A -t C,, -n "NAME" -i FILE',
        'certutil -d "sql:$HOME/.pki/nssdb" -D -n "NAME"',
    ),
    Format.JAVA: Form(
        "pem",
        _newest_pem,
        'keytool -importcert -cacerts -noprompt -storepass changeit -alias "NAME" -file FILE',
        'keytool -delete -cacerts -storepass changeit -alias "NAME"',
    ),
    Format.DEBIAN: Form(
        "crt",
        _newest_pem,
        "install -m 644 FILE /usr/local/share/ca-certificates/mutewatch-root.crt && update-ca-certificates",
        "rm /usr/local/share/ca-certificates/mutewatch-root.crt && update-ca-certificates --fresh",
    ),
}
