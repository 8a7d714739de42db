"""The Elastic Common Schema (8.11): a redacted finding as one document, own fields in `mutewatch`.

A client is a `user.id`, and its network address a `source.address`; `source.ip` is there only where names are
shown, since a pseudonym is no address.
"""

from datetime import datetime
from typing import Any, Final

from mutewatch.records import Finding, Verdict
from mutewatch.sinks.eve import NEVER, address_of
from mutewatch.sinks.export import event_id, own_fields
from mutewatch.sinks.record import Record

ECS_VERSION: Final = "8.11.0"
KINDS: Final = {Verdict.FLAGGED: "alert"}  # ECS: what another system than Elastic has raised; the others are "metric"


def ecs_record(finding: Finding) -> Record:
    """Return one redacted finding as an ECS document."""
    own = own_fields(finding)
    source = finding.source
    return _known(
        {
            "@timestamp": _time((source.seen_at if source else None) or finding.ends_at or NEVER),
            "ecs": {"version": ECS_VERSION},
            "message": finding.reason,
            "event": _event(finding),
            "rule": {
                "id": finding.rule,
                "name": f"{finding.signature.app} {finding.verdict}",
                "version": str(finding.rules_version),
                "ruleset": "mutewatch",
            },
            "user": {"id": finding.client},
            "source": {"address": source.address if source else None, "ip": address_of(source)},
            "network": {"protocol": "http", "application": finding.signature.app.lower()},
            "observer": {"product": "mutewatch", "type": "proxy" if own.get("door") == "live" else "sensor"},
            "mutewatch": own,
        }
    )


def _event(finding: Finding) -> Record:
    is_timed = finding.starts_at is not None and finding.ends_at is not None
    seconds = (finding.ends_at - finding.starts_at).total_seconds() if finding.starts_at and finding.ends_at else 0.0
    return {
        "id": event_id(finding),
        "kind": KINDS.get(finding.verdict, "metric"),
        "category": ["network"],
        "type": ["info"],
        "module": "mutewatch",
        "dataset": "mutewatch.minute",
        "start": _time(finding.starts_at) if finding.starts_at else None,
        "end": _time(finding.ends_at) if finding.ends_at else None,
        "duration": round(seconds * 1_000_000_000) if is_timed else None,
    }


def _known(record: Record) -> Record:
    """Return `record` without what is None, and without objects that are empty then."""
    pruned: dict[str, Any] = {}
    for name, value in record.items():
        kept = _known(value) if isinstance(value, dict) else value
        if kept is not None and kept != {}:
            pruned[name] = kept
    return pruned


def _time(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
