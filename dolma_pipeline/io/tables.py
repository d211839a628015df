"""Parquet files of plain columns, which stages leave for each other.

No dictionaries: most values are hashes. Row groups are small and have statistics, so that of a sorted column a range
can be read alone. Cost: that of copying the columns.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dolma_pipeline.io import paths

ROW_GROUP_ROWS = 65_536


def write_table(path: Path, table: pa.Table, *, compression: str = "none") -> None:
    """Commit a table as Parquet; the file appears under its name only when it is whole.

    Args:
        path: local; its folder is made.
        compression: a name that pyarrow knows: "none", "zstd".
    """
    with paths.committing(path) as file:
        pq.write_table(table, file, compression=compression, use_dictionary=False, row_group_size=ROW_GROUP_ROWS)
