"""Which connections are opened and read: those to the telemetry hosts of signatures, and no others.

Pure decisions, no mitmproxy. What a pattern means is the core's to say (`host_expression`). Rules:

- the name decides (SNI, or the Host of plain HTTP), never an address: a connection without a name passes;
- patterns are anchored on both sides and `*` stays inside one DNS label, so that neither
  `evil-webex.com` nor `tsa3.webex.com.evil` is matched;
- the same patterns are given to mitmproxy as `allow_hosts`, because a hook that raises makes mitmproxy
  intercept (observed with 11.0.2), and with both in place it takes two faults to open a private connection.
"""

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache

from mutewatch.signatures.model import host_expression, matched_pattern

LONGEST_NAME = 254  # characters of a host name, with the dot at its end (RFC 1035, 2.3.4)
REMEMBERED = 4096  # names
PATTERN = re.compile(r"[a-z0-9*_-]+(\.[a-z0-9*_-]+)+", re.IGNORECASE)


def host_regex(patterns: Iterable[str]) -> str:
    """Return one anchored regex (match it with IGNORECASE) for all host patterns, without a port.

    Raises ValueError for a pattern that is no dotted host name: an empty one would match everything, and
    one that allows a whole top-level domain (`*.com`) is a mistake in a signature.
    """
    parts = sorted({_pattern_regex(pattern) for pattern in patterns})
    if not parts:
        raise ValueError("no host patterns: nothing would be inspected")
    return rf"^(?:{'|'.join(parts)})\.?$"


def allow_hosts(patterns: Iterable[str]) -> list[str]:
    """Return mitmproxy's `allow_hosts` for these patterns: one anchored `name:port` regex each.

    mitmproxy searches them, unanchored and ignoring case, in `host:port` of the CONNECT, the SNI, the Host
    header and the server's address. Raises ValueError if there are none: it would open everything.
    """
    found = sorted({rf"^{_pattern_regex(pattern)}\.?:\d+$" for pattern in patterns})
    if not found:
        raise ValueError("no host patterns: mitmproxy would open everything")
    return found


def _pattern_regex(pattern: str) -> str:
    if not PATTERN.fullmatch(pattern) or "*" in "".join(pattern.split(".")[-2:]):
        raise ValueError(f"host pattern {pattern!r}: write a name with two literal labels at its end: tsa*.webex.com")
    return host_expression(pattern.lower())


class Gate:
    """Says whether a named host is inspected."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self.use(patterns)

    def use(self, patterns: Iterable[str]) -> None:
        """From now on, these are inspected. Raises ValueError as `host_regex`."""
        self.patterns = tuple(patterns)
        self._regex = re.compile(host_regex(self.patterns), re.IGNORECASE | re.ASCII)  # else U+017F is an "s"
        self._is_matched = lru_cache(REMEMBERED)(self._match)  # asked thrice of each message, of few hosts

    def inspects(self, host: str | None) -> bool:
        """Is `host` (SNI or Host, without port) a telemetry host? False for None and for an address."""
        return host is not None and 0 < len(host) <= LONGEST_NAME and self._is_matched(host)

    def pattern(self, host: str) -> str | None:
        """Return the pattern that names `host`, for a record of it: the name itself may be a customer's."""
        return matched_pattern(self.patterns, host) if self.inspects(host) else None

    def _match(self, host: str) -> bool:
        # "$" also matches before a final line feed; no telemetry host has one
        return not is_address(host) and "\n" not in host and self._regex.match(host) is not None


def is_address(host: str) -> bool:
    """Is `host` an IPv4 or IPv6 literal, with or without brackets?"""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
