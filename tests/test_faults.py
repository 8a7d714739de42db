"""What happens to a running proxy is never silent: bench.faults in its short form, three scenarios at a time.

Each runs in a process of its own and says what did not balance; docs/reliability.md has the long form's figures.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from bench.faults.__main__ import HEAD, row
from bench.faults.books import ANSWERED, CUT, REFUSED, Books
from bench.faults.scenarios import SCENARIOS
from bench.faults.stage import Result
from tests.live_support import ROOT

AT_ONCE = 3
NOT_SHORT = {"kill9-strict", "read-only-strict", "locked-strict", "overload", "overload-strict"}  # as others, slower
SHORT_ONES = [name for name in SCENARIOS if name not in NOT_SHORT]
COUNTED = dict.fromkeys(("messages", "recorded", "lost", "dropped", "cut", "refused", "too_large", "pending"), 0)


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest) -> Iterator[dict[str, "Future[subprocess.CompletedProcess[str]]"]]:
    """The scenarios of the chosen tests, all begun."""
    asked = {item.callspec.params.get("name") for item in request.session.items if hasattr(item, "callspec")}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {name: pool.submit(run_short, name) for name in SHORT_ONES if name in asked}


def run_short(name: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "bench.faults", name, "--short"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)


@pytest.mark.live
@pytest.mark.parametrize("name", SHORT_ONES)
def test_nothing_is_unexplained_after(name: str, runs: dict[str, "Future[subprocess.CompletedProcess[str]]"]) -> None:
    done = runs[name].result()
    if ": skipped: " in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stdout + done.stderr


def books(**changes: object) -> Books:
    """Three messages, of which all is well."""
    outcomes = {"a": ANSWERED, "b": ANSWERED, "c": CUT}
    whole: dict[str, object] = {
        "outcomes": outcomes,
        "delivered": ["a", "b"],
        "recorded": frozenset("abc"),
        "counters": COUNTED | {"messages": 3, "recorded": 3},
    }
    return Books(**(whole | changes))  # type: ignore[arg-type]


def test_books_that_balance_leave_nothing_unexplained() -> None:
    assert books().unexplained == 0


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"recorded": frozenset("ac")}, "delivered, not recorded, against the counters"),
        ({"recorded": frozenset("ac"), "counters": None}, "delivered, not recorded"),
        ({"recorded": frozenset("abcd")}, "delivered or recorded, but never sent"),
        ({"delivered": ["a"]}, "answered, but not delivered"),
        ({"delivered": ["a", "b", "b"]}, "delivered twice"),
        ({"outcomes": {"a": ANSWERED, "b": REFUSED, "c": CUT}}, "refused, but delivered"),
        ({"counters": COUNTED | {"messages": 4, "recorded": 3}}, "messages against recorded + lost + dropped"),
        ({"counters": COUNTED | {"messages": 3, "recorded": 2, "lost": 1}}, "rows against the counter of recorded"),
        ({"counters": COUNTED | {"messages": 4, "recorded": 3, "pending": 1}}, "pending at the end"),
    ],
)
def test_books_that_do_not_balance_say_where(changes: dict[str, object], told: str) -> None:
    assert told in [what for what, number in books(**changes).discrepancies() if number]


def test_what_was_forwarded_unrecorded_must_be_in_the_counters_exactly() -> None:
    lost = COUNTED | {"messages": 3, "recorded": 2, "lost": 1}
    assert books(recorded=frozenset("ac"), counters=lost).unexplained == 0
    assert books(recorded=frozenset("ac"), counters=lost, strict=True).unexplained == 1


def test_a_row_of_the_table_has_all_its_columns() -> None:
    result = Result("x", 1, 1, 1, "none", {}, 0.5, 0.1, "ok")
    assert row(result).count("|") == len(HEAD) + 1
