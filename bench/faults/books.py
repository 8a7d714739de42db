"""The books of one scenario: what clients sent, what the server got, what is in the store, what was counted.

They balance if nothing is unexplained. Messages are told apart by the SHA-256 of their bodies, of which each is sent
once. `discrepancies` is the whole of it: each entry is a number of messages that the counters do not account for.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

ANSWERED, REFUSED, FAILED, CUT = "answered", "refused", "failed", "cut"
EXCEPTIONS = ("unrecorded", "lost", "dropped", "refused", "cut", "too_large", "streamed")


@dataclass
class Books:
    """`counters` is None where they died with the proxy (kill -9): then nothing may be missing at all."""

    outcomes: Mapping[str, str]  # of each message sent, by SHA-256: one of the four words above
    delivered: Sequence[str]
    recorded: frozenset[str]
    counters: Mapping[str, int] | None
    all_arrives: bool = True  # the server was there all the time, so that what was forwarded arrived
    strict: bool = False
    other_faults: dict[str, int] = field(default_factory=dict)  # what the scenario itself found

    def discrepancies(self) -> Iterator[tuple[str, int]]:
        """Yield what does not balance, and by how many messages."""
        delivered, sent = set(self.delivered), set(self.outcomes)
        answered, refused = self._with_outcome(ANSWERED), self._with_outcome(REFUSED)
        yield "delivered twice", len(self.delivered) - len(delivered)
        yield "delivered or recorded, but never sent", len((delivered | self.recorded) - sent)
        yield "answered, but not delivered", len(answered - delivered)
        yield "refused, but delivered", len(refused & delivered)
        missing = len(delivered - self.recorded)
        if self.strict or self.counters is None:
            yield "delivered, not recorded", missing
        if self.counters is not None:
            yield from self._against_counters(self.counters, missing, len(refused))
        yield from self.other_faults.items()

    def _against_counters(self, count: Mapping[str, int], missing: int, refused: int) -> Iterator[tuple[str, int]]:
        left_unrecorded = count["lost"] + count["dropped"] - count["cut"]
        unread = count["too_large"]  # recorded as not read: the store keeps no row of them
        if not self.strict:
            difference = missing - left_unrecorded - unread
            yield (
                "delivered, not recorded, against the counters",
                abs(difference) if self.all_arrives else max(0, difference),
            )
        settled = count["recorded"] + count["lost"] + count["dropped"]
        yield "messages against recorded + lost + dropped", abs(count["messages"] - settled - count["pending"])
        yield "pending at the end", count["pending"]
        yield "rows against the counter of recorded", abs(len(self.recorded) - count["recorded"] + unread)
        yield "refusals that clients saw, but not counted", max(0, refused - count["refused"])

    def _with_outcome(self, kind: str) -> set[str]:
        return {body for body, outcome in self.outcomes.items() if outcome == kind}

    @property
    def unexplained(self) -> int:
        return sum(number for _, number in self.discrepancies())

    def exceptions(self) -> str:
        """The counters that are not zero, for people."""
        if self.counters is None:
            return "none may be"
        told = [f"{name} {self.counters[name]:,}" for name in EXCEPTIONS if self.counters.get(name)]
        return ", ".join(told) or "none"
