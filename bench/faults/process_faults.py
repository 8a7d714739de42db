"""What happens to the process: killed, told to stop, its clock set, its logs moved away."""

import random
import sqlite3
import stat
import threading
import time
from collections import Counter
from contextlib import closing
from itertools import pairwise
from pathlib import Path

from addons.journal import LOG
from bench.faults import kill_live
from bench.faults.meeting import Meeting
from bench.faults.stage import STOP_SECONDS, Lengths, Result, Stage, log_lines, stage
from tests.live_support import TELEMETRY, wait_until

QUICK_JOURNAL = Path(__file__).with_name("quick_journal.py")
MOVED_CLOCK = Path(__file__).with_name("moved_clock.py")
STEPS = (86_400, -3_600, 0)  # seconds that the clock is off, one after the other
SLOW_ANSWER = 1.0  # seconds, at most
KILLS_A_MINUTE = 5  # of the long call
LOG_SLACK = 4000  # bytes: the line with which a log outgrows its limit


def kill9(folder: Path, lengths: Lengths, *, strict: bool = False) -> Result:
    """SIGKILL at random moments, start-up included; a long call goes on all the while, a minute after each kill."""
    with stage(folder, strict=strict, live={} if strict else {"record_timeout": lengths.record_timeout}) as running:
        meeting, chance, slowest_start = Meeting(running.proxy, lengths.kills), random.Random(1), 0.0
        running.note_sent(meeting.mute())
        for done in range(0, lengths.kills, KILLS_A_MINUTE):
            kills = min(KILLS_A_MINUTE, lengths.kills - done)
            kill_live.kill_at_random(running.scene, running.proxy, kills, chance)
            running.note_sent(meeting.report())
            began = time.monotonic()
            wait_until(running.load.probe, "a new message is recorded in time")
            slowest_start = max(slowest_start, time.monotonic() - began)
        running.run_for(lengths.normal)
        running.settle()
        running.recovery, running.counters = slowest_start, None
        running.faults["minutes of the long call misjudged"] = meeting.misjudged()
        result = running.result("kill9")
        result.remark = f"{lengths.kills} kills; {meeting.reported} minutes of a long call flagged"
        return result


def sigterm(folder: Path, lengths: Lengths) -> Result:
    """SIGTERM under load, with answers outstanding and idle connections; then started again."""
    total: Counter[str] = Counter()
    slowest_stop = 0.0
    with stage(folder) as running:
        running.upstream.on_request = lambda _request: time.sleep(SLOW_ANSWER * random.random())
        for _ in range(max(1, lengths.kills // 20)):
            running.run_for(max(lengths.normal, SLOW_ANSWER))
            idle = [running.proxy.connect(TELEMETRY) for _ in range(lengths.crowd)]
            for connection in idle:
                connection.connect()
            began = time.monotonic()
            running.stop_proxy()
            slowest_stop = max(slowest_stop, time.monotonic() - began)
            total.update(running.final_counters())
            for connection in idle:
                connection.close()
            running.proxy.start()
            running.proxy.wait_ready()
        running.measure_recovery()
        running.settle()
        total.update(running.final_counters())
        running.counters, running.all_arrives = dict(total), False
        result = running.result("sigterm")
        result.remark = f"{max(1, lengths.kills // 20)} stops, the slowest {slowest_stop:.1f} s of {STOP_SECONDS:.0f}"
        return result


def rotation(folder: Path, lengths: Lengths) -> Result:
    """The log is renamed from outside, again and again; then, after a restart, put aside by its own size."""
    with stage(folder, script=QUICK_JOURNAL, environment={"MUTEWATCH_BENCH_LOG_BYTES": "100000000"}) as running:
        total = Counter(_renamed_outside(running, lengths))
        running.proxy.environment = {}
        running.proxy.start()
        running.proxy.wait_ready()
        running.run_for(max(lengths.normal, 1.0))
        running.measure_recovery()
        running.settle()
        logs = sorted(path.name for path in running.proxy.state.glob("live.log*"))
        running.faults["logs beyond two"] = max(0, len(logs) - 2)
        too_long = [p for p in running.proxy.state.glob("live.log*") if p.stat().st_size > LOG_SLACK + 4000]
        running.faults["logs that outgrew their limit"] = len(too_long)
        running.faults["files open to others"] = _open_to_others(running)
        total.update(running.final_counters())
        running.counters = dict(total)
        return running.result("rotation")


def _renamed_outside(running: Stage, lengths: Lengths) -> dict[str, int]:
    """Rename the log every few milliseconds; each line must be in one of the parts, whole, and in order."""
    state, done = running.proxy.state, threading.Event()
    parts: list[Path] = []

    def rename() -> None:
        while not done.wait(0.05):
            part = state / f"{LOG}-{len(parts):04}"
            if (state / LOG).exists():
                (state / LOG).rename(part)
                parts.append(part)

    renaming = threading.Thread(target=rename)
    renaming.start()
    running.run_for(lengths.normal + lengths.fault)
    done.set()
    renaming.join()
    running.stop_proxy()
    lines = [line for part in [*parts, state / LOG] if part.exists() for line in log_lines(part)]
    recorded = [line["recorded"] for line in lines]
    running.faults["log lines out of order"] = sum(a > b for a, b in pairwise(recorded))
    running.faults["log without its ends"] = int([lines[0]["event"], lines[-1]["event"]] != ["started", "stopped"])
    running.faults["files open to others"] = _open_to_others(running)
    running.faults["lines not written"] = running.final_counters()["journal_failures"]
    running.remark = f"{len(lines):,} lines in {len(parts)} parts"
    for part in parts:
        part.unlink()
    return running.final_counters()


def _open_to_others(running: Stage) -> int:
    files = [running.proxy.state, *running.proxy.state.rglob("*")]
    return sum(bool(stat.S_IMODE(path.stat().st_mode) & 0o077) for path in files)


def clock_step(folder: Path, lengths: Lengths) -> Result:
    """The gateway's clock jumps a day forward, then to an hour back, then is right again, in the middle of a call."""
    clock = folder / "clock"
    clock.write_text("0")
    with stage(folder, script=MOVED_CLOCK, environment={"MUTEWATCH_BENCH_CLOCK": str(clock)}) as running:
        meeting = Meeting(running.proxy, 4 * (len(STEPS) + 1))
        running.note_sent(meeting.mute())
        for step in (0, *STEPS):
            new = clock.with_suffix(".new")
            new.write_text(str(step))
            new.replace(clock)
            running.run_for(lengths.fault / len(STEPS))
            for _ in range(3):
                running.note_sent(meeting.report())
        running.measure_recovery()
        running.settle()
        running.faults["minutes of the long call misjudged"] = meeting.misjudged()
        running.faults["steps of the clock not seen"] = max(0, len(STEPS) - _steps_seen(running))
        running.remark = f"{meeting.reported} minutes of a long call flagged"
        return running.result("clock-step")


def _steps_seen(running: Stage) -> int:
    """How often the capturing clock jumped, by what is in the store in the order it came."""
    with closing(sqlite3.connect(running.proxy.state / kill_live.STORE)) as database:
        times = [row[0] / 1e6 for row in database.execute("SELECT seen_at_us FROM messages ORDER BY rowid")]
    return sum(abs(later - earlier) > 1800 for earlier, later in pairwise(times))
