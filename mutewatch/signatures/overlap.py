"""Which messages two signatures would both read: whether patterns of hosts and templates of paths have one in common.

Exact, and without trying names: a pattern is a sequence of tokens, and two sequences are walked side by side.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import combinations, product

from mutewatch.signatures.model import Message, Signature


class _Wild(Enum):
    ONE = auto()  # any one token
    MANY = auto()  # any number of them, none too


_Tokens = Sequence[str | _Wild]


@dataclass(frozen=True, slots=True)
class Overlap:
    """Messages that both would match: `first` and `second` say which of theirs, by position."""

    left: Signature
    first: int
    right: Signature
    second: int
    what: str  # method, host and path, as the first has them


def find_overlaps(signatures: Sequence[Signature]) -> Iterator[Overlap]:
    """Yield what any two of `signatures` both match, and what two messages of one signature do."""
    for left, right in combinations(signatures, 2):
        host = _common_host(left, right)
        if host is not None:
            for (first, one), (second, other) in product(enumerate(left.messages), enumerate(right.messages)):
                if messages_meet(one, other):
                    yield Overlap(left, first, right, second, _named(one, other, host))
    for signature in signatures:
        for (first, one), (second, other) in combinations(enumerate(signature.messages), 2):
            if messages_meet(one, other):
                host = signature.hosts[0] if signature.hosts else ""
                yield Overlap(signature, first, signature, second, _named(one, other, host))


def messages_meet(one: Message, other: Message) -> bool:
    """Is there a method, a direction and a path that both match? Hosts are the signatures'."""
    is_same_kind = one.direction is other.direction and not set(one.method).isdisjoint(other.method)
    return is_same_kind and paths_meet(one.path, other.path)


def hosts_meet(one: str, other: str) -> bool:
    """Is there a host that both patterns match? A `*` stays inside its label."""
    left, right = one.split("."), other.split(".")
    return len(left) == len(right) and all(
        _meet(_of_label(mine), _of_label(theirs)) for mine, theirs in zip(left, right, strict=True)
    )


def paths_meet(one: str, other: str) -> bool:
    """Is there a path that both templates match?"""
    return _meet(_of_path(one), _of_path(other))


def _common_host(left: Signature, right: Signature) -> str | None:
    """Return a host pattern of `left` that meets one of `right`; "" if neither asks for a host, None if none does."""
    if not left.hosts and not right.hosts:
        return ""
    return next((mine for mine in left.hosts for theirs in right.hosts if hosts_meet(mine, theirs)), None)


def _named(one: Message, other: Message, host: str) -> str:
    method = next(name for name in one.method if name in other.method)
    return f"{method} {host}{one.path}, {one.direction}"


def _of_label(label: str) -> _Tokens:
    return [_Wild.MANY if character == "*" else character for character in label]


def _of_path(path: str) -> _Tokens:
    segments = path.lower().split("/")[1:]  # in any case, as `Message.match_path` is
    return [_Wild.MANY if part == "**" else _Wild.ONE if part.startswith("{") else part for part in segments]


def _meet(left: _Tokens, right: _Tokens) -> bool:
    """Is there a sequence that both describe? Each pair of positions is looked at once."""
    waiting, seen = [(0, 0)], set()
    while waiting:
        here = i, j = waiting.pop()
        if here in seen:
            continue
        seen.add(here)
        if i == len(left) and j == len(right):
            return True
        mine = left[i] if i < len(left) else None
        theirs = right[j] if j < len(right) else None
        if mine is _Wild.MANY:  # it ends here, or takes the other's next token too
            waiting += [(i + 1, j)] + [(i, j + 1)] * (theirs is not None)
        if theirs is _Wild.MANY:
            waiting += [(i, j + 1)] + [(i + 1, j)] * (mine is not None)
        if mine is not None and theirs is not None and (mine == theirs or _Wild.ONE in (mine, theirs)):
            waiting.append((i + 1, j + 1))
    return False
