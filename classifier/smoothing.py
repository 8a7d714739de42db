"""Guesses of one call over time: activities last longer than a window, so neighbours may help. NumPy only."""

from typing import Final

import numpy as np

from classifier.window import Float32

SMALLEST: Final = 1e-12  # probability; below it no window can outvote the others


def smoothed(shares: Float32, windows: int) -> Float32:
    """Return, for each of successive guesses, the geometric mean of it and of those before it, at most `windows`.

    `shares`: (n, classes), rows that sum to 1, oldest first, of one call; so are the rows returned. With 1
    nothing changes. Nothing later than a guess is used for it.
    """
    logs = np.log(np.maximum(shares, np.float32(SMALLEST)), dtype=np.float64)  # (n, classes)
    sums = np.cumsum(np.concatenate([np.zeros((1, logs.shape[1])), logs]), axis=0)  # (n + 1, classes)
    ends = np.arange(1, len(logs) + 1)
    starts = np.maximum(ends - windows, 0)
    means = (sums[ends] - sums[starts]) / (ends - starts)[:, None]
    raised = np.exp(means - means.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True), dtype=np.float32)
