"""Holds the secrets of NSS key logs (draft-ietf-tls-keylogfile): from files and from captures, in any order."""

from collections.abc import Collection, Iterator
from enum import StrEnum

_MOST_SECRETS = 1_000_000  # some 200 MB; a browser writes 5 for each connection
LONGEST_LINE = 512  # a label, 64 and at most 128 hexadecimal digits


class Label(StrEnum):
    """Which secret a line holds. TLS 1.2: the master secret; TLS 1.3: one for each side and phase."""

    MASTER = "CLIENT_RANDOM"
    CLIENT_EARLY = "CLIENT_EARLY_TRAFFIC_SECRET"
    CLIENT_HANDSHAKE = "CLIENT_HANDSHAKE_TRAFFIC_SECRET"
    SERVER_HANDSHAKE = "SERVER_HANDSHAKE_TRAFFIC_SECRET"
    CLIENT_TRAFFIC = "CLIENT_TRAFFIC_SECRET_0"
    SERVER_TRAFFIC = "SERVER_TRAFFIC_SECRET_0"


_SIZES = {Label.MASTER: (48,)}  # of the others: a hash, of 32 or 48 bytes
_LABELS = {label.value.encode(): label for label in Label}


class KeyLog:
    """Secrets by label and client_random. `generation` grows with each secret that is new."""

    def __init__(self) -> None:
        self.generation = 0
        self.ignored = 0  # lines that are not understood; comments and labels of no use here are not counted
        self._secrets: dict[Label, dict[bytes, bytes]] = {label: {} for label in Label}
        self._randoms: set[bytes] = set()

    def __contains__(self, client_random: bytes | None) -> bool:
        return client_random in self._randoms

    def __len__(self) -> int:
        return sum(map(len, self._secrets.values()))

    @property
    def sessions(self) -> int:
        """Of how many handshakes there are secrets."""
        return len(self._randoms)

    def get(self, label: Label, client_random: bytes) -> bytes | None:
        return self._secrets[label].get(client_random)

    def all(self, label: Label) -> Iterator[tuple[bytes, bytes]]:
        """Yield (client_random, secret) of every session."""
        yield from self._secrets[label].items()

    def without(self, randoms: Collection[bytes]) -> "KeyLog":
        """Return the secrets of the other sessions, of TLS 1.3 only: those that can be tried on anything."""
        rest = KeyLog()
        for label in (Label.CLIENT_TRAFFIC, Label.SERVER_TRAFFIC):
            for random, secret in self.all(label):
                if random not in randoms:
                    rest._put(label, random, secret)
        return rest

    def add(self, lines: bytes) -> int:
        """Take in the lines of a key log; return how many held a secret of use, new or known."""
        return sum(self._add_line(line) for line in lines.splitlines())

    def _add_line(self, line: bytes) -> bool:
        words = line[:LONGEST_LINE].split()
        if not words or words[0].startswith(b"#"):
            return False
        label = _LABELS.get(words[0])
        if label is None:
            self.ignored += not words[0].isupper() and not words[0].replace(b"_", b"").isalnum()
            return False
        try:
            random, secret = (bytes.fromhex(word.decode("ascii")) for word in words[1:3])
        except ValueError:
            self.ignored += 1
            return False
        if len(random) != 32 or len(secret) not in _SIZES.get(label, (32, 48)):
            self.ignored += 1
            return False
        self._put(label, random, secret)
        return True

    def _put(self, label: Label, random: bytes, secret: bytes) -> None:
        if self._secrets[label].get(random) != secret and len(self) < _MOST_SECRETS:
            self._secrets[label][random] = secret
            self._randoms.add(random)
            self.generation += 1
