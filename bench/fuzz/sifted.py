"""Checks the sift, which looks at many packets at once, against the dissector, which looks at one."""

import struct

from pcap_tools.capture.framing import Walk
from pcap_tools.capture.packets import Datagram, Segment
from pcap_tools.capture.sift import DNS_PORTS, METHODS, QUIC_PORT, Sifted, hash_flow, sift
from pcap_tools.capture.source import Source
from pcap_tools.limits import ReadLimits
from pcap_tools.tls.handshake import client_hello_from_records


def check_sift(source: Source, found: Segment | Datagram | None) -> None:
    """Does the sift pass over the one packet of this capture, although it carries what was `found` in it?"""
    for batches in Walk(source, ReadLimits(chunk=1 << 12)).chunks():
        for batch in batches:
            sifted = sift(batch)
            if sifted.others.any():
                continue
            if isinstance(found, Segment):
                _check_segment(sifted, found)
            elif found is not None:
                assert found.source_port not in DNS_PORTS, "a DNS answer is passed over"
                is_quic = QUIC_PORT in (found.source_port, found.target_port) and found.payload[:1] >= b"\xc0"
                assert not is_quic, "a QUIC handshake is passed over"


def _check_segment(sifted: Sifted, found: Segment) -> None:
    assert sifted.tcp.tolist() == [0], "a segment is passed over"
    flow = hash_flow(found.source, found.source_port, found.target, found.target_port)
    assert sifted.flows.tolist() == [flow], "the segment has the hash of another flow"
    payload = found.payload
    is_hello = len(payload) >= 6 and client_hello_from_records(payload) is not None
    if is_hello or payload[:4] in METHODS:
        assert sifted.begun.tolist() == [0], "a beginning is passed over"


def one_packet(link_type: int, data: bytes) -> bytes:
    """Return a capture of one packet."""
    head = struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 0, link_type)
    return head + struct.pack("<IIII", 1, 0, len(data), len(data)) + data
