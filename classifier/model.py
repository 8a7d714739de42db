"""The activity classes, and what every network that tells them apart has in common. NumPy only.

A network is a set of named float32 tensors and a forward pass from windows to scores. One file holds several
members: the same architecture, trained with other seeds; what is told is the mean of their probabilities.
The torch twins for training are in `networks_torch.py`; both read the same tensors, and a test holds them
together. Files and their checks are in `manifest.py`. Rules:

- a new architecture is one module here, its twin, and one line in `networks.ARCHITECTURES`;
- the first axis of every tensor is the member.
"""

from collections.abc import Mapping
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from classifier.window import Float32

# The order of the scores. Names are ours and stable; `recordings.py` maps the data's spellings to them.
CLASSES = ("music", "cooking", "crowd", "dog", "keyboard", "cleaning")

Tensors = Mapping[str, Float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]


class Network(Protocol):
    """One trained network, of one or more members."""

    @property
    def tensors(self) -> Tensors: ...

    @classmethod
    def shapes(cls, length: int, members: int) -> dict[str, tuple[int, ...]]:
        """Return name and shape of every tensor of this architecture for windows of `length` minutes."""
        ...

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> Self:
        """Return the network made of `tensors`, which `shapes` has been held against."""
        ...

    def scores(self, windows: Float32) -> Float32:
        """Return the members' scores, shape (members, batch, 6), for `windows`, shape (batch, length, 3)."""
        ...


def softmax(scores: Float32) -> Float32:
    """Return shares from `scores`, same shape (..., classes); the last axis sums to 1."""
    shifted = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True), dtype=np.float32)


def probabilities(network: Network, windows: Float32) -> Float32:
    """Return the mean of the members' probabilities, shape (batch, 6); `windows`: (batch, length, 3)."""
    return np.asarray(softmax(network.scores(windows)).mean(axis=0), dtype=np.float32)
