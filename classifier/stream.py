"""Guess the activity of the last minute of a call: the `ActivityModel` that the pipeline is given.

NumPy only; the guess is experimental and the mute flag never depends on it. Rules:

- minutes without gains are another vendor's: None, no guess at all;
- where the window is not fit to be read, the guess declines with a reason, and still tells the model and
  the minutes it looked at;
- a probability says how the network divides its score among six activities; it does not tell whether the
  sound was any of the six (observed: silence gets 0.9 as keyboard).
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from classifier.manifest import Model, load_weights
from classifier.model import CLASSES, probabilities
from classifier.window import GAP_POLICY, Float32, Reading, Window, gains_of, window_of
from mutewatch.ports import ActivityModel
from mutewatch.records import ActivityGuess, ClientMinute

PARTS = 10_000  # probabilities are told in steps of 1/PARTS; more digits would feign precision


class ActivityStream:
    """One checked model behind the port `mutewatch.ports.ActivityModel`. Holds no minutes."""

    def __init__(self, model: Model) -> None:
        self._network = model.network
        self._policy = replace(GAP_POLICY, length=model.manifest.window_length)
        self.model_id = model.manifest.model_id
        self.horizon = self._policy.horizon

    def guess(self, minutes: Sequence[ClientMinute]) -> ActivityGuess | None:
        """Guess for the last of `minutes`: one call's, missing ones included. Never raises on any values.

        None if the last minute that was seen carries no gains, or there is none.
        """
        seen = [minute for minute in minutes if minute.report is not None]
        if not seen or gains_of(max(seen, key=lambda m: m.starts_at)) is None:
            return None
        window = window_of(minutes, self._policy)
        if window.values is None:
            return self._tell(window, minutes, {}, window.reason)
        shares = probabilities(self._network.logits(window.values[None]))[0]  # (1, length, 3) to (6,)
        if not np.isfinite(shares).all():  # weights can be finite and still overflow
            return self._tell(window, minutes, {}, "the model's scores are not finite")
        return self._tell(window, minutes, rounded(shares), None)

    def _tell(
        self, window: Window, minutes: Sequence[ClientMinute], shares: dict[str, float], reason: str | None
    ) -> ActivityGuess:
        span: Sequence[Reading | ClientMinute] = window.readings or [max(minutes, key=lambda m: m.starts_at)]
        return ActivityGuess(
            model=self.model_id,
            label=max(shares, key=lambda name: shares[name]) if shares else None,
            probabilities=shares,
            window_starts_at=span[0].starts_at,
            window_ends_at=span[-1].ends_at,
            minutes=len(window.readings),
            minutes_missing=window.minutes_missing,
            reason=reason,
        )


def load_model(path: Path | None = None) -> ActivityModel:
    """Return the model in the weights file at `path` (None: the shipped one), or raise `ModelError`."""
    return ActivityStream(load_weights(path))


def rounded(shares: Float32) -> dict[str, float]:
    """Return class to probability in steps of 1/PARTS that add up to 1; `shares`: (6,), summing to 1.

    What rounding down leaves over goes to the largest remainders, so the order of classes is kept.
    """
    exact = [float(share) * PARTS for share in shares]
    parts = [int(value) for value in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: parts[i] - exact[i])
    for i in by_remainder[: PARTS - sum(parts)]:
        parts[i] += 1
    return {name: part / PARTS for name, part in zip(CLASSES, parts, strict=True)}
