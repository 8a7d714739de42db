"""Which of the known signatures are used: all but those that the operator leaves out, by their ids or by their apps.

What only such a signature names is not opened, and what it knows is not looked for. So that this is not taken for
"nothing was there", whoever reports says what was left out.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mutewatch.errors import OperatorError
from mutewatch.signatures.model import Signature

VARIABLE = "MUTEWATCH_SIGNATURES_WITHOUT"  # the gateway's setting signatures.without reads it too


@dataclass(frozen=True, slots=True)
class Choice:
    """The known signatures in two parts, each ordered by id."""

    used: tuple[Signature, ...]
    left_out: tuple[Signature, ...] = ()

    @property
    def left_out_ids(self) -> tuple[str, ...]:
        return tuple(signature.id for signature in self.left_out)


def choose(known: Sequence[Signature], without: Iterable[str]) -> Choice:
    """Return `known` without those whose id or app is in `without`, in whatever case. OperatorError for a strange one.

    An app stands for all of its signatures, also for those that a later version brings.
    """
    names = {name.casefold(): name for name in without}
    strange = names.keys() - {name.casefold() for one in known for name in (one.id, one.app)}
    if strange:
        ids, apps = ", ".join(one.id for one in known), ", ".join(sorted({one.app for one in known}))
        told = ", ".join(repr(names[name]) for name in sorted(strange))
        raise OperatorError(f"no signature and no app is called {told}; there are {ids}; of {apps}")
    parts: dict[bool, list[Signature]] = {False: [], True: []}
    for one in known:
        parts[one.id in names or one.app.casefold() in names].append(one)
    return Choice(tuple(parts[False]), tuple(parts[True]))


def names_in(text: str) -> list[str]:
    """Return the names in `text`, which has commas between them."""
    return [name.strip() for name in text.split(",") if name.strip()]


def asked_without(given: Sequence[str] | None = None) -> tuple[str, ...]:
    """Return what is to be left out: `given`, or else what the variable says."""
    return tuple(given or names_in(os.environ.get(VARIABLE, "")))
