"""The store: facts and findings, in SQLite or PostgreSQL through SQLAlchemy Core.

- Every write is an upsert under a key made from the traffic itself: reading it again changes nothing.
- `record` is one transaction; when it returns, what it was given survives a crash.
- What is deleted is overwritten in SQLite's file, and gone from its write-ahead log once `empty_log` did it.
- Facts (what each message said) are kept apart from findings (what it means), so that old facts can be
  judged again, and so that a restarted gateway goes on with the mute state it knew.

One `Store` belongs to one thread. Readers in other processes do not disturb it.
"""

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, func, select, tuple_
from sqlalchemy.exc import DBAPIError

from mutewatch import database
from mutewatch.errors import OperatorError
from mutewatch.identity import CANARY
from mutewatch.migrations import prepare
from mutewatch.records import Decoded, Finding, Verdict
from mutewatch.rollup import leaving, open_again, roll_up
from mutewatch.sinks.record import Record
from mutewatch.stored import STORED, Kinds, finding_row, read
from mutewatch.tables import daily, findings, inputs, key_names, kinds, last_by_key, messages, microseconds
from mutewatch.upsert import upsert

_AT_ONCE: Final = 500  # keys of one query
_STORED_KINDS: Final = "mutewatch.kinds"  # what a connection knows to be in its store


class Store:
    """An open store. Use as a context manager, or call `close`."""

    def __init__(self, location: Path | str, lock_seconds: float = 5.0) -> None:
        """Open or create the store at `location`: a path, mode 0600, or the URL of a PostgreSQL database.

        OperatorError if that cannot be done. `lock_seconds`: how long to wait for somebody else's lock.
        """
        self.location = location
        self.name = database.shown(location)  # for people: without a password
        self.path = database.file_of(location)  # None where it is no file
        self._newest_us = 0  # of the messages that were recorded here
        self._kinds = Kinds()
        self._looking: Connection | None = None
        # what is to happen, in the same transaction, before findings are written; gets their rows
        self.before_findings: Callable[[Connection, Sequence[Record]], None] = lambda _connection, _rows: None
        self._lock_seconds = lock_seconds
        self._engine = database.open_engine(location, lock_seconds)
        try:
            prepare(self._engine, self.name)
        except DBAPIError as error:
            raise OperatorError(f"{self.name}: not a store that can be used: {database.reason(error)}") from None

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        self._engine.dispose()

    def record(
        self,
        facts: Iterable[Decoded],
        found: Iterable[Finding],
        counts: Mapping[str, dict[str, Any]] | None = None,
        inherited: Collection[Hashable] = (),
    ) -> None:
        """Keep facts and findings in one transaction, durable on return. Raises sqlalchemy's DBAPIError.

        `counts`: what inputs that go on have given so far, by name. `inherited`: keys of findings that rest on what
        another process has recorded alone. These take the place of nothing that rests on as many samples, and missing
        minutes of nothing that was seen.
        """
        found = list(found)
        message_rows = last_by_key([_message_row(fact) for fact in facts], messages)
        self._newest_us = max((row["seen_at_us"] for row in message_rows), default=0) or self._newest_us
        finding_rows = last_by_key([finding_row(one, self._newest_us, self._kinds.number) for one in found], findings)
        input_rows = [{"name": name, "counts": count, "error": None} for name, count in (counts or {}).items()]
        if not message_rows and not finding_rows and not input_rows:
            return
        used = {row["kind"] for row in finding_rows} - {None}
        with self._engine.begin() as connection:
            weak = [one for one in found if one.verdict is Verdict.MISSING or one.key in inherited]
            if known := _better_known(connection, weak):
                finding_rows = [row for row in finding_rows if _key(row) not in known]
            upsert(connection, messages, message_rows)
            # of the connection: whoever restores an older database, ends it
            stored: set[int] = connection.info.setdefault(_STORED_KINDS, set())
            upsert(connection, kinds, self._kinds.rows(used - stored))
            if finding_rows:
                self.before_findings(connection, finding_rows)
                upsert(connection, findings, finding_rows, leaving)
                open_again(connection, (row["ends_at_us"] for row in finding_rows))
            upsert(connection, inputs, input_rows)
        stored |= used

    def record_input(self, name: str, counts: dict[str, Any], error: str | None) -> None:
        """Keep what one input gave; reading it again replaces that."""
        with self._engine.begin() as connection:
            upsert(connection, inputs, [{"name": name, "counts": counts, "error": error}])

    def roll_up(self, now: datetime) -> None:
        """Count all hours that are over at `now`, one transaction each."""
        is_counted = True
        while is_counted:
            with self._engine.begin() as connection:
                is_counted = roll_up(connection, now)

    def begin(self) -> AbstractContextManager[Connection]:
        """A transaction of its own, for what is not done here."""
        return self._engine.begin()

    @contextmanager
    def look(self) -> Iterator[Connection]:
        """What is read within, also by the methods of this store, is all of one moment, whoever writes meanwhile."""
        with database.one_moment(self._engine) as connection:
            self._looking = connection
            try:
                yield connection
            finally:
                self._looking = None

    def _reading(self) -> AbstractContextManager[Connection]:
        return nullcontext(self._looking) if self._looking is not None else self._engine.connect()

    def empty_log(self) -> bool:
        """Empty SQLite's write-ahead log, at once or not at all; False if a reader is in the way.

        Until then the log may hold what has been deleted.
        """
        return database.empty_log(self._engine, self._lock_seconds)

    def back_up(self, destination: Path) -> None:
        """Copy the store, as it is now, into the empty file `destination`. OperatorError where it is no file."""
        if self.path is None:
            raise OperatorError(f"{self.name} is PostgreSQL's to back up: pg_dump --format=custom --file=DEST URL")
        database.back_up(self._engine, destination)

    def facts_since(self, time: datetime, limit: int) -> Iterator[Decoded]:
        """Yield the facts of the `limit` newest messages seen from `time` on."""
        rows = select(messages.c.facts).where(messages.c.seen_at_us >= microseconds(time))
        with self._reading() as connection:
            for (facts,) in connection.execute(rows.order_by(messages.c.seen_at_us.desc()).limit(limit)):
                yield msgspec.convert(facts, Decoded)

    def findings(self) -> Iterator[Finding]:
        """Yield all findings, by client, call and time; the canary's are no client's."""
        order = (findings.c.client, findings.c.call, findings.c.ends_at_us, findings.c.minute)
        rows = select(*STORED).where(findings.c.client != CANARY)
        with self._reading() as connection:
            yield from read(connection, connection.execute(rows.order_by(*order)))

    def canary(self, call: str, since: datetime) -> tuple[list[Decoded], list[Finding]]:
        """Return what the canary's messages of one call, seen from `since` on, said, and how they were judged."""
        own = messages.c.address == CANARY
        said = select(messages.c.facts).where(own, messages.c.seen_at_us >= microseconds(since))
        judged = select(*STORED).where(findings.c.client == CANARY, findings.c.call == call)
        with self._reading() as connection:
            facts = [msgspec.convert(row.facts, Decoded) for row in connection.execute(said)]
            found = list(read(connection, connection.execute(judged)))
        return facts, found

    def inputs(self) -> list[Record]:
        """Return what was read into this store, by name."""
        with self._reading() as connection:
            return [dict(row) for row in connection.execute(select(inputs).order_by(inputs.c.name)).mappings()]

    def verdicts(self) -> dict[str, int]:
        """Return the number of findings by verdict, without the canary's."""
        query = select(findings.c.verdict, func.count()).where(findings.c.client != CANARY).group_by(findings.c.verdict)
        with self._reading() as connection:
            return dict(tuple(row) for row in connection.execute(query))

    def daily(self) -> list[Record]:
        """Return what is known of findings that were deleted for their age: day, signature, verdict, number."""
        with self._reading() as connection:
            return [dict(row) for row in connection.execute(select(daily).order_by(*daily.primary_key)).mappings()]


_key: Final = itemgetter(*key_names(findings))


def _better_known(connection: Connection, weak: Sequence[Finding]) -> set[Hashable]:
    """Return the keys of those of `weak` in whose place a minute is stored that was seen, of no fewer samples."""
    by_key = {one.key: one for one in weak}
    keys, columns, known = list(by_key), tuple_(*findings.primary_key), set[Hashable]()
    for start in range(0, len(keys), _AT_ONCE):
        these = columns.in_(keys[start : start + _AT_ONCE])
        query = select(*STORED).where(these, findings.c.verdict != Verdict.MISSING.value)
        stored = read(connection, connection.execute(query))
        known |= {one.key for one in stored if _samples(one) >= _samples(by_key[one.key])}
    return known


def _samples(finding: Finding) -> int:
    return finding.samples.number if finding.samples else 0


def _message_row(decoded: Decoded) -> Record:
    source = decoded.source
    return {
        "signature": source.signature.id,
        "body_sha256": source.body_sha256,
        "seen_at_us": microseconds(source.seen_at),
        "address": source.address or "",
        "facts": decoded,
    }
