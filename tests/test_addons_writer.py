"""Queue and committing thread: what waits, what is dropped, what is tried again, what is lost."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError

from addons.committer import Committer, Fate, Item, WriterLimits
from addons.counters import HookCounters
from addons.journal import Journal
from addons.recorder import Recorder
from addons.writer import Writer
from mutewatch.judged import Judged
from mutewatch.mitigate import FORWARD, Decision, Policies
from mutewatch.records import Exchange, Origin
from mutewatch.retention import Periods, Tidied
from mutewatch.signatures.matcher import Matcher
from mutewatch.uninspected import Passed
from tests.live_support import wait_until

QUICK = WriterLimits(retry_seconds=0.01, status_seconds=0.01)
NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


def exchange(body: bytes) -> Exchange:
    return Exchange(NOW, "10.0.0.9", "tsa3.webex.com", 443, "POST", "/metrics", "", body, Origin("live"))


class Fake:
    """A recorder that keeps what it is given. It fails while `failing`, and on bodies in `poison`."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.go.set()
        self.batches: list[list[bytes]] = []
        self.ticks: list[datetime] = []
        self.failing = self.closed = False
        self.forgotten: list[bytes] = []
        self.poison: set[bytes] = set()
        self.to_tidy: list[Tidied] = []
        self.tidied = self.delivered = self.to_deliver = 0
        self.export_failing = False
        self.judged = Judged()
        self.threads: set[int] = set()

    def record(self, exchanges: Sequence[Exchange]) -> list[Decision]:
        self.threads.add(threading.get_ident())
        self.go.wait(20)
        bodies = [e.body or b"" for e in exchanges]
        if self.failing or self.poison.intersection(bodies):
            raise OSError("disk full")
        self.batches.append(bodies)
        return [FORWARD] * len(bodies)

    def forget(self, exchanges: Sequence[Exchange]) -> None:
        self.forgotten += [e.body or b"" for e in exchanges]

    def use(self, policies: Policies, periods: Periods, matcher: Matcher) -> None:
        pass

    def note(self, passed: Sequence[Passed]) -> None:
        pass

    def tidy(self, now: datetime) -> Tidied:
        self.tidied += 1
        if self.failing:
            raise OSError("disk full")
        return self.to_tidy.pop(0) if self.to_tidy else Tidied()

    def deliver(self) -> bool:
        if self.export_failing:
            raise PermissionError(13, "Permission denied", "/var/log/eve.json")
        self.delivered += min(self.to_deliver, 1)
        self.to_deliver = max(0, self.to_deliver - 1)
        return self.to_deliver > 0

    def tick(self, now: datetime) -> None:
        self.ticks.append(now)
        if self.failing:
            raise OSError("disk full")

    def close(self) -> None:
        self.closed = True

    @property
    def bodies(self) -> list[bytes]:
        return [body for batch in self.batches for body in batch]


def make(folder: Path, recorder: Recorder, limits: WriterLimits = QUICK) -> Writer:
    writer = Writer(lambda: recorder, Journal(folder), HookCounters(), limits, clock=lambda: NOW)
    writer.start()
    return writer


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(scenario(), 20)

    asyncio.run(bounded())


async def until(claim: Callable[[], bool]) -> None:
    while not claim():
        await asyncio.sleep(0.001)


def test_a_message_is_recorded_when_its_wait_ends(tmp_path: Path) -> None:
    fake = Fake()

    async def scenario() -> None:
        writer = make(tmp_path, fake)
        assert await writer.put_and_wait(exchange(b"a"), 20) is FORWARD
        assert fake.bodies == [b"a"]
        assert writer.stop(20)

    run(scenario)


def test_the_recorder_is_used_from_one_thread_that_is_not_the_loops(tmp_path: Path) -> None:
    fake = Fake()

    async def scenario() -> None:
        writer = make(tmp_path, fake)
        await asyncio.gather(*(writer.put_and_wait(exchange(b"%d" % n), 20) for n in range(50)))
        writer.stop(20)

    run(scenario)
    assert len(fake.threads) == 1
    assert threading.get_ident() not in fake.threads


def test_everything_queued_is_one_commit(tmp_path: Path) -> None:
    fake = Fake()

    async def scenario() -> None:
        writer = make(tmp_path, fake)
        fake.go.clear()
        first = asyncio.create_task(writer.put_and_wait(exchange(b"first"), 20))
        await until(lambda: bool(fake.threads))
        rest = [asyncio.create_task(writer.put_and_wait(exchange(b"%d" % n), 20)) for n in range(30)]
        await asyncio.sleep(0)
        fake.go.set()
        await asyncio.gather(first, *rest)
        writer.stop(20)

    run(scenario)
    assert [len(batch) for batch in fake.batches] == [1, 30]


def test_messages_of_one_connection_wait_for_each_other_and_not_for_those_of_others(tmp_path: Path) -> None:
    fake, limits = Fake(), replace(QUICK, commit_seconds=2.0)

    async def scenario() -> None:
        writer = make(tmp_path, fake, limits)
        assert [await writer.put_and_wait(exchange(b"%d" % n), 1.9, is_next=True) for n in range(5)] == [FORWARD] * 5
        assert await writer.put_and_wait(exchange(b"another's"), 0.01) is Fate.LATE
        await writer.flush(20)
        assert await writer.put_and_wait(exchange(b"and then"), 0.01, is_next=True) is Fate.LATE
        writer.stop(20)

    run(scenario)
    assert len(fake.batches) == 7


def test_a_blocked_recorder_does_not_block_the_loop(tmp_path: Path) -> None:
    fake = Fake()

    async def scenario() -> None:
        writer = make(tmp_path, fake)
        fake.go.clear()
        assert await writer.put_and_wait(exchange(b"late"), 0.01) is Fate.LATE
        fake.go.set()
        await until(lambda: writer.pending == 0)
        assert writer.status()["recorded"] == 1
        writer.stop(20)

    run(scenario)


@pytest.mark.parametrize("limits", [WriterLimits(items=2), WriterLimits(bytes=10)])
def test_a_full_queue_drops_the_newest_and_the_sum_holds(tmp_path: Path, limits: WriterLimits) -> None:
    fake = Fake()

    async def scenario() -> None:
        writer = make(tmp_path, fake, limits)
        fake.go.clear()
        waits = [asyncio.create_task(writer.put_and_wait(exchange(b"%05d" % n), 20)) for n in range(5)]
        await asyncio.sleep(0)
        fake.go.set()
        assert (await asyncio.gather(*waits)) == [FORWARD] * 2 + [Fate.DROPPED] * 3
        writer.stop(20)
        status = writer.status()
        assert (status["messages"], status["recorded"], status["dropped"], status["pending"]) == (5, 2, 3, 0)

    run(scenario)


def test_a_failed_commit_is_tried_again_until_it_succeeds(tmp_path: Path) -> None:
    fake = Fake()

    async def scenario() -> None:
        writer = make(tmp_path, fake)
        fake.failing = True
        waits = [asyncio.create_task(writer.put_and_wait(exchange(b"%d" % n), 20)) for n in range(10)]
        await until(lambda: writer.status()["record_failures"] >= 12)
        fake.failing = False
        assert set(await asyncio.gather(*waits)) == {FORWARD}
        writer.stop(20)
        assert writer.status()["lost"] == 0

    run(scenario)
    assert sorted(fake.bodies) == [b"%d" % n for n in range(10)]


def test_messages_that_keep_coming_do_not_put_off_the_next_try(tmp_path: Path) -> None:
    fake = Fake()

    async def scenario() -> None:
        writer = make(tmp_path, fake, WriterLimits(retry_seconds=0.05))
        fake.failing = True
        first = asyncio.create_task(writer.put_and_wait(exchange(b"first"), 20))
        await until(lambda: writer.status()["record_failures"] >= 2)
        fake.failing = False
        rest: list[asyncio.Task[Decision | Fate]] = []
        while not first.done():
            rest.append(asyncio.create_task(writer.put_and_wait(exchange(b"%d" % len(rest)), 20)))
            await asyncio.sleep(0.001)
        assert await first is FORWARD
        assert set(await asyncio.gather(*rest)) <= {FORWARD}
        writer.stop(20)

    run(scenario)


def test_a_message_that_fails_alone_is_lost_and_takes_no_other_with_it(tmp_path: Path) -> None:
    fake = Fake()
    fake.poison = {b"poison"}

    async def scenario() -> None:
        writer = make(tmp_path, fake)
        bodies = [b"1", b"poison", b"2"]
        fates = await asyncio.gather(*(writer.put_and_wait(exchange(body), 20) for body in bodies))
        assert fates == [FORWARD, Fate.LOST, FORWARD]
        writer.stop(20)
        assert (writer.status()["recorded"], writer.status()["lost"]) == (2, 1)

    run(scenario)
    assert sorted(fake.bodies) == [b"1", b"2"]


def test_what_cannot_be_recorded_for_too_long_is_given_up(tmp_path: Path) -> None:
    fake = Fake()
    fake.failing = True

    async def scenario() -> None:
        writer = make(tmp_path, fake, WriterLimits(retry_seconds=0.01, keep_seconds=0.05))
        assert await writer.put_and_wait(exchange(b"a"), 20) is Fate.LOST
        writer.stop(20)

    run(scenario)


def test_stop_records_what_is_queued_and_takes_nothing_more(tmp_path: Path) -> None:
    fake = Fake()

    async def scenario() -> None:
        writer = make(tmp_path, fake, WriterLimits(batch=4))
        fake.go.clear()
        waits = [asyncio.create_task(writer.put_and_wait(exchange(b"%d" % n), 20)) for n in range(10)]
        await asyncio.sleep(0)
        fake.go.set()
        assert writer.stop(20)
        assert await writer.put_and_wait(exchange(b"too late"), 20) is Fate.STOPPED
        assert set(await asyncio.gather(*waits)) == {FORWARD}
        assert writer.stop(20)

    run(scenario)
    assert sorted(fake.bodies) == [b"%d" % n for n in range(10)]
    assert fake.closed


def test_stop_gives_a_failing_recorder_one_more_chance_and_counts_the_loss(tmp_path: Path) -> None:
    fake = Fake()
    fake.failing = True

    async def scenario() -> None:
        writer = make(tmp_path, fake, WriterLimits(retry_seconds=60))
        wait = asyncio.create_task(writer.put_and_wait(exchange(b"a"), 20))
        await until(lambda: writer.status()["record_failures"] > 0)
        assert writer.stop(20)
        assert await wait is Fate.LOST
        assert fake.closed
        assert writer.status()["lost"] == 1

    run(scenario)
    assert fake.forgotten == [b"a"]


def test_all_that_was_kept_is_recorded_at_the_stop_if_the_store_is_back(tmp_path: Path) -> None:
    fake = Fake()

    async def scenario() -> None:
        writer = make(tmp_path, fake, WriterLimits(batch=2, retry_seconds=60))
        fake.failing = True
        waits = [asyncio.create_task(writer.put_and_wait(exchange(b"%d" % n), 20)) for n in range(7)]
        await until(lambda: writer.status()["record_failures"] >= 2)
        fake.failing = False
        assert writer.stop(20)
        assert set(await asyncio.gather(*waits)) == {FORWARD}

    run(scenario)


def test_what_there_is_no_time_for_at_the_stop_is_lost_and_counted(tmp_path: Path) -> None:
    fake = Fake()

    async def scenario() -> None:
        writer = make(tmp_path, fake, WriterLimits(batch=1))
        fake.go.clear()
        waits = [asyncio.create_task(writer.put_and_wait(exchange(b"%d" % n), 20)) for n in range(5)]
        await until(lambda: bool(fake.threads))
        assert not writer.stop(0.01)
        fake.go.set()
        assert writer.stop(20)
        assert (await asyncio.gather(*waits)) == [FORWARD] + [Fate.LOST] * 4
        status = writer.status()
        assert (status["messages"], status["recorded"], status["lost"], status["pending"]) == (5, 1, 4, 0)

    run(scenario)


def test_counters_that_cannot_be_written_at_the_stop_are_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        writer = make(tmp_path / "missing", Fake())
        await writer.put_and_wait(exchange(b"a"), 20)
        writer.stop(20)

    run(scenario)
    told = caplog.messages[-1].partition("counters at the stop: ")[2]
    assert json.loads(told)["recorded"] == 1


def test_a_recorder_that_cannot_be_built_stops_the_start(tmp_path: Path) -> None:
    def build() -> Recorder:
        raise PermissionError("no")

    writer = Writer(build, Journal(tmp_path), HookCounters())
    with pytest.raises(PermissionError):
        writer.start()
    assert not writer.is_open


def test_ticks_come_with_the_clocks_time_and_may_fail(tmp_path: Path) -> None:
    fake = Fake()
    fake.failing = True

    async def scenario() -> None:
        writer = make(tmp_path, fake, WriterLimits(tick_seconds=0.001))
        await until(lambda: writer.status()["tick_failures"] >= 3)
        fake.failing = False
        assert await writer.put_and_wait(exchange(b"a"), 20) is FORWARD
        writer.stop(20)

    run(scenario)
    assert set(fake.ticks) == {NOW}


def test_an_answer_is_recorded_and_counted_apart(tmp_path: Path) -> None:
    fake = Fake()

    async def scenario() -> None:
        writer = make(tmp_path, fake)
        writer.put_answer(exchange(b"a"))
        writer.stop(20)
        assert (writer.status()["answers_recorded"], writer.status()["recorded"]) == (1, 0)

    run(scenario)


def test_the_log_tells_start_and_stop_with_all_counters(tmp_path: Path) -> None:
    async def scenario() -> None:
        writer = make(tmp_path, Fake())
        await writer.put_and_wait(exchange(b"a"), 20)
        writer.stop(20)

    run(scenario)
    lines = [json.loads(line) for line in (tmp_path / "live.log").read_text().splitlines()]
    assert [(line["event"], line["recorded"]) for line in lines] == [("started", 0), ("stopped", 1)]
    assert json.loads((tmp_path / "live_status.json").read_text())["recorded"] == 1


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        writer = make(tmp_path / "missing", Fake())
        assert await writer.put_and_wait(exchange(b"a"), 20) is FORWARD
        writer.stop(20)
        assert writer.status()["journal_failures"] > 0

    run(scenario)


def test_old_rows_are_deleted_step_by_step_and_counted(tmp_path: Path) -> None:
    recorder = Fake()
    recorder.to_tidy = [Tidied(100)] * 7 + [Tidied(is_clock_doubted=True)] * 2
    writer = make(tmp_path, recorder)
    wait_until(lambda: writer.status()["clock_doubted"] == 1, "the clock is doubted")
    assert writer.status()["expired"] == 700
    wait_until(lambda: writer.status()["clock_doubted"] == 0, "the clock is believed")
    assert writer.stop(20)


def test_while_a_message_waits_one_step_is_done_and_no_more(tmp_path: Path) -> None:
    queue: SimpleQueue[Item | None] = SimpleQueue()
    committer = Committer(queue, SimpleQueue(), Journal(tmp_path), QUICK, lambda: NOW, dict)
    recorder = Fake()
    recorder.to_tidy = [Tidied(1)] * 100
    committer._tidy(recorder)
    assert recorder.tidied == QUICK.tidy_steps > 1
    queue.put(Item(exchange(b"a"), 1, None))
    committer._tidy(recorder)
    assert recorder.tidied == QUICK.tidy_steps + 1


def test_a_deletion_that_fails_is_counted_and_tried_again(tmp_path: Path) -> None:
    recorder = Fake()
    recorder.failing = True
    writer = make(tmp_path, recorder)
    wait_until(lambda: writer.status()["tidy_failures"] >= 2, "it was tried again")
    recorder.to_tidy = [Tidied(5)]
    recorder.failing = False
    wait_until(lambda: writer.status()["expired"] == 5, "it went on")
    assert writer.stop(20)


def test_an_export_that_fails_is_counted_tried_again_and_holds_up_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Fake()
    recorder.export_failing, recorder.to_deliver = True, 5

    async def scenario() -> None:
        writer = make(tmp_path, recorder)
        await until(lambda: writer.status()["export_errors"] >= 2)
        assert await writer.put_and_wait(exchange(b"a"), 20) is FORWARD
        recorder.export_failing = False
        await until(lambda: recorder.delivered == 5)
        assert writer.stop(20)
        assert (writer.status()["recorded"], writer.status()["record_failures"]) == (1, 0)

    run(scenario)
    told = [message for message in caplog.messages if "could not be exported" in message]
    assert len(told) == 1
    assert "Permission denied: '/var/log/eve.json'" in told[0]


def test_what_a_database_says_of_itself_is_told_and_what_may_quote_a_client_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Full(Fake):
        def record(self, exchanges: Sequence[Exchange]) -> list[Decision]:
            if exchanges:
                raise IntegrityError("INSERT", {}, Exception("Key (client)=(jane) exists"))
            return []

        def tidy(self, now: datetime) -> Tidied:
            raise OperationalError("DELETE", {}, Exception("database or disk is full\nCONTEXT: jane"))

        def close(self) -> None:
            raise OperationalError("INSERT", {}, Exception("database or disk is full"))

    async def scenario() -> None:
        writer = make(tmp_path, Full())
        await until(lambda: "could not be deleted" in caplog.text)
        await writer.put_and_wait(exchange(b"a"), 20)
        assert writer.stop(20)
        assert writer.status()["record_failures"] >= 1

    run(scenario)
    assert "mutewatch: commit of 1 exchanges failed: IntegrityError" in caplog.messages
    assert "mutewatch: what is too old could not be deleted: database or disk is full" in caplog.messages
    assert "at the stop: database or disk is full" in caplog.text
    assert "Traceback" not in caplog.text and "jane" not in caplog.text


def test_while_a_message_waits_one_step_of_export_is_done_and_no_more(tmp_path: Path) -> None:
    queue: SimpleQueue[Item | None] = SimpleQueue()
    committer = Committer(queue, SimpleQueue(), Journal(tmp_path), QUICK, lambda: NOW, dict)
    recorder = Fake()
    recorder.to_deliver = 100
    committer._deliver(recorder)
    assert recorder.delivered == QUICK.deliver_steps > 1
    queue.put(Item(exchange(b"a"), 1, None))
    committer._deliver(recorder)
    assert recorder.delivered == QUICK.deliver_steps + 1
