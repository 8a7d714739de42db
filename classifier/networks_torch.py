"""The networks as torch modules, for training only; the NumPy modules of the same names run the same tensors.

Every module holds several members and trains them side by side: the first axis of every tensor is the member,
so one batched product serves all, and no member's gradient touches another's. Each begins as torch's own layers
do, from its own seed, and may have training inputs of its own. `state_dict` has the names and shapes of the
NumPy networks.
"""

import math
from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from classifier.features import statistics
from classifier.mlp_stats import UNITS
from classifier.window import Float32

LEAST_SCALE: Final = 0.1  # dB-like; what hardly moved in training must not decide when it moves a little


class Stack(Protocol):
    """Members trained side by side."""

    @staticmethod
    def inputs(windows: Float32) -> Float32:
        """Return what the members read of `windows`, (n, length, 3): float32, (n, …)."""
        ...

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return scores, shape (members, batch, 6), for `inputs`, shape (members, batch, …)."""
        ...

    def state_dict(self) -> dict[str, Tensor]: ...


class PaperCNNStack(nn.Module):
    """The network of `paper_cnn.PaperCNN`, on raw gains."""

    def __init__(self, seeds: Sequence[int], training_inputs: Sequence[Float32]) -> None:
        super().__init__()
        flat = 6 * (training_inputs[0].shape[1] - 2)
        shapes = {"conv1": (6, 3, 2), "conv2": (6, 6, 2), "fc1": (35, flat), "fc2": (35, 35), "fc3": (6, 35)}
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        for layer, shape in shapes.items():
            setattr(self, layer, _layer(generators, shape, shape[:1], inputs=math.prod(shape[1:])))

    @staticmethod
    def inputs(windows: Float32) -> Float32:
        return windows

    def forward(self, windows: Tensor) -> Tensor:
        x = windows.transpose(2, 3)  # (members, batch, 3, length)
        x = torch.relu(_convolved(self.conv1, x))  # (members, batch, 6, length - 1)
        x = torch.relu(_convolved(self.conv2, x))  # (members, batch, 6, length - 2)
        x = x.flatten(2)  # (members, batch, 6 * (length - 2))
        for layer in (self.fc1, self.fc2):
            x = torch.tanh(torch.baddbmm(layer["bias"][:, None], x, layer["weight"].transpose(1, 2)))  # (…, 35)
        return torch.baddbmm(self.fc3["bias"][:, None], x, self.fc3["weight"].transpose(1, 2))  # (members, batch, 6)


class MLPStatsStack(nn.Module):
    """The network of `mlp_stats.MLPStats`, on the statistics of a window."""

    def __init__(self, seeds: Sequence[int], training_inputs: Sequence[Float32]) -> None:
        super().__init__()
        center = np.stack([inputs.mean(axis=0) for inputs in training_inputs])  # (members, 30)
        scale = np.stack([inputs.std(axis=0).clip(min=LEAST_SCALE) for inputs in training_inputs])
        self.register_buffer("center", torch.from_numpy(center))
        self.register_buffer("scale", torch.from_numpy(scale))
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        count = training_inputs[0].shape[1]
        self.hidden = _layer(generators, (count, UNITS), (UNITS,), inputs=count)
        self.out = _layer(generators, (UNITS, 6), (6,), inputs=UNITS)

    @staticmethod
    def inputs(windows: Float32) -> Float32:
        return statistics(windows)

    def forward(self, inputs: Tensor) -> Tensor:
        x = (inputs - self.center[:, None]) / self.scale[:, None]  # (members, batch, 30)
        x = torch.tanh(torch.baddbmm(self.hidden["bias"][:, None], x, self.hidden["weight"]))  # (members, batch, 32)
        return torch.baddbmm(self.out["bias"][:, None], x, self.out["weight"])  # (members, batch, 6)


STACKS: Final[dict[str, type["PaperCNNStack | MLPStatsStack"]]] = {
    "mlp_stats": MLPStatsStack,
    "paper_cnn": PaperCNNStack,
}


def _layer(
    generators: Sequence[torch.Generator], weight: tuple[int, ...], bias: tuple[int, ...], *, inputs: int
) -> nn.ParameterDict:
    """Return weight and bias of every member, drawn uniformly within 1 / sqrt(inputs of a unit)."""
    bound = 1 / math.sqrt(inputs)
    shapes = {"weight": weight, "bias": bias}
    begun = {
        part: torch.stack([(2 * torch.rand(shape, generator=g) - 1) * bound for g in generators])
        for part, shape in shapes.items()
    }
    return nn.ParameterDict({part: nn.Parameter(tensor) for part, tensor in begun.items()})


def _convolved(layer: nn.ParameterDict, x: Tensor) -> Tensor:
    """Correlate over time with a kernel of width 2: (members, batch, in, t) to (members, batch, out, t - 1)."""
    members, batch, channels, times = x.shape
    pairs = torch.stack([x[..., :-1], x[..., 1:]], dim=3)  # (members, batch, in, 2, t - 1)
    rows = pairs.permute(0, 1, 4, 2, 3).reshape(members, batch * (times - 1), channels * 2)
    weight = layer["weight"].flatten(2).transpose(1, 2)  # (members, in * 2, out)
    y = torch.baddbmm(layer["bias"][:, None], rows, weight)  # (members, batch * (t - 1), out)
    return y.reshape(members, batch, times - 1, -1).transpose(2, 3)
