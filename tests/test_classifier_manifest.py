import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifier.configuration import configuration
from classifier.manifest import (
    MAX_WEIGHTS_BYTES,
    WEIGHTS,
    ModelError,
    load_weights,
    manifest_path,
    pack_tensors,
    weights_path,
)
from classifier.model import CLASSES
from mutewatch.errors import OperatorError

SHIPPED = weights_path(WEIGHTS, "paper_cnn", 7)
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
    model = load_weights(SHIPPED)
    return {**model.network.tensors, **model.familiarity.tensors}


def test_the_shipped_model_loads() -> None:
    manifest = load_weights(SHIPPED).manifest
    assert manifest.model_id == f"paper_cnn_n7@{hashlib.sha256(RAW).hexdigest()[:8]}"
    assert manifest.classes == CLASSES


def test_the_same_tensors_give_the_same_bytes_in_any_order() -> None:
    tensors = shipped_tensors()
    assert pack_tensors(tensors) == pack_tensors(dict(reversed(tensors.items()))) == RAW


@given(st.integers(0, len(RAW) * 8 - 1))
def test_any_flipped_bit_of_the_weights_is_refused(bit: int) -> None:
    import tempfile

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
    import tempfile

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
        (np.zeros((1, 35, 36), np.float32), r"fc2.weight is float32 \(1, 35, 36\), expected float32 \(1, 35, 35\)"),
        (np.zeros((1, 35, 35), np.float64), "fc2.weight is float64"),
        (np.full((1, 35, 35), np.nan, np.float32), "not finite"),
    ],
)
def test_a_tensor_of_the_wrong_kind_is_refused(copy: Path, tensor: Any, reason: str) -> None:
    vouch(copy, pack_tensors(shipped_tensors() | {"fc2.weight": tensor}))
    with pytest.raises(ModelError, match=reason):
        load_weights(copy)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"format": 1}, "manifest format 1, this version reads 2"),
        ({"architecture": "gru"}, "unknown architecture 'gru'"),
        ({"window_length": 2}, "window of 2 minutes"),
        ({"window_length": 10**9}, "window of 1000000000 minutes"),
        ({"window_length": 8}, "fc1.weight"),
        ({"window_length": None}, "not a model manifest"),
        ({"window_length": float("inf")}, "not a model manifest"),
        ({"classes": list(reversed(CLASSES))}, "classes"),
        ({"gap_policy_version": 1}, "gap policy 1, this version has 2"),
        ({"training": {}}, "not a model manifest"),
        ({"training": 3}, "not a model manifest"),
        ({"training": FIELDS["training"] | {"seeds": []}}, "0 members; 1 to 100 work"),
        ({"training": FIELDS["training"] | {"seeds": [0, 1]}}, "expected float32"),
        ({"training": FIELDS["training"] | {"seeds": [1] * 1000}}, "1000 members"),
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


def test_every_configured_model_is_shipped_and_vouched_for() -> None:
    chosen = configuration()
    for choice in chosen.choices:
        for length in choice.lengths:
            training = load_weights(weights_path(WEIGHTS, choice.name, length)).manifest.training
            assert training.csv_sha256 == chosen.csv_sha256 and training.seeds == choice.seeds
            assert training.recipe == asdict(choice.recipe)
