"""Where a number stands: `path_template` for URLs, `shown_key` for keys, `Labels` for the objects of a list.

A place must be the same from message to message, and must not name anybody: ids become `*`, positions in a list `[]`.
What tells the objects of one list apart becomes part of the place: their kind in words (`type`, `kind`), as it is;
names and ids as numbers, in the order in which they came.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from mutewatch.discover.limits import DiscoverLimits

# `key`; `*`; `[]`, `[2]`, `[media-source audio]` in a list; `(getstats)` an event or a kind of object; `{json}` in what
# it is packed; of protobuf `#22`.
Place = tuple[str, ...]

_KEY: Final = re.compile(r"[A-Za-z_$@][A-Za-z0-9_$:.-]{0,63}")
_ID: Final = re.compile(r"(?=.*\d)[0-9a-f]{8,}|[0-9a-f]{8}-[0-9a-f]{4}.*|.*\d{5}.*", re.IGNORECASE | re.DOTALL)
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z-]*(?:_[A-Za-z-]+)*")
_SEGMENT: Final = re.compile(r"[A-Za-z][A-Za-z._~-]*|v\d{1,2}(?:\.\d{1,2})?|[A-Za-z]{2,24}\d{0,2}")
_KINDS: Final = ("type", "kind", "mediaType")
_NAMES: Final = ("name", "key", "label")
_LONGEST_WORD: Final = 32


def path_template(path: str) -> str:
    """Return a URL's path with `*` for each segment that is no plain word: ids, numbers, tokens; and at most eight."""
    segments = path.split("/")[1:9]
    return "/" + "/".join(one if _is_plain(one) else "*" for one in segments) + ("/**" if path.count("/") > 8 else "")


def _is_plain(segment: str) -> bool:
    return not segment or (len(segment) <= _LONGEST_WORD and _SEGMENT.fullmatch(segment) is not None)


def shown_key(key: str) -> str:
    """Return a key as it is if it looks like a programmer's word, else `*`."""
    return key if _KEY.fullmatch(key) and not _ID.fullmatch(key) else "*"


def show(place: Place) -> str:
    """Write a place as one text: keys with `.` between them."""
    text = ""
    for part in place:
        text += part if part[0] in "[{(" or not text else f".{part}"
    return text


def word(value: object) -> str | None:
    """Return `value` if it is a text of one word, as kinds of objects and events are."""
    return value if isinstance(value, str) and len(value) <= _LONGEST_WORD and _WORD.fullmatch(value) else None


class Labels:
    """Remembers what tells the objects of a list apart, for all messages of one run.

    Reports that leave out what has not changed leave out the kind as well: it is remembered of the connection.
    """

    def __init__(self, limits: DiscoverLimits) -> None:
        self._limits = limits
        self._known: dict[tuple[str, Place, str], str] = {}  # by connection, place and id
        self._used: dict[tuple[str, Place, str], int] = {}  # how many ids of a connection have the label
        self._maps: set[tuple[str, Place]] = set()
        self._names: dict[Place, dict[str, str]] = {}
        self.forgotten = 0

    def is_map(self, connection: str, place: Place, value: Mapping[str, Any]) -> bool:
        """Are the keys of this object ids of the objects in it, as in a report of getStats?"""
        if (connection, place) in self._maps:
            return True
        kinds = [one for one in value.values() if isinstance(one, dict) and word(one.get("type"))]
        found = len(kinds) > 1 or any("id" in one or "timestamp" in one for one in kinds)
        if found and self._has_room():
            self._maps.add((connection, place))
        return found

    def of_object(self, connection: str, place: Place, value: Mapping[str, Any], identity: str | None = None) -> str:
        """Return the label of an object: `[media-source audio]`, `[id=97]`, `[#2]`; empty if nothing tells it apart.

        `identity`: the key under which it stands in a map.
        """
        own = value.get("id") if identity is None else identity
        known = (connection, place, own) if isinstance(own, str) and own else None
        if known and known in self._known:
            return self._known[known]
        label = " ".join(said for key in _KINDS if (said := word(value.get(key))))
        if not label:
            return self._by_name(place, value) if known is None or identity is None else ""
        if known and self._has_room():
            used = (connection, place, label)
            self._used[used] = self._used.get(used, 0) + 1
            label += f" {self._used[used]}" if self._used[used] > 1 else ""
            self._known[known] = f"[{label}]"
        return f"[{label}]"

    def of_number(self, number: int) -> str:
        """Return the label of an object that a small number names."""
        return f"[id={number}]"

    def _by_name(self, place: Place, value: Mapping[str, Any]) -> str:
        if not place or not place[-1].startswith("["):  # only the objects of a list are told apart by their names
            return ""
        number = value.get("id")
        if isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 1 << 16:
            return self.of_number(number)
        name = next((said for key, said in value.items() if isinstance(said, str) and _is_name(key)), None)
        if name is None:
            return ""
        names = self._names.setdefault(place, {})
        if name not in names:
            if len(names) >= self._limits.names_per_place:
                self.forgotten += 1
                return "[#more]"
            names[name] = f"[#{len(names) + 1}]"
        return names[name]

    def _has_room(self) -> bool:
        has_room = len(self._known) + len(self._maps) < self._limits.names
        self.forgotten += not has_room
        return has_room


def _is_name(key: str) -> bool:
    return key in _NAMES or key.endswith("Name")
