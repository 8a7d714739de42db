"""Says what becomes of a telemetry message on its way out: forwarded, redacted, or answered in the server's place.

Pure, and off by default. Rules:

- only messages with audio-derived values are touched, and those that could not be read, in which there may be some;
- `When.MUTED` means: unless the client is known to be unmuted. A state that nobody knows is no permission;
- it fails closed: what cannot be redacted with certainty is refused.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from mutewatch.limits import DEFAULT_LIMITS, Limits
from mutewatch.records import Decoded, Exchange, MuteSummary, Sent
from mutewatch.redact import Blank, RedactionError, redact, redact_query
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
    """

    sent: Sent = Sent.FORWARDED
    body: bytes | None = None
    query: str | None = None
    awaits_answer: bool = True  # does the status of the server's answer matter?
    answer: Answer | None = None


FORWARD = Decision()  # as nobody knows better


class Mitigation:
    """Applies the policies to one exchange under one signature after the other, and remembers the outcome."""

    def __init__(self, policies: Policies, exchange: Exchange, limits: Limits = DEFAULT_LIMITS) -> None:
        self.decision = Decision(awaits_answer=False)
        self._policies, self._exchange, self._limits = policies, exchange, limits

    def apply(
        self, signature: Signature, message: Message, facts: Decoded | None, mute: Callable[[], Iterable[MuteSummary]]
    ) -> Sent:
        """Decide under one more signature; return what is sent, as far as is known.

        `facts`: what was read of it, None if nothing could be; `mute` returns the mute state of each minute that
        it reports, and is called only where that matters.
        """
        if message.awaits_answer:
            self.decision = replace(self.decision, awaits_answer=True)
        policy = self._policies.of(signature.id)
        has_audio = facts is None or bool(facts.audio or facts.undecoded)
        if policy.action is Action.OBSERVE or not has_audio or self.decision.answer is not None:
            return self.decision.sent
        if policy.when is When.MUTED and _is_unmuted(tuple(mute())):
            return self.decision.sent
        if policy.action is Action.BLOCK:
            self.decision = replace(self.decision, sent=Sent.BLOCKED, answer=policy.block_as)
        else:
            self.decision = self._redacted(policy, signature, message)
        return self.decision.sent

    def _redacted(self, policy: Policy, signature: Signature, message: Message) -> Decision:
        body = self._exchange.body if self.decision.body is None else self.decision.body
        if body is None:
            return replace(self.decision, sent=Sent.REFUSED, answer=Answer.FORBIDDEN)
        try:
            done = redact(
                body,
                self._exchange.content_encoding,
                signature,
                message,
                blank=policy.blank,
                identifiers=policy.identifiers,
                limits=self._limits,
            )
        except RedactionError:
            return replace(self.decision, sent=Sent.REFUSED, answer=Answer.FORBIDDEN)
        query = self._exchange.query if self.decision.query is None else self.decision.query
        if policy.identifiers:
            query, _ = redact_query(query, signature, blank=policy.blank)
        query_sent = query if query != self._exchange.query else None
        return replace(self.decision, sent=Sent.REDACTED, body=done.body, query=query_sent)


def _is_unmuted(mute: tuple[MuteSummary, ...]) -> bool:
    """Is the client known to have been unmuted all the time?"""
    return bool(mute) and all(minute.muted_seconds == minute.unknown_seconds == 0 for minute in mute)


def with_sent(facts: Decoded, sent: Sent) -> Decoded:
    """Return the facts of a message with what was sent of it."""
    if sent is facts.source.sent:
        return facts
    source = replace(facts.source, sent=sent)
    return Decoded(
        source,
        tuple(replace(report, source=source) for report in facts.audio),
        tuple(replace(event, source=source) for event in facts.mute),
        tuple(replace(undecoded, source=source) for undecoded in facts.undecoded),
    )
