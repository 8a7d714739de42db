"""Every limit of the HTTP layer in one table, with its origin. Sizes are bytes unless the name says otherwise.

All are of one connection. A test forces each of them by passing a smaller `HttpLimits`.
"""

from dataclasses import dataclass

from mutewatch.limits import DEFAULT_LIMITS

KiB, MiB = 1 << 10, 1 << 20


@dataclass(frozen=True, slots=True)
class HttpLimits:
    body: int = DEFAULT_LIMITS.body  # kept of one message; of a longer one, one byte more
    head: int = 64 * KiB  # of one message, also as HPACK list; servers take 8 to 16 KiB, hpack's default is this
    headers: int = 1_000  # fields kept of one message; servers take 100
    chunk_line: int = 16 * KiB  # a chunk's size with its extensions; h11 allows 20 digits and one head
    frame: int = MiB  # of an HTTP/2 frame kept; 2^24-1 by format, 16 KiB unless the peer allows more (RFC 9113, 4.2)
    table: int = MiB  # of an HPACK dynamic table; browsers and servers allow 4 to 64 KiB
    streams: int = 4_096  # HTTP/2 streams open at once; peers allow 100 to 256
    waiting: int = 1_000  # requests held back until their response is there; then passed on without it
    waiting_bytes: int = 16 * MiB  # the same, by their bodies: 16 of the largest
    ahead: int = 4 * MiB  # of one side read ahead while the other must speak first
    undecided: int = 64 * KiB  # looked at before a side is known to be HTTP: one head, or four HTTP/2 frames
    inflated: int = 16 * MiB  # work on one websocket message, beyond what is kept, to keep the compression state
    unreadable: int = 10_000  # HTTP/2 streams listed as unreadable; further ones are only counted


DEFAULT_HTTP_LIMITS = HttpLimits()
