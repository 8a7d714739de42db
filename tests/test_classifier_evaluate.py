import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from classifier.evaluate import evaluate, render_evaluation, tally
from classifier.manifest import SHIPPED, ModelError, load_weights
from classifier.model import CLASSES
from mutewatch.errors import InputError, OperatorError
from tests.classifier_minutes import write_csv

ONE_EACH = dict.fromkeys(CLASSES, 1)


def test_macro_recall_counts_classes_not_windows() -> None:
    labels = np.array([0] * 90 + [1] * 10)
    scores = tally(labels, np.zeros(100, dtype=np.int64), ONE_EACH)
    assert scores.macro_recall == 0.5 and scores.macro_precision == 0.45


def test_confusion_has_true_classes_in_rows() -> None:
    scores = tally(np.array([2, 2, 3]), np.array([2, 5, 3]), ONE_EACH)
    assert scores.confusion[2] == (0, 0, 1, 0, 0, 1)
    assert [(c.recall, c.precision) for c in scores.classes[2:4]] == [(0.5, 1.0), (1.0, 1.0)]


def test_a_class_without_windows_has_no_recall_and_is_not_in_the_mean() -> None:
    scores = tally(np.array([0]), np.array([0]), ONE_EACH)
    assert scores.classes[1].recall is None and scores.classes[1].precision is None
    assert scores.macro_recall == 1.0


def test_another_csv_is_scored_whole_and_said_to_be_another(tmp_path: Path) -> None:
    result = evaluate(write_csv(tmp_path / "g.csv"))
    assert result.trained_on is None
    assert (result.scores.recordings, result.scores.windows) == (18, 18 * 14)
    assert sum(map(sum, result.scores.confusion)) == result.scores.windows


def test_held_out_recordings_are_known_only_in_the_training_csv(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="not the CSV this model was trained on"):
        evaluate(write_csv(tmp_path / "g.csv"), held_out_only=True)


def test_recordings_too_short_to_score_are_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no recording of 7 successive minutes"):
        evaluate(write_csv(tmp_path / "g.csv", minutes=6))


def test_damaged_weights_are_refused_before_the_csv_is_read(tmp_path: Path) -> None:
    shutil.copy(SHIPPED, tmp_path / "m.safetensors")
    with pytest.raises(ModelError):
        evaluate(tmp_path / "none.csv", tmp_path / "m.safetensors")


def test_the_text_fits_80_columns_and_the_dict_is_json(tmp_path: Path) -> None:
    result = evaluate(write_csv(tmp_path / "g.csv"))
    assert max(map(len, render_evaluation(result).splitlines())) <= 80
    assert json.loads(json.dumps(result.to_dict()))["scores"]["windows"] == 18 * 14


@pytest.mark.shared
def test_the_shipped_figures_can_be_measured_again(shared: Path) -> None:
    result = evaluate(shared / "data/webex/gain_minutes_development.csv", held_out_only=True)
    manifest = load_weights().manifest
    assert result.trained_on == 0
    assert result.scores.recordings == len(manifest.training.held_out) == 10
    assert result.scores.macro_recall == pytest.approx(manifest.validation["macro_recall"], abs=0.005)
