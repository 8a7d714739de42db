"""The texts of an XML document by the names of their elements: all that signalling in XML has for us.

Expat does the reading, without document types: no entity is ever defined, so none can expand.
"""

from typing import Any
from xml.parsers.expat import ExpatError, ParserCreate

from mutewatch.errors import DecodeError
from mutewatch.limits import Limits


def parse_xml_text(text: str, limits: Limits) -> dict[str, Any]:
    """Return `{"name": of the root, "texts": {name: [text, ...]}}`, names without prefix, in document order."""
    reader = _Texts(limits)
    parser = ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = reader.doctype
    try:
        parser.Parse(text, True)
    except ExpatError as error:
        raise DecodeError(f"XML: not well-formed at character {error.offset:,} of line {error.lineno:,}") from None
    return {"name": reader.root, "texts": reader.texts}


class _Texts:
    def __init__(self, limits: Limits) -> None:
        self.root = ""
        self.texts: dict[str, list[str]] = {}
        self._limits, self._elements = limits, 0
        self._open: list[tuple[str, list[str]]] = []

    def start(self, name: str, _attributes: dict[str, str]) -> None:
        self._elements += 1
        if self._elements > self._limits.json_nodes:
            raise DecodeError(f"XML: more than {self._limits.json_nodes:,} elements")
        if len(self._open) >= self._limits.json_depth:
            raise DecodeError(f"XML: nested deeper than {self._limits.json_depth}")
        local = name.rpartition(":")[2]
        if len(local) > self._limits.json_key:
            raise DecodeError(f"XML: a name longer than {self._limits.json_key} characters")
        self.root = self.root or local
        self._open.append((local, []))

    def text(self, text: str) -> None:
        self._open[-1][1].append(text)

    def end(self, _name: str) -> None:
        local, parts = self._open.pop()
        self.texts.setdefault(local, []).append("".join(parts))

    def doctype(self, *_declaration: object) -> None:
        raise DecodeError("XML: a document type is not read")
