"""The limits of `mutewatch discover`, with their origins; those of one body are in `mutewatch.limits`.

What hits one is counted in `Left` (`gather.py`) and shown.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DiscoverLimits:
    series: int = 20_000  # fields, for each client anew; the real Webex log has 150, a call of ten people 1,500
    readings: int = 10_000_000  # in all: 160 MB. An hour of 100 messages a minute with 200 fields has 1,200,000
    readings_per_message: int = 20_000  # as many values as one JSON text may have
    names: int = 50_000  # objects remembered by their id, so that a later report without their kind is understood
    names_per_place: int = 64  # names told apart in one place; seen 12
    bins: int = 7_200  # of one panel: two hours of seconds; longer captures get wider bins
    panels: int = 2_000  # fields that come together, in one rhythm
    seconds_of_audio: int = 24 * 3600


DEFAULT_DISCOVER_LIMITS = DiscoverLimits()
