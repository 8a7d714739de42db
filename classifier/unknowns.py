"""Windows that are none of the six activities, made up or mixed: a model must not be confident about them.

Rules:

- every kind is drawn from a seed, in whole numbers, as clients report them;
- mixtures and other devices are made from the recordings at hand, everything else from nothing;
- no model is trained on any of them.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from classifier.window import GAIN_RANGE, Float32

WINDOWS: Final = 500  # of each kind
LOWEST, HIGHEST = GAIN_RANGE

Gains = Sequence[Float32]  # of recordings, each (minutes, 3)
Minutes = Callable[[np.random.Generator, int, Gains], Float32]


def unknown_windows(recordings: Gains, length: int, seed: int) -> dict[str, Float32]:
    """Return windows of `length` minutes by kind, each float32 (500, length, 3): max, mean, min.

    `recordings`: minutes of known activities, each (minutes, 3), to make mixtures and other devices from.
    """
    gains = [recording for recording in recordings if len(recording) >= max(length, 3)]
    made = {}
    for number, (kind, minutes) in enumerate(KINDS.items()):
        chance = np.random.default_rng((seed, number))
        windows = np.stack([minutes(chance, length, gains) for _ in range(WINDOWS)])
        made[kind] = np.round(windows).astype(np.float32)
    return made


def _silence(chance: np.random.Generator, length: int, _gains: Gains) -> Float32:
    """Nothing but the noise of a microphone: gains near their ceiling, close together, hardly moving."""
    return _still_air(chance, length, level=(33, 50), above=(2, 4), below=(2, 3.5))


def _wide_silence(chance: np.random.Generator, length: int, _gains: Gains) -> Float32:
    """The same of a noisier microphone: as far apart as soft typing leaves them."""
    return _still_air(chance, length, level=(33, 48), above=(4, 5), below=(4, 5))


def _low_silence(chance: np.random.Generator, length: int, _gains: Gains) -> Float32:
    """The same of a microphone whose ceiling is as low as loud sounds are elsewhere."""
    return _still_air(chance, length, level=(20, 32), above=(2, 4), below=(2, 3.5))


def _still_air(
    chance: np.random.Generator,
    length: int,
    level: tuple[float, float],
    above: tuple[float, float],
    below: tuple[float, float],
) -> Float32:
    mean = chance.uniform(*level) + chance.normal(0, 0.5, length)
    highest = mean + chance.uniform(*above) + chance.normal(0, 0.5, length)
    lowest = mean - chance.uniform(*below) + chance.normal(0, 0.7, length)
    return _ordered(np.stack([highest, mean, lowest], axis=1))


def _flat(chance: np.random.Generator, length: int, _gains: Gains) -> Float32:
    """One and the same number for all three, all the time."""
    return np.full((length, 3), chance.integers(int(LOWEST), int(HIGHEST) + 1), dtype=np.float32)


def _constant(chance: np.random.Generator, length: int, _gains: Gains) -> Float32:
    """Three numbers that never change."""
    return np.tile(_triple(chance), (length, 1))


def _flicker(chance: np.random.Generator, length: int, _gains: Gains) -> Float32:
    """Three numbers of which one flickers between two neighbours."""
    window = np.tile(_triple(chance), (length, 1))
    window[:, 1] += chance.integers(0, 2, length)
    return _ordered(window)


def _noise(chance: np.random.Generator, length: int, _gains: Gains) -> Float32:
    """Every minute another three numbers, anywhere in the range."""
    return np.stack([_triple(chance) for _ in range(length)])


def _walk(chance: np.random.Generator, length: int, _gains: Gains) -> Float32:
    """Three numbers that wander."""
    start = _triple(chance)
    return _ordered(start + np.cumsum(chance.normal(0, 3, (length, 3)), axis=0))


def _ramp(chance: np.random.Generator, length: int, _gains: Gains) -> Float32:
    """From one level to another, as a gain control that is still settling."""
    first, last = _triple(chance), _triple(chance)
    part = np.linspace(0, 1, length)[:, None]
    return _ordered(first * (1 - part) + last * part)


def _mixture(chance: np.random.Generator, length: int, gains: Gains) -> Float32:
    """Each minute from another recording, as a television changes its scenes."""
    return np.stack([_minute(chance, gains) for _ in range(length)])


def _scenes(chance: np.random.Generator, length: int, gains: Gains) -> Float32:
    """Two or three minutes of one recording, then of another."""
    rows: list[Float32] = []
    while len(rows) < length:
        recording = gains[int(chance.integers(len(gains)))]
        start = chance.integers(len(recording) - 2)
        rows += list(recording[start : start + chance.integers(2, 4)])
    return np.stack(rows[:length])


def _squeezed(chance: np.random.Generator, length: int, gains: Gains) -> Float32:
    """A recording as a device with a third of the range would report it."""
    window = _window(chance, length, gains)
    return _ordered(chance.uniform(LOWEST, 35) + (window - LOWEST) * 0.33)


def _beyond(chance: np.random.Generator, length: int, gains: Gains) -> Float32:
    """A recording from a device that reports up to 98."""
    return _window(chance, length, gains) * np.float32(1.8)


def _zeros(_chance: np.random.Generator, length: int, _gains: Gains) -> Float32:
    return np.zeros((length, 3), dtype=np.float32)


KINDS: Final[dict[str, Minutes]] = {
    "silence": _silence,
    "silence, wide": _wide_silence,
    "silence, low": _low_silence,
    "flat": _flat,
    "constant": _constant,
    "flicker": _flicker,
    "noise": _noise,
    "walk": _walk,
    "ramp": _ramp,
    "mixture": _mixture,
    "scenes": _scenes,
    "squeezed": _squeezed,
    "beyond": _beyond,
    "zeros": _zeros,
}


def _triple(chance: np.random.Generator) -> Float32:
    drawn = chance.integers(int(LOWEST), int(HIGHEST) + 1, size=3)
    return np.sort(drawn)[::-1].astype(np.float32)


def _minute(chance: np.random.Generator, gains: Gains) -> Float32:
    recording = gains[int(chance.integers(len(gains)))]
    return np.asarray(recording[chance.integers(len(recording))])


def _window(chance: np.random.Generator, length: int, gains: Gains) -> Float32:
    recording = gains[int(chance.integers(len(gains)))]
    start = chance.integers(len(recording) - length + 1)
    return np.asarray(recording[start : start + length])


def _ordered(rows: "np.typing.NDArray[np.floating]") -> Float32:
    """Return `rows` (length, 3) within the range and with max >= mean >= min."""
    return np.asarray(np.sort(np.clip(rows, LOWEST, HIGHEST), axis=1)[:, ::-1], dtype=np.float32)
