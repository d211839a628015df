"""Parquet that cannot be read to its end: what comes before the damage is given out, and the file is told as lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from dolma_pipeline.io.jsonl import Failure, Report

if TYPE_CHECKING:
    import pyarrow.parquet as pq

_LIMITS = ("Exceeded size limit", "MaxMessageSize", "ecrypt", "not supported", "nsupported", "not yet implemented")
_LIMIT_ERRORS = (pa.ArrowNotImplementedError, pa.ArrowCapacityError, pa.ArrowMemoryError)
"""What Arrow says where a file is beyond what it reads, and not damaged."""


def open_or_lose(opened: Callable[[], pq.ParquetFile], path: str, report: Report) -> pq.ParquetFile | None:
    """What `opened` gives, with names of columns that can be read; None if the file is damaged, which is reported.

    Raises:
        OSError: what the system says of the file, such as that it is gone. MemoryError: there is too little here.
    """
    try:
        parquet = opened()
        parquet.schema_arrow.to_string(show_field_metadata=False, show_schema_metadata=False)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        report(_lost(error, path))
        return None
    return parquet


def tables_until_damage(
    parquet: pq.ParquetFile, row_groups: Sequence[int], *, batch_size: int, path: str, report: Report
) -> Iterator[pa.RecordBatch]:
    """Rows of some row groups, group by group, up to the first place that is damaged.

    Args:
        row_groups: indices, rising without a gap. batch_size: most rows of a table. path, report: for the failure.

    Raises:
        OSError, MemoryError: as `open_or_lose`.
    """
    line = 1 + sum(parquet.metadata.row_group(i).num_rows for i in range(min(row_groups, default=0)))
    try:
        for group in row_groups:  # one at a time, so that a damage takes nothing from the groups before it
            for table in parquet.iter_batches(batch_size=batch_size, row_groups=[group]):
                yield table
                line += table.num_rows
    except (pa.ArrowException, OSError) as error:
        report(_lost(error, path, line=line))


def _lost(error: pa.ArrowException | OSError | UnicodeDecodeError, path: str, *, line: int | None = None) -> Failure:
    """The failure of a file of which Arrow raised this. line: the first row that is missing, from 1, if known."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno):
        raise error
    if isinstance(error, UnicodeDecodeError):
        return Failure(path, "damaged Parquet: the name of a column is not valid UTF-8", lost=True)
    what, advice = "damaged Parquet", ""
    if isinstance(error, _LIMIT_ERRORS) or any(words in str(error) for words in _LIMITS):
        what = "this Parquet need not be damaged, but it cannot be read here"
        advice = ". Write it again in another way: smaller row groups, another codec, no encryption"
    return Failure(path, f"{what}: {' '.join(str(error).split())}{advice}", line=line, lost=True)
