import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifier.manifest import (
    MAX_WEIGHTS_BYTES,
    SHIPPED,
    ModelError,
    load_weights,
    manifest_path,
    pack_tensors,
)
from classifier.model import CLASSES, PaperCNN
from mutewatch.errors import OperatorError

RAW = SHIPPED.read_bytes()
FIELDS = json.loads(manifest_path(SHIPPED).read_text())


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the shipped weights, manifest beside it."""
    shutil.copy(manifest_path(SHIPPED), tmp_path)
    return Path(shutil.copy(SHIPPED, tmp_path))


def vouch(path: Path, raw: bytes, **changed: Any) -> None:
    """Write `raw` and a manifest that vouches for it, so that only what comes after the hash can object."""
    path.write_bytes(raw)
    fields = FIELDS | {"weights_sha256": hashlib.sha256(raw).hexdigest()} | changed
    manifest_path(path).write_text(json.dumps(fields))


def shipped_tensors() -> dict[str, Any]:
    network = load_weights().network
    assert isinstance(network, PaperCNN)
    return dict(network.tensors)


def test_the_shipped_model_loads() -> None:
    manifest = load_weights().manifest
    assert manifest.model_id == f"paper_cnn_n7@{hashlib.sha256(RAW).hexdigest()[:8]}"
    assert manifest.classes == CLASSES


def test_the_same_tensors_give_the_same_bytes_in_any_order() -> None:
    tensors = shipped_tensors()
    assert pack_tensors(tensors) == pack_tensors(dict(reversed(tensors.items()))) == RAW


@given(st.integers(0, len(RAW) * 8 - 1))
def test_any_flipped_bit_of_the_weights_is_refused(bit: int) -> None:
    import tempfile  # noqa: PLC0415 (hypothesis and tmp_path do not mix)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.safetensors"
        shutil.copy(manifest_path(SHIPPED), manifest_path(path))
        damaged = bytearray(RAW)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(ModelError, match="SHA-256 is not the one in"):
            load_weights(path)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 100, len(RAW) // 2, len(RAW) - 1])
def test_truncated_weights_are_refused(copy: Path, size: int) -> None:
    copy.write_bytes(RAW[:size])
    with pytest.raises(ModelError, match="SHA-256"):
        load_weights(copy)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 100, len(RAW) // 2, len(RAW) - 1])
def test_weights_that_do_not_parse_are_refused_even_if_vouched_for(copy: Path, size: int) -> None:
    vouch(copy, RAW[:size])
    with pytest.raises(ModelError, match="not a safetensors file"):
        load_weights(copy)


@given(st.binary(max_size=400))
def test_arbitrary_bytes_as_weights_raise_nothing_else(raw: bytes) -> None:
    import tempfile  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        vouch(Path(folder) / "m.safetensors", raw)
        with pytest.raises(ModelError):
            load_weights(Path(folder) / "m.safetensors")


def test_a_missing_tensor_is_refused(copy: Path) -> None:
    tensors = shipped_tensors()
    del tensors["fc2.bias"]
    vouch(copy, pack_tensors(tensors))
    with pytest.raises(ModelError, match=r"tensors .* expected"):
        load_weights(copy)


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        (np.zeros((35, 36), np.float32), r"fc2.weight is float32 \(35, 36\), expected float32 \(35, 35\)"),
        (np.zeros((35, 35), np.float64), "fc2.weight is float64"),
        (np.full((35, 35), np.nan, np.float32), "not finite"),
    ],
)
def test_a_tensor_of_the_wrong_kind_is_refused(copy: Path, tensor: Any, reason: str) -> None:
    vouch(copy, pack_tensors(shipped_tensors() | {"fc2.weight": tensor}))
    with pytest.raises(ModelError, match=reason):
        load_weights(copy)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"format": 2}, "manifest format 2"),
        ({"architecture": "gru"}, "unknown architecture 'gru'"),
        ({"window_length": 2}, "window of 2 minutes"),
        ({"window_length": 10**9}, "window of 1000000000 minutes"),
        ({"window_length": 8}, "fc1.weight"),
        ({"window_length": None}, "not a model manifest"),
        ({"window_length": float("inf")}, "not a model manifest"),
        ({"classes": list(reversed(CLASSES))}, "classes"),
        ({"gap_policy_version": 2}, "gap policy 2, this version has 1"),
        ({"training": {}}, "not a model manifest"),
        ({"training": 3}, "not a model manifest"),
        ({"validation": 3}, "not a model manifest"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(copy: Path, changed: Any, reason: str) -> None:
    vouch(copy, RAW, **changed)
    with pytest.raises(ModelError, match=reason):
        load_weights(copy)


@pytest.mark.parametrize("text", [b"", b"[]", b"null", b"{", b"\xff\xfe", b"[" * 100_000])
def test_a_manifest_that_is_none_is_refused(copy: Path, text: bytes) -> None:
    manifest_path(copy).write_bytes(text)
    with pytest.raises(ModelError, match="not a model manifest"):
        load_weights(copy)


def test_a_missing_file_is_one_line(copy: Path) -> None:
    copy.unlink()
    with pytest.raises(ModelError) as caught:
        load_weights(copy)
    assert str(caught.value) == f"{copy}: No such file or directory"
    assert isinstance(caught.value, OperatorError)


def test_a_file_far_too_large_is_not_read_whole(copy: Path) -> None:
    with copy.open("wb") as file:
        file.truncate(MAX_WEIGHTS_BYTES + 1)
    with pytest.raises(ModelError, match="more than 1,048,576 bytes"):
        load_weights(copy)
