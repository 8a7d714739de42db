"""Says which end of a UDP conversation is the client: whose sound it is that leaves."""

from collections import OrderedDict
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final

from mutewatch.flow_records import Sender
from pcap_tools.ends import End, Key, in_order

_LOCAL: Final[tuple[IPv4Network | IPv6Network, ...]] = (
    *(IPv4Network(net) for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")),  # RFC 1918
    IPv4Network("100.64.0.0/10"),  # a provider's NAT, RFC 6598
    *(IPv4Network(net) for net in ("169.254.0.0/16", "127.0.0.0/8")),
    *(IPv6Network(net) for net in ("fc00::/7", "fe80::/10", "::1/128")),
)


class Asked:
    """Which ends asked whether the other one is there (STUN binding requests), of the last conversations."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._askers: OrderedDict[Key, set[End]] = OrderedDict()

    def add(self, source: End, target: End) -> None:
        """`source` has asked."""
        key = in_order(source, target)
        self._askers.setdefault(key, set()).add(source)
        if len(self._askers) > self._most:
            self._askers.popitem(last=False)

    def sender(self, source: End, target: End) -> Sender:
        """Return whose stream goes from `source` to `target`. Two peers that both ask: nobody knows."""
        askers: set[End] = self._askers.get(in_order(source, target), set())
        local = {end for end in (source, target) if _is_local(end[0])}
        for clients in (local, askers):
            if len(clients) == 1:
                return Sender.CLIENT if source in clients else Sender.SERVER
        return Sender.UNKNOWN


def _is_local(address: bytes) -> bool:
    one = ip_address(address)
    return any(one in network for network in _LOCAL)
