"""Multinomial logistic regression on the thirty statistics of a window: 186 weights, no chance in it. NumPy only.

The cross-check beside the default model: its training has one solution, whatever the seed.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from classifier.features import NAMES, standardised
from classifier.model import Tensors
from classifier.window import Float32


@dataclass(frozen=True, slots=True)
class LogisticStats:
    """`center` and `scale` standardise the statistics as they were in training, dB-like."""

    tensors: Tensors

    @classmethod
    def shapes(cls, length: int, members: int) -> dict[str, tuple[int, ...]]:
        count = len(NAMES)
        return {
            "center": (members, count),
            "scale": (members, count),
            "weight": (members, count, 6),
            "bias": (members, 6),
        }

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> Self:
        return cls(tensors)

    def scores(self, windows: Float32) -> Float32:
        """Return the members' scores, float32, shape (members, batch, 6); `windows` is (batch, length, 3)."""
        t = self.tensors
        x = standardised(windows, t["center"], t["scale"])  # (members, batch, 30)
        return np.asarray(x @ t["weight"] + t["bias"][:, None], dtype=np.float32)
