"""Reads the addresses out of DNS answers (RFC 1035): a hint for flows whose ClientHello names nobody."""

import struct
from collections.abc import Iterator

_A, _AAAA, _CNAME = 1, 28, 5
_MOST = 64  # records of one answer that are looked at; 512 bytes hold 30
_LONGEST_NAME = 255  # RFC 1035, 2.3.4


def answers(message: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield (name that was asked for, address) for each A and AAAA record; nothing for what cannot be read."""
    try:
        yield from _answers(message)
    except (struct.error, IndexError, UnicodeDecodeError):
        return


def _answers(message: bytes) -> Iterator[tuple[str, bytes]]:
    flags, questions, records = struct.unpack_from(">2xHHH", message)
    if not flags & 0x8000 or not 1 <= questions <= 4:
        return
    at, asked = 12, ""
    for _ in range(questions):
        asked, at = _name(message, at)
        at += 4
    for _ in range(min(records, _MOST)):
        _, at = _name(message, at)
        kind, _class, _ttl, length = struct.unpack_from(">HHIH", message, at)
        data = message[at + 10 : at + 10 + length]
        at += 10 + length
        if (kind, len(data)) in ((_A, 4), (_AAAA, 16)):
            yield asked, data


def _name(message: bytes, at: int) -> tuple[str, int]:
    """Return a name in lower case, and where the message goes on behind it. Pointers only lead backwards."""
    labels: list[str] = []
    behind, lowest = 0, at
    while message[at]:
        length = message[at]
        if length >= 0xC0:
            target = (length & 0x3F) << 8 | message[at + 1]
            behind = behind or at + 2
            if target >= lowest:
                raise IndexError
            at = lowest = target
            continue
        labels.append(message[at + 1 : at + 1 + length].decode("ascii").lower())
        at += 1 + length
        if sum(map(len, labels)) > _LONGEST_NAME:
            raise IndexError
    return ".".join(labels), behind or at + 1
