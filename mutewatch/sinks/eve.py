"""Suricata's EVE JSON: a redacted finding as the event that a sensor would write.

EVE's top level is closed, and so is `alert.metadata`; the one place for fields of one's own is `alert.context`
(Suricata 8). So every event has an `alert` object; only flagged minutes are events of the type "alert".

- `src_ip` is there only where names are shown: a pseudonym is no address, and stands in the context;
- `timestamp` is when the message was seen, or else the end of the minute; 1970 where no time is known;
- `flow_id` is one number for all minutes of a call.
"""

from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Final

from mutewatch.records import Finding, Sent, Source, Verdict
from mutewatch.sinks.export import flow_id, own_fields
from mutewatch.sinks.record import Record

# By rule, for ever: signature_id and its text. 9,100,000 and up is in nobody's allocation (Emerging Threats uses
# 2,000,000 and up). The revision is that of the rules.
SIGNATURES: Final = {
    "MW-MUTED": (9_100_001, "MUTEWATCH audio-derived data left while the client was muted"),
    "MW-MUTED-PART": (9_100_002, "MUTEWATCH audio-derived data left of a minute that was muted in part"),
    "MW-UNMUTED": (9_100_010, "MUTEWATCH audio-derived data left while the client was not muted"),
    "MW-FLOOR": (9_100_011, "MUTEWATCH audio-derived values at their floor"),
    "MW-CONSTANT": (9_100_012, "MUTEWATCH audio-derived values that do not change"),
    "MW-UNKNOWN": (9_100_013, "MUTEWATCH audio-derived data left, mute state unknown"),
    "MW-MISSING": (9_100_014, "MUTEWATCH report of a minute not seen"),
    "MW-STILL": (9_100_016, "MUTEWATCH audio-derived values that do not vary while muted"),
    "MW-STRADDLED": (9_100_017, "MUTEWATCH audio-derived data left, no reading of muted time alone"),
    "MW-UNDECODED": (9_100_015, "MUTEWATCH telemetry that could not be read"),
}
CATEGORY: Final = "Potential Corporate Privacy Violation"  # "policy-violation" in Suricata's classification.config
SEVERITY: Final = 2  # of 1, the gravest, to 3
OTHERS: Final = ("Not Suspicious Traffic", 3)
NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)


def eve_record(finding: Finding) -> Record:
    """Return one redacted finding as an EVE event."""
    is_alert = finding.verdict is Verdict.FLAGGED
    return {
        "timestamp": eve_time(finding),
        "flow_id": flow_id(finding),
        "event_type": "alert" if is_alert else "mutewatch",
        **_where(finding.source),
        "app_proto": "http",
        "alert": _alert(finding, *((CATEGORY, SEVERITY) if is_alert else OTHERS)),
    }


def eve_time(finding: Finding) -> str:
    """Return the time of an event as EVE writes it: microseconds, and an offset without a colon."""
    seen_at = finding.source.seen_at if finding.source else None
    time = (seen_at or finding.ends_at or NEVER).astimezone(UTC)
    return time.isoformat(timespec="microseconds").replace("+00:00", "+0000")


def address_of(source: Source | None) -> str | None:
    """Return the client's IP address; None if it is a pseudonym, as it is unless the operator chose names."""
    try:
        return str(ip_address(source.address)) if source and source.address else None
    except ValueError:
        return None


def _where(source: Source | None) -> Record:
    origin = source.origin if source else None
    known = {
        "src_ip": address_of(source),
        "pcap_filename": origin.file if origin and origin.frame is not None else None,
        "pcap_cnt": origin.frame if origin else None,
    }
    return {name: value for name, value in known.items() if value is not None}


def _alert(finding: Finding, category: str, severity: int) -> Record:
    signature_id, text = SIGNATURES[finding.rule]
    has_left = finding.source is None or finding.source.sent is Sent.FORWARDED
    return {
        "action": "allowed" if has_left else "blocked",
        "gid": 1,
        "signature_id": signature_id,
        "rev": finding.rules_version,
        "signature": text,
        "category": category,
        "severity": severity,
        "metadata": {"tag": [finding.signature.app]},
        "context": {"mutewatch": own_fields(finding)},
    }
