"""The network of the paper, exactly: two convolutions over time, three linear layers, on raw gains.

Conv1d(3 to 6, k 2), ReLU, Conv1d(6 to 6, k 2), ReLU, flatten, Linear 35, tanh, Linear 35, tanh, Linear 6;
2,681 numbers at seven minutes. Source: PETS'22, 5.3.2, and the authors' training script. Kept to reproduce its
figures. Sums are made in float64: in float32, raw gains cost up to 2e-5 of a score.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from classifier.model import Float64, Tensors
from classifier.window import Float32


@dataclass(frozen=True, slots=True)
class PaperCNN:
    """The tensors have torch's shapes behind the axis of the members."""

    tensors: Tensors

    @classmethod
    def shapes(cls, length: int, members: int) -> dict[str, tuple[int, ...]]:
        flat = 6 * (length - 2)  # each convolution of width 2 shortens the window by one
        return {
            "conv1.weight": (members, 6, 3, 2),
            "conv1.bias": (members, 6),
            "conv2.weight": (members, 6, 6, 2),
            "conv2.bias": (members, 6),
            "fc1.weight": (members, 35, flat),
            "fc1.bias": (members, 35),
            "fc2.weight": (members, 35, 35),
            "fc2.bias": (members, 35),
            "fc3.weight": (members, 6, 35),
            "fc3.bias": (members, 6),
        }

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> Self:
        return cls(tensors)

    def scores(self, windows: Float32) -> Float32:
        """Return the members' scores, float32, shape (members, batch, 6); `windows` is (batch, length, 3)."""
        x = windows.transpose(0, 2, 1)[None].astype(np.float64)  # (1, batch, 3, length)
        x = np.maximum(self._convolve("conv1", x), 0)  # (members, batch, 6, length - 1)
        x = np.maximum(self._convolve("conv2", x), 0)  # (members, batch, 6, length - 2)
        x = x.reshape(*x.shape[:2], -1)  # (members, batch, 6 * (length - 2)), channel by channel as torch flattens
        x = np.tanh(self._linear("fc1", x))  # (members, batch, 35)
        x = np.tanh(self._linear("fc2", x))  # (members, batch, 35)
        return self._linear("fc3", x).astype(np.float32)  # (members, batch, 6)

    def _convolve(self, layer: str, x: Float64) -> Float64:
        """Correlate over time with a kernel of width 2: (members, batch, in, t) to (members, batch, out, t - 1)."""
        weight = self.tensors[f"{layer}.weight"][:, None]  # (members, 1, out, in, 2)
        y = weight[..., 0] @ x[..., :-1] + weight[..., 1] @ x[..., 1:]  # (members, batch, out, t - 1)
        return y + self.tensors[f"{layer}.bias"][:, None, :, None]

    def _linear(self, layer: str, x: Float64) -> Float64:
        """Return weight times x plus bias: (members, batch, in) to (members, batch, out)."""
        return x @ self.tensors[f"{layer}.weight"].transpose(0, 2, 1) + self.tensors[f"{layer}.bias"][:, None]
