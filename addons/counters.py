"""What the live door counted. Each number is written by one thread only, so none needs a lock.

At rest, messages = recorded + lost + dropped + pending, exactly: nothing is lost silently.
"""

from dataclasses import asdict, dataclass

from mutewatch.mitigate import Decision
from mutewatch.records import Sent


@dataclass(slots=True)
class HookCounters:
    """Counted by the hooks, on mitmproxy's event loop."""

    intercepted: int = 0  # TLS connections to telemetry hosts, opened and read
    uninspected: int = 0  # TLS connections to a telemetry host that did not name it in the ClientHello
    refused_by_client: int = 0  # TLS connections whose client did not accept our certificate, or failed twice
    handshakes_failed: int = 0  # TLS connections to telemetry hosts that ended before they stood, for other reasons
    pinned: int = 0  # TLS connections let through uninspected, because that client had refused our certificate before
    without_leaf: int = (
        0  # TLS connections for which there was no certificate of ours: let through, or refused (strict)
    )
    ech_offered: int = 0  # TLS connections let through that offered ECH: their server name may not be the real one
    gate_errors: int = 0  # our own faults while deciding; the connection passed through
    misdirected: int = 0  # requests to another host in an opened HTTP/2 connection; sent to one of their own (421)
    messages: int = 0  # requests to telemetry hosts, and websocket messages to them, that were to be recorded
    answers: int = 0  # what their servers said: the status of a response, its body, a websocket message
    unrecorded: int = 0  # messages forwarded before their commit was known (they may still be recorded)
    redacted: int = 0  # messages forwarded without their audio-derived values
    blocked: int = 0  # messages answered in the server's place; of websockets, dropped
    unmatched: int = 0  # of messages: no signature knows them, though one knows what else goes to their host
    unredacted: int = 0  # messages refused (of websockets, dropped) because they could not be redacted with certainty
    refused: int = 0  # messages answered with an error, or dropped, as they were not known to be recorded (strict)
    dropped: int = 0  # messages that found the queue full, or the writer stopped
    answers_dropped: int = 0
    too_large: int = 0  # body over mutewatch_max_body: recorded as not read
    streamed: int = 0  # body left before it could be recorded (no length given, then over the limit)
    cut: int = 0  # messages refused because the proxy was stopping
    websocket_messages: int = 0  # on telemetry hosts, that no signature knows: not read
    raw_messages: int = 0  # neither TLS nor HTTP inside a telemetry connection; not read
    endless: int = 0  # connections that were ended, as too much came that is neither a whole head nor of a body
    hook_errors: int = 0  # our own faults in a hook; the message was forwarded
    canaries: int = 0  # connections of the canary, led to its own far end
    reloads: int = 0  # settings files that were read again and taken
    reloads_refused: int = 0  # that were wrong, or asked for what needs a restart; the old settings stayed
    canary_refused: int = 0  # tickets of a canary that were not honoured: not ours, open to others, stale, damaged

    def count(self, decision: Decision) -> None:
        """Count what became of a recorded message."""
        sent = decision.sent
        self.unmatched += not decision.is_known
        self.redacted += sent is Sent.REDACTED
        self.blocked += sent is Sent.BLOCKED
        self.unredacted += sent is Sent.REFUSED


@dataclass(slots=True)
class WriterCounters:
    """Counted by the writer's thread."""

    recorded: int = 0  # messages committed
    answers_recorded: int = 0
    lost: int = 0  # messages given up after failed commits
    answers_lost: int = 0
    commits: int = 0
    record_failures: int = 0  # calls of Recorder.record that raised; what they held is tried again
    tick_failures: int = 0
    expired: int = 0  # rows of the store that were deleted for their age
    tidy_failures: int = 0  # calls of Recorder.tidy or Recorder.note that raised
    clock_doubted: int = 0  # 1 while nothing is deleted because the clock may be wrong
    export_errors: int = 0  # calls of Recorder.deliver that raised; what they held is tried again
    journal_failures: int = 0  # lines or status files that could not be written


def as_status(hooks: HookCounters, writer: WriterCounters, pending: int) -> dict[str, int]:
    """Return all counters as one flat mapping; `pending`: exchanges taken and not yet settled."""
    return {**asdict(hooks), **asdict(writer), "pending": pending}
