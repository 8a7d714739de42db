"""Damage: what happens to packets between the wire and the file. Each function gives a new list.

Functions on segments know flow and side; functions on frames know only bytes.
"""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import replace

from tests.captures.conversations import HOST
from tests.captures.links import Frame
from tests.captures.packets import MICROSECOND, SYN, Segment


def reordered(rows: list[Segment]) -> list[Segment]:
    """Swap two neighbours in each flight: the first two or, in every second flight, the last two."""
    rows, at, late = list(rows), 0, False
    while at < len(rows) - 2:
        one, two, three = rows[at : at + 3]
        if not (one.data and two.data and _same(one, two)):
            at += 1
            continue
        if late and three.data and _same(two, three):
            rows[at + 1], rows[at + 2] = replace(three, time=two.time), replace(two, time=three.time)
        else:
            rows[at], rows[at + 1] = replace(two, time=one.time), replace(one, time=two.time)
        at, late = at + 3, not late
    return rows


def flights_reversed(rows: list[Segment]) -> list[Segment]:
    """Store the packets of each flight last first."""
    groups = itertools.groupby(rows, key=lambda row: (row.flow, row.from_client, bool(row.data)))
    flights = [list(group) for _, group in groups]
    return [
        replace(row, time=place.time)
        for flight in flights
        for row, place in zip(flight[::-1] if flight[0].data else flight, flight, strict=True)
    ]


def far_reordered(rows: list[Segment], distance: int = 40, every: int = 25) -> list[Segment]:
    """Let each `every`-th client data packet arrive `distance` packets late."""
    late = set(_client_data(rows)[every::every])
    order = sorted(range(len(rows)), key=lambda at: at + (distance + 0.5 if at in late else 0))
    return [replace(rows[at], time=row.time) for at, row in zip(order, rows, strict=True)]


def server_hello_first(rows: list[Segment]) -> list[Segment]:
    """Store the first data of each server before the first data of its client, as two capture queues do."""
    rows = list(rows)
    for flow in {row.flow for row in rows}:
        hello = next(at for at, row in enumerate(rows) if row.flow == flow and row.from_client and row.data)
        answers = [at for at, row in enumerate(rows) if row.flow == flow and not row.from_client and row.data]
        moved = [rows[at] for at in answers[:2]]
        kept = [row for at, row in enumerate(rows) if at not in answers[:2]]
        rows = [*kept[:hello], *(replace(row, time=rows[hello].time) for row in moved), *kept[hello:]]
    return rows


def duplicated(rows: list[Segment], every: int = 1) -> list[Segment]:
    """Repeat each `every`-th packet at once, as a mirror port does."""
    return [row for at, one in enumerate(rows) for row in [one] * (2 if at % every == 0 else 1)]


def overlapping(rows: list[Segment], shift: int = 500) -> list[Segment]:
    """Send the end of each data packet again together with the start of the next."""
    found: list[Segment] = []
    last: dict[tuple[int, bool], Segment] = {}
    for row in rows:
        before = last.get((row.flow, row.from_client))
        found.append(row)
        if before and row.data and before.seq + len(before.data) == row.seq and len(before.data) > shift:
            data = before.data[-shift:] + row.data[:shift]
            found.append(replace(row, seq=row.seq - shift, data=data))
        if row.data:
            last[row.flow, row.from_client] = row
    return found


def retransmitted_larger(rows: list[Segment]) -> list[Segment]:
    """Cut each full client packet short at first, and send it whole after its successor."""
    found: list[Segment] = []
    held: Segment | None = None
    for row in rows:
        if held is not None:
            found += [row, replace(held, time=row.time + MICROSECOND)]
            held = None
        elif row.from_client and len(row.data) > 1_000:
            found.append(replace(row, data=row.data[:700]))
            held = row
        else:
            found.append(row)
    return [*found, held] if held else found


def without(rows: list[Segment], lost: Iterable[int]) -> list[Segment]:
    """Lose the client's data packets with these ordinals."""
    places = _client_data(rows)
    gone = {places[number] for number in lost}
    return [row for at, row in enumerate(rows) if at not in gone]


def without_each(rows: list[Segment], every: int, first: int = 20) -> list[Segment]:
    """Lose each `every`-th data packet of the client from the `first` on."""
    return without(rows, range(first, len(_client_data(rows)), every))


def without_server(rows: list[Segment], lost: Iterable[int]) -> list[Segment]:
    """Lose the server's data packets with these ordinals."""
    places = [at for at, row in enumerate(rows) if row.data and not row.from_client]
    gone = {places[number] for number in lost}
    return [row for at, row in enumerate(rows) if at not in gone]


def from_middle(rows: list[Segment], count: int = 20, flow: int = 0) -> list[Segment]:
    """Miss the first `count` packets of one flow."""
    gone = [at for at, row in enumerate(rows) if row.flow == flow][:count]
    return [row for at, row in enumerate(rows) if at not in gone]


def one_side(rows: list[Segment], *, client: bool) -> list[Segment]:
    """See one direction only."""
    return [row for row in rows if row.from_client == client]


def without_syn(rows: list[Segment]) -> list[Segment]:
    """Miss the packets that open connections."""
    return [row for row in rows if not row.flags & SYN]


def split(rows: list[Segment], at: Callable[[Segment], list[int]]) -> list[Segment]:
    """Cut the first data packet of each client at the offsets that `at` gives for it."""
    found: list[Segment] = []
    seen: set[int] = set()
    for row in rows:
        if not (row.from_client and row.data) or row.flow in seen:
            found.append(row)
            continue
        seen.add(row.flow)
        cuts = [0, *at(row), len(row.data)]
        for number, (start, end) in enumerate(itertools.pairwise(cuts)):
            time = row.time + number * 600 // len(cuts) * MICROSECOND
            found.append(replace(row, time=time, seq=(row.seq + start) % (1 << 32), data=row.data[start:end]))
    return found


def bytewise(row: Segment) -> list[int]:
    """Cuts for `split`: after each byte."""
    return list(range(1, len(row.data)))


def in_server_name(row: Segment) -> list[int]:
    """Cuts for `split`: in the middle of the SNI."""
    return [row.data.index(HOST.encode()) + 6]


def in_record_head(row: Segment) -> list[int]:
    """Cuts for `split`: in the head of the TLS record and in that of the handshake message."""
    return [2, 4, 7]


def backwards(rows: list[Segment], every: int = 10, by: int = 3 * 10**9) -> list[Segment]:
    """Set the clock back by `by` ns for each `every`-th packet; their order stays."""
    return [replace(row, time=row.time - by) if at % every == 0 else row for at, row in enumerate(rows)]


def snapped(rows: list[Frame], length: int) -> list[Frame]:
    """Keep the first `length` bytes of each frame."""
    return [replace(row, data=row.data[:length], length=row.original) for row in rows]


def fragments_reversed(rows: list[Frame]) -> list[Frame]:
    """Store the fragments of each packet last first; they are the frames of one microsecond."""
    groups = itertools.groupby(rows, key=lambda row: row.time // MICROSECOND)
    return [row for _, group in groups for row in list(group)[::-1]]


def _client_data(rows: list[Segment]) -> list[int]:
    return [at for at, row in enumerate(rows) if row.data and row.from_client]


def _same(one: Segment, other: Segment) -> bool:
    return (one.flow, one.from_client) == (other.flow, other.from_client)
