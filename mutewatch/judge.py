"""What a minute means: an ordered table of rules, the first that holds decides.

Rules have stable ids; a change of what a rule says raises `RULES_VERSION`. A flag never depends on a guess.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mutewatch.records import ClientMinute, Finding, Undecoded, Verdict

RULES_VERSION: Final = 1

# Clocks and round trips put a change of state up to about a second off: less than this muted is not muted.
MUTED_SECONDS: Final = 1.0
# Twice the longest run of equal minutes (5) among 3,897 of real sound, see docs/architecture.md.
CONSTANT_MINUTES: Final = 10


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
    """Every value that has a floor is at it, and there is at least one."""
    values = [value for value in minute.report.values if value.floor is not None] if minute.report else []
    return bool(values) and all(value.value == value.floor for value in values)


def is_constant(minute: ClientMinute) -> bool:
    return minute.constant_minutes >= CONSTANT_MINUTES


def is_muted_throughout(minute: ClientMinute) -> bool:
    return is_muted_partly(minute) and _seconds(minute) - minute.mute.muted_seconds < MUTED_SECONDS


def is_muted_partly(minute: ClientMinute) -> bool:
    return minute.mute.muted_seconds >= MUTED_SECONDS


def is_unmuted(minute: ClientMinute) -> bool:
    return minute.mute.unknown_seconds < MUTED_SECONDS


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
    Rule(
        "MW-MUTED",
        Verdict.FLAGGED,
        is_muted_throughout,
        "audio-derived data left while the client was muted ({bases})",
    ),
    Rule(
        "MW-MUTED-PART",
        Verdict.FLAGGED,
        is_muted_partly,
        "audio-derived data of a minute that was muted for {muted:.0f} of {seconds:.0f} s ({bases})",
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
    )


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
