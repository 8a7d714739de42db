import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from classifier.evaluate import evaluate
from classifier.manifest import load_weights
from classifier.model import CLASSES
from classifier.recordings import Windows, left_out, read_recordings
from classifier.train import Epoch, class_weights, split_recordings, train
from mutewatch.errors import InputError, OperatorError
from tests.classifier_minutes import write_csv

DEVELOPMENT = "data/webex/gain_minutes_development.csv"


def need_torch() -> None:
    pytest.importorskip("torch", reason="torch is not installed (extra 'train')")


def test_whole_recordings_of_each_class_are_held_out(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "g.csv", recordings=10, minutes=8)
    recordings = read_recordings(path).recordings
    split = split_recordings(path, recordings, 0, 7)
    assert sorted(r.activity for r in split.held_out) == sorted(CLASSES * 2)
    assert {r.name for r in split.fit} | {r.name for r in split.held_out} == {r.name for r in recordings}
    assert not {r.name for r in split.fit} & {r.name for r in split.held_out}


def test_the_split_depends_on_the_seed_alone(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "g.csv", recordings=10, minutes=8)
    recordings = read_recordings(path).recordings
    names = [
        {r.name for r in split_recordings(path, order, seed, 7).held_out}
        for order, seed in ((recordings, 0), (recordings[::-1], 0), (recordings, 1))
    ]
    assert names[0] == names[1] != names[2]


def test_one_recording_of_a_class_is_too_few(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "g.csv", recordings=1)
    with pytest.raises(InputError, match="2 usable recordings of each activity; music: 1"):
        split_recordings(path, read_recordings(path).recordings, 0, 7)


def test_class_weights_make_classes_equal() -> None:
    labels = np.repeat(np.arange(6), [1, 2, 3, 4, 5, 6])
    weights = class_weights(Windows(np.empty((21, 7, 3), np.float32), labels))
    assert np.allclose(np.bincount(labels, weights=weights[labels]), 21 / 6)


@pytest.mark.parametrize("options", [{"epochs": 0}, {"seed": -1}, {"window_length": 2}])
def test_options_out_of_range_are_the_operator_s_fault(tmp_path: Path, options: dict[str, int]) -> None:
    with pytest.raises(OperatorError, match="training needs"):
        train(tmp_path / "g.csv", tmp_path, **options)  # type: ignore[arg-type]


def test_without_torch_training_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path\n"
        "from classifier.train import train\n"
        "train(Path('g.csv'), Path('out'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "training needs torch: pip install 'mutewatch[train]'" in done.stderr


@pytest.mark.torch
def test_training_learns_and_what_it_writes_can_be_used(tmp_path: Path) -> None:
    need_torch()
    path = write_csv(tmp_path / "g.csv", recordings=5)
    seen: list[Epoch] = []
    result = train(path, tmp_path / "out", seed=1, epochs=150, on_epoch=seen.append)
    assert [epoch.number for epoch in seen] == list(range(1, 151))
    assert result.best == max((e for e in seen if e.is_best), key=lambda e: e.number)
    assert result.best.validation_recall == max(e.validation_recall for e in seen)
    assert seen[-1].loss < seen[0].loss / 2
    assert result.validation.macro_recall >= 0.8
    assert load_weights(result.weights).manifest.model_id == result.model
    again = evaluate(path, result.weights, held_out_only=True)
    assert again.scores == result.validation and again.trained_on == 0
    assert evaluate(path, result.weights).trained_on == 24


@pytest.mark.torch
def test_the_manifest_tells_where_the_weights_come_from(tmp_path: Path) -> None:
    need_torch()
    path = write_csv(tmp_path / "g.csv")
    result = train(path, tmp_path / "out", seed=5, epochs=2, window_length=3)
    fields = json.loads(result.manifest.read_text())
    assert result.weights.name == "paper_cnn_n3.safetensors"
    assert fields["training"]["csv_sha256"] == read_recordings(path).sha256
    assert (fields["training"]["seed"], fields["training"]["epochs"]) == (5, 2)
    assert fields["training"]["versions"].keys() == {"python", "numpy", "safetensors", "torch", "machine"}
    assert len(fields["validation"]["classes"]) == 6
    assert str(tmp_path) not in result.manifest.read_text()


@pytest.mark.torch
def test_training_leaves_torch_as_it_was(tmp_path: Path) -> None:
    need_torch()
    import torch  # noqa: PLC0415 (an extra)

    before = torch.get_num_threads(), torch.get_rng_state().tolist()
    train(write_csv(tmp_path / "g.csv"), tmp_path, epochs=1)
    assert before == (torch.get_num_threads(), torch.get_rng_state().tolist())
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.torch
@pytest.mark.shared
def test_the_same_seed_gives_the_same_bytes(tmp_path: Path, shared: Path) -> None:
    need_torch()
    first = train(shared / DEVELOPMENT, tmp_path / "a", seed=3, epochs=4)
    second = train(shared / DEVELOPMENT, tmp_path / "b", seed=3, epochs=4)
    other = train(shared / DEVELOPMENT, tmp_path / "c", seed=4, epochs=4)
    assert first.weights.read_bytes() == second.weights.read_bytes() != other.weights.read_bytes()
    assert first.manifest.read_bytes() == second.manifest.read_bytes()


@pytest.mark.shared
def test_duplicates_and_near_silence_are_in_neither_part(shared: Path) -> None:
    path = shared / DEVELOPMENT
    split = split_recordings(path, read_recordings(path).recordings, 0, 7)
    assert (len(split.fit), len(split.held_out)) == (44, 10)
    assert not any(left_out(r) for r in (*split.fit, *split.held_out))
    assert sorted(r.name for r in split.held_out) == sorted(load_weights().manifest.training.held_out)
