"""Changes inputs by chance, without knowing what they mean: for where there is no coverage-guided engine."""

import random
from collections.abc import Iterator, Sequence

_WORDS = (b"\0", b"\xff", b"\x7f\xff", b"\xff\xff\xff\xff", b"\x80\0\0\0", b"\r\n", b"\0\0\0\0", b"\x16\x03\x01", b"0")
LONGEST = 24 << 10  # bytes of an input: the longest TLS record and some


def mutations(seeds: Sequence[bytes], chance: random.Random) -> Iterator[bytes]:
    """Yield changed seeds for ever, the same for the same chance."""
    while True:
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.randint(1, 6)):
            _change(data, chance, seeds)
        yield bytes(data[:LONGEST])


def _change(data: bytearray, chance: random.Random, seeds: Sequence[bytes]) -> None:
    at = chance.randrange(len(data) + 1)
    end = min(len(data), at + chance.choice((1, 2, 4, 16, 256, 4_096)))
    match chance.randrange(7):
        case 0 if at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        case 1 if at < len(data):
            data[at] = chance.randrange(256)
        case 2:
            del data[at:end]
        case 3:
            data[at:at] = data[at:end]
        case 4:
            other = chance.choice(seeds)
            start = chance.randrange(len(other) + 1)
            data[at:end] = other[start : start + end - at]
        case 5:
            word = chance.choice(_WORDS)
            data[at : at + len(word)] = word
        case _:
            del data[at:]
