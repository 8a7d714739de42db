"""Every architecture that a weights file may hold."""

from typing import Final

from classifier.logistic_stats import LogisticStats
from classifier.mlp_stats import MLPStats
from classifier.model import Network
from classifier.paper_cnn import PaperCNN

ARCHITECTURES: Final[dict[str, type[Network]]] = {
    "logistic_stats": LogisticStats,
    "mlp_stats": MLPStats,
    "paper_cnn": PaperCNN,
}
