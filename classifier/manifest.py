"""A weights file and the manifest beside it: what a model is, checked before it is used.

`<name>.safetensors` holds the tensors, `<name>.json` says what they are. Rules:

- the bytes are read once, held against the manifest's SHA-256, and only then parsed;
- names, shapes and type of every tensor must be those of the architecture, every number finite;
- whatever is wrong ends in one `ModelError` of one line; no format here can carry code;
- a manifest holds no date and no path: the same training gives the same bytes.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from classifier.familiarity import Familiarity
from classifier.model import CLASSES, Network, Tensors
from classifier.networks import ARCHITECTURES
from classifier.window import GAP_POLICY
from mutewatch.errors import OperatorError

WEIGHTS = Path(__file__).parent / "weights"  # what is shipped
MAX_WEIGHTS_BYTES = 1 << 20  # the largest shipped file has 65 kB
MAX_MANIFEST_BYTES = 256 << 10  # the largest shipped file has 2 kB
MAX_MEMBERS = 100
WINDOW_LENGTHS = range(3, 61)  # two convolutions of width 2 need 3 minutes; an hour is far past any use
FORMAT = 2


class ModelError(OperatorError, ValueError):
    """A model file cannot be used. One line: which file, and why."""


@dataclass(frozen=True, slots=True)
class Training:
    """Where a model comes from: enough to train it again to the same bytes on a like machine."""

    csv_sha256: str
    seeds: tuple[int, ...]  # one member each
    recipe: Mapping[str, object]
    left_out: Mapping[str, str]  # recordings not used, and why
    versions: Mapping[str, str]  # of what computed it


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a weights file holds."""

    weights_sha256: str
    architecture: str
    window_length: int  # minutes
    classes: tuple[str, ...]
    gap_policy_version: int
    training: Training

    @property
    def model_id(self) -> str:
        """What a guess carries: architecture, window and the first 8 hex digits of the weights' SHA-256."""
        return f"{self.architecture}_n{self.window_length}@{self.weights_sha256[:8]}"


@dataclass(frozen=True, slots=True)
class Model:
    """A network that passed every check, what its training windows were like, and its manifest."""

    manifest: Manifest
    network: Network
    familiarity: Familiarity


def weights_path(folder: Path, architecture: str, length: int) -> Path:
    return folder / f"{architecture}_n{length}.safetensors"


def manifest_path(weights: Path) -> Path:
    return weights.with_suffix(".json")


def load_weights(path: Path) -> Model:
    """Return the model in the weights file at `path`, or raise `ModelError`."""
    beside = manifest_path(path)
    manifest = _parse_manifest(beside, _read(beside, MAX_MANIFEST_BYTES))
    raw = _read(path, MAX_WEIGHTS_BYTES)
    if hashlib.sha256(raw).hexdigest() != manifest.weights_sha256:
        raise ModelError(f"{path}: SHA-256 is not the one in {beside.name}: damaged, or not its file")
    kind = ARCHITECTURES[manifest.architecture]
    of_network = kind.shapes(manifest.window_length, len(manifest.training.seeds))
    tensors = _parse_tensors(path, raw, of_network | Familiarity.shapes())
    network = kind.from_tensors({name: tensors[name] for name in of_network})
    return Model(manifest, network, Familiarity({name: tensors[name] for name in Familiarity.shapes()}))


def pack_tensors(tensors: Tensors) -> bytes:
    """Return the bytes of a weights file; the same tensors give the same bytes."""
    return bytes(save({name: np.ascontiguousarray(tensor) for name, tensor in sorted(tensors.items())}))


def write_model(path: Path, weights: bytes, manifest: Manifest) -> None:
    """Write both files; between the two writes the pair is refused, never wrong."""
    text = json.dumps({"format": FORMAT, **asdict(manifest)}, indent=1, ensure_ascii=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    for target, content in ((path, weights), (manifest_path(path), f"{text}\n".encode())):
        partial = target.with_name(target.name + ".partial")
        partial.write_bytes(content)
        partial.replace(target)


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(limit + 1)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or 'cannot be read'}") from error
    if len(raw) > limit:
        raise ModelError(f"{path}: more than {limit:,} bytes")
    return raw


def _parse_tensors(path: Path, raw: bytes, shapes: Mapping[str, tuple[int, ...]]) -> Tensors:
    try:
        tensors: Tensors = load(raw)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: not a safetensors file") from error
    if tensors.keys() != shapes.keys():
        raise ModelError(f"{path}: tensors {sorted(tensors)}, expected {sorted(shapes)}")
    for name, tensor in tensors.items():
        if tensor.shape != shapes[name] or tensor.dtype != np.float32:
            raise ModelError(f"{path}: {name} is {tensor.dtype} {tensor.shape}, expected float32 {shapes[name]}")
        if not np.isfinite(tensor).all():
            raise ModelError(f"{path}: {name} holds numbers that are not finite")
    return tensors


def _parse_manifest(path: Path, raw: bytes) -> Manifest:
    try:
        fields = json.loads(raw)
        training = fields["training"]
        manifest = Manifest(
            weights_sha256=str(fields["weights_sha256"]),
            architecture=str(fields["architecture"]),
            window_length=int(fields["window_length"]),
            classes=tuple(str(name) for name in fields["classes"]),
            gap_policy_version=int(fields["gap_policy_version"]),
            training=Training(
                csv_sha256=str(training["csv_sha256"]),
                seeds=tuple(int(seed) for seed in training["seeds"]),
                recipe=dict(training["recipe"]),
                left_out=dict(training["left_out"]),
                versions=dict(training["versions"]),
            ),
        )
        found = int(fields["format"])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise ModelError(f"{path}: not a model manifest") from error
    if problem := _why_unusable(manifest, found):
        raise ModelError(f"{path}: {problem}")
    return manifest


def _why_unusable(manifest: Manifest, found: int) -> str | None:
    if found != FORMAT:
        return f"manifest format {found}, this version reads {FORMAT}"
    lengths, members, policy = WINDOW_LENGTHS, len(manifest.training.seeds), GAP_POLICY.version
    problems = {
        f"unknown architecture {manifest.architecture!r}; known: {', '.join(ARCHITECTURES)}": (
            manifest.architecture not in ARCHITECTURES
        ),
        f"window of {manifest.window_length} minutes; {lengths[0]} to {lengths[-1]} work": (
            manifest.window_length not in lengths
        ),
        f"{members} members; 1 to {MAX_MEMBERS} work": not 0 < members <= MAX_MEMBERS,
        f"classes {manifest.classes}, expected {CLASSES}": manifest.classes != CLASSES,
        f"gap policy {manifest.gap_policy_version}, this version has {policy}: train again": (
            manifest.gap_policy_version != policy
        ),
    }
    return next((problem for problem, holds in problems.items() if holds), None)
