"""What of new settings a running proxy can take, and what needs a restart. Pure.

All or nothing: where one change needs a restart, none is taken, so that what runs is always one file as it was
written. Ports, directories and what the pipeline was built with stay until the proxy starts again.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from addons.settings import Settings
from addons.settings_sources import Path_, leaves

# Sections, or single keys of a section.
RELOADABLE: frozenset[Path_] = frozenset(
    {
        ("record", "record_timeout"),
        ("record", "strict"),
        ("signatures", "without"),
        ("mitigation",),
        ("pins",),
        ("retention",),
        ("canary",),
        ("log",),
    }
)

# What others than the proxy act on, and how they learn of it.
ELSEWHERE: Mapping[Path_, str] = {
    ("canary", "interval"): "the timer has its own: print it anew",
    ("signatures", "without"): "a PAC file has its own: print it anew; connections that pass go on to pass",
}


@dataclass(frozen=True, slots=True)
class Change:
    """One value that differs; None where it is only in the other settings."""

    path: Path_
    old: object
    new: object

    @property
    def is_reloadable(self) -> bool:
        return any(self.path[: len(known)] == known for known in RELOADABLE)

    def __str__(self) -> str:
        note = f" ({ELSEWHERE[self.path]})" if self.path in ELSEWHERE else ""
        return f"{'.'.join(self.path)}: {self.old!r} becomes {self.new!r}{note}"


@dataclass(frozen=True, slots=True)
class Reload:
    """`settings` is what to run with from now on: the new ones, or the old where `reasons` says why not."""

    settings: Settings
    changed: tuple[Change, ...]
    reasons: tuple[str, ...]


def changes(old: Settings, new: Settings) -> Reload:
    """Return what a proxy that runs with `old` does when told `new`."""
    differing = tuple(_differences(old, new))
    reasons = tuple(f"{change}: restart mutewatch" for change in differing if not change.is_reloadable)
    return Reload(old, (), reasons) if reasons else Reload(new, differing, ())


def _differences(old: Settings, new: Settings) -> Iterator[Change]:
    before, after = (dict(leaves(settings.model_dump(mode="json", exclude_none=True))) for settings in (old, new))
    for path in (*before, *(path for path in after if path not in before)):
        if before.get(path) != after.get(path):
            yield Change(path, before.get(path), after.get(path))
