"""Every limit of the readers in one table, with its origin. Sizes are bytes unless the name says otherwise.

The limits of one message (`body`) are the core's, in `mutewatch.limits`. A test forces each limit by
passing a smaller `ReadLimits` to the reader.
"""

from dataclasses import dataclass

from mutewatch.limits import DEFAULT_LIMITS
from pcap_tools.http.limits import DEFAULT_HTTP_LIMITS, HttpLimits
from pcap_tools.tls.limits import DEFAULT_TLS_LIMITS, TlsLimits

KiB, MiB, GiB = 1 << 10, 1 << 20, 1 << 30


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """Defaults: libpcap's where libpcap has one, else two orders of magnitude above what was seen."""

    body: int = DEFAULT_LIMITS.body  # kept of one message; of a longer one, one byte more, or None
    line: int = 8 * MiB  # of an exchange log; the largest body is 1.4 MB as base64
    request_target: int = 8 * KiB  # of a request line in an API log; seen 99
    har_file: int = 512 * MiB  # HAR has no records to stream: the file is read whole, about 4 times its size
    flow: int = 512 * MiB  # of one flow in a flow dump, request and response together
    packet: int = 256 * KiB  # captured bytes of one packet; libpcap's MAXIMUM_SNAPLEN
    block: int = 16 * MiB  # of one pcapng block; libpcap's
    interfaces: int = 4_096  # of one pcapng section
    options: int = 1_024  # of one pcapng block
    chunk: int = 2 * MiB  # of a capture in memory at once, twice: fits the cache, fastest of 256 KiB to 4 MiB
    fragmented: int = 1_024  # IP datagrams in pieces that wait for the rest; Linux holds 4 MiB of them
    first_segments: int = 8  # of a stream without a beginning, before its lowest is taken for the first
    hole_bytes: int = 1 * MiB  # that wait behind a lost segment; Suricata and Zeek 256 KiB to 1 MiB
    hole_segments: int = 4_096
    hole_seconds: int = 120  # by the capturing clock; longer than TCP goes on trying, in practice
    expansion_free: int = 64 * MiB  # a compressed capture may give this much, and beyond it ...
    expansion_ratio: int = 200  # ... this many times its size; real captures 1.1 to 20
    streams: int = 100_000  # names, addresses and streams remembered while reading a capture
    conversations: int = 200_000  # TCP conversations of one file that are numbered, some 150 bytes each
    open_flows: int = 2_000  # of telemetry hosts at once, some 36 KiB each; more, and the most silent one is closed
    waiting: int = 10_000  # requests held back until their response is seen; then passed on without a status
    waiting_bytes: int = 64 * MiB  # the same, by their bodies
    undecided: int = 64 * KiB  # of a client's first bytes, before it is known what they are
    tunnels: int = 4  # CONNECT inside CONNECT
    bursts: int = 10_000  # times and sizes kept of a flow that stays dark: a week of minutes
    rtp_streams: int = 1_000  # RTP streams followed at once, up to 40 KiB each; more, and the most silent one ends
    rtp_told: int = 10_000  # RTP streams that are told one by one; of more only the number
    rtp_minutes: int = 30  # minutes of a stream that wait until it is known which extension is the level
    trials: int = 3_000_000  # decryptions that all recoveries may try together, some 10 to 20 s
    strays: int = 32  # flows without a beginning, at no known address, on which unused keys are tried ...
    stray_trials: int = 200_000  # ... so many times each; 1 s
    tls: TlsLimits = DEFAULT_TLS_LIMITS
    http: HttpLimits = DEFAULT_HTTP_LIMITS
    silence_seconds: float = 60  # tshark may show nothing for this long, and ...
    silence_bytes_per_second: int = MiB  # ... longer by the capture's size at this speed; seen 40 MiB/s


DEFAULT_READ_LIMITS = ReadLimits()
