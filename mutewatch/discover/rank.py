"""Puts the fields in order: `rank`. By behaviour alone, or by how they follow a recording and then by behaviour.

A field that several clients have stands once, as the client's for whom it ranks highest; a running total once, as it is
or as its growth.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from mutewatch.discover.behaviour import Behaviour, behaviours
from mutewatch.discover.correlate import SIGNIFICANT, Followed, Tested, follow
from mutewatch.discover.gather import Route
from mutewatch.discover.panel import Column, Panel
from mutewatch.discover.place import Place, show
from mutewatch.discover.reference import Recording

_NAMED = 0.5  # a name that speaks of sound takes away half of what a field lacks


@dataclass(frozen=True, slots=True)
class Ranked:
    """One field, with all that speaks for and against it."""

    panel: Panel
    column: Column
    behaviour: Behaviour
    score: float
    followed: Followed | None = None  # None: there was no recording, or too few bins of it
    clients: int = 1

    @property
    def name(self) -> str:
        """The field's place as it is shown."""
        return show(self.column.place)

    @property
    def is_significant(self) -> bool:
        return self.followed is not None and self.followed.p < SIGNIFICANT

    @property
    def range(self) -> tuple[float, float]:
        return float(np.nanmin(self.column.values)), float(np.nanmax(self.column.values))

    @property
    def why(self) -> str:
        """What put it where it is, in a few words."""
        words = [f"{self.behaviour.why}"]
        if self.followed and self.followed.is_elsewhere:
            words.insert(0, "follows at another time")
        elif self.followed and self.is_significant:
            words.insert(0, self.followed.feature)
        if self.column.is_growth:
            words.append("growth of a total")
        return ", ".join(words)


@dataclass(frozen=True, slots=True)
class Ranking:
    """All fields that vary, the likeliest first. `tested`: None without a recording."""

    fields: tuple[Ranked, ...]
    tested: Tested | None


def rank(panels: Iterable[Panel], recording: Recording | None = None, slack: float = 0, *, names: bool) -> Ranking:
    """Return all fields of `panels` in order. `names`: whether names that speak of sound count."""
    panels = list(panels)
    tested = follow(panels, recording, slack) if recording else None
    found = [
        Ranked(panel, column, behaviour, _score(behaviour, names), tested.results[i][j] if tested else None)
        for i, panel in enumerate(panels)
        for j, (column, behaviour) in enumerate(zip(panel.columns, behaviours(panel), strict=True))
    ]
    best: dict[tuple[Route, Place], Ranked] = {}
    for one in sorted(found, key=_order):
        best.setdefault(_field(one), one)
    numbers = Counter(field for field, _ in {(_field(one), one.panel.client) for one in found})
    return Ranking(tuple(replace(one, clients=numbers[_field(one)]) for one in best.values()), tested)


def _field(one: Ranked) -> tuple[Route, Place]:
    return (one.panel.route, one.column.place)


def _score(behaviour: Behaviour, names: bool) -> float:
    score = behaviour.score
    if names and behaviour.named:
        score += _NAMED * (behaviour.news * behaviour.steady - score)
    return score


def _order(one: Ranked) -> tuple[bool, float, float]:
    """Sort what follows the recording first, the closest first; the rest by behaviour."""
    if one.followed and one.is_significant:
        return (False, -abs(one.followed.correlation), -one.score)
    return (True, -one.score, 0)
