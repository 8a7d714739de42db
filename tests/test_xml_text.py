"""Texts of an XML document, by element; nothing in it can make the reader do more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutewatch.errors import DecodeError
from mutewatch.limits import DEFAULT_LIMITS, Limits
from mutewatch.xml_text import parse_xml_text


def test_texts_stand_under_the_names_of_their_elements_in_their_order() -> None:
    text = '<p xmlns:x="u"><x:a>1</x:a><b/><a>2<c>&lt;3</c>4</a></p>'
    assert parse_xml_text(text, DEFAULT_LIMITS) == {
        "name": "p",
        "texts": {"a": ["1", "24"], "b": [""], "c": ["<3"], "p": [""]},
    }


@pytest.mark.parametrize(
    ("text", "limits", "fault"),
    [
        ("<a>", DEFAULT_LIMITS, "not well-formed at character 3 of line 1"),
        ("", DEFAULT_LIMITS, "not well-formed"),
        ("<a>&nbsp;</a>", DEFAULT_LIMITS, "not well-formed"),
        ('<!DOCTYPE a [<!ENTITY e "ee">]><a>&e;</a>', DEFAULT_LIMITS, "a document type is not read"),
        ("<a>" * 5 + "</a>" * 5, Limits(json_depth=4), "nested deeper than 4"),
        ("<a>" + "<b/>" * 5 + "</a>", Limits(json_nodes=4), "more than 4 elements"),
        (f"<{'a' * 9}/>", Limits(json_key=8), "a name longer than 8"),
    ],
)
def test_what_is_damaged_or_too_much_is_refused(text: str, limits: Limits, fault: str) -> None:
    with pytest.raises(DecodeError, match=f"^XML: {fault}"):
        parse_xml_text(text, limits)


@given(st.text(max_size=200))
def test_no_text_does_more_than_refuse(text: str) -> None:
    try:
        parse_xml_text(f"<a>{text}</a>", DEFAULT_LIMITS)
    except DecodeError as error:
        assert str(error).startswith("XML: ")
