"""The tokens of those who may look: made once, told once, kept as hashes.

A token is 256 random bits, so a plain SHA-256 of it cannot be guessed back. The file holds one JSON object a line,
mode 0600; deleting a line takes the token away, and ends what was begun with it, at once.
"""

import hmac
import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

from mutewatch import log_file
from mutewatch.errors import OperatorError
from mutewatch.report.payload import Role

FILE: Final = "serve.tokens"  # in the state directory
NAME: Final = re.compile(r"[A-Za-z0-9._@-]{1,64}")


@dataclass(frozen=True, slots=True)
class Token:
    """Who may look, as what. `digest`: SHA-256 of the token, hexadecimal."""

    name: str
    role: Role
    digest: str


class TokenFile:
    """The tokens in the file at `path`, read again when it has changed. No file: no tokens."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._state: tuple[int, ...] = ()
        self._tokens: tuple[Token, ...] = ()

    def tokens(self) -> tuple[Token, ...]:
        """Return the tokens that hold now. OperatorError if the file is open to others, or not one of tokens."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise OperatorError(f"cannot read the tokens in {self.path}: {error.strerror}") from None
        if status.st_mode & 0o077:
            raise OperatorError(f"the tokens in {self.path} are open to others: chmod 600 {self.path}")
        state = (status.st_ino, status.st_mtime_ns, status.st_size)
        if state != self._state:
            self._tokens = tuple(self._read())
            self._state = state
        return self._tokens

    def find(self, token: str) -> Token | None:
        """Return whose token that is. OperatorError as above."""
        offered, found = digest(token), None
        for known in self.tokens():  # all of them, so that the time does not tell which
            if hmac.compare_digest(known.digest, offered):
                found = known
        return found

    def add(self, role: Role, name: str, at: datetime) -> str:
        """Return a new token, which is told only here. OperatorError for a name that is taken or not plain."""
        if not NAME.fullmatch(name):
            raise OperatorError(f"{name!r}: name a token with at most 64 of A-Z a-z 0-9 . _ @ -")
        if any(known.name == name for known in self.tokens()):
            raise OperatorError(f"there is a token of {name} already: delete its line in {self.path} first")
        token = secrets.token_urlsafe(32)
        record = {"name": name, "role": role.value, "sha256": digest(token), "made_at": at.isoformat()}
        try:
            log_file.append(self.path, record)
        except OSError as error:
            raise OperatorError(f"cannot keep tokens in {self.path}: {error.strerror}") from None
        return token

    def _read(self) -> Iterator[Token]:
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            raise OperatorError(f"cannot read the tokens in {self.path}") from None
        for number, line in enumerate(lines, 1):
            try:
                record = json.loads(line)
                yield Token(str(record["name"]), Role(record["role"]), str(record["sha256"]))
            except (ValueError, TypeError, KeyError):
                raise OperatorError(f"{self.path}: line {number} is no token: delete it") from None


def digest(secret: str) -> str:
    """Return the SHA-256 of a secret of ours, hexadecimal."""
    return sha256(secret.encode("utf-8", "replace")).hexdigest()
