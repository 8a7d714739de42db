"""Which UDP payloads are RTP packets, and what their headers say: by numpy, for all payloads at once.

- RTP is told from STUN, DTLS and TURN by the first byte (RFC 7983), from RTCP by the second (RFC 5761, 4).
- RTP inside TURN ChannelData (RFC 8656, 12.4) is taken out of it. What TURN wraps in Send and Data indications,
  or carries over TCP or TLS, is not seen.
- Header extensions are read in both forms of RFC 8285; of their elements those of one byte are kept, with
  ids 1 to 15. In SRTP they are authenticated and not encrypted (RFC 3711, 3.1), unless RFC 6904 or 9335 is in use.

This is a test of each packet by itself; what only looks like RTP is sorted out by `streams`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pcap_tools.capture.batch import Positions
from pcap_tools.capture.sift import Mask, View, header_layout
from pcap_tools.rtp.datagrams import Arrivals, Words

IDS = 16  # ids of elements that are looked at are smaller

_FIXED = 12  # bytes of a header without contributing sources and extension (RFC 3550, 5.1)
_RTCP = (192, 223)  # second bytes of packets that are RTCP
_ONE_BYTE, _TWO_BYTES, _CRYPTEX = 0xBEDE, 0x100, (0xC0DE, 0xC2DE)  # profiles; of the second the upper 12 bits
_MOST_ELEMENTS = 24  # elements and bytes of padding of one packet that are looked at; WebRTC sends two to six
_HEAD = header_layout(
    _FIXED, first=("u1", 0), second=("u1", 1), sequence=(">u2", 2), timestamp=(">u4", 4), ssrc=(">u4", 8)
)
_EXTENSION = header_layout(4, profile=(">u2", 0), words=(">u2", 2))
_CHANNEL = header_layout(4, length=(">u2", 2))
_BINDING = header_layout(8, kind=(">u2", 0), cookie=(">u4", 4))
_BINDING_REQUEST, _STUN_COOKIE = 1, 0x2112A442  # RFC 8489, 5
_MIX = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)  # as splitmix64 does


@dataclass(frozen=True, slots=True)
class Packets:
    """RTP packets. `rows`: which of the arrivals."""

    rows: Positions
    begins: Positions
    ends: Positions
    sizes: Positions
    heads: Any  # by field: first, second, sequence, timestamp, ssrc

    def take(self, chosen: Positions) -> "Packets":
        return Packets(
            self.rows[chosen],
            self.begins[chosen],
            self.ends[chosen],
            self.sizes[chosen],
            self.heads[chosen],
        )


@dataclass(frozen=True, slots=True)
class Details:
    """What else is said in the headers of some packets."""

    payload_sizes: Positions  # with the tag of SRTP
    has_extension: Mask
    is_sealed: Mask  # is the extension encrypted (RFC 9335)?
    elements: npt.NDArray[np.int16]  # shape (packets, IDS): the byte of the element with this id; -1: there is none


def find_packets(arrivals: Arrivals) -> Packets:
    """Return what looks like RTP packets, in order of arrival."""
    begins, ends, sizes = arrivals.begins, arrivals.ends, arrivals.sizes
    kind = arrivals.firsts >> 6  # 1: ChannelData, 2: RTP or RTCP
    rows = np.flatnonzero(((kind == 1) | (kind == 2)) & (ends - begins >= _FIXED))
    view = View(arrivals.buffer)
    begins, ends, sizes, kind = begins[rows], ends[rows], sizes[rows], kind[rows]
    inside = np.flatnonzero(kind == 1)
    if len(inside):
        length = view.read(_CHANNEL, begins[inside])["length"].astype(np.intp)
        room = sizes[inside] - 4 - length
        kind[inside[(room < 0) | (room > 3)]] = 0  # what follows is padding
        begins[inside] += 4
        sizes[inside] = length
        ends[inside] = np.minimum(ends[inside], begins[inside] + length)
    heads = view.read(_HEAD, begins)
    second, first = heads["second"], heads["first"]
    least = _FIXED + 4 * ((first & 15).astype(np.intp) + (first >> 4 & 1))
    is_rtp = (kind > 0) & (first >> 6 == 2) & ((second < _RTCP[0]) | (second > _RTCP[1]))
    is_rtp &= (sizes >= least) & (ends - begins >= _FIXED)
    chosen = np.flatnonzero(is_rtp)
    rows, heads = rows[chosen], heads[chosen]
    return Packets(rows, begins[chosen], ends[chosen], sizes[chosen], heads)


def stream_keys(arrivals: Arrivals, packets: Packets) -> Words:
    """Hash addresses, ports, SSRC and payload type to 64 bits: who could find two with one hash can as well forge."""
    heads = packets.heads
    source, target, ports = arrivals.addresses(packets.rows)
    keys = source * np.uint64(_MIX[0]) + (ports << np.uint64(32) | heads["ssrc"])
    keys = (keys ^ (keys >> np.uint64(31))) * np.uint64(_MIX[1]) + target
    keys = (keys ^ (keys >> np.uint64(29))) * np.uint64(_MIX[2]) + (heads["second"] & 127)
    return np.asarray((keys ^ (keys >> np.uint64(32))) * np.uint64(_MIX[1]))


def binding_requests(arrivals: Arrivals) -> Positions:
    """Return which arrivals are STUN binding requests: a client asks, a server that is ICE-lite never does."""
    rows = np.flatnonzero((arrivals.firsts == 0) & (arrivals.ends - arrivals.begins >= 20))
    head = View(arrivals.buffer).read(_BINDING, arrivals.begins[rows])
    is_one: Mask = (head["kind"] == _BINDING_REQUEST) & (head["cookie"] == _STUN_COOKIE)
    return rows[is_one]


def read_details(arrivals: Arrivals, packets: Packets) -> Details:
    """Read sizes and header extensions. Of what was not captured, nothing is said."""
    first = packets.heads["first"]
    has_extension = (first & 0x10) > 0
    at = packets.begins + _FIXED + 4 * (first & 15).astype(np.intp)
    header = View(arrivals.buffer).read(_EXTENSION, np.minimum(at, packets.ends))
    is_there = has_extension & (at + 4 <= packets.ends)
    words = np.where(is_there, header["words"], 0).astype(np.intp)
    after = at + has_extension * 4 + words * 4
    profile = np.where(is_there, header["profile"], 0)
    return Details(
        payload_sizes=np.maximum(packets.sizes - (after - packets.begins), 0),
        has_extension=has_extension,
        is_sealed=np.isin(profile, _CRYPTEX),
        elements=_elements(arrivals, profile, at + 4, np.minimum(after, packets.ends)),
    )


def _elements(arrivals: Arrivals, profile: Any, begins: Positions, ends: Positions) -> npt.NDArray[np.int16]:
    """Return the elements of one byte: each step of the loop reads one element of every packet."""
    octets = arrivals.octets
    found = np.full((len(begins), IDS), -1, np.int16)
    is_long = profile >> 4 == _TWO_BYTES
    at = begins.copy()
    left = np.flatnonzero((profile == _ONE_BYTE) | is_long)
    for _ in range(_MOST_ELEMENTS):
        left = left[at[left] < ends[left]]
        if not len(left):
            break
        here, long = at[left], is_long[left]
        head, size = octets[here], octets[here + 1].astype(np.intp)
        number = np.where(long, head, head >> 4)
        size = np.where(long, size, (head & 15) + 1)
        is_padding = np.where(long, head, number) == 0
        data = here + 1 + long
        is_kept = ~is_padding & (size == 1) & (number < IDS) & (data < ends[left])
        is_end = ~long & (number == IDS - 1)  # RFC 8285, 4.2: what follows is not to be looked at
        kept = np.flatnonzero(is_kept & ~is_end)
        found[left[kept], number[kept]] = octets[data[kept]]
        at[left] = np.where(is_padding, here + 1, data + size)
        left = left[~is_end]
    return found
