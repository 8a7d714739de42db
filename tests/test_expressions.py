"""Expressions find what JMESPath's own interpreter finds, in any document."""

import re
from typing import Any

import jmespath
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jmespath.exceptions import JMESPathError

from mutewatch.errors import DecodeError
from mutewatch.expressions import compiled, search
from mutewatch.signatures import load_signatures

keys = st.sampled_from(["a", "b", "type", "payload"])
scalars = st.sampled_from([None, True, False, 0, 1, 0.0, 1.0, 2, -1, "", "x", "y"])
documents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=12
)

EXPRESSIONS = """
a ; a.b ; @ ; a[0] ; a[-1] ; [0].b ; a[1][0].b ; a | b ; `1` ; 'x' ; a == b ; a == 'x' ; a != `1` ; a == `true`
a == `[]` ; a < b ; a && b ; a || b ; !a ; [a, b] ; {k: a, l: b.a} ; a[].b ; a[*].b ; a.* ; a[?b == 'x'].a
a[?b].{k: b} ; a[?b != null] | [0].b ; a[0:1] ; type(a) ; length(a) ; max_by(a, &b) ; join(',', a)
a.[b, type][][] ; a[].[{k: b}] ; a[?type(b) == 'boolean'] ; ends_with(a, 'x') ; (a || b).a ; a.b || `false`
"""


def told(look: Any) -> Any:
    """What was found, so that 1 and True differ; or that it could not be looked for."""
    try:
        return repr(look())
    except (JMESPathError, TypeError, ValueError):
        return "refused"


@pytest.mark.parametrize("expression", re.split(r" ; |\n", EXPRESSIONS.strip()))
@settings(max_examples=25)
@given(documents)
def test_an_expression_finds_what_the_library_finds(expression: str, document: Any) -> None:
    assert told(lambda: compiled(expression)(document)) == told(lambda: jmespath.search(expression, document))


def expressions_of(value: Any) -> set[str]:
    """Every text in a signature that is an expression, or could be."""
    if isinstance(value, dict):
        return {found for item in value.values() for found in expressions_of(item)}
    if isinstance(value, list | tuple):
        return {found for item in value for found in expressions_of(item)}
    try:
        jmespath.compile(value)
    except (JMESPathError, AttributeError, TypeError):
        return set()
    return {value}


SCOPES = st.fixed_dictionaries(dict.fromkeys(("document", "element", "payload", "interval", "path"), documents))


@pytest.mark.parametrize("signature", load_signatures(), ids=lambda signature: signature.id)
@settings(max_examples=25)
@given(scope=SCOPES)
def test_so_do_those_of_the_signatures(signature: Any, scope: dict[str, Any]) -> None:
    for expression in expressions_of(signature.model_dump()["messages"]):
        assert told(lambda: compiled(expression)(scope)) == told(lambda: jmespath.search(expression, scope))  # noqa: B023


def test_what_cannot_be_evaluated_is_refused_without_a_word_of_the_document() -> None:
    with pytest.raises(DecodeError, match=r"^length\(a\): JMESPathTypeError$"):
        search("length(a)", {"a": 5})
