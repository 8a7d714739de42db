"""Where the values of a JSON text stand in it, so that a few can be changed and every other character stays.

Rules:

- the text has been parsed before (`decode.parse_json`): here it is only cut at its tokens, in linear time;
- a key that stands twice in one object is refused: two parsers may take different ones of its values.
"""

import json
import re
from dataclasses import dataclass
from typing import Final

from mutewatch.errors import DecodeError

Edit = tuple[int, int, str]  # characters from, to, and what takes their place


@dataclass(slots=True, eq=False)
class Span:
    """One value of a JSON text: `text[start:end]`. `begin` is where its key stands, if it has one."""

    key: str | None  # unescaped; None in an array and for the whole text
    begin: int
    start: int
    end: int
    items: "list[Span] | None" = None  # of an object or array


# Possessive: a string is taken whole, without a way back.
_TOKEN: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\]]|[^\s"{}\[\],:]++')


def locate(text: str) -> tuple[Span, int]:
    """Return the value of `text` with all that is in it, and how many values that are.

    `text` is one valid JSON text; DecodeError for a key that occurs twice.
    """
    whole = Span(None, 0, 0, 0, [])
    holder, keys, above = whole, None, []
    pending: tuple[str, int] | None = None
    count = 0
    for token in _TOKEN.finditer(text):
        start, end = token.span()
        first = text[start]
        if first in "}]":
            holder.end = end
            holder, keys = above.pop()
        elif keys is not None and pending is None:
            key = unquote(text[start:end])
            if key in keys:
                raise DecodeError("JSON: a key that stands twice in one object")
            keys.add(key)
            pending = (key, start)
        else:
            count += 1
            key, begin = pending or (None, start)
            pending = None
            span = Span(key, begin, start, end)
            holder.items.append(span)  # type: ignore[union-attr]  # a holder is an object or array
            if first in "{[":
                span.items = []
                above.append((holder, keys))
                holder, keys = span, set[str]() if first == "{" else None
    (value,) = whole.items or ()
    return value, count


def unquote(token: str) -> str:
    """Return what a JSON string says."""
    return str(json.loads(token)) if "\\" in token else token[1:-1]


def quote(text: str, *, like: str) -> str:
    """Return `text` as a JSON string, without characters beyond ASCII if the string `like` has none."""
    return json.dumps(text, ensure_ascii=like.isascii())


def removals(items: list[Span], goes: list[bool]) -> list[Edit]:
    """Return the edits that take these members out of their object, each with one of the commas beside it."""
    edits, kept = [], False
    for position, (item, is_going) in enumerate(zip(items, goes, strict=True)):
        if not is_going:
            kept = True
        elif kept:
            edits.append((items[position - 1].end, item.end, ""))
        elif position + 1 < len(items):
            edits.append((item.begin, items[position + 1].begin, ""))
        else:
            edits.append((item.begin, item.end, ""))
    return edits


def apply(text: str, edits: list[Edit]) -> str:
    """Return `text` with these edits, which do not overlap, made."""
    parts, done = [], 0
    for start, end, new in sorted(edits):
        parts += (text[done:start], new)
        done = end
    return "".join((*parts, text[done:]))
