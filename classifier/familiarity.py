"""How like the recordings of training a window is: the Mahalanobis distance of its statistics. NumPy only.

Each class is its mean of the thirty statistics; what lies around the means is one covariance for all, made
steadier by a part of the identity. The distance to the nearest mean is held against the one that all but two
percent of the training windows stay within. It catches noise and mixtures; it cannot catch what is
like a known activity without being it, a television for one.
Source: Lee et al., 2018, on the statistics instead of a layer.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from classifier.features import NAMES, statistics
from classifier.model import CLASSES, Float64, Tensors
from classifier.window import Float32

STEADIER: Final = 0.05  # part of the identity in the covariance of standardised statistics
# Percent of the training windows that pass. With 99.5 twice to five times as many mixtures and wandering gains get
# a label; with 95 a tenth of the windows of new videos loses its own.
FAMILIAR: Final = 98.0


@dataclass(frozen=True, slots=True)
class Familiarity:
    """What `distance` needs. `limit` is the squared distance that is still familiar."""

    tensors: Tensors

    @classmethod
    def shapes(cls) -> dict[str, tuple[int, ...]]:
        count = len(NAMES)
        return {
            "familiar.center": (count,),
            "familiar.scale": (count,),
            "familiar.means": (len(CLASSES), count),
            "familiar.precision": (count, count),
            "familiar.limit": (1,),
        }

    def distance(self, windows: Float32) -> Float64:
        """Return the squared distance of each window to the nearest class, in units of the limit: (batch,)."""
        t = self.tensors
        x = (statistics(windows).astype(np.float64) - t["familiar.center"]) / t["familiar.scale"]  # (batch, 30)
        apart = x[:, None] - t["familiar.means"]  # (batch, classes, 30)
        squared = np.einsum("bci,ij,bcj->bc", apart, t["familiar.precision"].astype(np.float64), apart, optimize=True)
        return np.asarray(squared.min(axis=1) / float(t["familiar.limit"][0]), dtype=np.float64)


def learn_familiarity(windows: Float32, labels: NDArray[np.int64]) -> Familiarity:
    """Return what the training windows, (n, length, 3), are like; a class without windows is like nothing."""
    x = statistics(windows).astype(np.float64)  # (n, 30)
    center, scale = x.mean(axis=0), x.std(axis=0) + 1e-6
    x = (x - center) / scale
    known = np.unique(labels)
    means = np.full((len(CLASSES), len(NAMES)), 1e6)  # farther than anything
    means[known] = [x[labels == label].mean(axis=0) for label in known]
    rest = x - means[labels]
    # einsum without `optimize` adds in one fixed order, whatever the machine's threads
    covariance = (1 - STEADIER) * np.einsum("ni,nj->ij", rest, rest) / len(rest) + STEADIER * np.eye(len(NAMES))
    tensors = {
        "familiar.center": center,
        "familiar.scale": scale,
        "familiar.means": means,
        "familiar.precision": np.linalg.inv(covariance),
        "familiar.limit": np.ones(1),
    }
    learned = Familiarity({name: tensor.astype(np.float32) for name, tensor in tensors.items()})
    limit = np.percentile(learned.distance(windows), FAMILIAR)
    return Familiarity(dict(learned.tensors) | {"familiar.limit": np.array([limit], dtype=np.float32)})
