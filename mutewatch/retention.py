"""How long the store keeps what it knows, and whose word on the time is taken. Deletes in small steps.

Messages and findings go when the capturing clock says that they are older than `minutes_days`. A finding leaves a
count behind, of its day, its signature and its verdict, in nobody's name; these go after `counts_days`. Rules:

- a step deletes a few rows in one transaction, so that whoever waits for the store waits a few milliseconds;
- a finding without a message (a minute that is missing) has the age of the messages it was recorded with; where the
  door has no clock, the client's counts; what has no time at all is not deleted by age;
- nothing is deleted by a clock that is more than a day ahead of where it was last, until it has gone on for another
  day. So a clock that jumps leaves a day to mend it, and a proxy that was away deletes a day later.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from mutewatch.expiry import due, expire, newest, note_time, noted_times
from mutewatch.rollup import roll_up
from mutewatch.store import Store

DAY: Final = timedelta(days=1)
STEP_ROWS: Final = 50  # of messages and of findings each: measured 8 ms on two busy cores, 15 ms for a hundred
REMEMBERED_EVERY: Final = timedelta(hours=1)  # how often the store is told the time; a fraction of a day
EMPTIED_EVERY: Final = timedelta(minutes=10)  # the log of the store, which still holds what was deleted
TRUSTED, DOUBTED = "retention_trusted", "retention_doubted"  # names in the store


@dataclass(frozen=True, slots=True)
class Periods:
    """For how long rows are kept, in days."""

    minutes_days: int = 30  # messages and findings
    counts_days: int = 365  # counts by day


FOR_A_WHILE: Final = Periods()


@dataclass(frozen=True, slots=True)
class Tidied:
    """What one step did. `is_clock_doubted`: nothing is deleted, because the time may be wrong."""

    rows: int = 0
    is_clock_doubted: bool = False


@dataclass(slots=True)
class Clock:
    """Says whether a time of day is to be believed. `trusted` is the latest that was; pure."""

    trusted: datetime
    doubted: datetime | None = None  # when a time too far ahead was first seen
    _previous: datetime | None = None

    def believes(self, now: datetime) -> bool:
        """Is `now`, more than a day ahead or not, the time? Asked at least once an hour while something runs."""
        has_jumped = self._previous is not None and now - self._previous > DAY
        self._previous = now
        if now - self.trusted > DAY:
            if self.doubted is None or has_jumped or now < self.doubted:
                self.doubted = now
            if now - self.doubted < DAY:
                return False
        self.doubted, self.trusted = None, max(self.trusted, now)
        return True


class Retention:
    """Deletes from one store what is older than its time. For the store's thread.

    Who does not wait leaves the work to another gateway that is just doing it.
    """

    def __init__(self, store: Store, periods: Periods, *, waits: bool = True) -> None:
        self.periods = periods
        self._store, self._waits = store, waits
        self._clock: Clock | None = None
        self._remembered: tuple[datetime, datetime | None] | None = None  # of the clock, as the store has it
        self._is_log_dirty, self._emptied_at = True, datetime(1970, 1, 1, tzinfo=UTC)  # who knows who was here before

    def step(self, now: datetime) -> Tidied:
        """Delete a few rows that are too old at `now`, and count an hour that is over.

        Raises sqlalchemy's DBAPIError while the store is away.
        """
        if not self.believes(now):
            return Tidied(is_clock_doubted=True)
        with self._store.begin() as connection:
            rows = expire(connection, now - self._minutes, now - self._counts, STEP_ROWS, waits=self._waits)
            roll_up(connection, now, waits=self._waits)
        self._is_log_dirty |= rows > 0
        if self._is_log_dirty and not timedelta(0) <= now - self._emptied_at < EMPTIED_EVERY:
            self._emptied_at = now
            self._is_log_dirty = not self._store.empty_log()
        return Tidied(rows)

    def believes(self, now: datetime) -> bool:
        """Is `now` to be believed, by what this store knows of the time?"""
        if self._clock is None:
            with self._store.begin() as connection:
                noted = noted_times(connection, (TRUSTED, DOUBTED))
                trusted = noted.get(TRUSTED) or newest(connection) or now
            self._clock = Clock(trusted, noted.get(DOUBTED))
        is_believed = self._clock.believes(now)
        self._remember(self._clock)
        return is_believed

    def trust(self, now: datetime) -> None:
        """Somebody has looked at the clock: it is right."""
        self._clock = Clock(now)
        self._remember(self._clock)

    def due(self, now: datetime) -> tuple[int, int]:
        """Return how many messages and findings are too old at `now`."""
        with self._store.begin() as connection:
            return due(connection, now - self._minutes)

    @property
    def _minutes(self) -> timedelta:
        return timedelta(days=self.periods.minutes_days)

    @property
    def _counts(self) -> timedelta:
        return timedelta(days=self.periods.counts_days)

    def _remember(self, clock: Clock) -> None:
        """Tell the store, so that a restart knows. Seldom: each time is a commit."""
        known = self._remembered
        if known and known[1] == clock.doubted and clock.trusted - known[0] < REMEMBERED_EVERY:
            return
        with self._store.begin() as connection:
            note_time(connection, TRUSTED, clock.trusted)
            note_time(connection, DOUBTED, clock.doubted)
        self._remembered = (clock.trusted, clock.doubted)
