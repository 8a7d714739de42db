"""What a canary sends, and what must be true of it afterwards. Facts in, checks out: no socket, no clock.

A canary's message is valid telemetry with values of its own, so that it takes the way that a person's takes. It is
known by its call id, which nobody can guess, and by the door that it came through (`identity.CANARY`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from mutewatch.errors import OperatorError
from mutewatch.extract import extract
from mutewatch.identity import CANARY, Names
from mutewatch.records import Decoded, Exchange, Finding, Origin, Verdict
from mutewatch.signatures.choice import Choice
from mutewatch.signatures.fixtures import pack
from mutewatch.signatures.model import Signature

BEFORE_THE_MINUTE = timedelta(seconds=75)  # when the canary "pressed mute": before the minute that it reports
CLOCK_SKEW = timedelta(seconds=60)  # a run takes less; a minute that far off may be judged by another's mute state
NOT_STORED = "it is not in the store"


class Expectation(StrEnum):
    """What the gateway is set to do with telemetry of somebody who is muted."""

    OBSERVE = "observe"
    REDACT = "redact"
    BLOCK = "block"


@dataclass(frozen=True, slots=True)
class CanaryMessage:
    """One request, and the signature that it is for."""

    signature: Signature
    call: str
    sent_at: datetime
    host: str
    method: str
    path: str
    body: bytes

    @property
    def tells_audio(self) -> bool:
        return self.signature.canary is not None and self.signature.canary.tells == "audio"

    @property
    def values(self) -> tuple[str, ...]:
        """Names of the values that must be found in it."""
        return self.signature.canary.values if self.signature.canary else ()

    def read(self, body: bytes, content_encoding: str | None = None) -> Decoded | None:
        """Return the facts of `body`, had it been this message; None if this is none of the signature's messages."""
        path, _, query = self.path.partition("?")
        matched = self.signature.match(self.method, self.host, path)
        if matched is None:
            return None
        where = Origin(CANARY)
        exchange = Exchange(
            self.sent_at, None, self.host, 443, self.method, path, query, body, where, content_encoding, status=200
        )
        return extract(exchange, self.signature, *matched, Names(None))


@dataclass(frozen=True, slots=True)
class Check:
    """One claim about the gateway, and whether it holds; `text` says what was found."""

    name: str
    holds: bool
    text: str


def check_canaries(choice: Choice) -> None:
    """Raise OperatorError if no signature that is used has a canary that would be judged."""
    if telling_audio(choice.used):
        return
    left_out = [one.id for one in telling_audio(choice.left_out)]
    why = f"{', '.join(left_out)}: left out by the operator; " if left_out else ""
    raise OperatorError(f"{why}no signature has a canary that tells audio-derived values: write canary.stale_after = 0")


def telling_audio(signatures: Iterable[Signature]) -> list[Signature]:
    """Return those whose canary tells audio-derived values, so that it is judged."""
    return [one for one in signatures if one.canary is not None and one.canary.tells == "audio"]


def messages(signatures: Iterable[Signature], call: str, now: datetime) -> list[CanaryMessage]:
    """Return one message for each signature that has a canary, the mutes first."""
    times = {"{call}": call, "{at}": _iso(now), "{earlier}": _iso(now - BEFORE_THE_MINUTE)}
    found = []
    for signature in sorted(
        signatures, key=lambda signature: signature.canary is None or signature.canary.tells != "mute"
    ):
        if (canary := signature.canary) is None:
            continue
        body, inner = canary.body, canary.inner
        for name, value in times.items():
            body, inner = body.replace(name, value), inner.replace(name, value) if inner is not None else None
        packed = pack(body, inner, canary.encode)
        found.append(CanaryMessage(signature, call, now, canary.host, canary.method, canary.path, packed))
    return found


def check_arrival(message: CanaryMessage, bodies: Sequence[tuple[bytes, str | None]], expected: Expectation) -> Check:
    """Did what left the gateway look as it should? `bodies`: what the far end got, with its content-encoding."""
    name = f"as expected at the far end ({message.host})"
    if expected is Expectation.BLOCK and message.tells_audio:
        return Check(
            name, not bodies, "it arrived, although it is to be blocked" if bodies else "blocked: did not arrive"
        )
    if len(bodies) != 1:
        return Check(name, False, f"it arrived {len(bodies)} times, not once")
    body, content_encoding = bodies[0]
    if expected is Expectation.REDACT and message.tells_audio:
        told = telling_values(message, body, content_encoding)
        text = (
            f"it arrived unredacted: {', '.join(told)}" if told else "redacted: it arrived without audio-derived values"
        )
        return Check(name, not told, text)
    if expected is not Expectation.OBSERVE:
        return Check(name, True, "arrived")  # identifiers may be blanked in it
    same = body == message.body
    return Check(name, same, "arrived unchanged" if same else "it arrived changed, although nothing is to be redacted")


def telling_values(message: CanaryMessage, body: bytes, content_encoding: str | None) -> list[str]:
    """Return the names of the values in `body` that tell something: not gone, not zero, not at their floor."""
    decoded = message.read(body, content_encoding)
    if decoded is None:
        return []
    groups = [group for kind in message.signature.messages if kind.audio for group in kind.audio.groups]
    blank = {(name, silent) for group in groups for name, f in group.fields.items() for silent in (f.offset, f.floor)}
    values = [value for report in decoded.audio for value in report.values]
    return sorted({value.name for value in values if (value.name, value.value) not in blank})


def stored(message: CanaryMessage, facts: Iterable[Decoded], *, by_call: bool = False) -> list[Decoded]:
    """Return what the store's facts say of `message`; `by_call`: only those that name its call."""
    own = (one for one in facts if one.source.signature.id == message.signature.id)
    return [one for one in own if (message.call in _calls(one) if by_call else _is_of(one, message))]


def check_record(message: CanaryMessage, facts: Iterable[Decoded]) -> Check:
    """Is the message among the facts of the store, and was it read?"""
    name, own = f"recorded ({message.signature.id})", stored(message, facts)
    if not own:
        return Check(name, False, NOT_STORED)
    if (told := _clock_fault(message, own)) is not None:
        return Check(name, False, told)
    faults = [undecoded.reason for decoded in own for undecoded in decoded.undecoded]
    if faults:
        return Check(name, False, f"it is in the store, but the signature could not read it: {faults[0]}")
    found = {value.name for decoded in own for report in decoded.audio for value in report.values}
    missing = [wanted for wanted in message.values if wanted not in found]
    if missing:
        return Check(name, False, f"it is in the store, but the signature did not find {', '.join(missing)} in it")
    return Check(name, True, "in the store, and read")


def _clock_fault(message: CanaryMessage, own: Iterable[Decoded]) -> str | None:
    """Say by how much the time at which the gateway saw `message` is not when it was sent; None if it is about that."""
    for decoded in own:
        seen_at = decoded.source.seen_at
        if seen_at is not None and abs(seen_at - message.sent_at) > CLOCK_SKEW:
            minutes = (seen_at - message.sent_at).total_seconds() / 60
            where = "ahead of" if minutes > 0 else "behind"
            return f"the gateway's clock is off: {abs(minutes):,.0f} minutes {where} the canary's"
    return None


def check_judgement(sent: Sequence[CanaryMessage], found: Iterable[Finding]) -> list[Check]:
    """Was each report judged, and as muted where the canary had said so?"""
    checks = []
    knows_mute = {message.signature.app for message in sent if not message.tells_audio}
    findings = list(found)
    for message in (message for message in sent if message.tells_audio):
        name, ref = f"judged ({message.signature.id})", message.signature.ref
        verdicts = [finding for finding in findings if finding.signature.id == ref.id]
        wanted = (
            {Verdict.FLAGGED} if ref.app in knows_mute else {Verdict.FLAGGED, Verdict.UNMUTED, Verdict.MUTE_UNKNOWN}
        )
        good = [finding for finding in verdicts if finding.verdict in wanted]
        if good:
            checks.append(Check(name, True, f"{good[0].verdict} by {good[0].rule}"))
        elif verdicts:
            wrong = verdicts[0]
            text = f"{wrong.verdict} by {wrong.rule}, not {' or '.join(sorted(wanted))}: {wrong.reason}"
            checks.append(Check(name, False, text))
        else:
            checks.append(Check(name, False, "there is no finding"))
    return checks


def _is_of(decoded: Decoded, message: CanaryMessage) -> bool:
    """By the call, which only this run knows; what could not be read is taken for this run's (it is new)."""
    calls = _calls(decoded)
    return not calls or None in calls or message.call in calls


def _calls(decoded: Decoded) -> set[str | None]:
    calls: set[str | None] = {report.call for report in decoded.audio}
    return calls | {event.call for event in decoded.mute} | {undecoded.call for undecoded in decoded.undecoded}


def _iso(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
