"""Measure the store against its limits, in SQLite and PostgreSQL.

    python -m bench.store                          # a million minutes of 250 clients in each; minutes of time
    python -m bench.store --minutes 100000 --only sqlite

Prints a Markdown table. Exit code 1 if a limit is not kept. `ingest` is the whole of `Store.record`: records made to
JSON, upserted with all indexes, committed; findings alone (as `scan` writes them in the end) and with a message each
(as the gateway does). Queries are the best of 25 through `mutewatch.history`, as the page asks them, with all minutes
but the last hour's rolled up; limits are for a machine that does nothing else, so they are held against the best of the
queries and the fastest tenth of the batches. PostgreSQL is one that the benchmark makes, with Debian's settings.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import text

from bench.store.made import BEGIN, batches
from mutewatch.history import History
from mutewatch.report.payload import Role, client_minutes, summary
from mutewatch.retention import STEP_ROWS, Periods, Retention
from mutewatch.rollup import roll_up
from mutewatch.store import Store
from tests.postgres_support import running_postgresql

BATCH: Final = 10_000  # minutes; `scan` writes all that it found at once
DAY: Final = timedelta(days=1)
ROUNDS: Final = 25


@dataclass(frozen=True, slots=True)
class Row:
    """One measured thing. `limit`: what it is to keep; None: there is none."""

    what: str
    value: float
    unit: str
    limit: float | None = None

    @property
    def is_kept(self) -> bool:
        is_rate = self.unit.endswith("/s")
        return self.limit is None or (self.value >= self.limit if is_rate else self.value <= self.limit)


def seconds(function: Callable[[], object]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def best_ms(function: Callable[[], object], rounds: int = ROUNDS) -> float:
    return min(seconds(function) for _ in range(rounds)) * 1000


def ingest(store: Store, minutes: int, clients: int, *, with_facts: bool) -> tuple[float, float]:
    """Record; return minutes a second over all batches, and in the fastest tenth of them."""
    took = []
    for facts, found in batches(minutes, clients, BATCH):
        began = time.perf_counter()
        store.record(facts if with_facts else (), found)
        took.append((time.perf_counter() - began) / len(found))
    fast = sorted(took)[: max(1, len(took) // 10)]
    return 1 / statistics.mean(took), 1 / statistics.mean(fast)


def measure(place: Path | str, other: Path | str, minutes: int, clients: int) -> Iterator[Row]:
    """Fill `place`, and `other` with messages too, and ask."""
    with Store(other) as store:
        share = max(BATCH, minutes // 10)
        rate, fast = ingest(store, share, clients, with_facts=True)
        yield Row(f"ingest with messages, batches of {BATCH:,}", rate, "minutes/s")
        yield Row("the fastest tenth of the batches", fast, "minutes/s")
    with Store(place) as store:
        rate, fast = ingest(store, minutes, clients, with_facts=False)
        yield Row(f"ingest, batches of {BATCH:,}", rate, "minutes/s")
        yield Row("the fastest tenth of the batches", fast, "minutes/s", 20_000)
        yield Row("size", size(store) / minutes, "bytes/minute")
        end = BEGIN + timedelta(minutes=minutes // clients)
        yield from roll_ups(store, end)
        if not isinstance(place, Path):
            with store.begin() as connection:
                connection.execute(text("ANALYZE"))
        since = end - DAY
        with store.begin() as connection:
            history = History(connection)
            client, day = "client-000000000007", (since, end, Role.ANALYST)
            yield Row("a client's day: hours", best_ms(lambda: history.hours(since, end, client)), "ms", 10)
            yield Row("a client's day: columns", best_ms(lambda: history.columns(client, since, end)), "ms", 10)
            yield Row("a client's day: findings", best_ms(lambda: list(history.minutes(client, since, end))), "ms")
            yield Row("top clients of 24 h", best_ms(lambda: history.clients(since, end, 20)), "ms", 100)
            yield Row("hours of all clients, 24 h", best_ms(lambda: history.hours(since, end)), "ms")
            yield Row("days of all clients, all time", best_ms(lambda: history.days(BEGIN, end)), "ms")
            yield Row("the page: a client's day", best_ms(lambda: client_minutes(history, client, *day)), "ms", 10)
            month = best_ms(lambda: summary(history, BEGIN.date(), Role.ANALYST), rounds=5)
            yield Row("the page: a month", month, "ms", 1000)
            yield Row("first and last minute", best_ms(history.span), "ms")
        yield from prunes(store, end)


def roll_ups(store: Store, end: datetime) -> Iterator[Row]:
    took = []
    is_counted = True
    while is_counted:
        began = time.perf_counter()
        with store.begin() as connection:
            is_counted = roll_up(connection, end)
        took.append(time.perf_counter() - began)
    yield Row("rolling up an hour, median", statistics.median(took) * 1000, "ms")


def prunes(store: Store, end: datetime) -> Iterator[Row]:
    """A hundred steps of retention, a day's minutes too old."""
    retention = Retention(store, Periods(minutes_days=1))
    retention.trust(end)
    took = [seconds(lambda: retention.step(end)) for _ in range(100)]
    yield Row(f"a step of retention, {STEP_ROWS} findings, median", statistics.median(took) * 1000, "ms")
    yield Row("the slowest of 100", max(took) * 1000, "ms")


def size(store: Store) -> int:
    if isinstance(store.location, Path):
        store.empty_log()
        return store.location.stat().st_size
    with store.begin() as connection:
        tables = "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c WHERE relkind = 'r' AND relnamespace = "
        found: int = connection.execute(text(f"{tables} current_schema()::regnamespace")).scalar_one()
    return found


@contextmanager
def places(which: str) -> Iterator[tuple[Path | str, Path | str]]:
    if which == "sqlite":
        with tempfile.TemporaryDirectory(prefix="mutewatch-bench-") as folder:
            yield Path(folder) / "a.db", Path(folder) / "b.db"
    else:
        with running_postgresql(settings={}) as server:
            yield server.new_place(), server.new_place()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.store", description="Measure the store.")
    parser.add_argument("--minutes", type=int, default=1_000_000)
    parser.add_argument("--clients", type=int, default=250)
    parser.add_argument("--only", choices=("sqlite", "postgresql"))
    options = parser.parse_args(arguments)
    found: dict[str, list[Row]] = {}
    for which in [options.only] if options.only else ["sqlite", "postgresql"]:
        with places(which) as (place, other):
            found[which] = []
            for row in measure(place, other, options.minutes, options.clients):
                print(f"{which}: {row.what}: {row.value:,.1f} {row.unit}", file=sys.stderr)
                found[which].append(row)
    print(f"{options.minutes:,} minutes of {options.clients} clients.\n")
    print(f"| | {' | '.join(found)} | limit |\n|---|{'--:|' * len(found)}--:|")
    for rows in zip(*found.values(), strict=True):
        limit = "" if rows[0].limit is None else f"{rows[0].limit:,.0f}"
        cells = " | ".join(f"{row.value:,.0f}" if row.value >= 100 else f"{row.value:.1f}" for row in rows)
        print(f"| {rows[0].what}, {rows[0].unit} | {cells} | {limit} |")
    return 0 if all(row.is_kept for rows in found.values() for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
