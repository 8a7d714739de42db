"""A signature to begin with, made of the first fields of a ranking: `draft_signature`.

It says where the numbers are; what only a person can know is marked FILL IN: what they mean and in which unit, whose
call it is, where the product documents them. Its fixtures are made of the places and of numbers; nothing else of the
traffic is in them. Their facts are what the draft itself finds: read them before you believe them.
"""

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from mutewatch.discover.gather import Route
from mutewatch.discover.place import Place
from mutewatch.discover.rank import Ranked, Ranking
from mutewatch.errors import OperatorError
from mutewatch.signatures.fixtures import run_fixtures
from mutewatch.signatures.model import Signature

_MOST_FIELDS: Final = 12
_NEAR_THE_BEST: Final = 0.9  # of the first one's score, without a recording
_LEAST_SCORE: Final = 0.005  # what is printed as 0.00 is none
_STEPS: Final = {"{json}": "json", "{base64}": "base64", "{gzip}": "gzip"}
_METHODS: Final = ("POST", "PUT", "PATCH", "WEBSOCKET", "RTP")
_HOST: Final = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*\.[a-z0-9-]+\.[a-z]+")
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KIND: Final = re.compile(r"\[([A-Za-z][A-Za-z_-]*)(?: ([A-Za-z][A-Za-z_-]*))?(?: \d+)?\]")
_FILL_IN: Final = "FILL_IN"
_TIME: Final = "2025-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class _Layout:
    """A place cut where it enters what is packed: keys of the body, steps, keys of what they give, the field."""

    outer: Place
    steps: tuple[str, ...]
    inner: Place
    key: str


def draft_signature(ranking: Ranking) -> str:
    """Return the TOML of a draft. OperatorError says what is in the way."""
    chosen = _chosen(ranking)
    layouts = [_layout(one.column.place) for one in chosen]
    first = layouts[0]
    together = [i for i, layout in enumerate(layouts) if (layout.outer, layout.steps) == (first.outer, first.steps)]
    fields, layouts = [chosen[i] for i in together], [layouts[i] for i in together]
    head = _head(fields, layouts)
    fixtures = list(_fixtures(fields, layouts))
    signature = Signature.model_validate(tomllib.loads(head + "".join(map(_fixture, fixtures))))
    for fixture, result in zip(fixtures, run_fixtures(signature), strict=True):
        fixture["facts"] = list(result.got)
    return head + "".join(map(_fixture, fixtures))


def _chosen(ranking: Ranking) -> list[Ranked]:
    """Return the fields that follow the recording, or behave about as much like sound as the first; of one route."""
    if not ranking.fields:
        raise OperatorError("--draft: no number varies, so there is nothing to draft")
    first = ranking.fields[0]
    if not first.is_significant and first.score < _LEAST_SCORE:
        raise OperatorError("--draft: no number behaves like sound, so there is nothing to draft")
    if first.is_significant:
        fields = [one for one in ranking.fields if one.is_significant]
    else:
        fields = [one for one in ranking.fields if one.score >= _NEAR_THE_BEST * first.score]
    return [one for one in fields if one.panel.route == first.panel.route][:_MOST_FIELDS]


def _layout(place: Place) -> _Layout:
    marks = [i for i, part in enumerate(place) if part[0] == "{"]
    unknown = [place[i] for i in marks if place[i] not in _STEPS]
    is_scattered = bool(marks) and (marks[0] == 0 or marks[-1] - marks[0] >= len(marks))
    kinds = [part for part in place if part[0] == "(" or part.startswith("*[")]
    if unknown or is_scattered or kinds or place[-1][0] in "[{*#":
        what = ", ".join([*unknown, *kinds]) or "texts within texts, or a list of bare numbers"
        raise OperatorError(f"--draft: {what} in the way to the first field: write this signature by hand")
    outer, inner = (place[: marks[0]], place[marks[-1] + 1 : -1]) if marks else ((), place[:-1])
    steps = tuple(_STEPS[place[i]] for i in marks)
    return _Layout(outer, steps if not steps or steps[-1] == "json" else (*steps, "json"), inner, place[-1])


_HEAD: Final = """\
# A draft by `mutewatch discover`: where numbers are that behave like sound. What says FILL IN is yours to say.
# Then: mutewatch signatures validate FILE; mutewatch signatures test FILE; mutewatch scan --signature FILE.
{found}id = "draft.discovered" # FILL IN: app and endpoint
version = 1
app = "FILL IN"
title = {title}
confidence = "inferred"
source = ["FILL IN: which client, captured when and how; `mutewatch discover` ranked these fields"]
client_versions = "FILL IN"
last_checked = 2025-01-01 # FILL IN
hosts = [{host}]
redact.identifiers = [] # FILL IN: keys that name a person, place or device

[[messages]]
method = {method}
direction = {direction}
path = {path}
each = {each}

[[messages.payload]]
path = {way}
steps = {steps}

[messages.audio]
intervals = "[payload]"
ends_at = "element.FILL_IN" # FILL IN: where the client says when it measured (ISO 8601)
period_seconds = {period}
call = "element.FILL_IN_call" # FILL IN: what names the call
client = "element.FILL_IN_client" # FILL IN: what names the user; where it finds nothing, the address does
"""


def _head(fields: Sequence[Ranked], layouts: Sequence[_Layout]) -> str:
    """Return all but the fixtures."""
    route = fields[0].panel.route
    is_host = _HOST.fullmatch(route.host) is not None
    each, way = _each(layouts[0])
    head = _HEAD.format(
        found="".join(f"# score {one.score:.2f}{_tested(one)}: {one.name}\n" for one in fields),
        title=_quoted(f"FILL IN: {route.method} {route.path}"),
        host=_quoted(route.host if is_host else "telemetry.fill-in.example"),
        method=_quoted(route.method if route.method in _METHODS else "POST"),
        direction=_quoted(route.direction.value),
        path=_quoted(_path(route)),
        each=_quoted(each),
        way=_quoted(way),
        steps=json.dumps(layouts[0].steps),
        period=max(1, min(3600, round(fields[0].panel.period))),
    )
    groups: dict[Place, dict[str, Ranked]] = {}
    for one, layout in zip(fields, layouts, strict=True):
        groups.setdefault(layout.inner, {})[layout.key] = one
    return head + "".join(_group(inner, members) for inner, members in groups.items())


def _group(inner: Place, members: dict[str, Ranked]) -> str:
    """Return the table of the fields that stand side by side."""
    objects = _quoted(_expression("interval", inner))
    lines = [f"\n[[messages.audio.groups]]\nobjects = {objects}\n[messages.audio.groups.fields]\n"]
    for key, one in members.items():
        low, high = one.range
        total = "; a running total" if one.column.is_growth else ""
        meaning = _quoted(f"FILL IN; {low:.4g} to {high:.4g} seen{total}")
        lines.append(f'{_quoted(key)} = {{ unit = "1", meaning = {meaning} }} # FILL IN: unit, floor\n')
    return "".join(lines)


def _tested(one: Ranked) -> str:
    return f", r {one.followed.correlation:+.2f}, p {one.followed.p:.3f}" if one.followed else ""


def _path(route: Route) -> str:
    """Return the route's path as a signature has it: each `*` a named segment."""
    names = iter("abcdefgh")
    parts = [f"{{{next(names)}}}" if part == "*" else part for part in route.path.split("/")[1:] if part]
    return "/" + "/".join(parts) if parts else "/**"


def _each(layout: _Layout) -> tuple[str, str]:
    """Return the expressions for the elements of a document, and for what is packed in one: a list makes elements."""
    if not layout.steps:
        return "document", "element"
    cut = _first_list(layout.outer)
    each = _expression("document", layout.outer[:cut]) if cut else "document"
    return each, _expression("element", layout.outer[cut:]).replace("[]", "[0]")


def _first_list(place: Place) -> int:
    """Return where what follows the first list of a place begins; 0 without one."""
    return next((i + 1 for i, part in enumerate(place) if part[0] == "["), 0)


def _expression(root: str, place: Iterable[str]) -> str:
    """Return a place as JMESPath."""
    text = root
    for part in place:
        kind = _KIND.fullmatch(part)
        if part == "*":
            text = f"values({text})[]"
        elif part == "[]" or re.fullmatch(r"\[\d+\]", part):
            text += part
        elif part.startswith("[id="):
            text += f"[?id==`{part[4:-1]}`]"
        elif part.startswith("["):
            text += _filter(kind) if kind else "[]"
        else:
            text += f".{part}" if _PLAIN.fullmatch(part) else f".{json.dumps(part)}"
    return text


def _filter(kind: re.Match[str]) -> str:
    named = [f"{key}=='{word}'" for key, word in zip(("type", "kind"), kind.groups(), strict=True) if word]
    return f"[?{' && '.join(named)}]"


def _fixtures(fields: Sequence[Ranked], layouts: Sequence[_Layout]) -> Iterator[dict[str, Any]]:
    """Yield five messages: readings from soft to loud, one without the numbers, one with a text in their place."""
    for name, share in (("low readings", 5), ("common readings", 50), ("high readings", 95)):
        values: list[object] = [
            float(f"{np.nanpercentile(one.column.values, share, method='nearest'):.6g}") for one in fields
        ]
        yield {"name": name, **_body(layouts, values)}
    without, text = _body(layouts, [None] * len(fields)), _body(layouts, ["1"] * len(fields))
    yield {"name": "without the numbers: no fact", "kind": "negative", **without}
    yield {"name": "a text in their place is said", "kind": "damaged", **text}


def _body(layouts: Sequence[_Layout], values: Sequence[object]) -> dict[str, str]:
    """Return a body, and what is packed in it, in which `values` stand at their places; None: only the object does."""
    inner: Any = None
    for layout, value in zip(layouts, values, strict=True):
        inner = _merged(inner, _built((*layout.inner, layout.key), value))
    first = layouts[0]
    element = {_FILL_IN: _TIME, f"{_FILL_IN}_call": "call", f"{_FILL_IN}_client": "client"}
    if not first.steps:
        return {"body": json.dumps(_merged(_built(first.outer, inner), element))}
    cut = _first_list(first.outer)
    is_plain = first.steps == ("json",)
    held = json.dumps(inner) if is_plain else "{inner}"
    body = _built(first.outer[:cut], _merged(_built(first.outer[cut:], held), element))
    return {"body": json.dumps(body)} | ({} if is_plain else {"inner": json.dumps(inner)})


def _built(place: Place, value: Any) -> Any:
    """Return `value` inside the objects and lists of `place`."""
    for part in reversed(place):
        kind = _KIND.fullmatch(part)
        named = {key: word for key, word in zip(("type", "kind"), kind.groups(), strict=True) if word} if kind else {}
        if part == "*":
            value = {"one": value}
        elif re.fullmatch(r"\[\d+\]", part):
            value = [0] * int(part[1:-1]) + [value]
        elif part.startswith("[id="):
            value = [_merged({"id": int(part[4:-1])}, value)]
        elif part.startswith("["):
            value = [_merged(named, value)] if named else [value]
        elif value is None:
            value = {}
        else:
            value = {part: value}
    return value


def _merged(a: Any, b: Any) -> Any:
    """Return two made-up values as one: objects by their keys, lists by their first item."""
    if isinstance(a, dict) and isinstance(b, dict):
        return {**a, **{key: _merged(a[key], value) if key in a else value for key, value in b.items()}}
    if isinstance(a, list) and isinstance(b, list) and a and b:
        return [_merged(a[0], b[0])]
    return b if a is None else a


def _fixture(fixture: dict[str, Any]) -> str:
    lines = [f"{key} = {_quoted(fixture[key])}\n" for key in ("name", "kind", "body", "inner") if key in fixture]
    facts = "".join(f"    {_quoted(fact)},\n" for fact in fixture.get("facts", ()))
    return "\n[[fixtures]]\n" + "".join(lines) + (f"facts = [\n{facts}]\n" if facts else "facts = []\n")


def _quoted(text: str) -> str:
    """Return a TOML basic string: JSON's escapes are among TOML's."""
    return json.dumps(text)
