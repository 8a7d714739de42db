"""Decodes the header blocks of one side of an HTTP/2 connection (HPACK, RFC 7541), also after a loss.

Fields refer to a table that earlier blocks have filled. After a loss the table is empty here, while the
sender's is not. New entries have the lowest numbers (2.3.3), so a reference either meets an entry that was
seen, or one that was not: that is `_UNKNOWN`, and a block with such a field is not given. It can still
enter fields into the table, so that the numbers stay right for later blocks.

The table starts as large as the limit, whatever the peers agreed on: entries that the sender has dropped
already cannot be referred to, and a sender that makes its table smaller says so in the block (4.2).
"""

from hpack import Decoder, HPACKError
from hpack.table import HeaderTable

from pcap_tools.http.limits import HttpLimits
from pcap_tools.http.message import Headers

_UNKNOWN = (b"\0unknown", b"")


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

    def _fresh(self) -> Decoder:
        decoder = Decoder(max_header_list_size=self._limits.head)
        decoder.header_table = _LossyTable()
        decoder.header_table.maxsize = decoder.max_allowed_table_size = self._limits.table
        return decoder

    def lose(self) -> None:
        """A block is missing here, or could not be decoded to its end: what it entered is not known."""
        self._decoder = self._fresh()

    def decode(self, block: bytes) -> Headers | None:
        """Return the fields of the next block; None: they are not all known."""
        try:
            fields = list(self._decoder.decode(block, raw=True))
        except (HPACKError, ValueError, IndexError):
            self.lose()
            return None
        if any(bytes(name) == _UNKNOWN[0] for name, _value in fields):
            return None
        return tuple((bytes(name).decode("latin-1"), bytes(value).decode("latin-1")) for name, value in fields)
