"""Opens one recorded TLS connection: from the pieces of both sides to the plaintext pieces of both.

- The sides are independent streams: each is read as far as what is known allows, then waits for the other's
  hello, or for a key that comes later. What waits is bounded; what is dropped is counted.
- TLS 1.2, full and resumed; TLS 1.3 with HelloRetryRequest, resumption, early data and KeyUpdate.
- Nothing is given that did not authenticate. After a gap, records are found again (`recovery`).
- Certificates and Finished messages are not verified: whoever has the key log was one of the two ends.
"""

from dataclasses import dataclass
from enum import Enum, StrEnum

from pcap_tools.stream import Data, Piece, Side, Stamp
from pcap_tools.tls.budget import Budget
from pcap_tools.tls.ciphers import SUITES, TLS12, TLS13, TLS13_SUITES, Suite, Tls13Opener, tls12_openers
from pcap_tools.tls.handshake import (
    CLIENT_HELLO,
    SERVER_HELLO,
    ClientHello,
    HandshakeError,
    ServerHello,
    parse_client_hello,
    parse_server_hello,
)
from pcap_tools.tls.keylog import KeyLog, Label
from pcap_tools.tls.limits import DEFAULT_TLS_LIMITS, TlsLimits
from pcap_tools.tls.records import (
    ALERT,
    APPLICATION_DATA,
    CHANGE_CIPHER_SPEC,
    HANDSHAKE,
    HEADER,
    Epoch,
    Half,
    Run,
    is_header,
)
from pcap_tools.tls.recovery import Recovery

_END_OF_EARLY_DATA, _ENCRYPTED_EXTENSIONS, _FINISHED, _KEY_UPDATE = 5, 8, 20, 24
_EPOCHS = {  # TLS 1.3, in their order
    Side.CLIENT: (Label.CLIENT_EARLY, Label.CLIENT_HANDSHAKE, Label.CLIENT_TRAFFIC),
    Side.SERVER: (Label.SERVER_HANDSHAKE, Label.SERVER_TRAFFIC),
}


class TlsState(StrEnum):
    """What became of a connection."""

    OPENED = "opened"
    EMPTY = "empty"
    PARTLY = "partly"
    NO_KEY = "no key"
    BAD_KEY = "bad key"
    NO_HANDSHAKE = "no handshake"
    UNSUPPORTED = "unsupported"
    NOT_TLS = "not TLS"


@dataclass(frozen=True, slots=True)
class TlsAccount:
    """What is known of a connection so far. `detail` says more in words, for an analyst."""

    state: TlsState
    detail: str
    sni: str | None
    alpn: str | None
    client_random: bytes | None
    opened: int  # records
    lost: int  # bytes that were not opened
    recovered: int  # times that records were found again


class _Step(Enum):
    """What reading at one place came to."""

    ON = "on"
    MORE = "needs more bytes"
    BLOCKED = "needs a key or the other side"


class TlsSession:
    """Takes pieces, gives plaintext pieces."""

    def __init__(self, keylog: KeyLog, limits: TlsLimits = DEFAULT_TLS_LIMITS, budget: Budget | None = None) -> None:
        self.client_hello: ClientHello | None = None
        self.server_hello: ServerHello | None = None
        self.client_random: bytes | None = None
        self.suite: Suite | None = None
        self.halves = (Half(Side.CLIENT), Half(Side.SERVER))
        self.keylog, self.limits, self.budget = keylog, limits, budget or Budget(limits.trials)
        self._recovery = Recovery(self)
        self.has_dropped = False  # was something passed over that could not be opened yet?
        self._is_tls = True
        self._is_last = False  # no more pieces come
        self._may_guess = False  # what was not seen will not be seen any more
        self._alpn: str | None = None
        self._renegotiated = False
        self._generation = -1

    def expect(self, hello: ClientHello) -> None:
        """The client begins with this; not all of it may come."""
        self.client_hello, self.client_random = hello, hello.random

    def feed(self, piece: Piece) -> list[Piece]:
        """Take one piece; return what can be read now, of either side."""
        half = self.halves[piece.side]
        if half.has_given_up:
            half.lose(len(piece.data) if isinstance(piece, Data) else piece.size or 0, piece.stamp)
            if self._generation == self.keylog.generation:
                return []
            half.has_given_up = False
        half.feed(piece)
        found = self._read(half)
        if self.client_hello is not None or self.server_hello is not None:
            other = self.halves[piece.side.other]
            if other.runs and other.held:
                found += self._read(other)
        return found + self._bound(half)

    def finish(self) -> list[Piece]:
        """No more pieces come: read what can be read with what there is."""
        self._is_last = self._may_guess = True
        waiting = [half for half in self.halves if half.held and not half.opened]
        found: list[Piece] = []
        for _ in range(2):  # what one side shows may open the other
            for half in self.halves:
                found += self._read(half)
        for half in self.halves:
            half.drop()
            if half.gap_is_due and half.opened:
                found += half.give(b"", half.last_loss or Stamp(0, None))
        self.has_dropped |= any(not half.opened for half in waiting)
        return found

    @property
    def account(self) -> TlsAccount:
        opened = sum(half.opened for half in self.halves)
        lost = sum(half.lost for half in self.halves)
        state, detail = self._state(opened, lost)
        recovered = sum(half.recovered for half in self.halves)
        sni = self.client_hello.sni if self.client_hello else None
        return TlsAccount(state, detail, sni, self._alpn, self.client_random, opened, lost, recovered)

    def _state(self, opened: int, lost: int) -> tuple[TlsState, str]:
        answer = self.server_hello
        if not self._is_tls:
            return TlsState.NOT_TLS, ""
        if any(half.application_records or half.opened for half in self.halves) and opened:
            return (TlsState.PARTLY if lost else TlsState.OPENED), self._loss()
        if answer is not None and not self._is_supported(answer):
            return TlsState.UNSUPPORTED, f"version {answer.version:#06x}, cipher suite {answer.cipher_suite:#06x}"
        return self._why_closed(lost)

    def _why_closed(self, lost: int) -> tuple[TlsState, str]:
        """Why no record was opened."""
        hello, answer = self.client_hello, self.server_hello
        if self.client_random is None:
            gave_up = self._recovery.gave_up
            return TlsState.NO_HANDSHAKE, gave_up or ("no key in the log opens it" if len(self.keylog) else "")
        if self.client_random not in self.keylog:
            known = self.keylog.sessions
            others = (
                f"the log has secrets of {known:,} other connection{'s' * (known != 1)}" if len(self.keylog) else ""
            )
            ech = "its ClientHello may be ECH's outer one" if hello and hello.has_ech else ""
            return TlsState.NO_KEY, "; ".join(part for part in (others, ech) if part)
        if not any(half.application_records for half in self.halves) and not lost:
            return TlsState.EMPTY, "nothing but a handshake"
        if answer is None and self.keylog.get(Label.MASTER, self.client_random):
            return TlsState.NO_HANDSHAKE, "the ServerHello of TLS 1.2 is missing, without which its key is of no use"
        return TlsState.BAD_KEY, self._loss()

    def _loss(self) -> str:
        told = []
        for half in self.halves:
            if half.lost and half.first_loss and half.last_loss:
                told.append(
                    f"{half.lost:,} bytes of the {half.side.name.lower()} not opened, "
                    f"frames {half.first_loss.frame} to {half.last_loss.frame}"
                )
        if self._recovery.is_exhausted:
            told.append(self._recovery.gave_up)
        if self._renegotiated:
            told.append("it was renegotiated, which is not followed")
        return "; ".join(told)

    def _bound(self, half: Half) -> list[Piece]:
        """Do not hold more than the limit: guess what was not seen, or give up."""
        has_no_key = self.client_random is not None and self.client_random not in self.keylog
        if half.held <= (self.limits.held_without_key if has_no_key else self.limits.held):
            return []
        self._may_guess = True
        found = self._read(half)
        self._may_guess = self._is_last
        if half.held > self.limits.held_without_key and not half.opened:
            half.drop()
            half.has_given_up = self.has_dropped = True
            self._generation = self.keylog.generation
        return found

    def _read(self, half: Half) -> list[Piece]:
        """Read one side as far as it goes."""
        found: list[Piece] = []
        while half.runs:
            run = half.runs[0]
            if run.gap is not None:
                self._enter(half, run)
            step = self._record(half, run, found) if half.in_sync else self._recovery.find(half, run, found)
            if step is True or step is _Step.ON:
                continue
            if not self._is_last and (step is _Step.BLOCKED or len(half.runs) == 1 or not half.epochs):
                break
            count = len(run)  # what is left of a run before a gap is part of a record that is not whole
            if count or len(half.runs) > 1:
                half.lose(count, run.skip(count))
            half.runs.popleft()
        return found

    def _enter(self, half: Half, run: Run) -> None:
        """Begin to read behind a gap."""
        gap = run.gap
        if gap is not None:
            half.lose(gap.size or 0, gap.stamp)
            half.in_sync, half.handshake = False, bytearray()
            self._recovery.enter(half, gap)
            run.gap = None

    def _record(self, half: Half, run: Run, found: list[Piece]) -> _Step:
        """Read the record at the current place."""
        head = run.peek(0, HEADER)
        if not is_header(head):
            if not half.was_in_sync and not self._knows_hellos:
                self._is_tls = False
            half.in_sync = False
            return _Step.ON
        size = HEADER + int.from_bytes(head[3:], "big")
        if len(head) < HEADER or len(run) < size:
            return _Step.MORE
        if not half.is_encrypted:
            return self._clear_record(half, run, head[0], size)
        if head[0] == CHANGE_CIPHER_SPEC:
            self._renegotiated |= not self._is_tls13
            run.skip(size)
            return _Step.ON
        if not self.prepare(half):
            return _Step.BLOCKED
        body = run.peek(HEADER, size - HEADER)
        opened = self.open(half, head, body)
        stamp = run.skip(size)
        half.application_records += head[0] == APPLICATION_DATA
        if opened is None:
            half.failed += 1
            half.lose(size, stamp)
        else:
            self.take(half, opened, stamp, found)
        return _Step.ON

    def _clear_record(self, half: Half, run: Run, kind: int, size: int) -> _Step:
        """Read a record of the handshake before encryption, or see that encryption begins here."""
        if kind in (APPLICATION_DATA, CHANGE_CIPHER_SPEC) and self.server_hello is None and not self._may_guess:
            return _Step.BLOCKED
        if kind == APPLICATION_DATA or (kind == CHANGE_CIPHER_SPEC and not self._is_tls13):
            half.is_encrypted = True
            if kind == CHANGE_CIPHER_SPEC:
                run.skip(size)
            half.handshake.clear()
            return _Step.ON
        if kind == HANDSHAKE:
            half.handshake += run.peek(HEADER, size - HEADER)
            self._clear_messages(half)
        half.was_in_sync = True
        run.skip(size)
        return _Step.ON

    def _clear_messages(self, half: Half) -> None:
        for message in self._messages(half):
            try:
                if message[0] == CLIENT_HELLO and half.side is Side.CLIENT:
                    self.client_hello = parse_client_hello(message)
                    self.client_random = self.client_hello.random
                elif message[0] == SERVER_HELLO and half.side is Side.SERVER:
                    hello = parse_server_hello(message)
                    self.server_hello = hello
                    suites = TLS13_SUITES if hello.version == TLS13 else SUITES
                    self.suite = suites.get(hello.cipher_suite) if self._is_supported(hello) else None
            except HandshakeError:
                continue

    def _messages(self, half: Half) -> list[bytes]:
        """Take the whole handshake messages out of those bytes of a side."""
        found = []
        while len(half.handshake) >= 4:
            size = 4 + int.from_bytes(half.handshake[1:4], "big")
            if size > self.limits.handshake:
                half.handshake.clear()
            if len(half.handshake) < size:
                break
            found.append(bytes(half.handshake[:size]))
            del half.handshake[:size]
        return found

    @property
    def _knows_hellos(self) -> bool:
        return self.client_hello is not None or self.server_hello is not None

    @property
    def _is_tls13(self) -> bool:
        if self.server_hello is not None:
            return self.server_hello.version == TLS13
        return self.client_random is None or self.keylog.get(Label.MASTER, self.client_random) is None

    def _is_supported(self, hello: ServerHello) -> bool:
        suites = {TLS12: SUITES, TLS13: TLS13_SUITES}.get(hello.version, {})
        return hello.cipher_suite in suites

    def prepare(self, half: Half) -> bool:
        """Make the keys of a side; False while something is missing for that."""
        if half.epochs:
            return True
        if self.suite is None and self._may_guess and self.server_hello is None:
            self._recovery.guess()
        if self.suite is None or self.client_random is None:
            return False
        if self._is_tls13:
            self._prepare13(half, self.suite, self.client_random)
        else:
            self._prepare12(self.suite, self.client_random)
        return bool(half.epochs)

    def _prepare13(self, half: Half, suite: Suite, client_random: bytes) -> None:
        for label in _EPOCHS[half.side]:
            secret = self.keylog.get(label, client_random)
            if secret is not None:
                half.epochs.append(Epoch(label, Tls13Opener(suite, secret)))

    def _prepare12(self, suite: Suite, client_random: bytes) -> None:
        master = self.keylog.get(Label.MASTER, client_random)
        if master is None or self.server_hello is None:
            return
        is_etm = self.server_hello.encrypt_then_mac
        openers = tls12_openers(suite, master, client_random, self.server_hello.random, encrypt_then_mac=is_etm)
        for half, opener in zip(self.halves, openers, strict=True):
            half.epochs = [Epoch(Label.MASTER, opener)]

    def open(self, half: Half, head: bytes, body: bytes) -> tuple[int, bytes] | None:
        """Open the next record of a side; after records that failed, it may be a later one, or of a later epoch."""
        opener = half.epochs[half.epoch].opener
        opened = opener.open(half.sequence, head, body)
        if opened is not None:
            half.sequence += 1
            return opened
        return self._recovery.open_later(half, head, body, half.failed)

    def take(self, half: Half, opened: tuple[int, bytes], stamp: Stamp, found: list[Piece]) -> None:
        """Take in what a record held."""
        kind, content = opened
        half.opened, half.failed, half.was_in_sync = half.opened + 1, 0, True
        if kind == APPLICATION_DATA:
            if content or half.gap_is_due:
                found += half.give(content, stamp)
        elif kind == HANDSHAKE:
            half.handshake += content
            for message in self._messages(half):
                self._take_message(half, message)
        elif kind == ALERT:
            pass  # close_notify, or the end in another way: what was said stands

    def _take_message(self, half: Half, message: bytes) -> None:
        """Follow what an encrypted handshake message says of the keys."""
        if not self._is_tls13:
            self._renegotiated |= message[0] in (0, CLIENT_HELLO)
            return
        name = half.epochs[half.epoch].name
        if message[0] == _ENCRYPTED_EXTENSIONS:
            self._alpn = _alpn(message)
        elif message[0] == _END_OF_EARLY_DATA or (
            message[0] == _FINISHED and name in (Label.CLIENT_HANDSHAKE, Label.SERVER_HANDSHAKE)
        ):
            if half.epoch + 1 < len(half.epochs):
                half.epoch, half.sequence = half.epoch + 1, 0
                half.handshake.clear()
        elif message[0] == _KEY_UPDATE:
            opener = half.epochs[half.epoch].opener
            if isinstance(opener, Tls13Opener):
                half.epochs[half.epoch] = Epoch(name, opener.updated())
                half.sequence = 0


def _alpn(message: bytes) -> str | None:
    """Return the protocol that EncryptedExtensions agrees on (RFC 7301, 3.1)."""
    at, end = 6, len(message)
    while at + 4 <= end:
        kind, size = int.from_bytes(message[at : at + 2], "big"), int.from_bytes(message[at + 2 : at + 4], "big")
        if kind == 16 and size >= 3:
            return message[at + 7 : at + 7 + message[at + 6]].decode("latin-1")
        at += 4 + size
    return None
