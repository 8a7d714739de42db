"""What another setting of the default model would give, by the two measures that models are chosen by (decision 8).

python -m bench.classifier.candidates gain_minutes.csv --seeds 10      # needs torch; a minute or two for each row
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from classifier.configuration import Recipe, configuration
from classifier.fit import fit
from classifier.networks import ARCHITECTURES
from classifier.protocols import Protocol, rounds
from classifier.recordings import Recording, Windows, read_recordings
from classifier.scores import Spread, macro_recall, spread

VARIANTS: dict[str, dict[str, float | int]] = {
    "as configured": {},
    "shifted by 2": {"offset_sd": 2.0},
    "shifted by 4": {"offset_sd": 4.0},
    "shifted by 8": {"offset_sd": 8.0},
    "30 epochs": {"epochs": 30},
    "weight decay 0.1": {"weight_decay": 0.1},
    "noise of 1": {"noise_sd": 1.0},
}


def measured(recipe: Recipe, protocol: Protocol, recordings: Sequence[Recording], seeds: Sequence[int]) -> Spread:
    """Return macro recall over seeds, windows of seven minutes, all rounds of `protocol` pooled."""
    tests: list[Windows] = []
    guesses: list[np.ndarray] = []  # each (members, n)
    for one in rounds(protocol, recordings, 7):
        network = ARCHITECTURES[recipe.architecture].from_tensors(fit(recipe, one.train, seeds).last)
        tests.append(one.tests["dev"])
        guesses.append(network.scores(one.tests["dev"].values).argmax(axis=2))
    pooled = replace(
        tests[0],
        labels=np.concatenate([test.labels for test in tests]),
        owners=np.concatenate([np.full(len(test.labels), 0) for test in tests]),
    )
    return spread([100 * macro_recall(pooled, member) for member in np.concatenate(guesses, axis=1)])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.classifier.candidates", description="Compare settings.")
    parser.add_argument("csv", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args(arguments)
    recordings = read_recordings(options.csv).recordings
    chosen = configuration()
    print("| setting | by video | by distance |\n| --- | --- | --- |")
    for name, changed in VARIANTS.items():
        recipe = replace(chosen.choice(chosen.default).recipe, **changed)  # type: ignore[arg-type]
        found = [
            measured(recipe, protocol, recordings, range(options.seeds))
            for protocol in (Protocol.FOLDS_BY_VIDEO, Protocol.FOLDS_BY_DISTANCE)
        ]
        print(f"| {name} | {' | '.join(f'{one.mean:.1f} ± {one.sd:.1f}' for one in found)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
