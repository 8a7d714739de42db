"""Counts of minutes by hour, exact whatever is recorded again, corrected or deleted. The SQL behind `hourly`.

Each hour with findings is counted in `hourly`, or is one of `open_hours`; then its findings are counted when somebody
asks. Rules:

- what writes findings opens their hours in the same transaction, and the hours that they leave when their time is
  corrected; what deletes findings takes them from the counts, or opens their hours;
- an hour is rolled up when it is over, in one transaction: closed first, then counted. Closing waits for whoever is
  about to open it, so no finding is missed; a reader sees all of that or nothing;
- the canary is nobody, and a minute without a time is in no hour.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, and_, bindparam, case, delete, func, insert, null, select, update

from mutewatch.identity import CANARY
from mutewatch.tables import HOUR_US, findings, hourly, key_names, meta, microseconds, open_hours
from mutewatch.upsert import Insert, upsert

LATE: Final = timedelta(minutes=5)  # what comes after the end of an hour mostly comes by then: it opens the hour again

# Made once: each commit of the live proxy asks this.
# A range: of a table that was never analyzed PostgreSQL takes nearly all rows for "not null", and walks through it.
_HAS_MOVED: Final = findings.c.left_hour.between(-(1 << 63), (1 << 63) - 1)
_LEFT: Final = select(findings.c.left_hour).where(_HAS_MOVED)

# What a finding counts as in its hour, in the order of `hourly`.
KEYS: Final = tuple(findings.c[name] for name in ("client", "signature", "verdict", "version"))
Counted = tuple[int, str, str, str, str]  # ends_at_us, and the KEYS


def leaving(statement: Insert) -> dict[str, Any]:
    """For an upsert of findings: note the hour that a row leaves because it is replaced by one of another hour."""
    before, after = findings.c.ends_at_us // HOUR_US, statement.excluded.ends_at_us // HOUR_US
    return {"left_hour": case((before != after, before), else_=null())}


def open_again(connection: Connection, written: Iterable[int]) -> None:
    """Open the hours of findings that were just written, with these ends (microseconds), and those they left."""
    hours = {ends_at_us // HOUR_US for ends_at_us in written if ends_at_us > 0}
    left = [hour for (hour,) in connection.execute(_LEFT)]
    if left:
        connection.execute(update(findings).where(_HAS_MOVED).values(left_hour=None))
    # In order, so that two who write the same hours wait for each other but not in a circle.
    upsert(connection, open_hours, [{"hour": hour} for hour in sorted(hours.union(left))])


def roll_up(connection: Connection, now: datetime, *, waits: bool = True) -> bool:
    """Count one hour that is over at `now`; False if there is none to count, or who does not wait would have to."""
    last = (microseconds(now - LATE)) // HOUR_US - 1
    due = select(open_hours.c.hour).where(open_hours.c.hour <= last).order_by(open_hours.c.hour).limit(1)
    hour = connection.execute(due).scalar()
    if hour is None or not take_turn(connection, waits=waits):
        return False
    connection.execute(delete(open_hours).where(open_hours.c.hour == hour))
    connection.execute(delete(hourly).where(hourly.c.hour == hour))
    of_hour = findings.c.ends_at_us.between(max(1, hour * HOUR_US), (hour + 1) * HOUR_US - 1)
    counted = select(bindparam("which", hour), *KEYS, func.count()).where(of_hour, findings.c.client != CANARY)
    connection.execute(insert(hourly).from_select(hourly.c.keys(), counted.group_by(*KEYS)))
    return True


def take_away(connection: Connection, gone: Iterable[Counted]) -> None:
    """Take findings that were just deleted from the counts of their hours.

    An open hour has none that hold: whatever stands there is replaced when it is rolled up.
    """
    counts = Counter((ends // HOUR_US, *what) for ends, *what in gone)
    names = key_names(hourly)
    rows = [
        {**{f"b_{name}": value for name, value in zip(names, key, strict=True)}, "fewer": number}
        for key, number in sorted(counts.items())
    ]
    if not rows:
        return
    take_turn(connection)
    this = and_(*(hourly.c[name] == bindparam(f"b_{name}") for name in names))
    connection.execute(update(hourly).where(this).values(number=hourly.c.number - bindparam("fewer")), rows)
    connection.execute(delete(hourly).where(this, hourly.c.number <= 0), rows)


def take_turn(connection: Connection, *, waits: bool = True) -> bool:
    """One at a time counts or deletes, until its transaction ends: PostgreSQL has more than one writer.

    False: somebody else does, and this one does not wait. Who `waits` too long has sqlalchemy's DBAPIError. (SQLite
    ignores FOR UPDATE.)
    """
    turn = select(meta.c.value).where(meta.c.name == "schema_version").with_for_update(skip_locked=not waits)
    return connection.execute(turn).first() is not None
