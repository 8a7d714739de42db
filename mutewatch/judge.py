"""What a minute means: an ordered table of rules, the first that holds decides.

Rules have stable ids; a change of what a rule says raises `RULES_VERSION`. A flag never depends on a guess.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from mutewatch.evidence import CONSTANT_MINUTES, CONSTANT_READINGS
from mutewatch.records import ClientMinute, Finding, Information, Samples, Undecoded, Verdict

RULES_VERSION: Final = 2

MUTED_PART: Final = "MW-MUTED-PART"

# Clocks and round trips put a change of state up to about a second off: less than this muted is not muted.
MUTED_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the table. `reason` is a template for the minute's one-line explanation."""

    id: str
    verdict: Verdict
    holds: Callable[[ClientMinute], bool]
    reason: str


def is_missing(minute: ClientMinute) -> bool:
    return minute.report is None


def is_at_floor(minute: ClientMinute) -> bool:
    """Every value that counts and has a floor is at it, and there is at least one; of samples, no other varies."""
    values = [value for value in minute.report.values if value.floor is not None] if minute.report else []
    is_low = bool(values) and all(value.value == value.floor for value in values)
    return is_low and (minute.samples is None or (_leaves_nothing_open(minute) and not _varies_without_floor(minute)))


def is_constant(minute: ClientMinute) -> bool:
    return minute.constant_minutes >= CONSTANT_MINUTES


def is_still(minute: ClientMinute) -> bool:
    """No field varied in the samples while muted, and each was read often enough to say so."""
    return _has_muted_sample(minute) and _leaves_nothing_open(minute) and all(map(_is_inert, minute.information))


def is_muted_throughout(minute: ClientMinute) -> bool:
    return is_muted_partly(minute) and _seconds(minute) - minute.mute.muted_seconds < MUTED_SECONDS


def is_muted_partly(minute: ClientMinute) -> bool:
    """It was muted for some of the time that a value is of. Samples count one by one."""
    if minute.samples is None:
        return minute.mute.muted_seconds >= MUTED_SECONDS
    return _has_muted_sample(minute) and not all(map(_is_inert, minute.information))


def is_straddled(minute: ClientMinute) -> bool:
    return minute.samples is not None and not minute.samples.muted and minute.mute.muted_seconds >= MUTED_SECONDS


def is_unmuted(minute: ClientMinute) -> bool:
    return minute.mute.unknown_seconds < MUTED_SECONDS


def _has_muted_sample(minute: ClientMinute) -> bool:
    return minute.samples is not None and minute.samples.muted > 0


def _leaves_nothing_open(minute: ClientMinute) -> bool:
    """Samples that say nothing while muted settle a minute only if none is of a time of unknown state."""
    return not _has_muted_sample(minute) or minute.mute.unknown_seconds < MUTED_SECONDS


def _is_inert(told: Information) -> bool:
    if told.distinct > 1:
        return False
    return told.lowest == told.floor or told.readings >= CONSTANT_READINGS


def _varies_without_floor(minute: ClientMinute) -> bool:
    return any(told.floor is None and told.distinct > 1 for told in minute.information)


def _seconds(minute: ClientMinute) -> float:
    return (minute.ends_at - minute.starts_at).total_seconds()


RULES: Final = (
    Rule(
        "MW-MISSING",
        Verdict.MISSING,
        is_missing,
        "the client counted this minute, but its report was not seen",
    ),
    Rule("MW-FLOOR", Verdict.INERT, is_at_floor, "audio-derived values present, all at their floor"),
    Rule("MW-CONSTANT", Verdict.INERT, is_constant, "the same values for {constant} minutes on end"),
    Rule("MW-STILL", Verdict.INERT, is_still, "no value varied while the client was muted ({bases})"),
    Rule(
        "MW-MUTED",
        Verdict.FLAGGED,
        is_muted_throughout,
        "audio-derived data left while the client was muted ({bases})",
    ),
    Rule(
        MUTED_PART,
        Verdict.FLAGGED,
        is_muted_partly,
        "audio-derived data of a minute that was muted for {muted:.0f} of {seconds:.0f} s ({bases})",
    ),
    Rule(
        "MW-STRADDLED",
        Verdict.MUTE_UNKNOWN,
        is_straddled,
        "muted for {muted:.0f} of {seconds:.0f} s ({bases}), and no reading is of that time alone",
    ),
    Rule("MW-UNMUTED", Verdict.UNMUTED, is_unmuted, "the client was not muted ({bases})"),
    Rule(
        "MW-UNKNOWN",
        Verdict.MUTE_UNKNOWN,
        lambda _minute: True,
        "audio-derived data left; whether the client was muted is not known for {unknown:.0f} of {seconds:.0f} s",
    ),
)
UNDECODED: Final = "MW-UNDECODED"


def judge(minute: ClientMinute) -> Finding:
    """Return the finding for one minute, without a guess."""
    rule = next(rule for rule in RULES if rule.holds(minute))
    reason = rule.reason.format(
        constant=minute.constant_minutes,
        bases=", ".join(minute.mute.bases),
        muted=minute.mute.muted_seconds,
        unknown=minute.mute.unknown_seconds,
        seconds=_seconds(minute),
    )
    if rule.verdict is Verdict.MUTE_UNKNOWN and minute.mute.is_address_shared:
        reason += "; several clients at one address"
    if minute.samples is not None:
        reason += f"; {_told(minute.samples, minute.information)}"
    if minute.mute.disputed_seconds >= MUTED_SECONDS:
        reason += f"; the operator's timeline says otherwise for {minute.mute.disputed_seconds:.0f} s"
    return Finding(
        verdict=rule.verdict,
        rule=rule.id,
        rules_version=RULES_VERSION,
        reason=reason,
        client=minute.client,
        call=minute.call,
        minute=minute.minute,
        signature=minute.signature,
        starts_at=minute.starts_at,
        ends_at=minute.ends_at,
        mute=minute.mute,
        values=minute.report.values if minute.report else (),
        source=minute.report.source if minute.report else None,
        client_version=minute.report.client_version if minute.report else None,
        information=minute.information,
        samples=minute.samples,
    )


def _told(samples: Samples, information: Sequence[Information]) -> str:
    """How many samples count, and what the most telling field carried in them."""
    number = (
        f"{samples.muted} of {samples.number} samples while muted" if samples.muted else f"{samples.number} samples"
    )
    if not information:
        return number
    most = max(information, key=lambda told: told.entropy_bits)
    readings = "one reading" if most.readings == 1 else f"{most.readings} readings, {most.entropy_bits:.1f} bits"
    return f"{number}; {most.name}: {readings}"


def judge_undecoded(undecoded: Undecoded) -> Finding:
    """Return the finding for a message, or an element of one, that could not be read."""
    source = undecoded.source
    return Finding(
        verdict=Verdict.UNDECODED,
        rule=UNDECODED,
        rules_version=RULES_VERSION,
        reason=undecoded.reason,
        client=undecoded.client or source.address or "unknown",
        call=undecoded.call or "",
        minute=f"body-{source.body_sha256[:16]}-{undecoded.element}-{undecoded.reason[:24]}",
        signature=source.signature,
        starts_at=None,
        ends_at=undecoded.at or source.seen_at,
        mute=None,
        values=(),
        source=source,
    )
