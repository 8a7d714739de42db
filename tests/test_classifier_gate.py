from pathlib import Path

import numpy as np
import pytest

from classifier.configuration import configuration
from classifier.familiarity import learn_familiarity
from classifier.gate import CERTAIN, Answer, answers
from classifier.manifest import WEIGHTS, load_weights, weights_path
from classifier.model import probabilities
from classifier.recordings import left_out, read_recordings, windows_of
from classifier.unknowns import KINDS, WINDOWS, unknown_windows
from classifier.window import is_readable
from tests.classifier_minutes import DEVELOPMENT_VIDEOS, made_up_gains

DEVELOPMENT = "data/webex/gain_minutes_development.csv"
GAINS = [np.array(made_up_gains(video, 50, 30, 5), dtype=np.float32) for video in DEVELOPMENT_VIDEOS]
# What a model can tell by nothing but its values. Mixtures and other devices are in the table of docs/classifier.md.
NEVER_LABELLED = ("silence", "flat", "constant", "flicker", "noise", "zeros")


def labelled(length: int, windows: np.ndarray) -> float:
    """Return which share of `windows` the shipped default model gives a label."""
    model = load_weights(weights_path(WEIGHTS, configuration().default, length))
    usable = windows[is_readable(windows)]
    if not len(usable):
        return 0.0
    told = answers(usable, probabilities(model.network, usable), model.familiarity)
    return sum(one.answer is Answer.LABEL for one in told) / len(windows)


@pytest.mark.parametrize("length", [3, 7])
@pytest.mark.parametrize("kind", NEVER_LABELLED)
def test_what_is_no_sound_is_never_a_confident_activity(kind: str, length: int) -> None:
    assert labelled(length, unknown_windows(GAINS, length, seed=1)[kind]) <= 0.01


@pytest.mark.parametrize("length", [3, 7])
def test_every_kind_of_unknown_has_its_windows_and_is_the_same_each_time(length: int) -> None:
    first, second = unknown_windows(GAINS, length, seed=2), unknown_windows(GAINS, length, seed=2)
    assert first.keys() == KINDS.keys()
    assert all(first[kind].shape == (WINDOWS, length, 3) for kind in KINDS)
    assert all((first[kind] == second[kind]).all() for kind in KINDS)


def test_no_window_is_farther_from_familiar_than_noise() -> None:
    windows = np.concatenate([np.lib.stride_tricks.sliding_window_view(g, 7, axis=0) for g in GAINS]).transpose(0, 2, 1)
    labels = np.repeat(np.arange(len(GAINS)) % 6, len(windows) // len(GAINS))
    familiarity = learn_familiarity(windows, labels)
    assert np.mean(familiarity.distance(windows) <= 1) == pytest.approx(0.98, abs=0.005)
    assert np.mean(familiarity.distance(unknown_windows(GAINS, 7, seed=3)["noise"]) > 1) == 1


def test_a_probability_never_overrules_a_gate() -> None:
    model = load_weights(weights_path(WEIGHTS, "mlp_stats", 7))
    windows = np.stack([np.full((7, 3), 20), np.tile([52, 49, 46], (7, 1)) + np.arange(7)[:, None] % 2])
    sure = np.tile(np.eye(6, dtype=np.float32)[0], (2, 1))
    told = answers(windows.astype(np.float32), sure, model.familiarity)
    assert [one.answer for one in told] == [Answer.STILL, Answer.QUIET] and CERTAIN < 1


@pytest.mark.shared
@pytest.mark.parametrize("length", [3, 7])
def test_near_silence_is_quiet_and_known_sounds_mostly_are_told(shared: Path, length: int) -> None:
    recordings = read_recordings(shared / DEVELOPMENT).recordings
    model = load_weights(weights_path(WEIGHTS, configuration().default, length))
    silent = windows_of([r for r in recordings if r.video == "punk_music2"], length).values
    told = answers(silent, probabilities(model.network, silent), model.familiarity)
    assert np.mean([one.answer is Answer.QUIET for one in told]) >= 0.9
    assert labelled(length, silent) <= 0.1
    assert labelled(length, windows_of([r for r in recordings if left_out(r) is None], length).values) >= (
        0.8 if length == 7 else 0.6
    )
