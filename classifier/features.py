"""Thirty numbers that say what a window is like, whatever its length. NumPy only.

Five series (max, mean and min gain, and the distances max - mean and mean - min), and of each its mean,
standard deviation, least, greatest, median, and mean step from one minute to the next.
"""

import math
from typing import Final

import numpy as np

from classifier.window import Float32

SERIES: Final = ("max", "mean", "min", "max - mean", "mean - min")
STATISTICS: Final = ("mean", "standard deviation", "least", "greatest", "median", "mean step")
NAMES: Final = tuple(f"{statistic} of {series}" for statistic in STATISTICS for series in SERIES)


def statistics(windows: Float32) -> Float32:
    """Return the statistics named in NAMES, dB-like, shape (batch, 30), of `windows`, shape (batch, length, 3),
    length >= 2."""
    minutes = np.ascontiguousarray(windows.transpose(1, 2, 0))  # (length, 3, batch): steps over time go last
    highest, mean, lowest = minutes[:, :1], minutes[:, 1:2], minutes[:, 2:]  # each (length, 1, batch)
    series = np.concatenate([highest, mean, lowest, highest - mean, mean - lowest], axis=1)  # (length, 5, batch)
    ordered, middle = np.sort(series, axis=0), (len(series) - 1) / 2
    average = series.mean(axis=0)  # (5, batch)
    deviation = np.sqrt(np.square(series - average).mean(axis=0))
    median = (ordered[math.floor(middle)] + ordered[math.ceil(middle)]) / 2
    step = np.abs(series[1:] - series[:-1]).mean(axis=0)
    return np.concatenate([average, deviation, ordered[0], ordered[-1], median, step]).T.astype(np.float32)


def standardised(windows: Float32, center: Float32, scale: Float32) -> Float32:
    """Return the statistics as each member reads them, (members, batch, 30); `center` and `scale`: (members, 30)."""
    return np.asarray((statistics(windows)[None] - center[:, None]) / scale[:, None], dtype=np.float32)
