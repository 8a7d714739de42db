"""Finds beacons in what a client sent on a flow that nobody could open: messages of steady size at a steady pace.

Telemetry shows so without any key: one message a minute of about the same size. What else was sent on the flow may
be there, as long as it is the smaller part: period and size are medians, and their spread is measured around these.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from mutewatch.flow_records import Burst

LEAST = 5  # messages; fewer may be evenly spaced by chance
SHORTEST_SECONDS = 1.0  # of a period; media and keepalives of a transfer are faster
TOLERANCE = 0.1  # of the period: a gap in it is on time; Webex's minutes were 59.985 to 60.025 s apart
MOST_MISSED = 3  # periods; a gap of two or three is a message that was not sent, or not captured
REGULAR = 0.8  # share of the gaps that are on time, from which a flow is a beacon
STEADY = 0.25  # spread of the sizes, from which on they are not steady; 619 bodies of the Webex log have 0.011
_TO_DEVIATION = 1.4826  # of a normal distribution: standard deviation over median absolute deviation


@dataclass(frozen=True, slots=True)
class Beacon:
    """A client's message that comes again and again."""

    number: int  # messages
    period_seconds: float
    jitter_seconds: float  # median distance of a gap from the period
    regularity: float  # share of the gaps that are on time: one period, or up to three, give or take a tenth
    size: float  # bytes, at the median
    size_variation: float  # coefficient of variation; by median and median deviation, so that a few others do not count


def find_beacon(bursts: Sequence[Burst]) -> Beacon | None:
    """Return the beacon that these are, or None. Costs one sort of the times."""
    times = sorted(burst.at for burst in bursts if burst.at is not None)
    if len(times) < LEAST:
        return None
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(times)]
    period = median(gaps)
    if period < SHORTEST_SECONDS:
        return None
    away = [abs(gap - period * min(max(1, round(gap / period)), MOST_MISSED)) for gap in gaps]
    regularity = sum(distance <= TOLERANCE * period for distance in away) / len(gaps)
    size = median(burst.size for burst in bursts)
    variation = _TO_DEVIATION * median(abs(burst.size - size) for burst in bursts) / size if size else 0.0
    if regularity < REGULAR or variation > STEADY:
        return None
    return Beacon(len(times), round(period, 3), round(median(away), 3), round(regularity, 3), size, round(variation, 3))
