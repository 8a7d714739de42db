"""The activity classes, and the networks that tell them apart, in NumPy.

A network is a set of named float32 tensors and a forward pass from windows to one score per class. The
torch twin used for training is `paper_cnn_torch.py`; both read the same tensors, and a test holds them
together. Files and their checks are in `manifest.py`. Rules:

- a new architecture is one class with `from_tensors` and `logits`, and one line in `ARCHITECTURES`;
- tensors keep the names and shapes of torch's `state_dict`, so that no translation can go wrong.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from classifier.window import Float32

# The order of the scores. Names are ours and stable; `recordings.py` maps the data's spellings to them.
CLASSES = ("music", "cooking", "crowd", "dog", "keyboard", "cleaning")

Tensors = Mapping[str, Float32]
Float64 = NDArray[np.float64]


class Network(Protocol):
    """One trained network."""

    @classmethod
    def shapes(cls, length: int) -> dict[str, tuple[int, ...]]:
        """Return name and shape of every tensor of this architecture for windows of `length` minutes."""
        ...

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> Self:
        """Return the network made of `tensors`, which `shapes` has been held against."""
        ...

    def logits(self, windows: Float32) -> Float32:
        """Return one score per class, shape (batch, 6), for `windows`, shape (batch, length, 3)."""
        ...


@dataclass(frozen=True, slots=True)
class PaperCNN:
    """The network of the paper: two convolutions over time, three linear layers; 2,681 numbers at n = 7.

    Conv1d(3 to 6, k 2), ReLU, Conv1d(6 to 6, k 2), ReLU, flatten, Linear 35, tanh, Linear 35, tanh,
    Linear 6, on raw gains. Source: PETS'22, 5.3.2, and the authors' training script. Sums are made in
    float64: in float32, raw gains cost up to 2e-5 of a score, more than torch and NumPy may differ.
    """

    tensors: Tensors

    @classmethod
    def shapes(cls, length: int) -> dict[str, tuple[int, ...]]:
        flat = 6 * (length - 2)  # each convolution of width 2 shortens the window by one
        return {
            "conv1.weight": (6, 3, 2),
            "conv1.bias": (6,),
            "conv2.weight": (6, 6, 2),
            "conv2.bias": (6,),
            "fc1.weight": (35, flat),
            "fc1.bias": (35,),
            "fc2.weight": (35, 35),
            "fc2.bias": (35,),
            "fc3.weight": (6, 35),
            "fc3.bias": (6,),
        }

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> Self:
        return cls(tensors)

    def logits(self, windows: Float32) -> Float32:
        """Return one score per class, float32, shape (batch, 6); `windows` is (batch, length, 3)."""
        x = windows.transpose(0, 2, 1).astype(np.float64)  # (batch, 3, length)
        x = np.maximum(self._convolve("conv1", x), 0)  # (batch, 6, length - 1)
        x = np.maximum(self._convolve("conv2", x), 0)  # (batch, 6, length - 2)
        x = x.reshape(len(x), -1)  # (batch, 6 * (length - 2)), channel by channel as torch flattens
        x = np.tanh(self._linear("fc1", x))  # (batch, 35)
        x = np.tanh(self._linear("fc2", x))  # (batch, 35)
        return self._linear("fc3", x).astype(np.float32)  # (batch, 6)

    def _convolve(self, layer: str, x: Float64) -> Float64:
        """Correlate over time with a kernel of width 2: (batch, in, t) to (batch, out, t - 1)."""
        weight = self.tensors[f"{layer}.weight"]  # (out, in, 2)
        y = weight[:, :, 0] @ x[:, :, :-1] + weight[:, :, 1] @ x[:, :, 1:]  # (batch, out, t - 1)
        return y + self.tensors[f"{layer}.bias"][:, None]

    def _linear(self, layer: str, x: Float64) -> Float64:
        """Return weight times x plus bias: (batch, in) to (batch, out)."""
        return x @ self.tensors[f"{layer}.weight"].T + self.tensors[f"{layer}.bias"]


ARCHITECTURES: dict[str, type[Network]] = {"paper_cnn": PaperCNN}


def probabilities(logits: Float32) -> Float32:
    """Return the softmax of `logits`, same shape (batch, classes); each row sums to 1. Not calibrated."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))  # (batch, classes)
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), dtype=np.float32)
