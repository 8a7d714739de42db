"""Guess the activity of the last minute of a call: the `ActivityModel` that the pipeline is given.

NumPy only; the guess is experimental and the mute flag never depends on it. Rules:

- minutes without gains are another vendor's: None, no guess at all;
- where the window is not fit to be read, or what it holds is no known activity (`gate.py`), the guess declines
  with a reason, and still tells the model and the minutes it looked at;
- a probability says how the members divide their scores among six activities, over the last few windows; it
  is told only of windows that resemble the recordings.
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
from threadpoolctl import ThreadpoolController

from classifier.configuration import configuration
from classifier.gate import Answer, Said, answers
from classifier.manifest import WEIGHTS, Model, ModelError, load_weights, weights_path
from classifier.model import CLASSES, probabilities, softmax
from classifier.smoothing import SMALLEST
from classifier.window import GAP_POLICY, Float32, Window, gains_of, last_windows
from mutewatch.ports import ActivityModel
from mutewatch.records import ActivityGuess, AudioReport

PARTS = 10_000  # probabilities are told in steps of 1/PARTS; more digits would feign precision
Reports = Sequence[AudioReport]


class ActivityStream:
    """The checked models, one for each length of window, behind `mutewatch.ports.ActivityModel`. Holds no minutes.

    `smoothing`: how many successive windows are told as one, the geometric mean of their probabilities.
    """

    def __init__(self, models: Sequence[Model], smoothing: int) -> None:
        self._models = {model.manifest.window_length: model for model in models}
        missing = set(GAP_POLICY.lengths) - self._models.keys()
        if missing:
            raise ModelError(f"no model for windows of {min(missing)} minutes")
        self._smoothing = smoothing
        self._threads = ThreadpoolController()
        self.model_id = self._models[max(self._models)].manifest.model_id
        self.horizon = GAP_POLICY.horizon + smoothing - 1

    def guesses(self, batch: Sequence[Reports]) -> list[ActivityGuess | None]:
        """Return the guess for the last report of each of `batch`, each one call's.

        None if the last report carries no gains, or there is none. Never raises on any values.
        """
        with self._threads.limit(limits=1, user_api="blas"):  # matrices this small cost two threads twice the CPU time
            return self._guesses(batch)

    def _guesses(self, batch: Sequence[Reports]) -> list[ActivityGuess | None]:
        recent = [self._recent(reports) for reports in batch]
        shares = self._shares(recent)
        guesses: list[ActivityGuess | None] = [None] * len(batch)
        for length, model in self._models.items():
            told = [i for i, windows in enumerate(recent) if windows and _length(windows[-1]) == length]
            if told:
                values = np.array([recent[i][-1].values for i in told], dtype=np.float32)  # (n, length, 3)
                said = answers(values, shares[told], model.familiarity)
                for i, answer, row in zip(told, said, rounded(shares[told]), strict=True):
                    guesses[i] = _guess(model.manifest.model_id, recent[i][-1], answer, row)
        for i, windows in enumerate(recent):
            if windows and windows[-1].values is None:
                guesses[i] = self._declined(windows[-1])
        return guesses

    def _recent(self, reports: Reports) -> list[Window]:
        """Return the last windows of one call, the current one last; none if nothing is to be guessed."""
        last = max(reports, key=_start, default=None)
        if last is None or gains_of(last) is None:
            return []
        return last_windows(reports, self._smoothing)

    def _shares(self, recent: Sequence[Sequence[Window]]) -> Float32:
        """Return for each call the geometric mean of the probabilities of its windows, (calls, 6)."""
        logs = np.zeros((len(recent), len(CLASSES)), dtype=np.float64)
        counts = np.zeros(len(recent), dtype=np.int64)
        for length, model in self._models.items():
            found = [(i, w.values) for i, windows in enumerate(recent) for w in windows if _length(w) == length]
            if found:
                values = np.array([values for _, values in found], dtype=np.float32)  # (n, length, 3)
                owners = np.array([i for i, _ in found])
                found_logs = np.log(np.maximum(probabilities(model.network, values), SMALLEST))  # (n, 6)
                logs += np.stack([np.bincount(owners, column, len(recent)) for column in found_logs.T], axis=1)
                counts += np.bincount(owners, minlength=len(recent))
        return softmax((logs / np.maximum(counts, 1)[:, None]).astype(np.float32))

    def _declined(self, window: Window) -> ActivityGuess:
        return ActivityGuess(
            model=self.model_id,
            label=None,
            probabilities={},
            window_starts_at=window.readings[0].starts_at,
            window_ends_at=window.readings[-1].ends_at,
            minutes=len(window.readings),
            minutes_missing=window.minutes_missing,
            reason=window.reason,
        )


class NoModel:
    """What stands in for a model that could not be loaded: declines wherever one would have been asked."""

    model_id = "none"
    horizon = 1

    def guesses(self, batch: Sequence[Reports]) -> list[ActivityGuess | None]:
        return [self._declined(reports[-1]) if reports and gains_of(reports[-1]) else None for reports in batch]

    def _declined(self, report: AudioReport) -> ActivityGuess:
        reason = "no model: its weights could not be used"  # which and why is the operator's business, not a finding's
        return ActivityGuess(self.model_id, None, {}, report.starts_at, report.ends_at, 1, 0, reason)


def load_model(folder: Path = WEIGHTS) -> ActivityModel:
    """Return the default model of the configuration from the weights in `folder`, or raise `ModelError`."""
    chosen = configuration()
    models = [load_weights(weights_path(folder, chosen.default, length)) for length in GAP_POLICY.lengths]
    return ActivityStream(models, chosen.smoothing)


def rounded(shares: Float32) -> list[dict[str, float]]:
    """Return class to probability in steps of 1/PARTS that add up to 1, for each row of `shares`: (n, 6), summing to 1.

    What rounding down leaves over goes to the largest remainders, so the order of classes is kept.
    """
    exact = np.nan_to_num(shares.astype(np.float64)) * PARTS
    parts = np.floor(exact).astype(np.int64)
    left = PARTS - parts.sum(axis=1, keepdims=True)  # (n, 1)
    rank = np.argsort(np.argsort(parts - exact, axis=1, kind="stable"), axis=1, kind="stable")  # 0: largest remainder
    return [dict(zip(CLASSES, row, strict=True)) for row in ((parts + (rank < left)) / PARTS).tolist()]


def _guess(model_id: str, window: Window, told: Said, probabilities: dict[str, float]) -> ActivityGuess:
    is_shown = told.answer in {Answer.LABEL, Answer.UNCERTAIN}
    return ActivityGuess(
        model=model_id,
        label=max(probabilities, key=probabilities.__getitem__) if told.answer is Answer.LABEL else None,
        probabilities=probabilities if is_shown else {},
        window_starts_at=window.readings[0].starts_at,
        window_ends_at=window.readings[-1].ends_at,
        minutes=len(window.readings),
        minutes_missing=window.minutes_missing,
        reason=told.reason,
    )


def _length(window: Window) -> int:
    return 0 if window.values is None else len(window.values)


def _start(report: AudioReport) -> datetime:
    return report.starts_at
