"""An evaluation as pictures (PNG): confusion, coverage, calibration, spread over seeds. Needs matplotlib."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from classifier.results import Results
from mutewatch.errors import OperatorError

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def need_matplotlib() -> None:
    try:
        import matplotlib  # noqa: F401 (an extra)
    except ImportError as error:
        raise OperatorError("plots need matplotlib: pip install 'mutewatch[train]'") from error


def draw(results: Results, folder: Path) -> list[Path]:
    """Write one picture per model, window and test set, and one of the spread over seeds; return the files."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for result in results["results"]:
        figure, (confusion, confidence) = pyplot.subplots(1, 2, figsize=(12, 5.5), layout="constrained")
        figure.suptitle(f"protocol {results['protocol']}: {_name(result)}")
        _confusion(confusion, result)
        _confidence(confidence, result)
        paths.append(folder / f"{results['protocol']}_{_name(result).replace(' ', '_')}.png")
        figure.savefig(paths[-1], dpi=110)
        pyplot.close(figure)
    figure, axes = pyplot.subplots(figsize=(9, 1.5 + 0.4 * len(results["results"])), layout="constrained")
    _spread(axes, results)
    paths.append(folder / f"{results['protocol']}_seeds.png")
    figure.savefig(paths[-1], dpi=110)
    pyplot.close(figure)
    return paths


def _name(result: dict[str, Any]) -> str:
    epoch = "" if result["epoch"] == "last" else f" {result['epoch']}"
    return f"{result['model']} n{result['window_minutes']} {result['test']}{epoch}"


def _confusion(axes: "Axes", result: dict[str, Any]) -> None:
    six = result["six_classes"]
    names = [one["name"] for one in six["classes"]]
    counts = np.array(six["confusion"])  # (6, 6), row = true
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="cividis", vmin=0, vmax=100)
    for row in range(len(names)):
        for column in range(len(names)):
            colour = "black" if shares[row, column] > 60 else "white"
            axes.text(column, row, f"{shares[row, column]:.0f}", ha="center", va="center", color=colour)
    axes.set_xticks(range(len(names)), names, rotation=30)
    axes.set_yticks(range(len(names)), names)
    axes.set(title="% of the windows of a class", xlabel="guess", ylabel="true class")


def _confidence(axes: "Axes", result: dict[str, Any]) -> None:
    bins = result["calibration"]["bins"]
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1, linestyle="--", label="calibrated")
    axes.plot([one[0] for one in bins], [one[1] for one in bins], marker="o", label="accuracy")
    points = [point for point in result["coverage"] if point["accuracy"] is not None]
    axes.plot([p["confidence"] for p in points], [p["coverage"] for p in points], marker="s", label="coverage")
    axes.set(
        title=f"expected calibration error {result['calibration']['ece']:.3f}", xlabel="confidence", ylim=(0, 1.02)
    )
    axes.legend()


def _spread(axes: "Axes", results: Results) -> None:
    for row, result in enumerate(results["results"]):
        values = [100 * value for value in result["six_classes"]["over_seeds"]["macro_recall"]["values"]]
        axes.plot(values, [row] * len(values), "o", alpha=0.5)
        axes.plot([100 * result["six_classes"]["macro_recall"]], [row], "k|", markersize=14)
    axes.set_yticks(range(len(results["results"])), [_name(result) for result in results["results"]])
    axes.set(title="macro recall, %: each seed (dot), mean of the members (bar)", xlabel="%")
    axes.invert_yaxis()
