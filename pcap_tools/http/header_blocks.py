"""Decodes the header blocks of one side of an HTTP/2 connection (HPACK, RFC 7541), also after a loss.

Fields refer to a table that earlier blocks have filled. After a loss the table is empty here, while the
sender's is not. New entries have the lowest numbers (2.3.3), so a reference either meets an entry that was
seen, or one that was not: that is `_UNKNOWN`, and a block with such a field is not given. It can still
enter fields into the table, so that the numbers stay right for later blocks. The older entries come back
once a block shows, beyond doubt, how many entries the loss has hidden (`_restore`).

The table starts as large as the limit, whatever the peers agreed on: entries that the sender has dropped
already cannot be referred to, and a sender that makes its table smaller says so in the block (4.2).
"""

from collections.abc import Callable, Sequence
from functools import partial

from hpack import Decoder, HPACKError
from hpack.table import HeaderTable

from pcap_tools.http.limits import HttpLimits
from pcap_tools.http.message import Headers

_Field = tuple[bytes, bytes]
_UNKNOWN: _Field = (b"\0unknown", b"")
_MOST_MISSING = 16  # fields that lost blocks may have entered; browsers enter about this many with the first request
_MOST_SHAPES = 1_000  # kinds of blocks remembered


class _LossyTable(HeaderTable):
    """A table whose older entries may be unknown. `older`: what stands behind its own, where that is guessed."""

    def __init__(self, older: Callable[[int], _Field] | None = None) -> None:
        super().__init__()
        self._older = older

    def get_by_index(self, index: int) -> tuple[bytes, bytes]:
        behind = index - 1 - self.STATIC_TABLE_LENGTH - len(self.dynamic_entries)
        if behind < 0:
            return super().get_by_index(index)
        return self._older(behind) if self._older is not None else _UNKNOWN


class HeaderBlocks:
    """Decodes block after block."""

    def __init__(self, limits: HttpLimits) -> None:
        self._limits = limits
        self._decoder = self._fresh()
        self._before: list[_Field] | None = None  # after a loss: the table before it, newest first
        self._shapes: set[tuple[str, ...]] = set()  # names and authority of blocks that were decoded for certain

    def _fresh(self, older: Callable[[int], _Field] | None = None) -> Decoder:
        """Return a decoder with an empty table."""
        decoder = Decoder(max_header_list_size=self._limits.head)
        decoder.header_table = _LossyTable(older)
        decoder.header_table.maxsize = decoder.max_allowed_table_size = self._limits.table
        return decoder

    def lose(self) -> None:
        """A block is missing here, or could not be decoded to its end: what it entered is not known."""
        if self._before is None:
            self._before = list(self._decoder.header_table.dynamic_entries)
        self._decoder = self._fresh()

    def decode(self, block: bytes) -> Headers | None:
        """Return the fields of the next block; None: they are not all known."""
        if self._before is not None:
            self._restore(block, self._before)
        fields = self._decode(self._decoder, block)
        if fields is None:
            self.lose()
        elif any(name == _UNKNOWN[0].decode() for name, _value in fields):
            return None
        elif len(self._shapes) < _MOST_SHAPES:
            self._shapes.add(_shape(fields))
        return fields

    def _restore(self, block: bytes, before: list[_Field]) -> None:
        """Go back to the table before the loss, if there is only one way in which this block looks like others.

        The blocks that are missing have entered some number of fields, often none: each later request only
        refers to the first. With a wrong number the references meet other names.
        """
        since = self._decoder.header_table.dynamic_entries
        ways: list[int] = []
        for missing in range(_MOST_MISSING + 1):  # a table holds up to 30,000 entries: they are not copied to try
            fields = self._decode(self._fresh(partial(_entry, since, missing, before)), block)
            if fields is not None and _shape(fields) in self._shapes:
                ways.append(missing)
        if len(ways) == 1:
            decoder = self._fresh()
            for name, value in reversed([*since, *[_UNKNOWN] * ways[0], *before]):
                decoder.header_table.add(name, value)
            self._decoder, self._before = decoder, None

    def _decode(self, decoder: Decoder, block: bytes) -> Headers | None:
        try:
            fields = list(decoder.decode(block, raw=True))
        except (HPACKError, ValueError, IndexError):
            return None
        return tuple((bytes(name).decode("latin-1"), bytes(value).decode("latin-1")) for name, value in fields)


def _entry(since: Sequence[_Field], missing: int, before: Sequence[_Field], index: int) -> _Field:
    """Return an entry of the table before a loss and since, with so many in between that are not known."""
    if index < len(since):
        return since[index]
    index -= len(since) + missing
    return before[index] if 0 <= index < len(before) else _UNKNOWN


def _shape(fields: Headers) -> tuple[str, ...]:
    """What blocks of one kind have in common: the names in their order, and the authority."""
    return (*(name for name, _value in fields), next((value for name, value in fields if name == ":authority"), ""))
