"""A finding as the plain record that every output writes; the fields are documented in docs/output.md.

`finding_record` and `finding_from_record` are each other's inverse, so what is stored can be shown again.
"""

from datetime import datetime
from typing import Any, Final

from mutewatch.records import (
    ActivityGuess,
    AudioValue,
    Basis,
    Finding,
    Information,
    MuteSummary,
    Origin,
    Role,
    Samples,
    Sent,
    SignatureRef,
    Source,
    Verdict,
)

Record = dict[str, Any]

_TOLD: Final = ("readings", "distinct", "lowest", "highest", "entropy_bits")


def finding_record(finding: Finding) -> Record:
    """Return `finding` as JSON-ready values; times are ISO 8601 in UTC, seconds whole ones."""
    mute, source = finding.mute, finding.source
    return {
        "type": "finding",
        "verdict": finding.verdict.value,
        "rule": finding.rule,
        "rules_version": finding.rules_version,
        "reason": finding.reason,
        "app": finding.signature.app,
        "signature": finding.signature.id,
        "signature_version": finding.signature.version,
        "confidence": finding.signature.confidence,
        "client": finding.client,
        "client_version": finding.client_version,
        "call": finding.call or None,
        "minute": finding.minute,
        "starts_at": _time(finding.starts_at),
        "ends_at": _time(finding.ends_at),
        "muted_seconds": round(mute.muted_seconds) if mute else None,
        "unmuted_seconds": round(mute.unmuted_seconds) if mute else None,
        "unknown_seconds": round(mute.unknown_seconds) if mute else None,
        "disputed_seconds": round(mute.disputed_seconds) if mute else None,
        "mute_basis": [basis.value for basis in mute.bases] if mute else [],
        "address_shared": mute.is_address_shared if mute else None,
        "values": {value.name: _value(value) for value in finding.values},
        "information": {told.name: _information(told) for told in finding.information},
        "samples": _samples(finding.samples) if finding.samples else None,
        "guess": guess_record(finding.guess) if finding.guess else None,
        "origin": _origin(source.origin) if source else None,
        "wireshark_filter": wireshark_filter(source.origin) if source else None,
        "seen_at": _time(source.seen_at) if source else None,
        "address": source.address if source else None,
        "body_sha256": source.body_sha256 if source else None,
        "sent": source.sent.value if source else None,
        "sent_sha256": source.sent_sha256 if source else None,
    }


def sound(text: str) -> str:
    """A half of a surrogate pair, which JSON can spell and most readers refuse, becomes a question mark."""
    return text.encode("utf-8", "replace").decode()


def wireshark_filter(origin: Origin) -> str | None:
    """Return the display filter that shows where this was read, in the file it was read from; None: in no capture.

    That is the frame with which the message ends: there Wireshark shows the message whole.
    """
    return None if origin.frame is None else f"frame.number == {origin.frame}"


def finding_from_record(record: Record) -> Finding:
    """Return the finding that `finding_record` wrote."""
    signature = SignatureRef(record["signature"], record["signature_version"], record["app"], record["confidence"])
    return Finding(
        Verdict(record["verdict"]),
        record["rule"],
        record["rules_version"],
        record["reason"],
        record["client"],
        record["call"] or "",
        record["minute"],
        signature,
        _parsed(record["starts_at"]),
        _parsed(record["ends_at"]),
        _mute_of(record),
        tuple(
            AudioValue(name, v["value"], v["unit"], v.get("floor"), Role(v["role"]) if v.get("role") else None)
            for name, v in record["values"].items()
        ),
        _source_of(record, signature),
        guess_from_record(record["guess"]),
        record.get("client_version"),  # stores from before it was read, and information was
        tuple(
            Information(name, told["unit"], told.get("floor"), *(told[key] for key in _TOLD))
            for name, told in record.get("information", {}).items()
        ),
        Samples(**record["samples"]) if record.get("samples") else None,
    )


def _mute_of(record: Record) -> MuteSummary | None:
    if record["muted_seconds"] is None:
        return None
    return MuteSummary(
        record["muted_seconds"],
        record["unmuted_seconds"],
        record["unknown_seconds"],
        tuple(Basis(basis) for basis in record["mute_basis"]),
        record["disputed_seconds"],
        bool(record.get("address_shared")),
    )


def _source_of(record: Record, signature: SignatureRef) -> Source | None:
    if record["origin"] is None:
        return None
    return Source(
        signature,
        Origin(**record["origin"]),
        record["body_sha256"],
        _parsed(record["seen_at"]),
        record["address"],
        Sent(record.get("sent") or Sent.FORWARDED),  # stores from before there was a choice
        record.get("sent_sha256"),
    )


def guess_from_record(record: Record | None) -> ActivityGuess | None:
    """Return the guess that `guess_record` wrote."""
    if record is None:
        return None
    return ActivityGuess(
        record["model"],
        record["label"],
        record["probabilities"],
        datetime.fromisoformat(record["window_starts_at"]),
        datetime.fromisoformat(record["window_ends_at"]),
        record["minutes"],
        record["minutes_missing"],
        record["reason"],
    )


def _value(value: AudioValue) -> Record:
    record: Record = {"value": value.value, "unit": value.unit}
    if value.floor is not None:
        record["floor"] = value.floor
    if value.role is not None:
        record["role"] = value.role.value
    return record


def _information(told: Information) -> Record:
    record: Record = {"unit": told.unit} | {key: getattr(told, key) for key in _TOLD}
    if told.floor is not None:
        record["floor"] = told.floor
    return record


def _samples(samples: Samples) -> Record:
    return {name: getattr(samples, name) for name in Samples.__struct_fields__}


def guess_record(guess: ActivityGuess) -> Record:
    """Return `guess` as it stands in a record."""
    return {
        "label": guess.label,
        "probabilities": {label: round(p, 4) for label, p in guess.probabilities.items()},
        "reason": guess.reason,
        "model": guess.model,
        "window_starts_at": _time(guess.window_starts_at),
        "window_ends_at": _time(guess.window_ends_at),
        "minutes": guess.minutes,
        "minutes_missing": guess.minutes_missing,
    }


def _origin(origin: Origin) -> Record:
    fields = {name: getattr(origin, name) for name in Origin.__struct_fields__}
    return {name: value for name, value in fields.items() if value is not None}


def _time(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _parsed(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
