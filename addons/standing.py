"""What stands once the proxy is ready, and what of a flow is ours to read."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mitmproxy import ctx, http

from addons.gate import Gate
from addons.handshakes import Handshakes
from addons.leaf_source import LeafSource
from addons.pins import Pins
from addons.recorder import LiveSettings
from addons.writer import Writer
from mutewatch.records import Exchange
from mutewatch.signatures.matcher import Matcher

logger = logging.getLogger("mutewatch.live")


@dataclass(slots=True)
class Live:
    """The settings, as they are now, and what was made of them."""

    settings: LiveSettings
    gate: Gate
    writer: Writer
    pins: Pins
    leaves: LeafSource
    handshakes: Handshakes
    matcher: Matcher

    def use(self, settings: LiveSettings) -> None:
        """From now on, run with `settings`, which `changed_settings` has passed. On the event loop, in one step.

        Connections that were opened, and would not be now, are cut: clients come again, and pass. Those that pass now
        are not known by name, and go on to pass.
        """
        before, self.settings = self.settings, settings
        self.pins.ttl_seconds = settings.pin_ttl
        if settings.without != before.without:
            choice, hosts = settings.choice, settings.hosts
            self.matcher = Matcher(choice.used, choice.left_out)
            opened = Gate(self.gate.patterns)
            self.gate.use(hosts)
            self.leaves.use(hosts)
            cut(lambda name: opened.inspects(name) and not self.gate.inspects(name))
        self.writer.use(settings.policies, settings.periods, self.matcher)

    @property
    def holds_back(self) -> bool:
        """May a message be kept from leaving as it is?"""
        return self.settings.holds_back

    def inspects(self, flow: http.HTTPFlow) -> bool:
        """Is this a request to a telemetry host: in a connection that was opened for one, or in plain HTTP?"""
        if self.is_opened(flow):
            return not self.is_misdirected(flow)
        return self.gate.inspects(flow.request.host) or self.gate.inspects(flow.request.pretty_host)

    def is_opened(self, flow: http.HTTPFlow) -> bool:
        """Did it come in a TLS connection that was opened for its SNI?"""
        return self.gate.inspects(flow.client_conn.sni)

    def holds(self, flow: http.HTTPFlow) -> bool:
        """May all of this request be kept in memory until it is decided on?"""
        return self.is_opened(flow) or self.inspects(flow)

    def is_misdirected(self, flow: http.HTTPFlow) -> bool:
        """Did a client put a request to another host into an opened connection, as HTTP/2 lets it (RFC 9113, 9.1.1)?"""
        request = flow.request
        if not request.is_http2 or not request.host_header or not self.is_opened(flow):
            return False
        return not self.gate.inspects(request.pretty_host)

    def knows(self, exchange: Exchange) -> bool:
        """Does a signature know such a message, sent in this direction?"""
        return bool(self.matcher.match(exchange.method, exchange.host, exchange.path, exchange.direction))

    def is_left_out(self, exchange: Exchange) -> bool:
        """Does a signature know it that the operator leaves out?"""
        return self.matcher.is_left_out(exchange.method, exchange.host, exchange.path, exchange.direction)

    def wants_answer(self, request: Exchange) -> bool:
        """Does a signature know the body of the response?"""
        return self.matcher.wants_answer(request.method, request.host, request.path)


def cut(is_meant: Callable[[str], bool]) -> None:
    """End opened connections whose SNI `is_meant`, as mitmproxy ends one on which nothing happens any more."""
    proxyserver: Any = ctx.master.addons.get("proxyserver")
    meant = [one for one in proxyserver.connections.values() if one.client.sni and is_meant(one.client.sni)]
    for connection in meant:
        transport = connection.transports.get(connection.client)
        if transport is not None and transport.handler is not None:
            transport.handler.cancel("mutewatch: left out by the operator")
    if meant:
        logger.warning("mutewatch: opened connections that were cut, as their hosts are left out now: %d", len(meant))
