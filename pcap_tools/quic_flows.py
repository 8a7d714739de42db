"""Follows the QUIC connections of a capture that lead to telemetry hosts: they are seen, not read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pcap_tools.capture.packets import Datagram
from pcap_tools.capture.quic import InitialHellos
from pcap_tools.capture.sift import hash_flow
from pcap_tools.connection import Tally
from pcap_tools.ends import End
from pcap_tools.limits import ReadLimits
from pcap_tools.stream import Side


@dataclass(slots=True)
class QuicFlow:
    """A QUIC connection to a telemetry host."""

    client: End
    server: End
    host: str | None
    tally: Tally
    counted: int = 0  # frame number up to which packets are in the tally


class QuicFlows:
    """Takes datagrams of port 443. A connection is known by its server name, or by its server's address."""

    def __init__(
        self,
        is_host: Callable[[str], bool],
        addresses: Mapping[bytes, str | None],
        limits: ReadLimits,
    ) -> None:
        """`addresses`: those of telemetry hosts, as far as known."""
        self.found: dict[tuple[End, End], QuicFlow] = {}
        self._is_host, self._addresses, self._limits = is_host, addresses, limits
        self._hellos = InitialHellos()

    def discover(self, packet: Datagram) -> int | None:
        """Look whether this packet of a client begins a connection that is one of ours; return its flow's hash."""
        client, server = (packet.source, packet.source_port), (packet.target, packet.target_port)
        is_known = (client, server) in self.found or len(self.found) >= self._limits.streams
        if is_known or packet.payload[:1] < b"\xc0":  # no long header (RFC 9000, 17.2): no handshake, perhaps not QUIC
            return None
        hello = self._hellos.feed(packet.payload)
        host = hello.sni if hello and hello.sni and self._is_host(hello.sni) else None
        if host is None and server[0] not in self._addresses:
            return None
        host = host or self._addresses.get(server[0])
        self.found[client, server] = QuicFlow(client, server, host, Tally(packet.stamp, packet.stamp))
        return hash_flow(*client, *server)

    def take(self, packet: Datagram) -> None:
        """Count the packet for its connection, if that is one of ours."""
        source, target = (packet.source, packet.source_port), (packet.target, packet.target_port)
        side = Side.CLIENT if (source, target) in self.found else Side.SERVER
        flow = self.found.get((source, target) if side is Side.CLIENT else (target, source))
        if flow is not None and packet.stamp.frame > flow.counted:  # a second pass shows them again
            flow.counted = packet.stamp.frame
            flow.tally.add(side, len(packet.payload), packet.stamp, self._limits.bursts)
