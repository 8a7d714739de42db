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
_STRING: Final = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TOKEN: Final = re.compile(rf'(?:({_STRING})\s*+:\s*+)?({_STRING}|[{{\[]|[^\s"{{}}\[\],:]++)|[}}\]]')


def locate(text: str) -> tuple[Span, int]:
    """Return the value of `text` with all that is in it, and how many values that are.

    `text` is one valid JSON text; DecodeError for a key that occurs twice.
    """
    holder = Span(None, 0, 0, 0, [])
    keys: set[str] | None = None  # of the holder, if it is an object
    above: list[tuple[Span, set[str] | None]] = []
    count = 0
    for token in _TOKEN.finditer(text):
        start, end = token.span(2)
        if start < 0:  # a closing bracket
            holder.end = token.end()
            holder, keys = above.pop()
            continue
        count += 1
        key = None
        if keys is not None:
            key = unquote(token[1])
            if key in keys:
                raise DecodeError("JSON: a key that stands twice in one object")
            keys.add(key)
        span = Span(key, token.start(), start, end)
        holder.items.append(span)  # type: ignore[union-attr]  # a holder is an object or array
        if text[start] in "{[":
            span.items = []
            above.append((holder, keys))
            holder, keys = span, set() if text[start] == "{" else None
    return holder.items[0], count  # type: ignore[index]  # all are closed: the holder is the outermost again


def unquote(token: str) -> str:
    """Return what a JSON string says."""
    return str(json.loads(token)) if "\\" in token else token[1:-1]


def quote(text: str, *, like: str) -> str:
    """Return `text` as a JSON string, without characters beyond ASCII if the string `like` has none."""
    return json.dumps(text, ensure_ascii=like.isascii())


def removals(items: list[Span], goes: list[bool]) -> list[Edit]:
    """Return the edits that take these members out of their object, each with one of the commas beside it."""
    edits: list[Edit] = []
    kept = False
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
    parts: list[str] = []
    done = 0
    for start, end, new in sorted(edits):
        parts += (text[done:start], new)
        done = end
    return "".join((*parts, text[done:]))
