import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from classifier.manifest import load_weights
from classifier.model import CLASSES, PaperCNN, probabilities


def test_the_forward_pass_by_hand() -> None:
    # Every weight 1, every bias 0, a window of three minutes of ones. conv1: 3 gains x 2 minutes = 6;
    # conv2: 6 channels x 2 x 6 = 72; fc1: tanh(432) = 1; fc2: tanh(35) = 1; fc3: 35.
    tensors = {
        name: (np.zeros if name.endswith("bias") else np.ones)(shape, dtype=np.float32)
        for name, shape in PaperCNN.shapes(3).items()
    }
    assert PaperCNN(tensors).logits(np.ones((1, 3, 3), dtype=np.float32)).tolist() == [[35.0] * 6]


def test_the_paper_s_network_has_2681_numbers_at_n_7() -> None:
    assert sum(int(np.prod(shape)) for shape in PaperCNN.shapes(7).values()) == 2681


def test_a_batch_gives_what_its_windows_give_one_by_one() -> None:
    network = load_weights().network
    windows = np.random.default_rng(1).uniform(4, 55, (50, 7, 3)).astype(np.float32)  # (50, 7, 3)
    single = np.concatenate([network.logits(window[None]) for window in windows])  # (50, 6)
    assert np.allclose(network.logits(windows), single, atol=1e-5)


@given(arrays(np.float32, (4, len(CLASSES)), elements=st.floats(-(2.0**100), 2.0**100, width=32)))
def test_probabilities_add_up_to_one_whatever_the_scores(logits: np.ndarray) -> None:
    shares = probabilities(logits)
    assert np.isfinite(shares).all() and np.allclose(shares.sum(axis=1), 1)


@pytest.mark.torch
@pytest.mark.parametrize("length", [3, 7, 10])
def test_numpy_and_torch_give_the_same_scores(length: int) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed (extra 'train')")
    from classifier.paper_cnn_torch import PaperCNNTorch  # noqa: PLC0415 (an extra)

    torch.manual_seed(3)
    twin = PaperCNNTorch(length)
    windows = np.random.default_rng(2).uniform(4, 55, (500, length, 3)).astype(np.float32)
    with torch.no_grad():
        expected = twin(torch.from_numpy(windows)).numpy()  # (500, 6)
    tensors = {name: tensor.numpy() for name, tensor in twin.state_dict().items()}
    assert {name: t.shape for name, t in tensors.items()} == PaperCNN.shapes(length)
    assert np.abs(PaperCNN(tensors).logits(windows) - expected).max() <= 1e-5


@pytest.mark.torch
def test_numpy_and_torch_agree_on_the_shipped_weights() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed (extra 'train')")
    from classifier.paper_cnn_torch import PaperCNNTorch  # noqa: PLC0415 (an extra)

    network = load_weights().network
    assert isinstance(network, PaperCNN)
    twin = PaperCNNTorch(7)
    twin.load_state_dict({name: torch.from_numpy(t.copy()) for name, t in network.tensors.items()})
    windows = np.random.default_rng(4).uniform(4, 55, (2000, 7, 3)).astype(np.float32)
    with torch.no_grad():
        expected = probabilities(twin(torch.from_numpy(windows)).numpy())  # (2000, 6)
        exact = twin.double()(
            torch.from_numpy(windows).double()
        ).numpy()  # (2000, 6), without torch's rounding
    assert np.abs(probabilities(network.logits(windows)) - expected).max() <= 1e-5
    assert np.abs(network.logits(windows) - exact).max() <= 1e-5
