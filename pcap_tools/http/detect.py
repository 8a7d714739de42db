"""Says which version of HTTP a connection speaks, from its first bytes.

- The client's preface is HTTP/2 (RFC 9113, 3.4), a request line or status line is HTTP/1;
- where the beginning is missing, a first line at the start of a piece is HTTP/1, a chain of plausible
  frames HTTP/2;
- what the TLS handshake agreed on (ALPN) needs no looking.
"""

from pcap_tools.http.account import Found
from pcap_tools.http.frames import PREFACE, find_chain
from pcap_tools.http.heads import looks_like_start, parse_head
from pcap_tools.http.inbox import Inbox
from pcap_tools.http.limits import HttpLimits

_BY_ALPN = {"h2": Found.HTTP2, "http/1.1": Found.HTTP1, "http/1.0": Found.HTTP1}
_FIRST_LINE = 16 << 10  # bytes of a first line; servers take 8 KiB


def detect(client: Inbox, server: Inbox, alpn: str | None, limits: HttpLimits) -> Found:
    """Return HTTP1, HTTP2 or UNDECIDED (more must come)."""
    if alpn in _BY_ALPN:
        return _BY_ALPN[alpn]
    for inbox in (client, server):
        while (found := _look(inbox)) is Found.UNDECIDED and inbox.gap is not None:
            inbox.cross()
            inbox.crossed = True
        if found is not Found.UNDECIDED:
            return found
        if len(inbox.data) > limits.undecided:
            inbox.skip(len(inbox.data))
            inbox.crossed = True
    return Found.UNDECIDED


def _look(inbox: Inbox) -> Found:
    """Return what the bytes of one side show."""
    data = inbox.data
    if data.startswith(PREFACE):
        return Found.HTTP2
    if PREFACE.startswith(data):
        return Found.UNDECIDED
    if not inbox.crossed:
        start = len(data) - len(data.lstrip(b"\r\n"))
        end = data.find(b"\n", start, _FIRST_LINE)
        if end >= 0 and parse_head(inbox.side, bytes(data[start:end])) is not None:
            return Found.HTTP1
    if any(looks_like_start(inbox.side, data, start) for start in inbox.starts()):
        return Found.HTTP1
    offset, is_chain = find_chain(inbox, is_last=inbox.ended)
    return Found.HTTP2 if is_chain and (inbox.crossed or offset == 0) else Found.UNDECIDED
