import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import classifier.train as training
from classifier.configuration import Configuration, configuration
from classifier.fit import class_weights, fit
from classifier.manifest import load_weights
from classifier.networks import ARCHITECTURES
from classifier.protocols import held_out
from classifier.recordings import read_recordings, windows_of
from classifier.scores import macro_recall
from classifier.train import train
from mutewatch.errors import InputError
from tests.classifier_minutes import write_csv

DEVELOPMENT = "data/webex/gain_minutes_development.csv"


def quick(epochs: int = 2) -> Configuration:
    """The configuration with few epochs."""
    chosen = configuration()
    choices = [replace(c, recipe=replace(c.recipe, epochs=min(epochs, c.recipe.epochs))) for c in chosen.choices]
    return replace(chosen, choices=tuple(choices))


@pytest.fixture
def few_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="torch is not installed (extra 'train')")
    monkeypatch.setattr(training, "configuration", quick)


def test_class_weights_make_classes_equal_and_leave_absent_ones_out() -> None:
    labels = np.repeat(np.arange(5), [1, 2, 3, 4, 5])
    weights = class_weights(labels)
    assert np.allclose(np.bincount(labels, weights=weights[labels]), 15 / 5) and weights[5] == 0


def test_without_torch_training_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path\n"
        "from classifier.train import train\n"
        "train(Path('g.csv'), Path('out'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "training needs torch: pip install 'mutewatch[train]'" in done.stderr


@pytest.mark.torch
@pytest.mark.usefixtures("few_epochs")
def test_every_configured_model_is_written_and_can_be_used(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "g.csv")
    result = train(path, tmp_path / "out")
    assert len(result.weights) == 6 and result.left_out == {}
    for model_id, weights in result.weights.items():
        manifest = load_weights(weights).manifest
        assert manifest.model_id == model_id
        assert manifest.training.csv_sha256 == read_recordings(path).sha256
        assert manifest.training.versions.keys() == {"python", "numpy", "safetensors", "torch", "machine"}
        assert str(tmp_path) not in weights.with_suffix(".json").read_text()


@pytest.mark.torch
@pytest.mark.usefixtures("few_epochs")
def test_evaluation_recordings_are_not_trained_on(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "g.csv")
    path.write_text(path.read_text().replace("dev,", "eval1,"))
    with pytest.raises(InputError, match="no development recording of 7 minutes of music, cooking"):
        train(path, tmp_path)


@pytest.mark.torch
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_what_is_trained_has_learnt(tmp_path: Path, name: str) -> None:
    pytest.importorskip("torch", reason="torch is not installed (extra 'train')")
    windows = windows_of(read_recordings(write_csv(tmp_path / "g.csv", recordings=5)).recordings, 7)
    recipe = replace(configuration().choice(name).recipe, epochs=150, offset_sd=0.5, noise_sd=0.0)
    tensors = fit(recipe, windows, [1]).last
    guessed = ARCHITECTURES[name].from_tensors(tensors).scores(windows.values)[0].argmax(axis=1)
    assert macro_recall(windows, guessed) >= 0.8


@pytest.mark.torch
def test_members_trained_side_by_side_are_those_trained_alone(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed (extra 'train')")
    windows = windows_of(read_recordings(write_csv(tmp_path / "g.csv")).recordings, 7)
    recipe = quick().choice("mlp_stats").recipe
    both, alone = fit(recipe, windows, [3, 4]).last, fit(recipe, windows, [4]).last
    assert all(np.allclose(both[name][1], alone[name][0], atol=1e-5) for name in both)
    assert not np.allclose(both["out.weight"][0], both["out.weight"][1])


@pytest.mark.torch
@pytest.mark.parametrize("name", ["mlp_stats", "paper_cnn"])
def test_a_member_does_not_depend_on_the_seeds_beside_it(tmp_path: Path, name: str) -> None:
    pytest.importorskip("torch", reason="torch is not installed (extra 'train')")
    windows = windows_of(read_recordings(write_csv(tmp_path / "g.csv")).recordings, 7)
    kept = np.arange(len(windows.labels)) >= 30  # the first class has fewer windows than the others
    uneven = replace(windows, values=windows.values[kept], labels=windows.labels[kept], owners=windows.owners[kept])
    recipe = quick(3).choice(name).recipe
    both, alone = fit(recipe, uneven, [3, 4]).last, fit(recipe, uneven, [4]).last
    assert all(np.allclose(both[tensor][1], alone[tensor][0], atol=1e-5) for tensor in both)


@pytest.mark.torch
def test_what_is_held_out_does_not_set_the_scale(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed (extra 'train')")
    windows = windows_of(read_recordings(write_csv(tmp_path / "g.csv")).recordings, 7)
    mask = held_out(windows.labels, 0)
    without = replace(windows, values=np.where(mask[:, None, None], 55, windows.values).astype(np.float32))
    recipe = quick(1).choice("mlp_stats").recipe
    first, second = (fit(recipe, one, [0], [mask]).last for one in (windows, without))
    assert all((first[tensor] == second[tensor]).all() for tensor in first)


@pytest.mark.torch
def test_windows_held_out_choose_the_best_epoch_and_are_not_fitted_to(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed (extra 'train')")
    windows = windows_of(read_recordings(write_csv(tmp_path / "g.csv")).recordings, 7)
    masks = [held_out(windows.labels, seed) for seed in (0, 1)]
    fitted = fit(quick(40).choice("paper_cnn").recipe, windows, [0, 1], masks)
    assert fitted.best is not None and fitted.best.keys() == fitted.last.keys()
    kind = ARCHITECTURES["paper_cnn"]
    for member, mask in enumerate(masks):
        values, labels = windows.values[mask], windows.labels[mask]
        last, best = (kind.from_tensors(t).scores(values)[member].argmax(axis=1) for t in (fitted.last, fitted.best))
        assert np.mean(best == labels) >= np.mean(last == labels)
    without = replace(windows, values=np.where(masks[0][:, None, None], 55, windows.values).astype(np.float32))
    again = fit(quick(40).choice("paper_cnn").recipe, without, [0], masks[:1])
    assert np.allclose(again.last["fc3.weight"][0], fitted.last["fc3.weight"][0], atol=1e-4)


@pytest.mark.torch
def test_training_leaves_torch_as_it_was(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed (extra 'train')")
    before = torch.get_num_threads(), torch.get_rng_state().tolist()
    windows = windows_of(read_recordings(write_csv(tmp_path / "g.csv")).recordings, 7)
    fit(quick(1).choice("mlp_stats").recipe, windows, [0])
    assert before == (torch.get_num_threads(), torch.get_rng_state().tolist())
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.torch
@pytest.mark.shared
@pytest.mark.usefixtures("few_epochs")
def test_the_same_csv_gives_the_same_bytes(tmp_path: Path, shared: Path) -> None:
    first, second = (train(shared / DEVELOPMENT, tmp_path / name) for name in ("a", "b"))
    assert first.weights.keys() == second.weights.keys()  # the hash of the weights is in the name
    for model in first.weights:
        assert first.weights[model].read_bytes() == second.weights[model].read_bytes()
    assert len(first.left_out) == 5
