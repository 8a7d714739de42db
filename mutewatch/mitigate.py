"""Says what becomes of a telemetry message on its way out: forwarded, redacted, or answered in the server's place.

Pure, and off by default. Rules:

- only messages under a signature are touched, and of those without one, which are sent to a signature's host, those
  that name an audio-derived value, or cannot be searched for one;
- values are looked for wherever they stand: that `extract` has found none does not mean that there are none;
- `When.MUTED` means: unless the client is known to be unmuted. A state that nobody knows is no permission;
- it fails closed: what cannot be redacted with certainty is refused.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from msgspec import structs

from mutewatch.limits import DEFAULT_LIMITS, Limits
from mutewatch.messages import WEBSOCKET
from mutewatch.records import Decoded, Exchange, MuteSummary, Sent
from mutewatch.redact import Blank, Redacted, RedactionError, redact, redact_query
from mutewatch.signatures.model import Message, Signature


class Action(StrEnum):
    OBSERVE = "observe"
    REDACT = "redact"
    BLOCK = "block"


class When(StrEnum):
    MUTED = "muted"
    ALWAYS = "always"


class Answer(StrEnum):
    """What a client gets for a message that does not leave."""

    OK = "200"
    NO_CONTENT = "204"
    FORBIDDEN = "403"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class Policy:
    """What to do with the messages of a signature. `identifiers`: blank those, too."""

    action: Action = Action.OBSERVE
    when: When = When.MUTED
    blank: Blank = Blank.ZERO
    identifiers: bool = False
    block_as: Answer = Answer.NO_CONTENT


@dataclass(frozen=True, slots=True)
class Policies:
    """By id of the signature; `default` for the others."""

    default: Policy = Policy()
    by_signature: Mapping[str, Policy] = field(default_factory=dict)

    def of(self, signature: str) -> Policy:
        return self.by_signature.get(signature, self.default)

    @property
    def touch(self) -> bool:
        """May any message be kept from leaving as it is?"""
        return any(policy.action is not Action.OBSERVE for policy in (self.default, *self.by_signature.values()))


OBSERVE_ALL = Policies()


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of one message.

    `body` and `query`: what is sent instead, None: as it is; `answer`: what the client gets if nothing is sent.
    `sent_sha256`: of `body`, without its content-encoding. `is_known`: is it a message of a signature?
    """

    sent: Sent = Sent.FORWARDED
    body: bytes | None = None
    sent_sha256: str | None = None
    query: str | None = None
    awaits_answer: bool = True  # does the status of the server's answer matter?
    answer: Answer | None = None
    is_known: bool = True


FORWARD = Decision()  # as nobody knows better


class Mitigation:
    """Applies the policies to one exchange under one signature after the other, and remembers the outcome."""

    def __init__(self, policies: Policies, exchange: Exchange, limits: Limits = DEFAULT_LIMITS) -> None:
        self.decision = Decision(awaits_answer=False)
        self._policies, self._exchange, self._limits = policies, exchange, limits

    def apply(
        self, signature: Signature, message: Message, facts: Decoded | None, mute: Callable[[], Iterable[MuteSummary]]
    ) -> None:
        """Decide under one more signature.

        `facts`: what was read of it, None if nothing could be; `mute` returns the mute state of each minute that
        it reports, and is called only where that matters.
        """
        if message.awaits_answer:
            self.decision = replace(self.decision, awaits_answer=True)
        policy = self._policies.of(signature.id)
        if policy.action is Action.OBSERVE or self.decision.answer is not None:
            return
        if policy.when is When.MUTED and _is_unmuted(facts, mute()):
            return
        has_audio = facts is None or bool(facts.audio or facts.undecoded)
        if policy.action is Action.REDACT:
            self.decision = self._redacted(policy, signature, message, has_audio=has_audio)
        elif has_audio or self._tells(signature, message):
            self._withhold(Sent.BLOCKED, policy.block_as)

    def apply_unknown(self, signature: Signature, names_audio: bool | None) -> None:
        """Decide on a message that no signature knows, to a host of `signature`; None: it could not be searched.

        Nobody knows whose it is, so nobody is known to be unmuted.
        """
        self.decision = replace(self.decision, is_known=False)
        policy = self._policies.of(signature.id)
        if policy.action is Action.OBSERVE or names_audio is False or self.decision.answer is not None:
            return
        if policy.action is Action.BLOCK:
            self._withhold(Sent.BLOCKED, policy.block_as)
        else:
            self._withhold(Sent.REFUSED, Answer.FORBIDDEN)

    def _withhold(self, sent: Sent, answer: Answer) -> None:
        self.decision = replace(self.decision, sent=sent, answer=answer, body=None, sent_sha256=None, query=None)

    def _tells(self, signature: Signature, message: Message) -> bool:
        """Would there be something to take out of it, beside what was read?"""
        if message.protobuf:
            return False  # its map names all that it can tell
        try:
            return self._redact(Policy(), signature, message).values > 0
        except RedactionError:
            return True

    def _redact(self, policy: Policy, signature: Signature, message: Message) -> Redacted:
        body = self._exchange.body if self.decision.body is None else self.decision.body
        if body is None:
            raise RedactionError("the body could not be read")
        encoding, identifiers = self._exchange.content_encoding, policy.identifiers
        return redact(
            body, encoding, signature, message, blank=policy.blank, identifiers=identifiers, limits=self._limits
        )

    def _redacted(self, policy: Policy, signature: Signature, message: Message, *, has_audio: bool) -> Decision:
        try:
            done = self._redact(policy, signature, message)
        except RedactionError:
            if has_audio or not message.protobuf:  # of what is binary, only what carries a value cannot leave
                self._withhold(Sent.REFUSED, Answer.FORBIDDEN)
            return self.decision
        known = query = self._exchange.query if self.decision.query is None else self.decision.query
        if policy.identifiers and self._exchange.method != WEBSOCKET:  # of those, it has left with the upgrade
            query, _ = redact_query(query, signature, blank=policy.blank)
        if not has_audio and not done.values and not done.identifiers and query == known:
            return self.decision
        query_sent = query if query != self._exchange.query else None
        sha256 = done.sha256 or None
        return replace(self.decision, sent=Sent.REDACTED, body=done.body, sent_sha256=sha256, query=query_sent)


def _is_unmuted(facts: Decoded | None, mute: Iterable[MuteSummary]) -> bool:
    """Is the client known to have been unmuted all the time? What was not read may be of another time."""
    is_read = facts is not None and bool(facts.audio) and not facts.undecoded
    return is_read and all(minute.muted_seconds == minute.unknown_seconds == 0 for minute in mute)


def with_sent(facts: Decoded, decision: Decision) -> Decoded:
    """Return the facts of a message with what was sent of it."""
    if decision.sent is facts.source.sent:
        return facts
    source = structs.replace(facts.source, sent=decision.sent, sent_sha256=decision.sent_sha256)
    return Decoded(
        source,
        tuple(structs.replace(report, source=source) for report in facts.audio),
        tuple(structs.replace(event, source=source) for event in facts.mute),
        tuple(structs.replace(undecoded, source=source) for undecoded in facts.undecoded),
    )
