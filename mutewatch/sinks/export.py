"""What leaves the house: findings without what a receiver does not need, and what a SIEM is told of each.

Every export is made of `redacted` findings, whatever its format. Rules:

- clients and addresses stay as the store has them: pseudonyms, unless the operator chose names;
- a call keeps its pseudonym, under which store, page and table know it; any other name of one is hashed;
- of a file's path the name remains; guesses remain only where they are asked for;
- `event_id` is the same for the same finding with the same verdict, whenever and wherever it is written.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import PurePath
from typing import Any, Final

from msgspec.structs import replace

from mutewatch.identity import is_call_pseudonym
from mutewatch.records import Finding, Role, Source, Verdict
from mutewatch.sinks.record import Record, finding_record, sound

FROM_RECORD: Final = (
    *("verdict", "rule", "rules_version", "reason"),
    *("app", "client_version", "signature", "signature_version", "confidence"),
    *("client", "address", "call", "minute", "starts_at", "ends_at"),
    *("muted_seconds", "unmuted_seconds", "unknown_seconds", "disputed_seconds", "mute_basis"),
    *("body_sha256", "sent", "sent_sha256", "wireshark_filter"),
)
GAINS: Final = {
    Role.MAX_GAIN: "audio_max_gain",
    Role.MEAN_GAIN: "audio_mean_gain",
    Role.MIN_GAIN: "audio_min_gain",
}


def redacted(finding: Finding, *, with_guesses: bool = False) -> Finding:
    """Return `finding` as it may leave."""
    return replace(
        finding,
        client=sound(finding.client),
        call=_call(finding),
        minute=sound(finding.minute),
        reason=sound(finding.reason),
        guess=finding.guess if with_guesses else None,
        source=_redacted_source(finding.source) if finding.source else None,
    )


def alerts(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield the flagged of `findings`, redacted."""
    yield from (redacted(finding) for finding in findings if finding.verdict is Verdict.FLAGGED)


def event_id(finding: Finding) -> str:
    """Return what a receiver drops repetitions by: 32 hex digits of the redacted finding's key and verdict."""
    return _digest(*finding.key, finding.verdict)[:32]


def finding_id(finding: Finding) -> str:
    """Return what stays the same when a minute is judged anew: 32 hex digits of the redacted finding's key."""
    return _digest(*finding.key)[:32]


def flow_id(finding: Finding) -> int:
    """Return a number for the call under its signature: 52 bits, which every reader of JSON keeps exactly."""
    return int(_digest(finding.client, finding.call, finding.signature.id)[:13], 16)


def own_fields(finding: Finding) -> Record:
    """Return the fields that only mutewatch knows, without those that are not known, of a redacted finding."""
    record = finding_record(finding)
    known: Record = {"event_id": event_id(finding), "finding_id": finding_id(finding)}
    known |= {name: record[name] for name in FROM_RECORD}
    known |= {GAINS[value.role]: value.value for value in finding.values if value.role in GAINS}
    known |= {
        "value_count": len(finding.values),
        **_evidence_fields(finding),
        **(record["origin"] or {}),
        **_guess_fields(finding),
    }
    return {name: value for name, value in known.items() if value is not None}


def _evidence_fields(finding: Finding) -> dict[str, Any]:
    """What the most telling field carried, and of how many samples."""
    samples = finding.samples
    counted = (
        {"samples": samples.number, "samples_muted": samples.muted, "messages": samples.messages} if samples else {}
    )
    most = max(finding.information, key=lambda told: told.entropy_bits, default=None)
    if most is None:
        return counted
    return counted | {"telling_value": most.name, "telling_readings": most.readings, "telling_bits": most.entropy_bits}


def _guess_fields(finding: Finding) -> dict[str, Any]:
    guess = finding.guess
    if guess is None or guess.label is None:
        return {}
    return {
        "activity": guess.label,
        "activity_probability": round(guess.probabilities[guess.label], 4),
        "model": guess.model,
    }


def _call(finding: Finding) -> str:
    if not finding.call or is_call_pseudonym(finding.call):
        return finding.call
    return f"call-{_digest(finding.client, finding.call)[:12]}"


def _redacted_source(source: Source) -> Source:
    file = source.origin.file
    origin = replace(source.origin, file=sound(PurePath(file).name) if file else None)
    return replace(source, origin=origin, address=sound(source.address) if source.address else None)


def _digest(*parts: str) -> str:
    text = json.dumps(parts, separators=(",", ":"))  # ASCII, and no two lists of parts look the same
    return hashlib.sha256(text.encode()).hexdigest()
