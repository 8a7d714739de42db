"""Finds TLS records again where something is missing: after a gap, from mid-stream, with one side only.

Candidates are places that look like the header of an application-data record; each is tried under the keys
and sequence numbers that it may have. Only what authenticates is accepted, so a wrong guess costs time and
nothing else; the time is bounded by `limits.trials` for each connection and by a `Budget` for all of them, and
an account says when either is used up.

- After a gap: the next sequence numbers, as many as the gap may hide and `limits.window` more; the later
  phases of the handshake; the keys after a KeyUpdate that the gap may hide.
- Without a ServerHello: the secrets are known by the client_random, the cipher by trial.
- Without any hello: every traffic secret in the key log. TLS 1.2 cannot be had back so: its keys need the
  random numbers of both hellos.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pcap_tools.stream import Gap, Piece, Side
from pcap_tools.tls.ciphers import TLS13_SUITES, Mode, Suite, Tls13Opener
from pcap_tools.tls.keylog import Label
from pcap_tools.tls.records import HEADER, LONGEST_RECORD, Epoch, Half, Run, is_header

if TYPE_CHECKING:
    from pcap_tools.tls.session import TlsSession

_HEADER = b"\x17\x03\x03"
_SHORTEST_RECORD = 17  # a tag and the content type
_SMALLEST_IN_USE = 64  # bytes: how small the records that a gap hides are taken to be, at the median
_MOST_HIDDEN = 4_096  # records
_LOOKED_AT = 8  # records in a row, of which the smallest is tried with every key
_BLOCK = 256  # sequence numbers tried with one key before the next has its turn
_TRAFFIC = {Side.CLIENT: Label.CLIENT_TRAFFIC, Side.SERVER: Label.SERVER_TRAFFIC}
_COMMON = (Mode.GCM, Mode.CHACHA20)


class Recovery:
    """Tries; counts what it tried."""

    def __init__(self, session: "TlsSession") -> None:
        self.trials = 0
        self._session, self._limits = session, session.limits
        self._windows = [0, 0]  # by side: how many sequence numbers may be skipped
        self._tried = (-1, 0)  # the key log's generation and the bytes held when all was tried

    @property
    def is_exhausted(self) -> bool:
        return self.trials >= self._limits.trials or self._session.budget.left <= 0

    @property
    def gave_up(self) -> str:
        """Say so, if all trials are used up."""
        if not self.is_exhausted:
            return ""
        return f"gave up after {self.trials:,} trials" if self.trials else "no trials left: others used them up"

    def _may_try(self) -> bool:
        """Use one trial, of this connection and of the reading; False: there are none left."""
        if self.is_exhausted:
            return False
        self.trials += 1
        return self._session.budget.take()

    def enter(self, half: Half, gap: Gap) -> None:
        """A gap was met: think of how many records it may hide."""
        if gap.size is None and not half.was_in_sync:
            hidden = self._limits.first_sequences
        else:
            hidden = self._limits.window + min((gap.size or 0) // _SMALLEST_IN_USE, _MOST_HIDDEN)
        self._windows[half.side] = min(self._windows[half.side] + hidden, self._limits.first_sequences)

    def find(self, half: Half, run: Run, found: list[Piece]) -> bool:
        """Look for a record in the run; True if one was found, opened and taken."""
        if not self._session.prepare(half):
            return False
        at = run.find(_HEADER, run.scanned)
        is_certain = True  # that no record begins before the place looked at
        while at >= 0:
            state = self._look(run, at)
            if state is None:
                is_certain = False  # not all there: it may be one
            elif state:
                head = run.peek(at, HEADER)
                body = run.peek(at + HEADER, int.from_bytes(head[3:], "big"))
                opened = self.open_later(half, head, body, self._windows[half.side] or self._limits.window)
                if opened is not None:
                    self._resume(half, run, at, opened, found)
                    return True
            if is_certain:
                run.scanned = at + 1
            at = run.find(_HEADER, at + 1)
        return False

    def _resume(self, half: Half, run: Run, at: int, opened: tuple[int, bytes], found: list[Piece]) -> None:
        if at:
            half.lose(at, run.skip(at))
        size = HEADER + int.from_bytes(run.peek(3, 2), "big")
        half.in_sync = half.is_encrypted = True
        half.recovered += 1
        half.application_records += 1
        self._windows[half.side] = 0
        self._session.take(half, opened, run.skip(size), found)

    def _look(self, run: Run, at: int) -> bool | None:
        """Does a whole record begin here, by its form? None: perhaps, but not all of it is there."""
        size = int.from_bytes(run.peek(at + 3, 2), "big")
        if at + HEADER > len(run):
            return None
        if not _SHORTEST_RECORD <= size <= LONGEST_RECORD:
            return False
        if at + HEADER + size > len(run):
            return None
        return is_header(run.peek(at + HEADER + size, HEADER))

    def open_later(self, half: Half, head: bytes, body: bytes, skipped: int) -> tuple[int, bytes] | None:
        """Open a record that may be up to `skipped` later than the next, or belong to a later key."""
        for number, epoch, first in self._epochs(half):
            for sequence in range(first, first + skipped + 1):
                if not self._may_try():
                    return None
                opened = epoch.opener.open(sequence, head, body)
                if opened is not None:
                    half.epochs[number] = epoch
                    half.epoch, half.sequence = number, sequence + 1
                    half.handshake.clear()
                    return opened
        return None

    def _epochs(self, half: Half) -> Iterator[tuple[int, Epoch, int]]:
        """Yield the keys that the next record may be under: (place, epoch, lowest sequence number)."""
        for number in range(half.epoch, len(half.epochs)):
            yield number, half.epochs[number], half.sequence if number == half.epoch else 0
        last = len(half.epochs) - 1
        epoch = half.epochs[last]
        if not half.was_in_sync and self._windows[half.side] > self._limits.first_sequences // 2:
            return  # nothing was read yet: first the plain guess
        for _ in range(self._limits.key_updates if self._windows[half.side] else 0):
            if not isinstance(epoch.opener, Tls13Opener):
                return
            epoch = Epoch(epoch.name, epoch.opener.updated())
            yield last, epoch, 0

    def guess(self) -> None:
        """No ServerHello was seen: find out the cipher, and, without a ClientHello, the session."""
        session = self._session
        held = sum(half.held for half in session.halves)
        if self._tried == (session.keylog.generation, held):
            return
        self._tried = (session.keylog.generation, held)
        for half in session.halves:
            record = self._smallest(half)
            if record is None:
                continue
            if session.client_random is not None:
                sessions = [session.client_random]
                most = self._limits.window
            else:
                sessions = [random for random, _ in session.keylog.all(_TRAFFIC[half.side])]
                most = self._limits.first_sequences
            if self._identify(half, record, sessions, most):
                return

    def _identify(self, half: Half, record: tuple[bytes, bytes], sessions: list[bytes], most: int) -> bool:
        """Try a record with all keys; the likelier, lower sequence numbers of all before the higher of one."""
        keys = [key for random in sessions for key in self._keys(half.side, random)]
        for block in range(0, most, _BLOCK):
            for random, suite, opener in keys:
                for sequence in range(block, min(block + _BLOCK, most)):
                    if not self._may_try():
                        return False
                    if opener.open(sequence, *record) is not None:
                        self._session.client_random, self._session.suite = random, suite
                        return True
        return False

    def _keys(self, side: Side, random: bytes) -> Iterator[tuple[bytes, Suite, Tls13Opener]]:
        """Yield the openers that a session may have: its secrets, under each cipher with a hash of their size."""
        labels = (Label.CLIENT_EARLY, Label.CLIENT_HANDSHAKE) if side is Side.CLIENT else (Label.SERVER_HANDSHAKE,)
        is_known = self._session.client_random is not None
        for label in (_TRAFFIC[side], *(labels if is_known else ())):
            secret = self._session.keylog.get(label, random)
            for suite in TLS13_SUITES.values() if secret else ():
                fits = {"sha256": 32, "sha384": 48}[suite.hash] == len(secret or b"")
                if fits and (is_known or suite.mode in _COMMON):
                    yield random, suite, Tls13Opener(suite, secret or b"")

    def _smallest(self, half: Half) -> tuple[bytes, bytes] | None:
        """Return the header and body of a small record near the beginning of what is held."""
        found: list[tuple[bytes, bytes]] = []
        for run in half.runs:
            at = run.find(_HEADER, 0)
            while at >= 0 and len(found) < _LOOKED_AT:
                if self._look(run, at):
                    head = run.peek(at, HEADER)
                    size = int.from_bytes(head[3:], "big")
                    found.append((head, run.peek(at + HEADER, size)))
                    at = run.find(_HEADER, at + HEADER + size)
                else:
                    at = run.find(_HEADER, at + 1)
        return min(found, key=lambda record: len(record[1]), default=None)
