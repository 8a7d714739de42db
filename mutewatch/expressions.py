"""JMESPath on what was decoded: the expressions of signatures, bounded by the document that they look at."""

import re
from functools import cache
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.visitor import TreeInterpreter

from mutewatch.errors import DecodeError

Scope = dict[str, Any]

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # JMESPath's unquoted string

_INTERPRETER = TreeInterpreter()  # one for all: it learns how to visit each kind of node


def search(expression: str, scope: Scope) -> Any:
    """Return what `expression` finds in `scope`, None if nothing; DecodeError if it cannot be evaluated on it."""
    keys = _plain_path(expression)
    if keys is not None:  # most are, and looking keys up one by one is ten times as fast
        found: Any = scope
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        return found
    try:
        return _INTERPRETER.visit(_compiled(expression), scope)
    except (JMESPathError, TypeError, ValueError, RecursionError) as error:
        # The library's own words would quote what it was looking at.
        raise DecodeError(f"{expression}: {type(error).__name__}") from None


def find(expression: str | None, scope: Scope) -> Any:
    """As `search`; None for no expression."""
    return None if expression is None else search(expression, scope)


@cache
def _compiled(expression: str) -> Any:
    return jmespath.compile(expression).parsed


@cache
def _plain_path(expression: str) -> tuple[str, ...] | None:
    """The keys of an expression that is nothing but keys; None for any other."""
    keys = tuple(expression.split("."))
    return keys if all(_PLAIN_KEY.fullmatch(key) for key in keys) else None
