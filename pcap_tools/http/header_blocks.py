"""Decodes the header blocks of one side of an HTTP/2 connection (HPACK, RFC 7541), also after a loss.

Fields refer to a table that earlier blocks have filled. After a loss the table is empty here, while the
sender's is not. New entries have the lowest numbers (2.3.3), so a reference either meets an entry that was
seen, or one that was not: that is `_UNKNOWN`, and a block with such a field is not given. It can still
enter fields into the table, so that the numbers stay right for later blocks. The older entries come back
once a block shows, beyond doubt, how many entries the loss has hidden (`_as_before`).

The table starts as large as the limit, whatever the peers agreed on: entries that the sender has dropped
already cannot be referred to, and a sender that makes its table smaller says so in the block (4.2).
"""

from collections.abc import Iterable

from hpack import Decoder, HPACKError
from hpack.table import HeaderTable

from pcap_tools.http.limits import HttpLimits
from pcap_tools.http.message import Headers

_Field = tuple[bytes, bytes]
_UNKNOWN: _Field = (b"\0unknown", b"")
_MOST_MISSING = 16  # fields that lost blocks may have entered; browsers enter about this many with the first request
_MOST_SHAPES = 1_000  # kinds of blocks remembered


class _LossyTable(HeaderTable):
    """A table whose older entries may be unknown."""

    def get_by_index(self, index: int) -> tuple[bytes, bytes]:
        known = self.STATIC_TABLE_LENGTH + len(self.dynamic_entries)
        return _UNKNOWN if index > known else super().get_by_index(index)


class HeaderBlocks:
    """Decodes block after block."""

    def __init__(self, limits: HttpLimits) -> None:
        self._limits = limits
        self._decoder = self._fresh()
        self._before: list[_Field] | None = None  # after a loss: the table before it, newest first
        self._shapes: set[tuple[str, ...]] = set()  # names and authority of blocks that were decoded for certain

    def _fresh(self, entries: Iterable[_Field] = ()) -> Decoder:
        """Return a decoder with these entries in its table, newest first."""
        decoder = Decoder(max_header_list_size=self._limits.head)
        decoder.header_table = _LossyTable()
        decoder.header_table.maxsize = decoder.max_allowed_table_size = self._limits.table
        for name, value in reversed(list(entries)):
            decoder.header_table.add(name, value)
        return decoder

    def lose(self) -> None:
        """A block is missing here, or could not be decoded to its end: what it entered is not known."""
        if self._before is None:
            self._before = list(self._decoder.header_table.dynamic_entries)
        self._decoder = self._fresh()

    def decode(self, block: bytes) -> Headers | None:
        """Return the fields of the next block; None: they are not all known."""
        if self._before is not None and (found := self._as_before(block, self._before)) is not None:
            return found
        fields = self._decode(self._decoder, block)
        if fields is None:
            self.lose()
        elif any(name == _UNKNOWN[0].decode() for name, _value in fields):
            return None
        elif len(self._shapes) < _MOST_SHAPES:
            self._shapes.add(_shape(fields))
        return fields

    def _as_before(self, block: bytes, before: list[_Field]) -> Headers | None:
        """Decode a block on the table before the loss, if there is only one way in which it looks like others.

        The blocks that are missing have entered some number of fields, often none: each later request only
        refers to the first. With a wrong number the references meet other names.
        """
        since = list(self._decoder.header_table.dynamic_entries)
        ways: list[tuple[Decoder, Headers]] = []
        for missing in range(_MOST_MISSING + 1):
            decoder = self._fresh([*since, *[_UNKNOWN] * missing, *before])
            fields = self._decode(decoder, block)
            if fields is not None and _shape(fields) in self._shapes:
                ways.append((decoder, fields))
        if len(ways) != 1:
            return None
        self._decoder, fields = ways[0]
        self._before = None
        return fields

    def _decode(self, decoder: Decoder, block: bytes) -> Headers | None:
        try:
            fields = list(decoder.decode(block, raw=True))
        except (HPACKError, ValueError, IndexError):
            return None
        return tuple((bytes(name).decode("latin-1"), bytes(value).decode("latin-1")) for name, value in fields)


def _shape(fields: Headers) -> tuple[str, ...]:
    """What blocks of one kind have in common: the names in their order, and the authority."""
    return (*(name for name, _value in fields), next((value for name, value in fields if name == ":authority"), ""))
