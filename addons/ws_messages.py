"""Websocket messages of telemetry hosts: recorded before they go on, as requests are.

Rules:

- read is what a signature knows, in the direction it goes; the rest is counted, and waits for nothing;
- a client's message waits for its commit. mitmproxy hands over the next one of the connection only then: all of a
  burst wait together no longer than one message may, unless messages are held back;
- a server's goes on at once: nothing leaves with it, and nothing of it is held back;
- what must not leave is dropped: there is nobody to answer.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from mitmproxy import http
from mitmproxy.websocket import WebSocketMessage
from msgspec.structs import replace

from addons.apply import apply_to_message
from addons.committer import Fate
from addons.counters import HookCounters
from addons.handshakes import Note, Warn
from addons.mends import TOO_LONG
from addons.standing import Live
from mutewatch.records import Direction, Exchange
from mutewatch.uninspected import Reason

BURST_SECONDS = 0.01  # what comes so soon behind the last message has been waiting for it


@dataclass(slots=True)
class _Burst:
    """Messages of one connection, each behind the other."""

    began_at: float  # monotonic
    ended_at: float = 0.0


class Websockets:
    """Takes one message after the other. `warn` and `note` are the addon's."""

    def __init__(
        self, counters: HookCounters, warn: Warn, note: Note, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._counters, self._warn, self._note, self._clock = counters, warn, note, clock
        self._bursts: WeakKeyDictionary[http.HTTPFlow, _Burst] = WeakKeyDictionary()

    async def take(self, live: Live, flow: http.HTTPFlow, message: WebSocketMessage, exchange: Exchange) -> None:
        """Return when `message`, which is `exchange`, may go on, or is dropped."""
        is_clients = exchange.direction is Direction.TO_SERVER
        if not live.knows(exchange):
            if live.is_left_out(exchange):
                return
            self._counters.websocket_messages += 1
            if is_clients:
                self._note(flow.client_conn, exchange.host, Reason.WEBSOCKET)
            return
        if len(message.content) > live.settings.max_body:
            exchange = replace(exchange, body=None)
            self._counters.too_large += 1
            self._note(flow.client_conn, exchange.host, Reason.TOO_LARGE)
        if is_clients:
            await self._record(live, flow, message, exchange)
        elif not live.writer.put_answer(exchange):
            self._note(flow.client_conn, exchange.host, Reason.OVERLOAD)

    def end(self, flow: http.HTTPFlow) -> None:
        """Count what ended a websocket because it was too large to be held: nobody has read it."""
        websocket = flow.websocket
        if websocket is None or (websocket.close_code, websocket.close_reason) != TOO_LONG:
            return
        self._counters.too_large += 1
        if websocket.closed_by_client:
            self._note(flow.client_conn, flow.client_conn.sni or flow.request.pretty_host, Reason.TOO_LARGE)

    async def _record(self, live: Live, flow: http.HTTPFlow, message: WebSocketMessage, exchange: Exchange) -> None:
        now = self._clock()
        burst = self._bursts.get(flow)
        is_next = burst is not None and now - burst.ended_at <= BURST_SECONDS
        if burst is None or not is_next:
            burst = self._bursts[flow] = _Burst(now)
        left = live.settings.record_timeout - (0.0 if live.holds_back else now - burst.began_at)
        decision = await live.writer.put_and_wait(exchange, max(0.0, left), is_next=is_next)
        burst.ended_at = self._clock()
        if not isinstance(decision, Fate):
            self._counters.count(decision)
            apply_to_message(decision, message)
            return
        if decision is Fate.DROPPED:
            self._note(flow.client_conn, exchange.host, Reason.OVERLOAD)
        if decision is Fate.STOPPED:  # the proxy is going down: its connections end now in any case
            self._counters.cut += 1
            message.drop()
        elif live.holds_back:
            self._counters.refused += 1
            self._warn("refused", f"a websocket message was dropped: it was not known to be recorded ({decision})")
            message.drop()
        else:
            self._counters.unrecorded += 1
            self._warn("unrecorded", f"a message was forwarded before it was known to be recorded ({decision})")
