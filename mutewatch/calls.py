"""What the pipeline holds of calls: the minutes of each client, and after which time they await judgement."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from mutewatch.minutes import Minutes
from mutewatch.records import AudioReport

LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Call:
    """One client's minutes in one call under one signature, and after which time they await judgement."""

    minutes: Minutes
    dirty_after: datetime | None = None
    is_inherited: bool = False  # nothing was heard of it since a restart: another gateway may hear it

    def touch(self, since: datetime) -> None:
        """Something was heard that concerns what ends after `since`."""
        self.is_inherited = False
        self.await_judgement(since)

    def await_judgement(self, since: datetime) -> None:
        """Have what ends after `since` judged (again)."""
        self.dirty_after = since if self.dirty_after is None else min(self.dirty_after, since)


@dataclass(slots=True)
class Group:
    """All that was reported under one call id, by `key_of` (a call id is the client's word)."""

    calls: dict[tuple[str, str, bool], Call] = field(default_factory=dict)
    last_heard: datetime = LONG_AGO


def group_of(call: str, client: str) -> str:
    """Return the id of the group of a call; of a client in no known call, one of its own."""
    return call or f"client {client}"


def key_of(report: AudioReport) -> tuple[str, str, bool]:
    """What tells the minutes of one call apart: who, under which signature, and whether they are made of samples."""
    return (report.client, report.source.signature.id, report.is_sample)
