"""The writer's thread: takes everything queued, commits it at once, tries again what failed.

When a commit fails, an empty one tells whether the store or a message is at fault:

- the store (disk full, locked): everything new is kept, as much as `WriterLimits` allows, and the empty
  commit is tried once a second until it succeeds; then all that was kept is committed;
- a message: all of that commit are tried one by one, and one that fails alone three times is given up.

What was kept for ten minutes is given up too. The thread ends only when told to.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from math import inf
from queue import Empty, SimpleQueue

from sqlalchemy.exc import OperationalError

from addons.counters import WriterCounters
from addons.journal import LOG_BYTES, Journal
from addons.recorder import Recorder
from mutewatch.mitigate import Decision
from mutewatch.records import Exchange
from mutewatch.uninspected import Passed, left_out

logger = logging.getLogger("mutewatch.live")

MiB = 1 << 20


class Fate(StrEnum):
    """What is known of one message that is not recorded when its hook goes on."""

    LATE = "late"  # not known in time; it may still be recorded
    LOST = "lost"
    DROPPED = "dropped"  # the queue is full
    STOPPED = "stopped"  # the writer takes nothing any more


@dataclass(frozen=True, slots=True)
class WriterLimits:
    """The limits of writer and thread, as listed in `writer.py`; tests force each by a smaller one."""

    items: int = 10_000
    bytes: int = 64 * MiB
    batch: int = 1_000
    keep_seconds: float = 600  # as long as a database may be away without loss
    attempts: int = 3  # of one exchange, alone, while the store works
    retry_seconds: float = 1
    status_seconds: float = 1  # between two status files
    deliver_steps: int = 10  # of export, at once, while no message waits: a thousand findings a second
    notes: int = 100_000  # of what was not inspected, waiting for the thread, which takes all of them each second
    tidy_steps: int = 10  # of deletion, at once, while no message waits: a thousand rows a second
    tick_seconds: float = 60  # the core judges by the minute
    start_seconds: float = 30  # to open the store
    commit_seconds: float = 0.05  # between the beginnings of two commits: what comes meanwhile goes together
    log_bytes: int = LOG_BYTES  # of live.log, before it becomes live.log.1


@dataclass(slots=True, eq=False)
class Item:
    """One exchange on its way to the store."""

    exchange: Exchange
    size: int  # bytes of the body
    waiter: "asyncio.Future[Decision | Fate] | None"  # None: an answer, for which nobody waits
    is_next: bool = False  # it has waited for the one before it, on the same connection, to be committed
    failed_at: float | None = None  # monotonic, first failure
    attempts: int = 0  # failed alone


class Committer:
    """What only the writer's thread touches; what has no underscore may be read by others."""

    def __init__(
        self,
        queue: "SimpleQueue[Item | None]",  # None: stop
        passed: "SimpleQueue[Passed]",
        journal: Journal,
        limits: WriterLimits,
        clock: Callable[[], datetime],
        status: Callable[[], dict[str, int]],
    ) -> None:
        self.counters = WriterCounters()
        self.settled = self.settled_bytes = 0
        self.store_works = self.tick_works = True
        self.turned_at = time.monotonic()  # when the thread last took up its work
        self.stop_by = inf  # monotonic; what is not recorded by then is given up
        self._queue, self._passed, self._journal, self._limits = queue, passed, journal, limits
        self._clock, self._status = clock, status
        self._held: list[Item] = []  # failed, to be tried again
        self._stopping = self._tidy_failed = self._deliver_failed = False
        self._noted = True
        self._retry_at = self._status_at = self._commit_at = self._next_at = 0.0
        self._tick_at = time.monotonic() + limits.tick_seconds
        self._reported: dict[str, object] = {}
        self.left_out: tuple[str, ...] = ()

    def leave_out(self, ids: Iterable[str]) -> None:
        """From now on, say that the signatures with these ids are left out. Called on any thread."""
        self.left_out = tuple(ids)
        self._note_left_out()

    def told(self) -> dict[str, object]:
        """Return all counters, and what is left out."""
        return {**self._status(), "left_out": list(self.left_out)}

    def run(self, recorder: Recorder) -> None:
        """Commit until told to stop, then what is left; close the recorder."""
        self._note("started")
        while not self._stopping and time.monotonic() < self.stop_by:
            try:
                self._turn(recorder)
            except Exception:  # our own fault: said aloud, and the thread goes on
                self.counters.record_failures += 1
                logger.exception("mutewatch: fault in the writer's thread; it goes on")
        self._finish(recorder)

    def _turn(self, recorder: Recorder) -> None:
        self.turned_at = time.monotonic()
        batch = self._take()
        if self._held and time.monotonic() >= self._retry_at:
            self._retry(recorder)
        if not self.store_works:
            self._hold(batch)
        elif batch:
            self._commit_or_hold(recorder, batch)
        if time.monotonic() >= self._tick_at:
            self._tick_at = time.monotonic() + self._limits.tick_seconds
            self._tick(recorder)
            self._note_left_out()
            self._note("minute")
        if time.monotonic() >= self._status_at:
            self._status_at = time.monotonic() + self._limits.status_seconds
            self._note_passed(recorder)
            self._tidy(recorder)
            self._deliver(recorder)
            self._report()

    def _take(self) -> list[Item]:
        """Return everything queued, at most one batch; wait for something at most until the next duty.

        Messages that come one by one are committed at once; under load, those of some milliseconds together. Where
        none waits but the next of a burst, half of the time may be spent on commits: nobody else would share them.
        """
        duties = [self._tick_at, self._status_at, *([self._retry_at] if self._held else [])]
        batch: list[Item] = []
        try:
            item = self._queue.get(timeout=max(0.0, min(duties) - time.monotonic()))
            due_at = self._next_at if item is not None and _is_alone([item]) else self._commit_at
            time.sleep(max(0.0, due_at - time.monotonic()))
            while item is not None:
                batch.append(item)
                if len(batch) == self._limits.batch:
                    return batch
                item = self._queue.get_nowait()
            self._stopping = True
        except Empty:
            pass
        return batch

    def _left_in_queue(self) -> Iterator[Item]:
        """What there was no time for before the stop."""
        while True:
            try:
                item = self._queue.get_nowait()
            except Empty:
                return
            if item is not None:
                yield item

    def _commit_or_hold(self, recorder: Recorder, items: list[Item]) -> None:
        if self._commit(recorder, items):
            return
        self.store_works = self._commit(recorder, [])
        if self.store_works:
            self._one_by_one(recorder, items)
        else:
            self._hold(items)

    def _commit(self, recorder: Recorder, items: list[Item]) -> bool:
        began_at = time.monotonic()
        self._commit_at = began_at + self._limits.commit_seconds
        try:
            decisions = recorder.record([item.exchange for item in items])
            done_at = time.monotonic()
            self._next_at = min(self._commit_at, 2 * done_at - began_at) if _is_alone(items) else self._commit_at
        except Exception as error:
            self.counters.record_failures += 1
            logger.warning("mutewatch: commit of %d exchanges failed: %s", len(items), error_text(error))
            return False
        if items:
            self.counters.commits += 1
            self._settle(items, decisions)
        return True

    def _one_by_one(self, recorder: Recorder, items: list[Item]) -> None:
        """Commit what can be committed alone; hold the rest. Three failures end it: it may be the store."""
        failed: list[Item] = []
        for position, item in enumerate(items):
            if len(failed) == self._limits.attempts:
                self._hold(items[position:])
                break
            if not self._commit(recorder, [item]):
                item.attempts += 1
                failed.append(item)
        self._hold(failed)

    def _retry(self, recorder: Recorder) -> None:
        """Give up what failed too often or for too long; try the rest again, if the store works."""
        self.store_works = self._commit(recorder, [])
        held, self._held = self._held, []
        hopeless: list[Item] = []
        rest: list[Item] = []
        for item in held:
            (hopeless if self._is_hopeless(item) else rest).append(item)
        self._give_up(recorder, hopeless)
        if not self.store_works:
            self._hold(rest)
            return
        for start in range(0, len(rest), self._limits.batch):
            self._commit_or_hold(recorder, rest[start : start + self._limits.batch])

    def _hold(self, items: Iterable[Item]) -> None:
        now = time.monotonic()
        if self._retry_at <= now:  # what comes in meanwhile must not put off the next try
            self._retry_at = now + self._limits.retry_seconds
        for item in items:
            if item.failed_at is None:
                item.failed_at = now
            self._held.append(item)

    def _is_hopeless(self, item: Item) -> bool:
        held_for = time.monotonic() - item.failed_at if item.failed_at is not None else 0.0
        too_long = not self.store_works and held_for >= self._limits.keep_seconds
        return item.attempts >= self._limits.attempts or too_long

    def _give_up(self, recorder: Recorder, items: list[Item]) -> None:
        if items:
            recorder.forget([item.exchange for item in items])
            self._settle(items, None)

    def _settle(self, items: list[Item], decisions: Sequence[Decision] | None) -> None:
        """All of these are done with: recorded, with what is to become of each, or given up (None)."""
        decided: Sequence[Decision | Fate] = [Fate.LOST] * len(items) if decisions is None else decisions
        waiters = [(item.waiter, one) for item, one in zip(items, decided, strict=True) if item.waiter is not None]
        answers = len(items) - len(waiters)
        if decisions is not None:
            self.counters.recorded += len(waiters)
            self.counters.answers_recorded += answers
        else:
            self.counters.lost += len(waiters)
            self.counters.answers_lost += answers
        self.settled += len(items)
        self.settled_bytes += sum(item.size for item in items)
        if waiters:
            try:
                waiters[0][0].get_loop().call_soon_threadsafe(_resolve, waiters)
            except RuntimeError:  # the loop is closed: the proxy is gone and nobody waits
                logger.debug("mutewatch: settled after the proxy had stopped")

    def _tick(self, recorder: Recorder) -> None:
        try:
            recorder.tick(self._clock())
            self.tick_works = True
        except Exception:
            self.tick_works = False
            self.counters.tick_failures += 1
            logger.exception("mutewatch: the core's minute failed")

    def _tidy(self, recorder: Recorder) -> None:
        """Have what is too old deleted: one small step, and some more while no message waits."""
        if not self.store_works or self._stopping:
            return
        for _ in range(self._limits.tidy_steps):
            try:
                tidied = recorder.tidy(self._clock())
            except Exception as error:
                if not self._tidy_failed:
                    logger.warning("mutewatch: what is too old could not be deleted: %s", error_text(error))
                self._tidy_failed = True
                self.counters.tidy_failures += 1
                return
            self._tidy_failed = False
            if tidied.is_clock_doubted and not self.counters.clock_doubted:
                logger.warning("mutewatch: the clock is more than a day ahead: nothing is deleted for a day")
            self.counters.clock_doubted = int(tidied.is_clock_doubted)
            self.counters.expired += tidied.rows
            if not tidied.rows or not self._queue.empty():
                return

    def _deliver(self, recorder: Recorder) -> None:
        """Have what was committed exported: one step, and some more while no message waits."""
        if not self.store_works or self._stopping:
            return
        try:
            for _ in range(self._limits.deliver_steps):
                if not recorder.deliver() or not self._queue.empty():
                    break
        except Exception as error:
            if not self._deliver_failed:
                logger.warning(
                    "mutewatch: flagged minutes could not be exported; they are tried again: %s", error_text(error)
                )
            self._deliver_failed = True
            self.counters.export_errors += 1
        else:
            self._deliver_failed = False

    def _note_left_out(self) -> None:
        """Have it kept that this was left out now; nobody is to take silence for an answer."""
        for one in left_out(self.left_out, self._clock()):
            self._passed.put(one)

    def _note_passed(self, recorder: Recorder) -> None:
        """Have it kept what was not inspected since the last time."""
        if not self.store_works or (self._passed.empty() and self._noted):
            return
        passed = []
        while not self._passed.empty():  # nobody else takes from it
            passed.append(self._passed.get())
        try:
            recorder.note(passed)
            self._noted = True
        except Exception as error:
            self._noted = False
            self.counters.tidy_failures += 1
            logger.warning("mutewatch: what was not inspected could not be kept: %s", error_text(error))

    def _finish(self, recorder: Recorder) -> None:
        """Try what is left once more, as long as there is time; what then is not recorded is lost, and counted."""
        held, self._held = [*self._held, *self._left_in_queue()], []
        self.store_works = self._commit(recorder, []) if held else self.store_works
        for start in range(0, len(held), self._limits.batch):
            batch = held[start : start + self._limits.batch]
            if self.store_works and time.monotonic() < self.stop_by:
                self._commit_or_hold(recorder, batch)
            else:
                self._hold(batch)
        if self._held:
            logger.warning("mutewatch: %d exchanges could not be recorded before the stop", len(self._held))
            self._give_up(recorder, self._held)
        self._note_passed(recorder)
        try:
            recorder.close()
        except OperationalError as error:
            self.counters.record_failures += 1
            logger.warning("mutewatch: the store could not be brought up to date at the stop: %s", error_text(error))
        except Exception:
            self.counters.record_failures += 1
            logger.exception("mutewatch: the store did not close")
        failures = self.counters.journal_failures
        self._report()
        self._note("stopped")
        if self.counters.journal_failures > failures:  # the last word on what was lost
            logger.warning("mutewatch: counters at the stop: %s", json.dumps(self._status()))

    def _report(self) -> None:
        """Replace the status file if something in it changed."""
        status = self.told()
        if status == self._reported:
            return
        try:
            self._journal.status(self._clock(), status)
            self._reported = status
        except OSError:
            self.counters.journal_failures += 1

    def _note(self, event: str) -> None:
        try:
            self._journal.event(self._clock(), event, self.told())
        except OSError:
            self.counters.journal_failures += 1


def _is_alone(items: Iterable[Item]) -> bool:
    """Does nobody wait for these but connections that say one thing after the other?"""
    return all(item.is_next or item.waiter is None for item in items)


def error_text(error: Exception) -> str:
    """Return what the system says of a file, and the database of itself: full, locked, away.

    Of all else the class only: its text may quote what a client sent.
    """
    if isinstance(error, OperationalError):
        return str(error.orig).partition("\n")[0]
    return str(error) if isinstance(error, OSError) else type(error).__name__


def _resolve(waiters: "Iterable[tuple[asyncio.Future[Decision | Fate], Decision | Fate]]") -> None:
    for waiter, decision in waiters:
        if not waiter.done():
            waiter.set_result(decision)
