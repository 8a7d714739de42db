"""The mitmproxy addon: `mitmdump -s addons/mute_audit.py`, or `mutewatch live`, which sets the rest too.

Thin: options in, hooks out. What is inspected is decided in `gate.py`, what is recorded leaves through
`writer.py`. Rules:

- only telemetry hosts are opened; everything else passes as it came, and so it does whenever we fail;
- a message to a telemetry host is forwarded once it is recorded, or after `mutewatch_record_timeout`;
- a hook copies and counts: it never decodes, waits for a lock, or touches a file;
- responses are streamed: they wait for nothing, and a large one must not sit in memory. Of most, only the status is
  wanted; of those whose body a signature knows, a copy is kept as it passes.

mitmproxy loads this file by path: no relative imports, and the installed packages must be importable.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from mitmproxy import connection, ctx, exceptions, http, tcp, tls
from mitmproxy.addonmanager import Loader
from msgspec import structs

from addons.answers import AnswerBody, announced_length
from addons.apply import OURS, apply, kill, refuse, send_elsewhere
from addons.canary_route import LIVE_DOOR, CanaryRoutes
from addons.committer import Fate, WriterLimits
from addons.counters import HookCounters
from addons.gate import Gate, allow_hosts
from addons.handshakes import Handshakes, quieten
from addons.journal import Journal
from addons.leaf_source import LeafSource
from addons.lean import make_lean
from addons.live_metrics import start_metrics
from addons.live_options import (
    add_options,
    changed_settings,
    check_neighbours,
    claim_neighbours,
    read_settings,
    refuse_open_ports,
    refuse_unknown,
    start_listening,
)
from addons.live_settings import PREFIX, prepare_state
from addons.mends import mend
from addons.metrics_server import MetricsServer
from addons.pins import Pins
from addons.recorder import BuildRecorder, LiveSettings, build_recorder
from addons.reload import Reloads
from addons.signals import end_when_told
from addons.standing import Live
from addons.writer import Writer
from addons.ws_messages import Websockets
from mutewatch.errors import OperatorError
from mutewatch.flow import answer_from_flow, exchange_from_flow, message_from_flow
from mutewatch.records import Exchange, Origin
from mutewatch.signatures import Signature
from mutewatch.signatures.choice import Choice
from mutewatch.signatures.matcher import Matcher
from mutewatch.uninspected import Passed, Reason

logger = logging.getLogger("mutewatch.live")

UNAWAITED = "mutewatch_unawaited"  # flow.metadata: no signature asks how the server answered
RECORDED_EARLY = "mutewatch_recorded_early"  # flow.metadata: the message was recorded at its headers
TAKEN = "mutewatch_taken"  # flow.metadata: the message was given to the writer
OVER_LIMIT = "body_size_limit"  # in mitmproxy's words for a body that it refuses (413)
STOP_SECONDS = 5  # for the last commits; mitmproxy itself needs less than one second to stop
WARN_SECONDS = 10  # between two warnings of the same kind


class MuteAudit:
    """The hooks. Without `hosts` and `signatures`: those of the settings. All of these are for tests to replace."""

    def __init__(
        self,
        hosts: Callable[[], Iterable[str]] | None = None,
        build: BuildRecorder = build_recorder,
        limits: WriterLimits | None = None,
        signatures: Callable[[], Sequence[Signature]] | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.counters = HookCounters()
        self._hosts, self._build, self._limits = hosts, build, limits or WriterLimits()
        self._signatures, self._clock = signatures, clock
        self._live: Live | None = None  # until everything stands, nothing is inspected
        self._warned: dict[str, float] = {}
        self._canaries = CanaryRoutes(self.counters)
        self._websockets = Websockets(self.counters, self._warn, self._note)
        self._reloads = Reloads(self.counters)
        self._metrics: MetricsServer | None = None
        self._watching: asyncio.Task[None] | None = None
        self.addons = [self._canaries]  # mitmproxy calls its hooks too, after those here

    # -- options and life ---------------------------------------------------------------------------------

    def load(self, loader: Loader) -> None:
        add_options(loader)
        for name, command in (
            ("status", self.status),
            ("flush", self.flush),
            ("pins", self.list_pins),
            ("pins.clear", self.clear_pins),
        ):
            loader.add_command(f"mutewatch.{name}", command)

    def configure(self, updated: set[str]) -> None:
        """Check the options; the first time, start. mitmproxy does not call this for an embedded addon."""
        refuse_unknown()
        if self._live is None:
            settings = read_settings()
            refuse_open_ports(settings)
            self._live = live = self._start(settings)
            # calls this hook again, which is why it comes last
            claim_neighbours(allow_hosts(live.gate.patterns), live.settings)
            return
        live = self._live
        is_ours = any(name.startswith(PREFIX) for name in updated)
        settings = changed_settings(live.settings, read_settings()) if is_ours else live.settings
        check_neighbours(allow_hosts(settings.hosts if self._hosts is None else self._hosts()), settings)
        if is_ours:
            live.use(settings)

    async def running(self) -> None:
        self.configure(set())
        logging.getLogger("mitmproxy.proxy.server").addFilter(quieten)
        if self._live is not None:
            self._reloads.begin(self._live.leaves.look)
            self._watching = asyncio.create_task(self._live.leaves.watch(), name="mutewatch-leaves")
        logger.info("mutewatch: inspecting %d host patterns and nothing else", len(ctx.options.allow_hosts))
        if ctx.options.mutewatch_serve:
            end_when_told()
            make_lean()
            mend(lambda flow: self._live is not None and self._live.holds(flow), self.counters)
            await start_listening()

    def _start(self, settings: LiveSettings) -> Live:
        try:
            gate = Gate(settings.hosts if self._hosts is None else self._hosts())
            choice = settings.choice if self._signatures is None else Choice(tuple(self._signatures()))
            prepare_state(settings.state)
            leaves = LeafSource(settings, gate.patterns)
        except (OperatorError, ValueError) as error:
            raise exceptions.OptionsError(str(error)) from error
        check_neighbours(allow_hosts(gate.patterns), settings)
        limits = replace(self._limits, items=settings.queue_size)
        journal = Journal(settings.state, log_bytes=limits.log_bytes)
        left_out = choice.left_out_ids
        writer = Writer(lambda: self._build(settings), journal, self.counters, limits, self._clock, left_out)
        try:
            writer.start()
        except OperatorError as error:
            raise exceptions.OptionsError(str(error)) from error
        except Exception as error:
            raise exceptions.OptionsError(f"mutewatch could not open its store: {error}") from error
        self._canaries.open(settings.state)
        pins = Pins(settings.pin_ttl)
        handshakes = Handshakes(
            lambda: live.settings, gate, pins, leaves, self._canaries, self.counters, self._warn, self._note
        )
        live = Live(settings, gate, writer, pins, leaves, handshakes, Matcher(choice.used, choice.left_out))
        self._metrics = start_metrics(lambda: live.settings, gate, writer, lambda: leaves.expirations)
        return live

    def done(self) -> None:
        """Record what was taken and close. Sync, because a script that is reloaded is stopped that way."""
        logging.getLogger("asyncio").addFilter(tells_more_than_the_stop)
        if self._watching is not None:
            self._watching.cancel()
        if self._metrics is not None:
            self._metrics.stop()
        if self._live is not None and not self._live.writer.stop(STOP_SECONDS):
            logger.warning("mutewatch: stopped with %d exchanges not recorded", self._live.writer.pending)

    def status(self) -> str:
        """Return all counters, what is left out, and what was said of the newest reload, as JSON."""
        return json.dumps({**self._live.writer.told(), "reload": self._reloads.last} if self._live else {})

    async def flush(self) -> str:
        """Wait until all that was taken so far is settled; return all counters as JSON."""
        if self._live is not None:
            await self._live.writer.flush(STOP_SECONDS)
        return self.status()

    def list_pins(self) -> str:
        """Return the clients that refused our certificate, as JSON: client, host, seconds left."""
        now = time.monotonic()
        pins = self._live.pins.list(now) if self._live else []
        return json.dumps(
            [{"client": pin.client, "host": pin.host, "seconds_left": round(pin.expires_at - now)} for pin in pins]
        )

    def clear_pins(self) -> str:
        """Inspect again what was let through for a refused certificate; return how many clients and hosts that is."""
        return json.dumps({"cleared": self._live.pins.clear() if self._live else 0})

    # -- connections --------------------------------------------------------------------------------------

    def tls_clienthello(self, data: tls.ClientHelloData) -> None:
        try:
            if self._live is None or not self._live.handshakes.opens(data):
                data.ignore_connection = True
        except Exception:
            data.ignore_connection = True
            self.counters.gate_errors += 1
            self._warn("gate_errors", "a connection passed through because deciding on it failed")

    def tls_start_client(self, data: tls.TlsData) -> None:
        if self._live is not None:
            self._live.handshakes.start(data)

    def tls_established_client(self, data: tls.TlsData) -> None:
        if self._live is not None:
            self._live.handshakes.stood(data)

    def tls_failed_client(self, data: tls.TlsData) -> None:
        if self._live is not None:
            self._live.handshakes.failed(data)

    # -- messages -----------------------------------------------------------------------------------------

    async def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Record a message that is too large to be read at its headers, and let its body through unread."""
        live = self._live
        with self._guard(partial(kill, flow)):
            if live is not None and flow.response is None and live.is_misdirected(flow):
                self.counters.misdirected += 1
                send_elsewhere(flow)
            if flow.response is not None:  # answered here, or by somebody before us (proxy authentication)
                flow.request.stream = False
            elif live is None or not live.inspects(flow):
                flow.request.stream = True  # messages to other hosts are not ours to hold
            elif live.holds_back:
                flow.request.stream = False  # whoever else wants it streamed
            elif flow.request.stream or announced_length(flow.request) > live.settings.max_body:
                flow.metadata[RECORDED_EARLY] = True
                await self._record(live, flow, self._exchange(live, flow, 0))
                flow.request.stream = True

    async def request(self, flow: http.HTTPFlow) -> None:
        live = self._live
        with self._guard(partial(kill, flow)):
            if live is None or RECORDED_EARLY in flow.metadata or flow.response is not None:
                return
            if live.inspects(flow):
                exchange = self._exchange(live, flow, live.settings.max_body)
                await self._record(live, flow, exchange, has_left=bool(flow.request.stream))

    async def error(self, flow: http.HTTPFlow) -> None:
        """Record a message that broke off while its body was leaving unread, or that was too large to be held."""
        live = self._live
        with self._guard():
            if live is None:
                return
            has_left, why = bool(flow.request.stream), flow.error.msg if flow.error else ""
            if (has_left or OVER_LIMIT in why) and TAKEN not in flow.metadata and live.inspects(flow):
                await self._record(live, flow, self._exchange(live, flow, 0), has_left=has_left)
            self._put_body(live, flow, is_whole=False)

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Let the body through at once; keep a copy if a signature knows it."""
        live, response = self._live, flow.response
        if response is None or response.status_code < 200:  # 101: a websocket follows
            return
        response.stream = True
        with self._guard():
            if live is None or OURS in flow.metadata or not live.inspects(flow):
                return
            if live.wants_answer(self._exchange(live, flow, 0)):
                is_short = announced_length(response) <= live.settings.max_body
                response.stream = AnswerBody(live.settings.max_body if is_short else 0)

    def response(self, flow: http.HTTPFlow) -> None:
        """Hand on the status: a mute request that the server refused had no effect. And the body, if it was kept."""
        live = self._live
        with self._guard():
            if live is None:
                return
            if TAKEN in flow.metadata and not flow.metadata.get(UNAWAITED) and live.inspects(flow):
                live.writer.put_answer(self._exchange(live, flow, live.settings.max_body))
            self._put_body(live, flow, is_whole=True)

    def _put_body(self, live: Live, flow: http.HTTPFlow, *, is_whole: bool) -> None:
        """Hand on the body of the response, if it was kept: once, and unread if not all of it came."""
        if flow.response is None or not isinstance(flow.response.stream, AnswerBody):
            return
        kept, flow.response.stream = flow.response.stream, True
        exchange = answer_from_flow(self._exchange(live, flow, 0), flow, kept.body if is_whole else None)
        if kept.body is None:
            self._note(flow.client_conn, exchange.host, Reason.TOO_LARGE)
        if not live.writer.put_answer(exchange):
            self._note(flow.client_conn, exchange.host, Reason.OVERLOAD)

    def _exchange(self, live: Live, flow: http.HTTPFlow, max_body: int) -> Exchange:
        """Return the request of `flow`, to the telemetry host that its connection was opened for.

        Its Host may name another: then nobody would know the message, though it goes where the others go. `body` is
        None if it was streamed or is longer than `max_body`.
        """
        exchange = exchange_from_flow(flow, Origin(self._canaries.door(flow.client_conn)))
        if exchange.body is not None and len(exchange.body) > max_body:
            exchange = structs.replace(exchange, body=None)
        names = (exchange.host, flow.client_conn.sni, flow.request.host)
        host = next((name for name in names if live.gate.inspects(name)), None)
        return exchange if host is None else structs.replace(exchange, host=host.lower().rstrip("."))

    async def websocket_message(self, flow: http.HTTPFlow) -> None:
        """Record a message of a websocket, and let go of what mitmproxy would keep until the connection ends."""
        live, websocket = self._live, flow.websocket
        if websocket is None:
            return
        message = websocket.messages[-1]
        del websocket.messages[:-1]
        with self._guard(message.drop if message.from_client else None):
            if live is not None and live.inspects(flow):
                exchange = message_from_flow(self._exchange(live, flow, 0), message)
                await self._websockets.take(live, flow, message, exchange)

    def websocket_end(self, flow: http.HTTPFlow) -> None:
        with self._guard():
            if self._live is not None and self._live.inspects(flow):
                self._websockets.end(flow)

    def tcp_message(self, flow: tcp.TCPFlow) -> None:
        self.counters.raw_messages += 1
        self._note(flow.client_conn, flow.client_conn.sni, Reason.NOT_HTTP)
        del flow.messages[:-1]

    async def _record(self, live: Live, flow: http.HTTPFlow, exchange: Exchange, *, has_left: bool = False) -> None:
        """Return when `exchange` is recorded or has waited long enough; the message then goes on.

        `has_left`: it gave no length, outgrew the limit, and mitmproxy sent it on while it came in.
        """
        flow.metadata[TAKEN] = True
        self.counters.too_large += exchange.body is None
        self.counters.streamed += has_left
        if has_left or exchange.body is None:
            self._note(flow.client_conn, exchange.host, Reason.STREAMED if has_left else Reason.TOO_LARGE)
        decision = await live.writer.put_and_wait(exchange, live.settings.record_timeout)
        if decision is Fate.STOPPED and flow.killable and not has_left:
            self.counters.cut += 1  # the proxy is going down: its connections end now in any case
            flow.kill()
        elif isinstance(decision, Fate) and live.holds_back and not has_left:
            self.counters.refused += 1
            self._warn("refused", f"a message was refused because it was not known to be recorded ({decision})")
            refuse(flow)
        elif has_left or isinstance(decision, Fate):
            self.counters.unrecorded += 1
            if decision is Fate.DROPPED:
                self._note(flow.client_conn, exchange.host, Reason.OVERLOAD)
            why = "streamed" if has_left else decision
            self._warn("unrecorded", f"a message was forwarded before it was known to be recorded ({why})")
        else:
            flow.metadata[UNAWAITED] = not decision.awaits_answer
            self.counters.count(decision)
            apply(decision, flow)

    def _note(self, client: connection.Client, host: str | None, why: Reason) -> None:
        """Have it kept that this was not inspected, unless it is the canary's, or of a host that is none of ours."""
        live = self._live
        pattern = live.gate.pattern(host) if live is not None and host is not None else None
        if live is None or host is None or pattern is None or self._canaries.door(client) != LIVE_DOOR:
            return
        now = self._clock()
        address = client.peername[0] if client.peername else None
        live.writer.note(Passed(now, now, address, host if live.settings.show_clients else pattern, why))

    @contextmanager
    def _guard(self, hold: Callable[[], None] | None = None) -> Iterator[None]:
        """Our own faults: counted, logged, and the message goes on; unless it was to be held back, by `hold`."""
        try:
            yield
        except Exception:
            self.counters.hook_errors += 1
            holds_back = hold is not None and self._live is not None and self._live.holds_back
            if holds_back and hold is not None:
                hold()
            what = "refused" if holds_back else "forwarded"
            self._warn("hook_errors", f"a message was {what} because a hook failed", with_traceback=True)

    def _warn(self, kind: str, text: str, *, with_traceback: bool = False) -> None:
        """Log at most one line of a kind in ten seconds; the counters have the number."""
        now = time.monotonic()
        if now - self._warned.get(kind, -WARN_SECONDS) >= WARN_SECONDS:
            self._warned[kind] = now
            logger.warning("mutewatch: %s", text, exc_info=with_traceback)


def tells_more_than_the_stop(record: logging.LogRecord) -> bool:
    """A filter: asyncio logs a traceback for each connection that the stop cancels: seconds, for thousands."""
    return record.exc_info is None or record.exc_info[0] is not asyncio.CancelledError


addons = [MuteAudit()]
