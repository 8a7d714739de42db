"""Train the configured models on the recordings, and write their weights and manifests.

Rules:

- what is trained, how and with which seeds is in `configuration.toml`; another CSV can be given, and is named
  in the manifest;
- every development recording that is not left out is used: nothing is held out, so no figure comes out of
  here. How good a configuration is, `evaluate.py` tells.
"""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from classifier.configuration import Choice, configuration
from classifier.familiarity import learn_familiarity
from classifier.fit import fit, need_torch, versions
from classifier.manifest import Manifest, Training, pack_tensors, weights_path, write_model
from classifier.model import CLASSES
from classifier.protocols import DEVELOPMENT
from classifier.recordings import RecordingFile, Windows, left_out, read_recordings, windows_of
from classifier.window import GAP_POLICY
from mutewatch.errors import InputError


@dataclass(frozen=True, slots=True)
class TrainResult:
    """The files written, by model id, and the recordings not used, and why."""

    weights: dict[str, Path]
    left_out: dict[str, str]


def train(csv_path: Path, out_dir: Path, *, on_model: Callable[[str], None] = lambda _name: None) -> TrainResult:
    """Train every configured model on the CSV at `csv_path`; write `<architecture>_n<minutes>.safetensors` and
    `.json` to `out_dir`. `on_model` is told which one is next.

    `InputError` or `OperatorError` say what is wrong with the CSV or the installation.
    """
    need_torch()
    file = read_recordings(csv_path)
    used = [r for r in file.recordings if r.split == DEVELOPMENT and left_out(r) is None]
    written = {}
    for choice in configuration().choices:
        for length in choice.lengths:
            windows = windows_of(used, length)
            absent = [name for i, name in enumerate(CLASSES) if not (windows.labels == i).any()]
            if absent:
                raise InputError(csv_path, f"no development recording of {length} minutes of {', '.join(absent)}")
            on_model(f"{choice.name}, {length} minutes")
            manifest, weights = _trained(choice, windows, length, file)
            path = weights_path(out_dir, choice.name, length)
            write_model(path, weights, manifest)
            written[manifest.model_id] = path
    return TrainResult(written, _left_out(file))


def _trained(choice: Choice, windows: Windows, length: int, file: RecordingFile) -> tuple[Manifest, bytes]:
    tensors = fit(choice.recipe, windows, choice.seeds).last
    familiarity = learn_familiarity(windows.values, windows.labels)
    weights = pack_tensors({**tensors, **familiarity.tensors})
    manifest = Manifest(
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        architecture=choice.recipe.architecture,
        window_length=length,
        classes=CLASSES,
        gap_policy_version=GAP_POLICY.version,
        training=Training(file.sha256, choice.seeds, asdict(choice.recipe), _left_out(file), versions()),
    )
    return manifest, weights


def _left_out(file: RecordingFile) -> dict[str, str]:
    return {r.name: why for r in file.recordings if (why := left_out(r)) is not None}
