"""What drove one guess: how the probability of its label falls when one thing about the window is made usual.

Every row is a counterfactual run through the same model, nothing is estimated. Rules:

- a minute is made usual by the mean of the other minutes of the window;
- a series is made usual in its level (the mean it had in training, its movement kept) or in its movement
  (none, its level kept); after that max >= mean >= min is put in order again;
- it is of one window; a guess averages over the windows before it too, so both are told;
- effects do not add up: the statistics that the model reads hang together.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from classifier.features import NAMES
from classifier.manifest import Model
from classifier.model import CLASSES, probabilities
from classifier.window import Float32, Gains, Reading
from mutewatch.records import ActivityGuess

COLUMNS = ("max", "mean", "min")


@dataclass(frozen=True, slots=True)
class Effect:
    """What was made usual, and by how much the probability of the label changed: -1 to 1."""

    what: str
    change: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """One window, what the model says of it, and what made it say so, strongest first."""

    model_id: str
    window: tuple[Gains, ...]
    distance: float  # from the nearest activity, squared; 1 is the limit of what is familiar
    probabilities: dict[str, float]
    label: str  # the class with the highest probability, told or not
    effects: tuple[Effect, ...]


def explain(model: Model, window: Float32) -> Explanation:
    """Return the explanation for `window`, (length, 3), of the length that `model` reads."""
    variants = _variants(model, window)
    shares = probabilities(model.network, np.stack([window, *variants.values()]))  # (1 + variants, 6)
    label = int(shares[0].argmax())
    changes = shares[1:, label] - shares[0, label]
    effects = [Effect(what, float(change)) for what, change in zip(variants, changes, strict=True)]
    rows = [(float(high), float(mean), float(low)) for high, mean, low in window]
    return Explanation(
        model_id=model.manifest.model_id,
        window=tuple(rows),
        distance=float(model.familiarity.distance(window[None])[0]),
        probabilities={name: float(share) for name, share in zip(CLASSES, shares[0], strict=True)},
        label=CLASSES[label],
        effects=tuple(sorted(effects, key=lambda effect: effect.change)),
    )


def render_explanation(explanation: Explanation, guess: ActivityGuess, readings: Sequence[Reading]) -> str:
    """Return the explanation as plain text of at most 80 columns; `guess`: what was told, the windows before this
    one included; `readings`: the minutes of the window."""
    alone = sorted(explanation.probabilities.items(), key=lambda item: -item[1])
    told = sorted(guess.probabilities.items(), key=lambda item: -item[1])
    lines = [
        f"model        {explanation.model_id}",
        f"told         {guess.label or guess.reason}",
        *([f"probability  {_shares(told)}"] if told else []),
        f"alone        {_shares(alone)}: this window without those before it",
        f"familiarity  {explanation.distance:.2f} of the limit (1) away from the nearest activity",
        "",
        "minute (UTC)   max  mean   min   (dB-like, high is quiet)",
        *(
            f"{reading.starts_at:%H:%M:%S}    {high:>6g}{mean:>6g}{low:>6g}"
            for reading, (high, mean, low) in zip(readings, explanation.window, strict=True)
        ),
        "",
        f"if this were usual            {explanation.label} in this window would change by, in points",
        *(f"{effect.what:<30}{100 * effect.change:>+7.1f}" for effect in explanation.effects),
    ]
    return "\n".join(lines)


def _shares(ordered: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"{name} {share:.1%}" for name, share in ordered[:2])


def _variants(model: Model, window: Float32) -> dict[str, Float32]:
    """Return the window with one thing made usual, by what that is."""
    variants = {}
    for i in range(len(window)):
        others = np.delete(window, i, axis=0).mean(axis=0)  # (3,)
        variants[f"minute {i + 1} of {len(window)}"] = _ordered(
            np.where(np.arange(len(window))[:, None] == i, others, window)
        )
    usual = model.familiarity.tensors["familiar.center"]
    for column, series in enumerate(COLUMNS):
        level = float(usual[NAMES.index(f"mean of {series}")])
        moved, still = window.copy(), window.copy()
        moved[:, column] += level - window[:, column].mean()
        still[:, column] = window[:, column].mean()
        variants[f"the level of {series} gain"] = _ordered(moved)
        variants[f"the movement of {series} gain"] = _ordered(still)
    return variants


def _ordered(window: Float32) -> Float32:
    return np.asarray(np.sort(window, axis=1)[:, ::-1], dtype=np.float32)
