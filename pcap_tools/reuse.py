"""Tells connections apart that had the same ends one after the other."""

from collections.abc import Iterable, Mapping

from pcap_tools.capture.packets import Segment
from pcap_tools.connection import Connection
from pcap_tools.ends import Key, flow_key


def frames_of_earlier(segments: Iterable[Segment], flows: Mapping[Key, Connection]) -> set[int]:
    """Return the frames captured before a connection of `flows` began that belong to an earlier one of its ends.

    Behind the SYN of the connection everything is its own; without one, what is near its beginning.
    """
    before: list[tuple[Key, Segment]] = []
    opened: dict[Key, int] = {}  # frame of its SYN
    for segment in segments:
        key = flow_key(segment)
        connection = flows.get(key)
        if connection is None or segment.stamp.frame >= connection.begun_at:
            continue
        before.append((key, segment))
        if connection.opens_with(segment):
            opened[key] = max(segment.stamp.frame, opened.get(key, 0))
    return {
        segment.stamp.frame
        for key, segment in before
        if segment.stamp.frame < opened.get(key, 0) or not (key in opened or flows[key].is_near(segment))
    }
