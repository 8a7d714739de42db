"""Every limit in one table, with its origin. All sizes are bytes unless the name says otherwise.

"seen" is the largest value in 1,241 real Webex telemetry bodies of 2021; the defaults leave two orders
of magnitude above it and stay far below what one message may cost a gateway. A test forces each limit
by passing a smaller `Limits`.
"""

from dataclasses import dataclass

MiB = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    body: int = MiB  # one message; seen 3.4 kB
    elements: int = 64  # telemetry elements in one message; seen 1
    base64_text: int = 256 << 10  # characters of one element; seen 3,304
    inflated: int = MiB  # of one compressed part; seen 6,535
    inflated_total: int = 4 * MiB  # of one message
    ratio: int = 100  # output : input, checked once `ratio_after` bytes are out; seen 2.6
    ratio_after: int = 64 << 10
    json_depth: int = 64  # seen 10
    json_nodes: int = 20_000  # seen 307
    json_string: int = MiB  # characters; a call's levels may be one such text: Teams' has 1.3 kB for each 8 s
    json_key: int = 256  # characters; seen 34
    redact_layers: int = 3  # texts within texts (base64, gzip, JSON in a string) that redaction opens; seen 1
    redact_nodes: int = 80_000  # JSON values that redaction looks at in one message, layers and all; seen 325
    json_digits: int = 32  # of an integer; seen 18
    identifier: int = 128  # characters of a client or call id kept; seen 47
    samples: int = 4_096  # readings of one message: nine hours at one each 8 s
    stats_connections: int = 20_000  # whose getStats reports are followed; the stalest is let go first
    stats_sources: int = 8  # microphones of one connection, and its peer connections; 16 times as many streams received
    values: int = 64  # audio-derived values kept of one interval; seen 3
    minutes_per_gap: int = 1440  # missing minutes listed for one gap: a day
    resend_seconds: float = 45  # same interval number, at most this apart: a resend; minutes are further apart
    clock_changes_per_call: int = 16  # corrections after which a call is no longer judged again for its clock
    calls: int = 50_000  # followed at once; the least recently heard is let go first
    minutes_per_call: int = 2_880  # held in memory: two days
    samples_per_minute: int = 600  # of one call, the newest: ten a second; Chime's clients, the busiest, send one
    samples_per_call: int = 20_000  # held in memory: five hours of one a second; Teams tells 4,000 at once
    neighbours: int = 64  # calls, and mute sessions, of one address; addresses and participants of one call
    runs_per_call: int = 1_000  # of consecutive numbers let go; 202 in the 21 hours of the longest call seen
    mute_events_per_call: int = 10_000  # held in memory


DEFAULT_LIMITS = Limits()
