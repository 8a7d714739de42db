"""Score the committed configuration under a protocol: train it anew for every seed, and tell everything.

Rules:

- what is trained and how is in `configuration.toml`; nothing can be tuned from here;
- every figure is told over seeds (single members), and for the mean of the probabilities of the configured
  members, which is what is shipped; intervals, calibration and coverage are of that mean;
- a test set never chooses anything. Where a recipe `keeps_best`, as the paper's does, what the epoch best on the
  windows held out would give stands beside the last epoch;
- six classes are told first; then five, with cooking and keyboard as one.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from classifier.configuration import PATH, Choice, configuration
from classifier.familiarity import Familiarity, learn_familiarity
from classifier.fit import fit, versions
from classifier.gate import Answer, Said, answers
from classifier.model import CLASSES, Network, probabilities, softmax
from classifier.networks import ARCHITECTURES
from classifier.protocols import EVALUATION, Protocol, Round, held_out, rounds
from classifier.recordings import Recording, RecordingFile, Windows, left_out, read_recordings, windows_of
from classifier.scores import calibration, coverage, interval, runs, spread, tally
from classifier.smoothing import smoothed
from classifier.unknowns import unknown_windows
from classifier.window import Float32, is_readable
from mutewatch.errors import InputError, OperatorError

FORMAT: Final = 1
NEAR_SILENCE: Final = "punk_music2"  # no protocol trains on it; it is scored as an unknown
# One network in the end (or one a fold), so that a table of what it says of unknowns is of use.
KNOWS_UNKNOWNS: Final = (Protocol.RECORDINGS, Protocol.VIDEOS, Protocol.FOLDS_BY_VIDEO)

OnRound = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Trained:
    """What one round gave: as many members as there are `seeds`, and what its training windows are like.

    `best`: the members at the epoch best on what they held out, where the recipe asks for it.
    """

    seeds: tuple[int, ...]
    last: Network
    best: Network | None
    familiarity: Familiarity


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one round's members said of one test set.

    `shares`: (seeds, n, 6), each row summing to 1; `shipped`: their mean over the configured seeds, (n, 6);
    `said`: what the gates let through of it, smoothed.
    """

    round_name: str
    windows: Windows
    shares: Float32
    shipped: Float32
    smoothed: Float32
    said: tuple[Said, ...]


def evaluate(
    csv_path: Path,
    protocol: Protocol,
    seeds: Sequence[int],
    *,
    models: Sequence[str] = (),
    on_round: OnRound = lambda _name: None,
) -> dict[str, Any]:
    """Return the scores of the configured models (or of `models` alone) on the CSV, as plain dicts for JSON.

    `on_round` is told what is about to be trained. `InputError` says what the CSV lacks, `OperatorError`
    that torch is missing, or that there is no such model.
    """
    file = read_recordings(csv_path)
    scored = [_scores(choice, protocol, file.recordings, seeds, on_round) for choice in _chosen(protocol, models)]
    if not any(one["results"] for one in scored):
        raise InputError(csv_path, f"no recording that protocol {protocol} could score; splits: {_splits(file)}")
    return {
        "format": FORMAT,
        "protocol": str(protocol),
        "seeds": list(seeds),
        "classes": list(CLASSES),
        "csv": _about(file),
        "configuration_sha256": hashlib.sha256(PATH.read_bytes()).hexdigest(),
        "versions": versions(),
        **{part: [row for one in scored for row in one[part]] for part in ("results", "unknowns", "streams")},
    }


def _chosen(protocol: Protocol, models: Sequence[str]) -> list[Choice]:
    """Return the configured models of that name; without a name those that `protocol` is for."""
    choices = configuration().choices
    names = [choice.name for choice in choices]
    if strange := [name for name in models if name not in names]:
        raise OperatorError(f"no model {', '.join(strange)}; there are {', '.join(names)}")
    return [one for one in choices if one.name in models or (not models and protocol in one.protocols)]


def _scores(
    choice: Choice, protocol: Protocol, recordings: Sequence[Recording], seeds: Sequence[int], on_round: OnRound
) -> dict[str, list[dict[str, Any]]]:
    """Return results, unknowns and streams of one model."""
    is_default = choice.name == configuration().default
    results: list[dict[str, Any]] = []
    unknowns: list[dict[str, Any]] = []
    last: dict[int, Trained] = {}  # by minutes of a window: of the last round
    for length in choice.lengths:
        predictions: dict[tuple[str, str], list[Prediction]] = {}
        for one in _scorable(rounds(protocol, recordings, length)):
            on_round(f"{choice.name}, {length} minutes, {one.name}")
            trained = last[length] = _trained(choice, one, seeds)
            for test, windows in one.tests.items():
                for epoch, network in (("last", trained.last), ("best on held-out windows", trained.best)):
                    if network is not None:
                        said = _predicted(choice, one.name, windows, network, trained, len(seeds))
                        predictions.setdefault((test, epoch), []).append(said)
            if is_default and protocol in KNOWS_UNKNOWNS:
                unknowns += _unknowns(one.name, length, _shipped(choice, trained), trained.familiarity, recordings)
        for (test, epoch), parts in predictions.items():
            about = {"model": choice.name, "window_minutes": length, "test": test, "epoch": epoch}
            results.append(about | {"members": len(choice.seeds)} | _told(parts))
    has_streams = is_default and protocol is Protocol.RECORDINGS and last
    streams = _streams(choice, last, recordings) if has_streams else []
    return {"results": results, "unknowns": unknowns, "streams": streams}


def _scorable(all_rounds: Iterable[Round]) -> Iterator[Round]:
    """Leave out rounds without a test, or with fewer than two classes to learn."""
    return (one for one in all_rounds if one.tests and len(np.unique(one.train.labels)) > 1)


def _trained(choice: Choice, one: Round, seeds: Sequence[int]) -> Trained:
    """Return a member for each of `seeds`, and for each configured seed that is not among them, in this order.
    Where every seed would give the same, there is one member."""
    wanted = tuple(dict.fromkeys((*seeds, *choice.seeds)))
    used = wanted[:1] if choice.recipe.is_solved and not one.draws else wanted
    masks = [held_out(one.train.labels, seed) for seed in used] if one.draws else []
    fitted = fit(choice.recipe, one.train, used, masks)
    kind = ARCHITECTURES[choice.recipe.architecture]
    best = kind.from_tensors(fitted.best) if fitted.best else None
    return Trained(used, kind.from_tensors(fitted.last), best, learn_familiarity(one.train.values, one.train.labels))


def _configured(choice: Choice, seeds: Sequence[int]) -> list[int]:
    """Return which of the members are shipped: those of the configured seeds, or the only one."""
    return [i for i, seed in enumerate(seeds) if seed in choice.seeds] or [0]


def _shipped(choice: Choice, trained: Trained) -> Network:
    """Return the network of the configured members alone."""
    members = _configured(choice, trained.seeds)
    return type(trained.last).from_tensors({name: t[members] for name, t in trained.last.tensors.items()})


def _predicted(
    choice: Choice, round_name: str, windows: Windows, network: Network, trained: Trained, seeds: int
) -> Prediction:
    shares = softmax(network.scores(windows.values))  # (members, n, 6)
    shipped = shares[_configured(choice, trained.seeds)].mean(axis=0)  # (n, 6)
    parts = [smoothed(shipped[run], configuration().smoothing) for run in runs(windows.owners)]
    over_time = np.concatenate(parts)  # (n, 6)
    said = answers(windows.values, over_time, trained.familiarity)
    return Prediction(round_name, windows, shares[:seeds], shipped, over_time, tuple(said))


def _pooled(parts: Sequence[Prediction]) -> Prediction:
    """Return the predictions of several rounds as one; a recording keeps its windows side by side."""
    offsets = np.cumsum([0, *(len(part.windows.recordings) for part in parts)])
    owners = [part.windows.owners + offset for part, offset in zip(parts, offsets[:-1], strict=True)]
    windows = Windows(
        values=np.concatenate([part.windows.values for part in parts]),
        labels=np.concatenate([part.windows.labels for part in parts]),
        owners=np.concatenate(owners),
        recordings=tuple(recording for part in parts for recording in part.windows.recordings),
    )
    return Prediction(
        "all",
        windows,
        np.concatenate([part.shares for part in parts], axis=1),
        np.concatenate([part.shipped for part in parts]),
        np.concatenate([part.smoothed for part in parts]),
        tuple(said for part in parts for said in part.said),
    )


def _told(parts: Sequence[Prediction]) -> dict[str, Any]:
    """Return everything about one model, window and test set."""
    whole = _pooled(parts)
    return {
        "windows": len(whole.windows.labels),
        "six_classes": _recalls(whole, whole.shipped, merged=False) | {"over_seeds": _over_seeds(whole, merged=False)},
        "five_classes": _recalls(whole, whole.shipped, merged=True) | {"over_seeds": _over_seeds(whole, merged=True)},
        "smoothed": {
            "windows": configuration().smoothing,
            "six_classes": _recalls(whole, whole.smoothed, merged=False),
            "five_classes": _recalls(whole, whole.smoothed, merged=True),
        },
        "calibration": asdict(calibration(whole.windows.labels, whole.shipped)),
        "coverage": [asdict(point) for point in coverage(whole.windows.labels, whole.shipped)],
        "answers": _answers(whole),
        "rounds": [_round(part) for part in parts] if len(parts) > 1 else [],
    }


def _recalls(prediction: Prediction, shares: Float32, *, merged: bool) -> dict[str, Any]:
    guessed = shares.argmax(axis=1)
    scores = asdict(tally(prediction.windows, guessed, merged=merged))
    return scores | {"interval": interval(prediction.windows, guessed, merged=merged)}


def _over_seeds(prediction: Prediction, *, merged: bool) -> dict[str, Any]:
    each = [tally(prediction.windows, member.argmax(axis=1), merged=merged) for member in prediction.shares]
    return {
        "macro_recall": asdict(spread([scores.macro_recall for scores in each])),
        "macro_precision": asdict(spread([scores.macro_precision for scores in each])),
    }


def _answers(prediction: Prediction) -> list[dict[str, Any]]:
    """Return, by class, what a user would be told (gates and smoothing on): shares of the windows, and of the
    labels the share that is right."""
    rows = []
    guessed = prediction.smoothed.argmax(axis=1)
    said = np.array([one.answer for one in prediction.said])
    for label, name in enumerate(CLASSES):
        mine = prediction.windows.labels == label
        if mine.any():
            shares = {answer: float(np.mean(said[mine] == answer)) for answer in dict.fromkeys(said[mine].tolist())}
            labelled = mine & (said == Answer.LABEL)
            right = float(np.mean(guessed[labelled] == label)) if labelled.any() else None
            rows.append({"class": name, "answers": shares, "labels_right": right})
    return rows


def _round(part: Prediction) -> dict[str, Any]:
    """Return how one round went: which class, how much of it, and its recall."""
    windows = part.windows
    return {
        "name": part.round_name,
        "classes": sorted({CLASSES[label] for label in windows.labels}),
        "recordings": len(np.unique(windows.owners)),
        "windows": len(windows.labels),
        "accuracy": float(np.mean(part.shipped.argmax(axis=1) == windows.labels)),
        "accuracy_over_seeds": asdict(
            spread([float(np.mean(member.argmax(axis=1) == windows.labels)) for member in part.shares])
        ),
    }


def _unknowns(
    round_name: str, length: int, network: Network, familiarity: Familiarity, recordings: Sequence[Recording]
) -> list[dict[str, Any]]:
    """Return, by kind, what is said of windows that are no activity, as shares of them."""
    kinds = unknown_windows([r.gains for r in recordings if left_out(r) is None], length, seed=0)
    near_silence = [r for r in recordings if r.video == NEAR_SILENCE]
    if near_silence:
        kinds[NEAR_SILENCE] = windows_of(near_silence, length).values
    rows = []
    for kind, windows in kinds.items():
        if not len(windows):
            continue
        usable = windows[is_readable(windows)]
        said = answers(usable, probabilities(network, usable), familiarity) if len(usable) else []
        counts = Counter(str(one.answer) for one in said)
        counts[str(Answer.INVALID)] += len(windows) - len(usable)
        shares = {name: count / len(windows) for name, count in counts.items() if count}
        about = {"round": round_name, "window_minutes": length, "kind": kind, "windows": len(windows)}
        rows.append(about | {"answers": shares})
    return rows


def _streams(choice: Choice, trained: dict[int, Trained], recordings: Sequence[Recording]) -> list[dict[str, Any]]:
    """Return, by split, after how many minutes of a recording the first right label is told."""
    models = {length: (_shipped(choice, one), one.familiarity) for length, one in trained.items()}
    rows = []
    for split in EVALUATION:
        chosen = [r for r in recordings if r.split == split and left_out(r) is None]
        long_enough = [r for r in chosen if len(r.gains) >= min(models)]
        first = [_first_right(models, recording) for recording in long_enough]
        found = [minute for minute in first if minute is not None]
        if first:
            about = {"test": split, "recordings": len(first), "too_short": len(chosen) - len(first)}
            quartiles = [float(value) for value in np.percentile(found, (25, 50, 75))] if found else None
            rows.append({**about, "never": len(first) - len(found), "quartiles": quartiles})
    return rows


def _first_right(models: dict[int, tuple[Network, Familiarity]], recording: Recording) -> int | None:
    """Return the first minute, from 1, that gets a label and the right one, as a guess is told; None if none does."""
    lengths, minutes = sorted(models), len(recording.gains)
    parts: list[tuple[Float32, Float32]] = []  # windows and their shares, of one length each
    for length, longer in zip(lengths, [*lengths[1:], minutes + 1], strict=True):
        ends = range(length, min(longer, minutes + 1))
        if ends:
            windows = np.stack([recording.gains[end - length : end] for end in ends])  # (n, length, 3)
            parts.append((windows, probabilities(models[length][0], windows)))
    shares = smoothed(np.concatenate([shares for _, shares in parts]), configuration().smoothing)  # (minutes, 6)
    starts = np.cumsum([0, *(len(windows) for windows, _ in parts)])
    said = [
        one
        for (windows, _), start in zip(parts, starts[:-1], strict=True)
        for one in answers(windows, shares[start : start + len(windows)], models[windows.shape[1]][1])
    ]
    is_right = shares.argmax(axis=1) == CLASSES.index(recording.activity)
    hits = (
        i for i, (one, right) in enumerate(zip(said, is_right, strict=True)) if one.answer is Answer.LABEL and right
    )
    return next((lengths[0] + i for i in hits), None)


def _about(file: RecordingFile) -> dict[str, Any]:
    return {
        "sha256": file.sha256,
        "recordings": len(file.recordings),
        "minutes": sum(len(recording.gains) for recording in file.recordings),
        "splits": _splits(file),
        "left_out": {r.name: why for r in file.recordings if (why := left_out(r)) is not None},
    }


def _splits(file: RecordingFile) -> dict[str, int]:
    return dict(Counter(recording.split for recording in file.recordings))
