"""Recorded before it is forwarded: the event loop's side of a bounded queue and one committing thread.

The loop only appends to a queue and awaits a future; feeding, judging and fsync happen on the thread
(`committer.py`), which commits everything queued at once (group commit) and then settles the futures.

| limit | default | on hit | counter |
|---|---|---|---|
| exchanges not settled | 10,000 | newest refused, message forwarded | dropped |
| bytes not settled | 64 MiB | the same | dropped |
| exchanges of one commit | 1,000 | the rest goes into the next | - |
| seconds a message waits | 2 | forwarded, may still be recorded | unrecorded |
| seconds an exchange is tried again | 600 | given up | lost |
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from queue import SimpleQueue

from addons.committer import Committer, Fate, Item, WriterLimits
from addons.counters import HookCounters, as_status
from addons.journal import Journal
from addons.recorder import Recorder
from mutewatch.judged import Judged
from mutewatch.mitigate import Decision, Policies
from mutewatch.records import Exchange
from mutewatch.retention import Periods
from mutewatch.signatures.matcher import Matcher
from mutewatch.uninspected import Passed

STOP_SHARE = 0.6  # of the time to stop may be spent on commits; the rest is for the last of them, and to close


class Writer:
    """Owns the thread. Every method is called on the event loop."""

    def __init__(
        self,
        build: Callable[[], Recorder],
        journal: Journal,
        hooks: HookCounters,
        limits: WriterLimits | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        left_out: Iterable[str] = (),
    ) -> None:
        self._hooks, self._build, self._limits = hooks, build, limits or WriterLimits()
        self._queue: SimpleQueue[Item | None] = SimpleQueue()
        self._passed: SimpleQueue[Passed] = SimpleQueue()
        self._committer = Committer(self._queue, self._passed, journal, self._limits, clock, self.status)
        self._committer.leave_out(left_out)
        self._put_items = self._put_bytes = 0
        self._is_open = False
        self._started = threading.Event()
        self._build_error: Exception | None = None
        self._recorder: Recorder | None = None
        # daemon: mitmproxy exits without calling `done` when it fails to start, and that must not hang
        self._thread = threading.Thread(target=self._run, name="mutewatch-writer", daemon=True)

    def start(self) -> None:
        """Start the thread and return once the recorder is built. Raises what building it raised."""
        self._thread.start()
        if not self._started.wait(self._limits.start_seconds):
            raise TimeoutError(f"the store did not open within {self._limits.start_seconds:g} seconds")
        if self._build_error is not None:
            raise self._build_error
        self._is_open = True

    def _run(self) -> None:
        try:
            self._recorder = recorder = self._build()
        except Exception as error:  # whatever it was: `start` raises it to the operator
            self._build_error = error
            return
        finally:
            self._started.set()
        self._committer.run(recorder)

    async def put_and_wait(self, exchange: Exchange, timeout: float, *, is_next: bool = False) -> Decision | Fate:
        """Queue `exchange`; return once it is committed or given up, or `timeout` seconds have passed.

        What is to become of it, if it is recorded; else what is known of it.
        """
        self._hooks.messages += 1
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Decision | Fate] = loop.create_future()
        refused = self._put(exchange, waiter, is_next=is_next)
        if refused is not None:
            self._hooks.dropped += 1
            return refused
        late = loop.call_later(timeout, _settle_late, waiter)
        try:
            return await waiter
        finally:
            late.cancel()

    def use(self, policies: Policies, periods: Periods, matcher: Matcher) -> None:
        """From now on, decide by these policies, keep for these periods, and look for what `matcher` knows."""
        if self._recorder is not None:
            self._recorder.use(policies, periods, matcher)
        self._committer.leave_out(signature.id for signature in matcher.left_out)

    async def flush(self, timeout: float) -> bool:
        """Wait until all that was put so far is settled; False if that takes longer than `timeout` seconds."""
        until, deadline = self._put_items, asyncio.get_running_loop().time() + timeout
        while self._committer.settled < until:
            if asyncio.get_running_loop().time() > deadline:
                return False
            await asyncio.sleep(0.01)
        return True

    def note(self, passed: Passed) -> None:
        """Have it kept that this was not inspected. While the store is away for long, the counters alone know."""
        if self._passed.qsize() < self._limits.notes:
            self._passed.put(passed)

    def put_answer(self, exchange: Exchange) -> bool:
        """Queue what a server said, for which nobody waits; False if it is dropped.

        A request that comes again, now that its response is known; the body of one; or a websocket message.
        """
        self._hooks.answers += 1
        is_taken = self._put(exchange, None) is None
        self._hooks.answers_dropped += not is_taken
        return is_taken

    def _put(
        self, exchange: Exchange, waiter: "asyncio.Future[Decision | Fate] | None", *, is_next: bool = False
    ) -> Fate | None:
        """Queue, or say why not."""
        if not self.is_open:
            return Fate.STOPPED
        size = len(exchange.body or b"")
        if self.pending >= self._limits.items or self.pending_bytes + size > self._limits.bytes:
            return Fate.DROPPED
        self._put_items += 1
        self._put_bytes += size
        self._queue.put(Item(exchange, size, waiter, is_next))
        return None

    @property
    def is_open(self) -> bool:
        """Does the writer take exchanges?"""
        return self._is_open and self._thread.is_alive()

    @property
    def pending(self) -> int:
        """Exchanges taken and not yet settled (recorded or lost)."""
        return self._put_items - self._committer.settled

    @property
    def pending_bytes(self) -> int:
        """Bytes of their bodies."""
        return self._put_bytes - self._committer.settled_bytes

    @property
    def store_works(self) -> bool:
        """Did the last commit, or try of one, succeed? Without traffic there is one a minute."""
        return self._committer.store_works and self._committer.tick_works

    @property
    def idle_seconds(self) -> float:
        """Seconds since the thread last took up its work; about one when all is well."""
        return time.monotonic() - self._committer.turned_at

    @property
    def judged(self) -> Judged:
        """What was judged since the start."""
        return self._recorder.judged if self._recorder is not None else Judged()

    @property
    def left_out(self) -> tuple[str, ...]:
        """Ids of the signatures that are left out."""
        return self._committer.left_out

    def told(self) -> dict[str, object]:
        """Return all counters, and what is left out."""
        return self._committer.told()

    def status(self) -> dict[str, int]:
        """Return all counters."""
        return as_status(self._hooks, self._committer.counters, self.pending)

    def stop(self, timeout: float) -> bool:
        """Take nothing more, commit what is queued, close; may be called twice.

        What there is no time for is lost, and counted. False if all that took longer than `timeout` seconds, because
        a call of the store does not return; what is then pending may be recorded or not.
        """
        if self._is_open:
            self._is_open = False
            self._committer.stop_by = time.monotonic() + STOP_SHARE * timeout
            self._queue.put(None)
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()


def _settle_late(waiter: "asyncio.Future[Decision | Fate]") -> None:
    if not waiter.done():
        waiter.set_result(Fate.LATE)
