"""The live door's numbers for Prometheus, read from its counters when asked for; and /healthz.

No number here has a label from the traffic: no client, no address, no call, no host. There is no registry of the
process: a scrape reads what the counters hold at that moment. docs/metrics.md lists the names.
"""

import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mitmproxy import ctx, exceptions
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from addons.gate import Gate
from addons.live_health import Health, canary_state
from addons.live_settings import PREFIX, metrics_address
from addons.metrics_server import MetricsServer, Page
from addons.recorder import LiveSettings
from addons.writer import Writer
from mutewatch.errors import OperatorError
from mutewatch.judged import Judged

Expirations = Callable[[], Mapping[str, datetime]]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
GAUGES = ("pending", "clock_doubted")  # of the counters' mapping: what goes down again

# By the name in `counters.py`. One that is missing here is exported all the same, under its name.
MEANINGS = {
    "intercepted": "TLS connections to telemetry hosts that were opened and read",
    "uninspected": "TLS connections to a telemetry host that did not name it, and passed",
    "refused_by_client": "Connections whose client did not accept our certificate, or failed for the second time",
    "handshakes_failed": "TLS connections to telemetry hosts that ended before they stood, for other reasons",
    "pinned": "Connections let through uninspected, as that client had refused our certificate before",
    "without_leaf": "Connections to telemetry hosts for which there was no certificate of ours",
    "ech_offered": "Connections let through that offered ECH: their server name may not be the real one",
    "gate_errors": "Faults of our own while deciding; the connection passed",
    "redacted": "Messages forwarded without their audio-derived values",
    "blocked": "Messages answered in the server's place",
    "unmatched": "Messages to telemetry hosts that no signature knows",
    "unredacted": "Messages refused because they could not be redacted, or searched, with certainty",
    "refused": "Messages refused because they were not known to be recorded",
    "misdirected": "Requests in an opened HTTP/2 connection that named another host, sent to one of their own (421)",
    "messages": "Requests and websocket messages to telemetry hosts that were to be recorded",
    "answers": "What their servers said: responses and websocket messages",
    "unrecorded": "Messages forwarded before their commit was known",
    "dropped": "Messages that found the queue full or the writer stopped",
    "answers_dropped": "Responses that found the queue full or the writer stopped",
    "too_large": "Messages over the limit, recorded as not read",
    "streamed": "Messages whose body left before it could be recorded",
    "cut": "Messages refused because the proxy was stopping",
    "websocket_messages": "Websocket messages on telemetry hosts that no signature knows, not read",
    "raw_messages": "Messages that are neither TLS nor HTTP inside a telemetry connection, not read",
    "endless": "Connections ended, as too much came that is neither a whole head nor of a body",
    "hook_errors": "Faults of our own in a hook; the message was forwarded",
    "canaries": "Connections of the canary, led to its own far end",
    "reloads": "Settings files that were read again and taken",
    "reloads_refused": "Settings files that were read again and not taken; the old settings stayed",
    "canary_refused": "Tickets of a canary that were not honoured",
    "recorded": "Messages committed to the store",
    "answers_recorded": "Responses committed to the store",
    "lost": "Messages given up after failed commits",
    "answers_lost": "Responses given up after failed commits",
    "commits": "Commits to the store",
    "record_failures": "Commits that failed; what they held is tried again",
    "tick_failures": "Faults of our own in the judging once a minute",
    "expired": "Rows of the store that were deleted for their age",
    "tidy_failures": "Deletions of old rows that failed; they are tried again",
    "clock_doubted": "1 while nothing is deleted, because the clock is more than a day ahead of where it was",
    "export_errors": "Failed tries to write flagged minutes to the export files; they are tried again",
    "journal_failures": "Lines of the log or status files that could not be written",
    "pending": "Exchanges taken and not yet committed or given up",
}


class LiveCollector(Collector):
    """Makes the metrics anew for each scrape."""

    def __init__(self, writer: Writer, health: Health, state: Path, expirations: Expirations) -> None:
        self._writer, self._health, self._state, self._expirations = writer, health, state, expirations
        self._started_at = time.time()

    def collect(self) -> Iterator[Metric]:
        for name, value in self._writer.status().items():
            text = MEANINGS.get(name, name.replace("_", " "))
            kind = GaugeMetricFamily if name in GAUGES else CounterMetricFamily
            yield kind(f"mutewatch_live_{name}", text, value=value)
        yield _gauge("live_queue_bytes", "Bytes of the bodies that are pending", self._writer.pending_bytes)
        yield _gauge("healthy", "1 if /healthz answers 200", float(not any(self._health.faults())))
        yield InfoMetricFamily("mutewatch_build", "What runs here", value=_build())
        yield _gauge("start_time_seconds", "When the live door was started, since 1970", self._started_at)
        left_out = GaugeMetricFamily("mutewatch_signature_left_out", "1: by the operator", labels=["signature"])
        for signature in self._writer.left_out:
            left_out.add_metric([signature], 1)
        yield left_out
        yield from judged_metrics(self._writer.judged)
        yield from self._canary()
        yield from self._authority()

    def _canary(self) -> Iterator[Metric]:
        newest = canary_state(self._state, datetime.now(UTC))
        if newest is not None:  # absent, not zero, before the first
            yield _gauge("canary_age_seconds", "Since the newest canary was sent", newest.age)
            yield _gauge("canary_success", "1 if all checks of the newest canary held", float(newest.passed))

    def _authority(self) -> Iterator[Metric]:
        now = datetime.now(UTC)
        text = "Until the first certificate of this role expires; below 0 it has"
        metric = GaugeMetricFamily("mutewatch_certificate_remaining_seconds", text, labels=["role"])
        for role, expires_at in self._expirations().items():
            metric.add_metric([role], (expires_at - now).total_seconds())
        yield metric


def judged_metrics(judged: Judged) -> Iterator[Metric]:
    """Yield what was judged since the start; the only labels are the app and the verdict."""
    evaluated = CounterMetricFamily("mutewatch_evaluated", "Minutes that were judged", labels=["app", "verdict"])
    for (app, verdict), number in judged.minutes().items():
        evaluated.add_metric([app, verdict], number)
    yield evaluated
    text = "When a client last reported audio-derived values, since 1970"
    newest = GaugeMetricFamily("mutewatch_last_report_timestamp_seconds", text, labels=["app"])
    for app, at in judged.last_report_at().items():
        newest.add_metric([app], at.timestamp())
    yield newest


def start_metrics(
    current: Callable[[], LiveSettings], gate: Gate, writer: Writer, expirations: Expirations
) -> MetricsServer | None:
    """Return the running server that the operator wants, None if none. Raises OptionsError if it cannot listen.

    `current`: the settings as they are when asked; `expirations`: when certificates end, by role.
    """
    settings = current()
    if not settings.metrics:
        return None
    options = ctx.options
    health = Health(settings.state, gate, writer, lambda: options.allow_hosts, lambda: current().canary_max_age)
    try:
        return serve_metrics(metrics_address(settings.metrics), writer, health, settings.state, expirations)
    except (OSError, OperatorError) as error:
        raise exceptions.OptionsError(f"{PREFIX}metrics={settings.metrics}: cannot listen: {error}") from error


def serve_metrics(
    address: tuple[str, int], writer: Writer, health: Health, state: Path, expirations: Expirations
) -> MetricsServer:
    """Return the running server of /metrics and /healthz. Raises OSError if it cannot listen."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(LiveCollector(writer, health, state, expirations))
    pages: dict[str, Callable[[], Page]] = {
        "/metrics": lambda: Page(200, CONTENT_TYPE, generate_latest(registry)),
        "/healthz": lambda: health_page(health),
    }
    server = MetricsServer(pages)
    server.start(*address)
    return server


def health_page(health: Health) -> Page:
    """200 if all is well, else 503 with the reasons."""
    reasons = list(health.faults())
    told = {"status": "unhealthy", "reasons": reasons} if reasons else {"status": "ok"}
    return Page(503 if reasons else 200, "application/json", json.dumps(told).encode() + b"\n")


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"mutewatch_{name}", text, value=value)


def _build() -> dict[str, str]:
    return {"version": _version("mutewatch"), "mitmproxy": _version("mitmproxy"), "python": platform.python_version()}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
