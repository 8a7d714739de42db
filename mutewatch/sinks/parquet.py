"""Parquet: one finding a row, in the typed columns of `flat`. Needs pyarrow (extra: table), and says so.

Rows are written in groups, so that memory stays bounded however many there are.
"""

from collections.abc import Iterable
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO, Final

from mutewatch.errors import OperatorError
from mutewatch.records import Finding
from mutewatch.sinks.flat import COLUMNS, flat_row

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_AT_ONCE: Final = 10_000  # of a row group; some 20 MB while it is made


def write_rows(findings: Iterable[Finding], file: BinaryIO) -> None:
    """Write all findings as one Parquet file. OperatorError without pyarrow."""
    columns = schema()
    from pyarrow import RecordBatch, parquet

    rows = map(flat_row, findings)
    with parquet.ParquetWriter(file, columns, compression="zstd") as writer:
        while batch := list(islice(rows, ROWS_AT_ONCE)):
            writer.write_batch(RecordBatch.from_pylist(batch, schema=columns))


def schema() -> "pa.Schema":
    """Return the columns. OperatorError without pyarrow."""
    try:
        import pyarrow as pa
    except ImportError:
        raise OperatorError("Parquet needs pyarrow: pip install 'mutewatch[table]', or choose csv or jsonl") from None
    types = {str: pa.string(), int: pa.int64(), float: pa.float64(), datetime: pa.timestamp("us", tz="UTC")}
    return pa.schema([pa.field(name, types[kind], nullable=name != "verdict") for name, kind in COLUMNS.items()])
