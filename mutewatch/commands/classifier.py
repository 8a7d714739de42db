"""`mutewatch classifier`: train the model behind the guesses, and see how good it is."""

import json
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from classifier.evaluate import evaluate as evaluate_model
from classifier.evaluate import render_evaluation
from classifier.manifest import ModelError
from classifier.train import Epoch
from classifier.train import train as train_model
from mutewatch.errors import OperatorError


def train(data: Path, output: Path, seed: int, epochs: int) -> None:
    """Train, and print what was learnt and where it is."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("training", total=epochs)

        def on_epoch(epoch: Epoch) -> None:
            progress.update(task, completed=epoch.number)

        result = train_model(data, output, seed=seed, epochs=epochs, on_epoch=on_epoch)
    print(f"{result.model}: best epoch {result.best.number} of {epochs}")
    print(
        f"On {len(result.held_out)} recordings held out: macro recall {result.validation.macro_recall:.1%}, "
        f"macro precision {result.validation.macro_precision:.1%}"
    )
    for recording, reason in result.left_out.items():
        print(f"not used: {recording}: {reason}", file=sys.stderr)
    print(f"{result.weights}\n{result.manifest}")


def evaluate(data: Path, weights: Path | None, held_out: bool, as_json: bool) -> None:
    """Print how the model does on labelled minutes. OperatorError if its file is not whole."""
    try:
        evaluation = evaluate_model(data, weights, held_out_only=held_out)
    except ModelError as error:
        raise OperatorError(str(error)) from None
    print(json.dumps(evaluation.to_dict(), indent=2) if as_json else render_evaluation(evaluation))
