"""Gap policies compared: labelled recordings, with the minutes missing that are missing in a real log.

    python -m bench.classifier.gaps gain_minutes.csv xdbg_log.txt      # needs torch

The recordings are of one activity each and have no gaps; the log has gaps and no labels. So the log's pattern
of minutes seen and not seen is laid over the recordings, at offsets drawn from a seed. Networks are those of
the folds by video: but for classical music, no recording is guessed by a network that knows its video. Every
minute seen is asked for a guess; smoothing and gates are off.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from classifier.configuration import configuration
from classifier.fit import fit
from classifier.model import CLASSES, Network, probabilities
from classifier.networks import ARCHITECTURES
from classifier.protocols import Protocol, rounds
from classifier.recordings import Recording, read_recordings
from classifier.window import GapPolicy, window_of
from tests.classifier_minutes import real_calls, report_of

POLICIES = {
    "seven, none missing": GapPolicy(lengths=(7,), missing_tolerated=0),
    "seven, one missing": GapPolicy(lengths=(7,), missing_tolerated=1),
    "seven, two missing": GapPolicy(lengths=(7,), missing_tolerated=2),
    "seven or three, none missing": GapPolicy(missing_tolerated=0),
    "seven or three, one missing": GapPolicy(),
    "seven or three, two missing": GapPolicy(missing_tolerated=2),
    "seven or three, one missing, reset after one": GapPolicy(reset_after_minutes=1),
    "seven or three, one missing, reset after ten": GapPolicy(reset_after_minutes=10),
    "three, one missing": GapPolicy(lengths=(3,)),
}


def pattern(log: Path) -> np.ndarray:
    """Return which minutes of the log's calls were seen, bool (minutes,), one call after the other."""
    parts = []
    for call in real_calls(log):
        numbers = np.array(sorted({number for number, _ in call}))
        seen = np.zeros(numbers[-1] - numbers[0] + 1, dtype=bool)
        seen[numbers - numbers[0]] = True
        parts.append(seen)
    return np.concatenate(parts)


def trained(recordings: Sequence[Recording]) -> dict[str, dict[int, Network]]:
    """Return for each recording the networks, by minutes of a window, that do not know its video."""
    choice = configuration().choice(configuration().default)
    kind = ARCHITECTURES[choice.recipe.architecture]
    by_recording: dict[str, dict[int, Network]] = {}
    for length in choice.lengths:
        for one in rounds(Protocol.FOLDS_BY_VIDEO, recordings, length):
            network = kind.from_tensors(fit(choice.recipe, one.train, choice.seeds).last)
            for recording in one.tests["dev"].recordings:
                by_recording.setdefault(recording.name, {})[length] = network
    return by_recording


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.classifier.gaps", description="Compare gap policies.")
    parser.add_argument("csv", type=Path)
    parser.add_argument("log", type=Path)
    options = parser.parse_args(arguments)
    recordings = read_recordings(options.csv).recordings
    networks, seen = trained(recordings), pattern(options.log)
    chance = np.random.default_rng(0)
    offsets = {name: int(chance.integers(len(seen))) for name in networks}
    print(f"{100 * (1 - seen.mean()):.1f} % of the log's minutes are missing\n")
    print("| policy | guesses, % of minutes seen | macro recall of guesses, % | right, % of minutes seen |")
    print("| --- | --- | --- | --- |")
    for name, policy in POLICIES.items():
        asked, answered, right = np.zeros(6), np.zeros(6), np.zeros(6)
        for recording in recordings:
            if recording.name not in networks:
                continue
            kept = np.roll(seen, -offsets[recording.name])[np.arange(len(recording.gains)) % len(seen)]
            minutes = [report_of(int(i), recording.gains[i].tolist()) for i in np.flatnonzero(kept)]
            label = CLASSES.index(recording.activity)
            for end in range(1, len(minutes) + 1):
                window = window_of(minutes[max(0, end - policy.horizon) : end], policy)
                asked[label] += 1
                if window.values is not None:
                    network = networks[recording.name][len(window.values)]
                    answered[label] += 1
                    right[label] += int(probabilities(network, window.values[None])[0].argmax()) == label
        recall = np.mean(right / np.maximum(answered, 1))
        shares = (answered.sum() / asked.sum(), recall, np.mean(right / asked))
        print(f"| {name} | {' | '.join(f'{100 * share:.1f}' for share in shares)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
