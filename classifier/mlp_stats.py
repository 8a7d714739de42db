"""One hidden layer of 32 units on the thirty statistics of a window, whatever its length. NumPy only."""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from classifier.features import NAMES, standardised
from classifier.model import Tensors
from classifier.window import Float32

UNITS: Final = 32


@dataclass(frozen=True, slots=True)
class MLPStats:
    """`center` and `scale` standardise the statistics as they were in training, dB-like."""

    tensors: Tensors

    @classmethod
    def shapes(cls, length: int, members: int) -> dict[str, tuple[int, ...]]:
        count = len(NAMES)
        return {
            "center": (members, count),
            "scale": (members, count),
            "hidden.weight": (members, count, UNITS),
            "hidden.bias": (members, UNITS),
            "out.weight": (members, UNITS, 6),
            "out.bias": (members, 6),
        }

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> Self:
        return cls(tensors)

    def scores(self, windows: Float32) -> Float32:
        """Return the members' scores, float32, shape (members, batch, 6); `windows` is (batch, length, 3)."""
        t = self.tensors
        x = standardised(windows, t["center"], t["scale"])  # (members, batch, 30)
        x = np.tanh(x @ t["hidden.weight"] + t["hidden.bias"][:, None])  # (members, batch, 32)
        return np.asarray(x @ t["out.weight"] + t["out.bias"][:, None], dtype=np.float32)
