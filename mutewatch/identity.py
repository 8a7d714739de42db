"""Pseudonyms for the people behind the traffic, and for the calls they are in.

A client's name on the wire (a user id, an IP address), the id of a call and that of a participant are each
replaced by a keyed hash before they reach a record that is kept or shown. The same key gives the same pseudonym at
every door, so that live findings and a later replay of the capture agree; changing the key makes old and new
findings unlinkable.
"""

import hmac
import os
import re
import secrets
from functools import lru_cache
from pathlib import Path
from typing import Final

from mutewatch.errors import OperatorError

KEY_BYTES = 32
REMEMBERED: Final = (
    4_096  # pseudonyms: each costs as much as a tenth of a short message, and a call names the same ones
)
CANARY = "canary"  # the client behind `mutewatch canary`: nobody; and the door its messages come through


_CALL: Final = re.compile(r"call-[0-9a-f]{16}")


def is_call_pseudonym(name: str) -> bool:
    """Does `name` look like what `Names.call` makes?"""
    return _CALL.fullmatch(name) is not None


class Names:
    """Turns names from the wire into pseudonyms; with `key` None they are shown as they are."""

    def __init__(self, key: bytes | None) -> None:
        self._key = key
        self._keyed = lru_cache(REMEMBERED)(self._hashed)

    def pseudonym(self, name: str) -> str:
        """Return the pseudonym of `name`: "client-" and 12 hex digits (48 bits) of HMAC-SHA256."""
        if self._key is None:
            return name if name != CANARY else f"client-{name}"  # nobody hides behind the canary's name
        return f"client-{self._keyed(name)}"

    def call(self, name: str) -> str:
        """Return the pseudonym of a call's id, "call-" and 16 hex digits: the same wherever the call is named."""
        return name if self._key is None else f"call-{self._keyed(f'call {name}', 16)}"

    def participant(self, name: str) -> str:
        """Return the pseudonym of the id under which others may mute a client."""
        return name if self._key is None else f"participant-{self._keyed(f'participant {name}', 16)}"

    def _hashed(self, name: str, digits: int = 12) -> str:
        return hmac.digest(self._key or b"", name.encode("utf-8", "replace"), "sha256").hex()[:digits]


class CanaryNames(Names):
    """Gives one name to whatever the canary's messages name, so that they are never taken for a person's."""

    def __init__(self) -> None:
        super().__init__(None)

    def pseudonym(self, name: str) -> str:
        """Return the canary's name."""
        return CANARY

    # Its call id is made for one run and nobody else's: with no key it stays as it is, and the run knows it again.


def load_or_create_key(path: Path) -> bytes:
    """Return the pseudonym key kept in `path`, made on first use, mode 0600.

    Raises OperatorError if the file is open to others, or not a key.
    """
    if path.exists():
        return _load_key(path)
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    key = secrets.token_bytes(KEY_BYTES)
    try:
        _write_private(new, key)
        os.link(new, path)  # whole or not at all, whenever we are stopped; and never over another's
    except FileExistsError:
        return _load_key(path)
    except OSError as error:
        raise OperatorError(f"cannot keep the pseudonym key in {path}: {error.strerror}") from None
    finally:
        new.unlink(missing_ok=True)
    return key


def _write_private(path: Path, data: bytes) -> None:
    """Raises OSError."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _load_key(path: Path) -> bytes:
    try:
        mode, key = path.stat().st_mode, path.read_bytes()
    except OSError as error:
        raise OperatorError(f"cannot read the pseudonym key {path}: {error.strerror}") from None
    if mode & 0o077:
        raise OperatorError(f"the pseudonym key {path} is open to others: chmod 600 {path}")
    if len(key) != KEY_BYTES:
        raise OperatorError(f"{path} holds {len(key)} bytes, not a key of {KEY_BYTES}: move it away to get a new one")
    return key
