"""Parquet as a format of documents: cut between row groups, read by `io.documents`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from dolma_pipeline.io.documents import ParquetReading
from dolma_pipeline.io.formats import DocumentFormat, Range, register
from dolma_pipeline.io.jsonl import Report
from dolma_pipeline.io.shards import Shard
from dolma_pipeline.storage.inputs import open_random

MAGIC = b"PAR1"


class Parquet(DocumentFormat):
    """Rows of Parquet files, by the names of their columns."""

    name = "parquet"
    endings = (".parquet",)

    def recognizes(self, head: bytes, name: str) -> bool:
        """By the magic and the first byte of a page header or footer: field 1, an i32 (Thrift's compact protocol)."""
        return head.startswith(MAGIC + b"\x15")

    def plan(self, path: str, size: int, split_bytes: int) -> list[Range] | None:
        """Runs of row groups."""
        if size <= split_bytes:
            return None
        groups = _row_groups(path)
        if len(groups) < 2:
            return None
        cuts, held = [0], 0
        for i, group_bytes in enumerate(groups):
            if held and held + group_bytes > split_bytes:
                cuts.append(i)
                held = 0
            held += group_bytes
        cuts.append(len(groups))
        return [Range(a, b, sum(groups[a:b])) for a, b in itertools.pairwise(cuts)]

    def read(self, shard: Shard, *, report: Report, fields: Mapping[str, str]) -> ParquetReading:
        """The rows of a file or of some of its row groups."""
        return ParquetReading(shard, report=report, fields=fields)

    def range_bytes(self, path: str) -> int:
        """Bytes of all row groups, as the footer states them."""
        return sum(_row_groups(path))


def _row_groups(path: str) -> list[int]:
    """Bytes of each row group; none where the footer cannot be read."""
    import pyarrow as pa

    from dolma_pipeline.io.parquet import open_parquet

    try:
        with open_random(path) as file:
            metadata = open_parquet(file).metadata
            return [metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups)]
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # the last: in a damaged name
        if isinstance(error, OSError) and error.errno:  # the system's, such as a file that is not there
            raise
        return []


register(Parquet())
