import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from classifier.configuration import configuration
from classifier.features import NAMES, statistics
from classifier.manifest import WEIGHTS, load_weights, weights_path
from classifier.model import CLASSES, Tensors, probabilities, softmax
from classifier.networks import ARCHITECTURES
from classifier.paper_cnn import PaperCNN

SHIPPED = [(choice.name, length) for choice in configuration().choices for length in choice.lengths]


def windows(length: int, count: int = 200) -> np.ndarray:
    """Return plausible windows, (count, length, 3)."""
    drawn = np.random.default_rng(1).integers(4, 56, (count, length, 3))
    return np.sort(drawn, axis=2)[:, :, ::-1].astype(np.float32)


def made_up(name: str, length: int, members: int) -> Tensors:
    """Return tensors of the right shapes, each drawn at random."""
    chance = np.random.default_rng(2)
    shapes = ARCHITECTURES[name].shapes(length, members)
    return {tensor: chance.uniform(0.1, 0.5, shape).astype(np.float32) for tensor, shape in shapes.items()}


def test_the_paper_s_network_by_hand() -> None:
    # Every weight 1, every bias 0, a window of three minutes of ones. conv1: 3 gains x 2 minutes = 6;
    # conv2: 6 channels x 2 x 6 = 72; fc1: tanh(432) = 1; fc2: tanh(35) = 1; fc3: 35.
    tensors = {
        name: (np.zeros if name.endswith("bias") else np.ones)(shape, dtype=np.float32)
        for name, shape in PaperCNN.shapes(3, 1).items()
    }
    assert PaperCNN(tensors).scores(np.ones((1, 3, 3), dtype=np.float32)).tolist() == [[[35.0] * 6]]


def test_the_paper_s_network_has_2681_numbers_at_n_7() -> None:
    assert sum(int(np.prod(shape)) for shape in PaperCNN.shapes(7, 1).values()) == 2681


def test_the_statistics_by_hand() -> None:
    window = np.array([[[40, 30, 20], [42, 30, 10], [41, 33, 30]]], dtype=np.float32)
    told = dict(zip(NAMES, statistics(window)[0].tolist(), strict=True))
    assert len(told) == 30
    assert (told["mean of max"], told["median of mean"], told["least of min"]) == (41, 30, 10)
    assert told["greatest of max - mean"] == 12 and told["mean step of min"] == 15
    assert told["standard deviation of mean"] == pytest.approx(np.std([30, 30, 33]))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_batch_gives_what_its_windows_give_one_by_one(name: str) -> None:
    network = ARCHITECTURES[name].from_tensors(made_up(name, 7, 3))
    single = np.concatenate([network.scores(window[None]) for window in windows(7)], axis=1)  # (3, 200, 6)
    assert np.allclose(network.scores(windows(7)), single, atol=1e-4)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_member_gives_what_it_gives_alone(name: str) -> None:
    tensors = made_up(name, 7, 3)
    alone = [ARCHITECTURES[name].from_tensors({k: t[i : i + 1] for k, t in tensors.items()}) for i in range(3)]
    expected = np.concatenate([network.scores(windows(7)) for network in alone])  # (3, 200, 6)
    assert np.allclose(ARCHITECTURES[name].from_tensors(tensors).scores(windows(7)), expected, atol=1e-4)


def test_probabilities_are_the_members_mean() -> None:
    network = ARCHITECTURES["mlp_stats"].from_tensors(made_up("mlp_stats", 3, 4))
    expected = softmax(network.scores(windows(3))).mean(axis=0)
    assert np.allclose(probabilities(network, windows(3)), expected) and np.allclose(expected.sum(axis=1), 1)


@given(arrays(np.float32, (4, len(CLASSES)), elements=st.floats(-(2.0**100), 2.0**100, width=32)))
def test_shares_add_up_to_one_whatever_the_scores(scores: np.ndarray) -> None:
    shares = softmax(scores)
    assert np.isfinite(shares).all() and np.allclose(shares.sum(axis=1), 1)


@pytest.mark.torch
@pytest.mark.parametrize(("name", "length"), SHIPPED)
def test_numpy_and_torch_agree_on_the_shipped_weights(name: str, length: int) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed (extra 'train')")
    from classifier.networks_torch import STACKS

    if name not in STACKS:
        pytest.skip(f"{name} is solved, not trained: it has no torch module")
    model = load_weights(weights_path(WEIGHTS, name, length))
    kind = STACKS[name]
    seeds = model.manifest.training.seeds
    twin = kind(seeds, [kind.inputs(windows(length))] * len(seeds))
    twin.load_state_dict({k: torch.from_numpy(t.copy()) for k, t in model.network.tensors.items()})
    read = torch.from_numpy(kind.inputs(windows(length)))
    inputs = read.expand(len(seeds), *read.shape)
    with torch.no_grad():
        expected = softmax(twin(inputs).numpy())  # (members, 200, 6)
    assert np.abs(softmax(model.network.scores(windows(length))) - expected).max() <= 1e-5
