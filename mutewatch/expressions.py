"""JMESPath on what was decoded: the expressions of signatures, bounded by the document that they look at.

The library parses; what it parsed is turned into closures once, as its interpreter looks every node up again for every
message and was half of the cost of one. A kind of node that is not known here (slices, ordering) is left to that
interpreter. A property test holds both against each other.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, Final

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions
from jmespath.visitor import TreeInterpreter

from mutewatch.errors import DecodeError

Scope = dict[str, Any]
Evaluate = Callable[[Any], Any]
_Node = dict[str, Any]

_INTERPRETER: Final = TreeInterpreter()
_FUNCTIONS: Final = Functions()


def search(expression: str, scope: Scope) -> Any:
    """Return what `expression` finds in `scope`, None if nothing; DecodeError if it cannot be evaluated on it."""
    try:
        return compiled(expression)(scope)
    except (JMESPathError, TypeError, ValueError, RecursionError) as error:
        # The library's own words would quote what it was looking at.
        raise DecodeError(f"{expression}: {type(error).__name__}") from None


def find(expression: str | None, scope: Scope) -> Any:
    """As `search`; None for no expression."""
    return None if expression is None else search(expression, scope)


@cache
def compiled(expression: str) -> Evaluate:
    """Return `expression` as a function of what it looks at. It raises what the library's interpreter raises."""
    return _evaluate(jmespath.compile(expression).parsed)


def _evaluate(node: _Node) -> Evaluate:
    make = _MAKERS.get(node["type"])
    return make(node) if make else lambda value: _INTERPRETER.visit(node, value)


def _children(node: _Node) -> list[Evaluate]:
    return [_evaluate(child) for child in node["children"]]


def _field(node: _Node) -> Evaluate:
    name = node["value"]
    return lambda value: value.get(name) if isinstance(value, dict) else None


def _index(node: _Node) -> Evaluate:
    at = node["value"]

    def evaluate(value: Any) -> Any:
        return value[at] if isinstance(value, list) and -len(value) <= at < len(value) else None

    return evaluate


def _chain(node: _Node) -> Evaluate:
    parts = _children(node)

    def evaluate(value: Any) -> Any:
        for part in parts:
            value = part(value)
        return value

    return evaluate


def _literal(node: _Node) -> Evaluate:
    literal = node["value"]
    return lambda _value: literal


def _comparison(node: _Node) -> Evaluate:
    if node["value"] not in ("eq", "ne"):
        return lambda value: _INTERPRETER.visit(node, value)
    (left, right), is_equal = _children(node), node["value"] == "eq"
    return lambda value: _equals(left(value), right(value)) is is_equal


def _equals(one: Any, other: Any) -> bool:
    if isinstance(one, bool) is not isinstance(other, bool) and isinstance(one, int | float | bool):
        return False  # for Python 1 equals True
    return bool(one == other)


def _is_false(value: Any) -> bool:
    """Is it false to JMESPath? Zero is not."""
    return value is None or value is False or value in ("", [], {})


def _or(node: _Node) -> Evaluate:
    left, right = _children(node)

    def evaluate(value: Any) -> Any:
        return right(value) if _is_false(found := left(value)) else found

    return evaluate


def _and(node: _Node) -> Evaluate:
    left, right = _children(node)

    def evaluate(value: Any) -> Any:
        return found if _is_false(found := left(value)) else right(value)

    return evaluate


def _list(node: _Node) -> Evaluate:
    parts = _children(node)
    return lambda value: None if value is None else [part(value) for part in parts]


def _dict(node: _Node) -> Evaluate:
    parts = [(pair["value"], _evaluate(pair["children"][0])) for pair in node["children"]]
    return lambda value: None if value is None else {key: part(value) for key, part in parts}


def _projection(node: _Node) -> Evaluate:
    base, each = _children(node)

    def evaluate(value: Any) -> Any:
        items = base(value)
        if not isinstance(items, list):
            return None
        return [found for item in items if (found := each(item)) is not None]

    return evaluate


def _filter(node: _Node) -> Evaluate:
    base, each, condition = _children(node)

    def evaluate(value: Any) -> Any:
        items = base(value)
        if not isinstance(items, list):
            return None
        chosen = (item for item in items if not _is_false(condition(item)))
        return [found for item in chosen if (found := each(item)) is not None]

    return evaluate


def _flatten(node: _Node) -> Evaluate:
    (base,) = _children(node)

    def evaluate(value: Any) -> Any:
        items = base(value)
        if not isinstance(items, list):
            return None
        return [part for item in items for part in (item if isinstance(item, list) else (item,))]

    return evaluate


def _function(node: _Node) -> Evaluate:
    if any(child["type"] == "expref" for child in node["children"]):
        return lambda value: _INTERPRETER.visit(node, value)
    name, arguments = node["value"], _children(node)
    return lambda value: _FUNCTIONS.call_function(name, [argument(value) for argument in arguments])


_MAKERS: Final[dict[str, Callable[[_Node], Evaluate]]] = {
    "field": _field,
    "index": _index,
    "subexpression": _chain,
    "index_expression": _chain,
    "pipe": _chain,
    "identity": lambda _node: lambda value: value,
    "current": lambda _node: lambda value: value,
    "literal": _literal,
    "comparator": _comparison,
    "or_expression": _or,
    "and_expression": _and,
    "multi_select_list": _list,
    "multi_select_dict": _dict,
    "projection": _projection,
    "filter_projection": _filter,
    "flatten": _flatten,
    "function_expression": _function,
}
