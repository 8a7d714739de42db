"""The two ends of a TCP connection, as what it is known by."""

from pcap_tools.capture.packets import Segment

End = tuple[bytes, int]  # address, port
Key = tuple[End, End]  # both ends, the lower first: the same for both directions


def flow_key(segment: Segment) -> Key:
    return in_order((segment.source, segment.source_port), (segment.target, segment.target_port))


def in_order(one: End, other: End) -> Key:
    return (one, other) if one < other else (other, one)
