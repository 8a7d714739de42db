"""The committed choice: which models, how they are trained, with which seeds and on which CSV (decision 8)."""

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

PATH: Final = Path(__file__).parent / "configuration.toml"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How an architecture is trained. `ridge` is for `logistic_stats`, all others for the networks."""

    architecture: str
    epochs: int = 0
    batch_size: int = 128
    learning_rate: float = 3e-3  # of Adam; with `one_cycle` the highest
    one_cycle: bool = True
    weight_decay: float = 1e-2
    label_smoothing: float = 0.05
    balanced: bool = True  # classes weigh the same in the loss
    offset_sd: float = 2.0  # dB-like: one shift for a whole window, as another distance or device would give
    noise_sd: float = 0.5  # dB-like: of every value
    keeps_best: bool = False  # where windows are held out, tell also what the epoch best on them gives
    ridge: float = 0.0  # weight of half the squared weights against the mean loss, per window

    @property
    def is_solved(self) -> bool:
        """Is there one solution, whatever the seed?"""
        return self.ridge > 0


@dataclass(frozen=True, slots=True)
class Choice:
    """One model of the configuration. `lengths`: minutes of the windows it is trained and scored on."""

    name: str
    recipe: Recipe
    seeds: tuple[int, ...]  # one member each
    lengths: tuple[int, ...]
    protocols: tuple[str, ...]  # under which it is scored unless asked for by name


@dataclass(frozen=True, slots=True)
class Configuration:
    """What `classifier/configuration.toml` says."""

    csv_sha256: str
    default: str  # the model that guesses
    smoothing: int  # successive windows whose log-probabilities are averaged
    choices: tuple[Choice, ...]

    def choice(self, name: str) -> Choice:
        return next(choice for choice in self.choices if choice.name == name)


@cache
def configuration() -> Configuration:
    """Return the committed configuration. Its file is part of the package: what is wrong in it is our fault,
    and it is read once."""
    fields = tomllib.loads(PATH.read_text())
    choices = []
    for name, model in fields["models"].items():
        seeds, lengths, protocols = (tuple(model.pop(key)) for key in ("seeds", "windows", "protocols"))
        choices.append(Choice(name, Recipe(**model), seeds, lengths, protocols))
    return Configuration(fields["csv_sha256"], fields["default"], fields["smoothing"], tuple(choices))
