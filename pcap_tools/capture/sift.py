"""Says which packets of a batch are worth a closer look: by numpy, for all packets of the batch at once.

Of a packet in plain Ethernet/IP/TCP or UDP it sees the addresses, ports and first bytes of the payload. It
asks for a closer look at

- what may begin a conversation: a ClientHello, an HTTP request (or the first bytes of one), a DNS answer,
  a QUIC handshake;
- packets of the flows, and to or from the addresses, that are `Wanted`;
- everything it cannot read itself: fragments, tunnels, extension headers, other link types.

It may ask for too many (flows are known here by a 20-bit hash of their addresses and ports), never for too
few: what it passes over is TCP or UDP of other flows, or is not IP. A packet costs about 0.1 µs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pcap_tools.capture.batch import Batch, Positions
from pcap_tools.capture.packets import (
    ETHERTYPE_AT,
    GRE,
    HEADER_SIZE,
    IP_AT,
    IP_IN_IP,
    IPV4,
    IPV6,
    IPV6_HEADERS,
    IPV6_IN_IP,
    MPLS,
    PPPOE,
    TCP,
    UDP,
    VLANS,
    VXLAN_PORTS,
)

Mask = npt.NDArray[np.bool_]
Hashes = npt.NDArray[np.uint64]

DNS_PORTS = (53, 5353)
QUIC_PORT = 443
METHODS = (b"GET ", b"POST", b"PUT ", b"PATC", b"HEAD", b"DELE", b"OPTI", b"CONN", b"PRI ", b"TRAC")
_CLIENT_HELLO = 1
_TLS_DATA = 0x170303  # how a record of application data begins
_MOST_TAGS = 2  # VLAN tags that are read here; more go the slow way
_BITS = 20  # of a flow's hash
_FACTOR, _SHIFT = 2654435761, 32 - _BITS  # multiplicative hashing
_PORT_FACTOR = 40503
_ODD = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)  # 64-bit mixing, as splitmix64 does

_FIRST_BYTES = np.zeros(256, np.bool_)
_FIRST_BYTES[[0x16, *(method[0] for method in METHODS)]] = True
_METHOD_WORDS = np.array(sorted(int.from_bytes(method, "big") for method in METHODS), np.uint32)
_SLOW = np.zeros((2, 256), np.bool_)  # may TCP or UDP be further in? By version (4, 6) and protocol
_SLOW[:, [GRE, IP_IN_IP, IPV6_IN_IP, TCP, UDP]] = True
_SLOW[1, IPV6_HEADERS] = True


def header_layout(size: int, **fields: tuple[str, int]) -> np.dtype[Any]:
    """A header of `size` bytes: of each field its type and where it begins."""
    formats, offsets = zip(*fields.values(), strict=True)
    return np.dtype({"names": list(fields), "formats": formats, "offsets": offsets, "itemsize": size})


_ETHERTYPE = header_layout(8, value=(">u2", 0))
_VLAN_TAG = header_layout(4, ethertype=(">u2", 2))
IP = header_layout(
    40,
    first=("u1", 0),  # version and, of IPv4, header length
    total=(">u2", 2),
    fragment=(">u2", 6),
    protocol=("u1", 9),
    source=(">u4", 12),
    target=(">u4", 16),
    payload6=(">u2", 4),
    protocol6=("u1", 6),
    source6=(">u4", 20),
    target6=(">u4", 36),
    source_high=(">u8", 8),
    source_low=(">u8", 16),
    target_high=(">u8", 24),
    target_low=(">u8", 32),
)
TRANSPORT = header_layout(
    16,
    source=(">u2", 0),
    target=(">u2", 2),
    sequence=(">u4", 4),
    acknowledged=(">u4", 8),
    datagram=("u1", 8),
    offset=("u1", 12),
    flags=("u1", 13),
)
_PAYLOAD = header_layout(8, word=(">u4", 0), first=("u1", 0), sixth=("u1", 5))


@dataclass(slots=True)
class Sifted:
    """What was found out about a batch. All arrays of positions index its packets, ascending."""

    batch: Batch
    tcp: Positions  # the plain TCP packets
    flows: Positions  # hash of the flow of each of `tcp`
    sources: Positions  # hash of the address that each of `tcp` comes from
    targets: Positions  # and goes to
    headers: Any  # of each of `tcp`, by field
    source_ends: Hashes  # of address and port that each of `tcp` comes from
    target_ends: Hashes  # and goes to
    has_payload: Mask  # of each of `tcp`
    is_tls: Mask  # of each of `tcp`: does its payload begin with a record of encrypted TLS?
    begun: Positions  # which of `tcp` may begin a conversation
    payloads: Positions  # where in the buffer the payload of each of `begun` begins
    ends: Positions  # and where it ends
    quic: Positions  # plain UDP packets of port 443
    quic_flows: Positions  # hash of the flow of each of `quic`
    others: Mask  # which packets must be looked at for what they are: tunnels, fragments, DNS answers, QUIC handshakes
    udp: "Udp | None"  # plain UDP packets that may be media, and are not among `others`; None: nobody wants them

    def places(self, chosen: Positions) -> Iterator[tuple[int, Batch, int]]:
        """Yield of each of these packets its frame number, and where it is."""
        return ((int(self.batch.frames[index]), self.batch, index) for index in chosen.tolist())


@dataclass(frozen=True, slots=True)
class Udp:
    """UDP packets of a batch, and where in the buffer their IP headers and payloads begin."""

    packets: Positions
    ip: Positions
    payloads: Positions
    ends: Positions  # of what was captured of the payload
    sizes: Positions  # bytes of payload on the wire


class Wanted:
    """Flows and addresses of which every packet is wanted, as tables by hash; and what was passed over."""

    def __init__(self) -> None:
        self._flows = np.zeros(1 << _BITS, np.uint16)
        self._addresses = np.zeros(1 << _BITS, np.bool_)
        self._has_addresses = False
        self._passed_over = np.zeros(1 << _BITS, np.bool_)  # addresses with TCP payload that nobody looked at
        self._tls = np.zeros(1 << _BITS, np.bool_)  # flows of TLS that nobody looked at
        self._begun = np.zeros(1 << _BITS, np.bool_)  # flows of which the beginning was seen

    def add_flow(self, flow: int) -> None:
        if self._flows[flow] < 0xFFFF:
            self._flows[flow] += 1

    def drop_flow(self, flow: int) -> None:
        if 0 < self._flows[flow] < 0xFFFF:
            self._flows[flow] -= 1

    def add_address(self, address: bytes) -> None:
        self._addresses[hash_address(address)] = True
        self._has_addresses = True

    def was_passed_over(self, address: bytes) -> bool:
        """May there have been TCP payload from or to this address that nobody looked at? Never wrongly False."""
        return bool(self._passed_over[hash_address(address)])

    def headless(self) -> list[int]:
        """The hashes of TLS flows that were passed over, and of which no beginning was seen.

        At least so many there are: a flow with the hash of another, whose beginning was seen, is not among them.
        """
        return np.flatnonzero(self._tls & ~self._begun).tolist()

    def choose(self, sifted: Sifted) -> Positions:
        """Return the packets that are wanted, and those that must be looked at anyway."""
        is_wanted: Mask = self._flows[sifted.flows] > 0
        if self._has_addresses:
            is_wanted |= self._addresses[sifted.sources] | self._addresses[sifted.targets]
        is_passed = sifted.has_payload & ~is_wanted
        passed = np.flatnonzero(is_passed)
        self._passed_over[sifted.sources[passed]] = True
        self._passed_over[sifted.targets[passed]] = True
        self._tls[sifted.flows[is_passed & sifted.is_tls]] = True
        self._begun[sifted.flows[sifted.begun]] = True
        chosen = sifted.others.copy()
        chosen[sifted.tcp[is_wanted]] = True
        chosen[sifted.quic[self._flows[sifted.quic_flows] > 0]] = True
        return np.flatnonzero(chosen)


def hash_address(address: bytes) -> int:
    """The hash of an IPv4 or IPv6 address: of its last 32 bits."""
    return (int.from_bytes(address[-4:], "big") * _FACTOR & 0xFFFFFFFF) >> _SHIFT


def hash_flow(address: bytes, port: int, other: bytes, other_port: int) -> int:
    """The hash of a flow, the same for both directions."""
    ends = int.from_bytes(address[-4:], "big") + int.from_bytes(other[-4:], "big")
    return ((ends * _FACTOR + (port + other_port) * _PORT_FACTOR) & 0xFFFFFFFF) >> _SHIFT


def sift(batch: Batch, *, with_udp: bool = False) -> Sifted:
    """Sort the packets of one batch; `with_udp`: tell those that may be media, too."""
    link_type = batch.interface.link_type
    none, no = np.zeros(0, np.intp), np.zeros(0, np.bool_)
    if link_type not in ETHERTYPE_AT and link_type not in IP_AT:
        every = np.ones(len(batch.heads), np.bool_)
        headers, ends = np.zeros(0, TRANSPORT), np.zeros(0, np.uint64)
        return Sifted(
            *(batch, none, none, none, none, headers, ends, ends, no, no, none, none, none, none, none, every, None)
        )
    view = View(batch.buffer)
    start = batch.heads + batch.layout.data
    end = start + batch.captured
    ip, is_ip, others = _find_ip(view, link_type, start, end)
    header = view.read(IP, ip)
    is_v6 = header["first"] >> 4 == 6
    protocol = np.where(is_v6, header["protocol6"], header["protocol"])
    transport, size, is_plain = _find_transport(header, ip, end, is_v6, protocol)
    is_plain &= is_ip
    odd = np.flatnonzero(is_ip & ~is_plain)
    others[odd] = _SLOW[is_v6[odd].astype(np.intp), protocol[odd]] | _is_fragment(header[odd])
    tcp = np.flatnonzero(is_plain & (protocol == TCP))
    udp = np.flatnonzero(is_plain & (protocol == UDP))
    datagrams = view.read(TRANSPORT, transport[udp])
    is_quic = (datagrams["source"] == QUIC_PORT) | (datagrams["target"] == QUIC_PORT)
    others[udp] = _is_wanted_datagram(datagrams, is_quic)
    quic = udp[is_quic]
    segments = view.read(TRANSPORT, transport[tcp])
    headers = view.read(IP, ip[tcp])
    flows, sources, targets = _flows(headers, segments)
    source_ends, target_ends = _ends(headers, segments)
    header_size = (segments["offset"] >> 4).astype(np.intp) * 4
    payloads, length = transport[tcp] + header_size, size[tcp] - header_size
    ends = np.minimum(payloads + length, end[tcp])
    begun, is_tls = _begin(view, payloads, ends - payloads)
    return Sifted(
        batch=batch,
        tcp=tcp,
        flows=flows,
        sources=sources,
        targets=targets,
        headers=segments,
        source_ends=source_ends,
        target_ends=target_ends,
        has_payload=length > 0,
        is_tls=is_tls,
        begun=begun,
        payloads=payloads[begun],
        ends=ends[begun],
        quic=quic,
        quic_flows=_flows(view.read(IP, ip[quic]), datagrams[is_quic])[0],
        others=others,
        udp=_udp(udp[_is_media(datagrams) & ~others[udp]], ip, transport, size, end) if with_udp else None,
    )


def _is_media(header: Any) -> Mask:
    """Which UDP packets may be STUN, TURN's ChannelData, RTP or RTCP (RFC 7983)?"""
    first = header["datagram"]
    return np.asarray((first == 0) | ((first >= 0x40) & (first < 0xC0)))


def _udp(packets: Positions, ip: Positions, transport: Positions, size: Positions, end: Positions) -> Udp:
    payloads, sizes = transport[packets] + 8, size[packets] - 8
    return Udp(packets, ip[packets], payloads, np.minimum(payloads + sizes, end[packets]), sizes)


def _flows(ip: Any, transport: Any) -> tuple[Positions, Positions, Positions]:
    """Return the hashes of each packet's flow, of where it comes from and of where it goes."""
    is_v6 = ip["first"] >> 4 == 6
    source = np.where(is_v6, ip["source6"], ip["source"]).astype(np.uint32)
    target = np.where(is_v6, ip["target6"], ip["target"]).astype(np.uint32)
    ports = transport["source"].astype(np.uint32) + transport["target"]
    factor, shift = np.uint32(_FACTOR), np.uint32(_SHIFT)
    flows = ((source + target) * factor + ports * np.uint32(_PORT_FACTOR)) >> shift
    return flows, (source * factor) >> shift, (target * factor) >> shift


def _ends(ip: Any, transport: Any) -> tuple[Hashes, Hashes]:
    """Return the hashes, as `hash_end` makes them, of where each packet comes from and of where it goes."""
    is_v6 = ip["first"] >> 4 == 6
    found = []
    for side in ("source", "target"):
        low = np.where(is_v6, ip[f"{side}_low"], ip[side]).astype(np.uint64)
        high = np.where(is_v6, ip[f"{side}_high"], 0).astype(np.uint64)
        ends = (low ^ (high * np.uint64(_ODD[0]))) * np.uint64(_ODD[1]) + transport[side].astype(np.uint64)
        ends = (ends ^ (ends >> np.uint64(31))) * np.uint64(_ODD[2])
        found.append(ends ^ (ends >> np.uint64(29)))
    return found[0], found[1]


def hash_end(address: bytes, port: int) -> int:
    """The hash of address and port in 64 bits: of a million ends, two share one in 1 of 30 million captures."""
    value, mask = int.from_bytes(address, "big"), (1 << 64) - 1
    end = (((value & mask) ^ ((value >> 64) * _ODD[0] & mask)) * _ODD[1] + port) & mask
    end = (end ^ (end >> 31)) * _ODD[2] & mask
    return end ^ (end >> 29)


def _begin(view: "View", payloads: Positions, length: Positions) -> tuple[Positions, Mask]:
    """Return which TCP packets may begin a conversation, by the bytes that were captured, and which are TLS."""
    is_tls = np.zeros(len(payloads), np.bool_)
    found = np.flatnonzero(length > 0)
    begin = view.read(_PAYLOAD, payloads[found])
    is_tls[found] = begin["word"] >> 8 == _TLS_DATA
    maybe = np.flatnonzero(_FIRST_BYTES[begin["first"]])
    found = found[maybe]
    return found[_is_start(begin[maybe], length[found])], is_tls


def _find_ip(view: "View", link_type: int, start: Positions, end: Positions) -> tuple[Positions, Mask, Mask]:
    """Return where IP begins, of which packets it does, and which must be looked at more closely."""
    if link_type in IP_AT:
        ip = start + IP_AT[link_type]
        return ip, ip + 20 <= end, np.zeros(len(ip), np.bool_)
    ip = start + HEADER_SIZE[link_type]
    ethertype = view.read(_ETHERTYPE, start + ETHERTYPE_AT[link_type])["value"].astype(np.uint16)
    for _ in range(_MOST_TAGS):
        tagged = np.flatnonzero(_is_vlan(ethertype))
        if not len(tagged):
            break
        ethertype[tagged] = view.read(_VLAN_TAG, ip[tagged])["ethertype"]
        ip[tagged] += 4
    others = (_is_vlan(ethertype) | (ethertype == MPLS) | (ethertype == PPPOE)) & (ip <= end)
    return ip, ((ethertype == IPV4) | (ethertype == IPV6)) & (ip + 20 <= end), others


def _find_transport(
    header: Any, ip: Positions, end: Positions, is_v6: Mask, protocol: Any
) -> tuple[Positions, Positions, Mask]:
    """Return where TCP or UDP begins, the bytes from there on, and of which packets all that is plain."""
    first = header["first"]
    size = np.where(is_v6, 40, (first & 15).astype(np.intp) * 4)
    said = np.where(is_v6, header["payload6"], header["total"]).astype(np.intp)
    total = np.where(said == 0, end - ip, said + is_v6 * 40)  # 0: segmentation offload
    transport = ip + size
    is_tcp = protocol == TCP
    is_whole = is_v6 | ((first >> 4 == 4) & (size >= 20) & ~_is_fragment(header))
    is_plain = is_whole & (is_tcp | (protocol == UDP)) & (transport + np.where(is_tcp, 20, 8) <= end)
    return transport, total - size, is_plain


def _is_fragment(header: Any) -> Mask:
    """Is this IPv4 packet one of several?"""
    return np.asarray((header["fragment"] & 0x3FFF != 0) & (header["first"] >> 4 == 4))


def _is_wanted_datagram(header: Any, is_quic: Mask) -> Mask:
    """Which UDP packets are DNS answers, QUIC handshakes or VXLAN?"""
    source, target = header["source"].astype(np.uint16), header["target"].astype(np.uint16)
    found: Mask = is_quic & (header["datagram"] >= 0xC0)
    for port in DNS_PORTS:
        found |= source == port
    for port in VXLAN_PORTS:
        found |= target == port
    return found


def _is_start(begin: Any, length: Positions) -> Mask:
    """Is this the beginning of a ClientHello or of an HTTP request? Of few bytes: may it be?"""
    words = begin["word"].astype(np.uint32)
    is_hello = (words >> 8 >= 0x160300) & (words >> 8 <= 0x160304) & (begin["sixth"] == _CLIENT_HELLO)
    nearest = np.minimum(np.searchsorted(_METHOD_WORDS, words), len(METHODS) - 1)
    return np.asarray(is_hello | (_METHOD_WORDS[nearest] == words) | (length < 6))


def _is_vlan(ethertype: Any) -> Mask:
    return np.asarray((ethertype == VLANS[0]) | (ethertype == VLANS[1]) | (ethertype == VLANS[2]))


class View:
    """The buffer of a batch, to be read at many places at once."""

    def __init__(self, buffer: bytearray) -> None:
        self._buffer = buffer

    def read(self, layout: np.dtype[Any], at: Positions) -> Any:
        """Return the headers that begin at these bytes. To copy them without regard to their fields is faster."""
        size = layout.itemsize
        raw = np.ndarray((len(self._buffer) - size + 1,), f"V{size}", self._buffer, 0, (1,))
        return raw[at].view(layout)
