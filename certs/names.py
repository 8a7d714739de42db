"""Which names an authority may sign for: permitted subtrees (RFC 5280, 4.2.1.10), from the hosts of signatures.

Pure. X.509 knows no `*` in a constraint: `tsa*.webex.com` becomes `webex.com`, which permits that name and all
below it. That is as narrow as a certificate can say it; leaves are minted for matched hosts only.
"""

import re
from collections.abc import Iterable
from typing import Final

from mutewatch.errors import OperatorError

LONGEST: Final = 253  # characters of a name (RFC 1035, 2.3.4, less the root's dot)
LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)


class CertificateError(OperatorError):
    """Something about certificates or their keys is not as it must be. One line says what, and what to do."""


def checked_name(name: str) -> str:
    """Return the DNS name in lower case, without a dot at its end. CertificateError for anything else.

    A name has two labels at least, and the last is no number: an address is no name, however it is written.
    """
    found = name.lower().removesuffix(".") if name.isascii() else ""
    labels = found.split(".")
    if (
        len(found) > LONGEST
        or len(labels) < 2
        or not all(LABEL.fullmatch(label) for label in labels)
        or labels[-1].isdigit()
    ):
        raise CertificateError(f"{name[:80]!a} is not the name of a host")
    return found


def permitted_names(patterns: Iterable[str]) -> tuple[str, ...]:
    """Return the fewest subtrees that hold every host of `patterns`, such as `tsa*.webex.com`.

    CertificateError for a pattern with fewer than two labels behind its last `*`, and for none at all.
    """
    names = {_subtree(pattern) for pattern in patterns}
    if not names:
        raise CertificateError("no hosts: an authority must be constrained to some")
    return tuple(sorted(name for name in names if not is_below(name, names - {name})))


def _subtree(pattern: str) -> str:
    labels = pattern.split(".")
    wild = [position for position, label in enumerate(labels) if "*" in label]
    literal = labels[wild[-1] + 1 :] if wild else labels
    if len(literal) < 2:
        raise CertificateError(f"host pattern {pattern[:80]!a}: two labels at its end must be literal: tsa*.webex.com")
    return checked_name(".".join(literal))


def is_below(name: str, subtrees: Iterable[str]) -> bool:
    """Is `name` one of `subtrees`, or below one?"""
    return any(name == subtree or name.endswith(f".{subtree}") for subtree in subtrees)
