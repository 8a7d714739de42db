"""Reads what was played while the traffic was captured: `read_wav`, as power over time.

The features of a bin of time are what a client may have computed of it: mean, highest and lowest level (PETS'22, 5.2),
and the level of its last second or of the moment at its end, as a client would that only looks at the present.
"""

import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from mutewatch.discover.limits import DEFAULT_DISCOVER_LIMITS, DiscoverLimits
from mutewatch.discover.panel import Array
from mutewatch.errors import OperatorError

WINDOWS: Final = ("mean level", "highest level", "lowest level")  # of a whole bin
SECOND, MOMENT = 1.0, 0.2  # seconds; WebRTC's level is of the last tenths of one

FRAME: Final = 0.05  # seconds: shorter than a syllable
_CHUNK: Final = 1 << 18  # samples
_FLOOR: Final = 1e-12  # -120 dB: below what 16 bits hold
_LOWEST: Final = 5  # percent of the frames of a bin: one frame alone may fall into a pause anywhere
_WIDTHS: Final = {2: "<i2", 4: "<i4"}


@dataclass(frozen=True, slots=True)
class Recording:
    """What was played: `power` of each frame of 50 ms (1: full scale), from `starts_at` on (seconds since 1970)."""

    power: Array
    starts_at: float

    @property
    def ends_at(self) -> float:
        return self.starts_at + len(self.power) * FRAME

    def windows(self, ends: Array, period: float) -> Array:
        """Return shape (WINDOWS, bins), in dB: of the `period` seconds before each of `ends`; NaN outside."""
        frames, is_heard = self._before(ends, period)
        rows = np.full((len(WINDOWS), len(ends)), np.nan)
        if is_heard.any():
            rows[:, is_heard] = frames.mean(axis=1), frames.max(axis=1), np.percentile(frames, _LOWEST, axis=1)
        return _decibels(rows)

    def level(self, ends: Array, seconds: float) -> Array:
        """Return shape (bins,), in dB: the mean level of so many seconds before each of `ends`; NaN outside."""
        frames, is_heard = self._before(ends, seconds)
        row = np.full(len(ends), np.nan)
        row[is_heard] = frames.mean(axis=1)
        return _decibels(row)

    def _before(self, ends: Array, seconds: float) -> tuple[Array, npt.NDArray[np.bool_]]:
        """Return the frames of so many seconds before each of `ends` for which all are there, and which these are."""
        count = max(1, round(seconds / FRAME))
        last = np.rint((ends - self.starts_at) / FRAME).astype(int)
        is_heard = (last >= count) & (last <= len(self.power))
        if not is_heard.any():
            return np.empty((0, count)), is_heard
        frames: Array = np.lib.stride_tricks.sliding_window_view(self.power, count)[last[is_heard] - count]
        return frames, is_heard


def _decibels(power: Array) -> Array:
    levels: Array = 10 * np.log10(np.maximum(power, _FLOOR))
    return levels


def read_wav(path: Path, starts_at: float, limits: DiscoverLimits = DEFAULT_DISCOVER_LIMITS) -> Recording:
    """Return the recording in a WAV file: PCM of 16, 24 or 32 bits. OperatorError says what to do with any other."""
    try:
        with wave.open(str(path), "rb") as file:
            return Recording(_power(path, file, limits), starts_at)
    except OSError as error:
        raise OperatorError(f"{path}: {error.strerror}") from None
    except (wave.Error, EOFError) as error:
        raise OperatorError(f"{path}: {error or 'cut short'}; {_CONVERT}") from None


_CONVERT: Final = "make it plain PCM: ffmpeg -i FILE -c:a pcm_s16le played.wav"


def _power(path: Path, file: wave.Wave_read, limits: DiscoverLimits) -> Array:
    rate, width, channels = file.getframerate(), file.getsampwidth(), file.getnchannels()
    if width not in (2, 3, 4) or rate < 1 / FRAME:
        raise OperatorError(f"{path}: {8 * width} bits at {rate} Hz; {_CONVERT}")
    if file.getnframes() > limits.seconds_of_audio * rate:
        raise OperatorError(
            f"{path}: longer than {limits.seconds_of_audio // 3600} hours: cut it to the capture's time"
        )
    length = round(rate * FRAME)
    frames = []
    rest = np.empty(0)
    while data := file.readframes(_CHUNK):
        samples = np.concatenate((rest, _samples(data, width, channels)))
        whole = len(samples) // length * length
        frames.append((samples[:whole] ** 2).reshape(-1, length).mean(axis=1))
        rest = samples[whole:]
    power = np.concatenate(frames) if frames else np.empty(0)
    if power.size < 1 / FRAME:
        raise OperatorError(f"{path}: less than a second of sound")
    return power


def _samples(data: bytes, width: int, channels: int) -> Array:
    """Return the mean of all channels, from -1 to 1."""
    data = data[: len(data) // (width * channels) * width * channels]
    if width == 3:
        padded = np.zeros((len(data) // 3, 4), dtype=np.uint8)
        padded[:, 1:] = np.frombuffer(data, dtype=np.uint8).reshape(-1, 3)
        whole, width = padded.view("<i4").ravel(), 4
    else:
        whole = np.frombuffer(data, dtype=_WIDTHS[width])
    samples: Array = whole.reshape(-1, channels).mean(axis=1) / float(1 << (8 * width - 1))
    return samples
