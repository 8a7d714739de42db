"""The paper's network as a torch module, for training only. `model.py` runs the same tensors in NumPy."""

import torch
from torch import Tensor, nn


class PaperCNNTorch(nn.Module):
    """The network of `classifier.model.PaperCNN`; `state_dict` has its names and shapes."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(3, 6, 2)
        self.conv2 = nn.Conv1d(6, 6, 2)
        self.fc1 = nn.Linear(6 * (length - 2), 35)
        self.fc2 = nn.Linear(35, 35)
        self.fc3 = nn.Linear(35, 6)

    def forward(self, windows: Tensor) -> Tensor:
        """Return scores, shape (batch, 6), for `windows`, shape (batch, length, 3)."""
        x = windows.transpose(1, 2)  # (batch, 3, length)
        x = torch.relu(self.conv1(x))  # (batch, 6, length - 1)
        x = torch.relu(self.conv2(x))  # (batch, 6, length - 2)
        x = x.flatten(1)  # (batch, 6 * (length - 2))
        x = torch.tanh(self.fc1(x))  # (batch, 35)
        x = torch.tanh(self.fc2(x))  # (batch, 35)
        scores: Tensor = self.fc3(x)  # (batch, 6)
        return scores
