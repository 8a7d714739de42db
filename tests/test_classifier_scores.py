import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifier.model import CLASSES
from classifier.recordings import Recording, Windows
from classifier.scores import calibration, coverage, interval, macro_recall, runs, spread, tally
from classifier.smoothing import smoothed


def scored(labels: list[int], owners: list[int] | None = None) -> Windows:
    """Return windows of these labels; `owners`: which recording each is of (one for each label)."""
    owners = owners or [sorted(set(labels)).index(label) for label in labels]
    recordings = tuple(
        Recording(f"f:{i}:video{i}", CLASSES[0], np.arange(1), np.zeros((1, 3), np.float32))
        for i in range(max(owners) + 1)
    )
    values = np.zeros((len(labels), 7, 3), np.float32)
    return Windows(values, np.array(labels), np.array(owners), recordings)


def test_macro_recall_counts_classes_not_windows() -> None:
    scores = tally(scored([0] * 90 + [1] * 10), np.zeros(100, dtype=np.int64))
    assert scores.macro_recall == 0.5 and scores.macro_precision == 0.45


def test_confusion_has_true_classes_in_rows() -> None:
    scores = tally(scored([2, 2, 3]), np.array([2, 5, 3]))
    assert scores.confusion[2] == (0, 0, 1, 0, 0, 1)
    assert [(c.recall, c.precision) for c in scores.classes[2:4]] == [(0.5, 1.0), (1.0, 1.0)]


def test_a_class_without_windows_has_no_recall_and_is_not_in_the_mean() -> None:
    scores = tally(scored([0]), np.array([0]))
    assert scores.classes[1].recall is None and scores.classes[1].precision is None
    assert scores.macro_recall == 1.0


def test_with_five_classes_cooking_and_keyboard_are_one() -> None:
    windows, guessed = scored([1, 4, 0, 0]), np.array([4, 1, 0, 1])
    assert macro_recall(windows, guessed) == pytest.approx(1 / 6)
    scores = tally(windows, guessed, merged=True)
    assert scores.macro_recall == 0.75 and [c.name for c in scores.classes] == [n for n in CLASSES if n != "cooking"]


def test_what_stands_behind_a_class_is_told() -> None:
    one = tally(scored([0, 0, 0, 1], owners=[0, 1, 1, 2]), np.zeros(4, dtype=np.int64)).classes[0]
    assert (one.recordings, one.windows, one.videos) == (2, 3, ("video0", "video1"))


def test_the_interval_resamples_recordings() -> None:
    labels, owners = [0] * 100 + [1] * 100, [0] * 50 + [1] * 50 + [2] * 50 + [3] * 50
    guessed = np.array([0] * 50 + [5] * 50 + [1] * 100)  # one of two recordings of the first class is all wrong
    assert interval(scored(labels, owners), guessed) == (0.5, 1.0)
    assert interval(scored(labels, owners), np.array(labels)) == (1.0, 1.0)


def test_a_class_with_one_recording_is_resampled_by_half_hours() -> None:
    low, high = interval(scored([0] * 60), np.array([0] * 30 + [1] * 30))
    assert (low, high) == (0.0, 1.0)


def test_the_interval_is_the_same_each_time() -> None:
    windows, guessed = scored([0] * 300, [i // 30 for i in range(300)]), np.arange(300) % 3 % 2
    assert interval(windows, guessed) == interval(windows, guessed)


def test_a_spread_of_one_value_has_no_deviation() -> None:
    assert spread([0.5]).sd == 0.0
    assert spread([0.4, 0.6]).sd == pytest.approx(0.1414, abs=1e-4)


def test_calibration_by_hand() -> None:
    shares = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]], dtype=np.float32)
    found = calibration(np.array([0, 0, 0, 1]), shares)
    assert found.ece == pytest.approx(0.5 * 0.1 + 0.5 * 0.1)
    assert [count for _, _, count in found.bins] == [2, 2]


def test_coverage_falls_with_confidence_and_accuracy_of_nothing_is_none() -> None:
    shares = np.array([[0.9, 0.1], [0.55, 0.45]], dtype=np.float32)
    points = {point.confidence: point for point in coverage(np.array([0, 1]), shares)}
    assert (points[0.0].coverage, points[0.0].accuracy) == (1.0, 0.5)
    assert (points[0.7].coverage, points[0.7].accuracy) == (0.5, 1.0)
    assert (points[0.95].coverage, points[0.95].accuracy) == (0.0, None)


@given(st.lists(st.integers(1, 5), max_size=8))
def test_runs_are_the_recordings_side_by_side(sizes: list[int]) -> None:
    owners = np.repeat(np.arange(len(sizes)), sizes)
    assert [run.stop - run.start for run in runs(owners)] == sizes


def shares_of(rows: int) -> np.ndarray:
    drawn = np.random.default_rng(1).uniform(0.01, 1, (rows, 6)).astype(np.float32)
    return np.asarray(drawn / drawn.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("windows", [1, 3, 50])
def test_smoothing_uses_nothing_later(windows: int) -> None:
    shares = shares_of(20)
    whole = smoothed(shares, windows)
    assert np.allclose(whole.sum(axis=1), 1)
    assert all(np.allclose(smoothed(shares[:n], windows), whole[:n], atol=1e-6) for n in range(1, 21))


def test_smoothing_over_one_window_changes_nothing() -> None:
    assert np.allclose(smoothed(shares_of(9), 1), shares_of(9), atol=1e-6)


def test_smoothing_is_the_geometric_mean() -> None:
    shares = np.array([[0.8, 0.2], [0.2, 0.8], [0.8, 0.2]], dtype=np.float32)
    assert np.allclose(smoothed(shares, 2), [[0.8, 0.2], [0.5, 0.5], [0.5, 0.5]], atol=1e-6)
