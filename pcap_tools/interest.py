"""What the operator looks for in a capture, and what the capture itself says of it: whose an address is."""

from collections.abc import Callable
from dataclasses import dataclass, field

from pcap_tools.connection import Basis
from pcap_tools.ends import End
from pcap_tools.http.draft import Keeps, keep_none
from pcap_tools.tls.handshake import ClientHello
from pcap_tools.tls.keylog import KeyLog


@dataclass(slots=True)
class Interest:
    """What the operator looks for. `is_host` says of a host name whether it is one."""

    is_host: Callable[[str], bool]
    addresses: dict[bytes, str | None] = field(default_factory=dict)  # and whose they are
    keeps: Keeps = keep_none  # the bodies of which responses are wanted too?
    media: bool = False  # and RTP streams?
    others_by_key: bool = True  # and flows that name another host, if their key is in the log?


class Known:
    """Names and addresses of interest, as far as they are known by now."""

    def __init__(self, interest: Interest, keylog: KeyLog, most: int) -> None:
        self.addresses = dict(interest.addresses)  # and those that were found out
        self._interest, self._keylog, self._most = interest, keylog, most
        self._names: dict[str, bool] = {}  # what the operator's interest said of them

    def is_host(self, name: str) -> bool:
        known = self._names.get(name)
        if known is None:
            known = self._interest.is_host(name)
            if len(self._names) < self._most:
                self._names[name] = known
        return known

    def add(self, address: bytes, host: str | None) -> bool:
        """From now on this address is known to be a telemetry host's; False if no more can be remembered."""
        if len(self.addresses) >= self._most:
            return False
        self.addresses.setdefault(address, host)
        return True

    def basis(self, hello: ClientHello, server: bytes) -> Basis | None:
        """Why a TLS flow is ours; None: it is not."""
        if hello.sni is not None and self.is_host(hello.sni):
            return Basis.SNI
        is_hidden = hello.sni is None or hello.has_ech
        if hello.random in self._keylog and (is_hidden or self._interest.others_by_key):
            return Basis.KEY
        if server in self._interest.addresses or (server in self.addresses and is_hidden):
            return Basis.ADDRESS
        return None

    def is_server(self, end: End, other: End) -> bool:
        """Of a conversation without a beginning: is `end` the server's? Clients have the higher ports."""
        for one, is_it in ((end, True), (other, False)):
            if self.addresses.get(one[0]) is not None:
                return is_it
        return end[1] < other[1]
