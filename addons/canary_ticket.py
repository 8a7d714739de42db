"""The ticket that a canary leaves in the state directory before it connects, and how the proxy takes it.

A ticket names one connection by the client's address and port, which the canary has bound already, and the far end
to which that connection is to be led. Its rules:

- it is honoured once: who removes the file has taken it;
- a file that is not the proxy's own user's, or that others can read, is a link, too long, or damaged, is refused;
- it is void a minute after it was written at the latest, whatever it says itself.

The state directory is its owner's alone (0700): who can write a ticket could replace the store as well.
"""

import json
import os
import stat
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

TICKET_SECONDS: Final = 20.0  # from the ticket to the CONNECT takes milliseconds; a busy machine takes seconds
LONGEST_SECONDS: Final = 60.0  # a ticket that claims to hold for longer is refused
TICKET_BYTES: Final = 1024  # one is about 250 bytes


class TicketError(ValueError):
    """A ticket that is not honoured; the message says why, without anything that it holds."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """One connection, and where it goes."""

    client: str  # address, as both sides of the connection have it
    client_port: int
    host: str  # the telemetry host that is asked for
    far_end_port: int  # on 127.0.0.1
    fingerprint: str  # SHA-256 of the far end's certificate, hex: nothing else is trusted there
    expires_at: float  # seconds since 1970


def ticket_path(state: Path, client_port: int) -> Path:
    """Return where the ticket for a client's port is: looking for one is a single call that finds nothing."""
    return state / f"canary-{client_port}.ticket"


def write_ticket(state: Path, ticket: Ticket) -> Path:
    """Write `ticket`, mode 0600, and return where. Raises OSError."""
    path, draft = ticket_path(state, ticket.client_port), state / f".canary-{ticket.client_port}.new"
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(asdict(ticket), file)
    draft.replace(path)
    return path


def take_ticket(state: Path, client: tuple[str, int], host: str, now: float) -> Ticket | None:
    """Return the ticket for the connection of `client` to `host`, removed; None if there is none.

    Raises TicketError for one that is not honoured. It is removed only if it is ours: by its name it is void now.
    """
    path = ticket_path(state, client[1])
    text = _read_private(path)
    if text is None:
        return None
    ticket = _parse(text)
    fault = _fault(ticket, client, host, now)
    if fault == "expired" or fault is None:
        try:
            path.unlink()
        except FileNotFoundError:  # somebody took it in this moment
            return None
    if fault:
        raise TicketError(fault)
    return ticket


def _read_private(path: Path) -> bytes | None:
    """Return what the file at `path` holds, None if there is none. TicketError if it is not ours alone."""
    try:
        # O_NONBLOCK: a FIFO of that name must not hold up the proxy
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise TicketError(f"cannot be opened: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            raise TicketError("not a plain file")
        if status.st_uid != os.geteuid():
            raise TicketError("another user's")
        if status.st_mode & 0o077:
            raise TicketError("open to others")
        if status.st_size > TICKET_BYTES:
            raise TicketError("too long")
        return file.read(TICKET_BYTES)


def _parse(text: bytes) -> Ticket:
    try:
        found: Any = json.loads(text)
        return Ticket(
            str(found["client"]),
            int(found["client_port"]),
            str(found["host"]),
            int(found["far_end_port"]),
            str(found["fingerprint"]),
            float(found["expires_at"]),
        )
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        raise TicketError("damaged") from None


def _fault(ticket: Ticket, client: tuple[str, int], host: str, now: float) -> str | None:
    """What speaks against this ticket for this connection; None if nothing does."""
    if not 0 <= ticket.expires_at - now <= LONGEST_SECONDS:  # false for NaN too
        return "expired" if ticket.expires_at < now else "holds for too long"
    if (ticket.client, ticket.client_port) != client:
        return "another client's"
    if ticket.host != host:
        return "for another host"
    if not 1 <= ticket.far_end_port <= 65535 or len(ticket.fingerprint) != 64:
        return "damaged"
    return None
