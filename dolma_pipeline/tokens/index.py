"""The documents of a part: which of them lie in a stretch of its ids, and what is known of them.

Reads the .parquet beside the ids: two columns of bounds once (16 bytes a document), the rest by row group when
asked for. Cost: a binary search, and the decoding of one row group (~10 ms) unless it was the last one used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.errors import DataError, MisalignedError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_NAMED = ("start", "end", "origin", "source", "cluster", "epoch")


@dataclass(frozen=True, slots=True)
class DocumentSpan:
    """A document, as far as it lies in an instance.

    start, end: in the instance, tokens, end exclusive, EOS included. part: name of the file of ids; part_start,
    part_end: the whole document there. cluster: of the near-duplicates, None where there is none. epoch: which
    copy of the document this is, from 0. attributes: what `tokens.keep_attributes` kept, by name.
    """

    origin: str
    source: str
    start: int
    end: int
    part: str
    part_start: int
    part_end: int
    cluster: int | str | None
    epoch: int
    attributes: Mapping[str, Any]


class PartIndex:
    """The documents of one part.

    Args:
        path: the .parquet.
        num_tokens: of the part; its documents must end there.
    """

    def __init__(self, path: Path, *, num_tokens: int) -> None:
        self._path = path
        self._num_tokens = num_tokens
        self._cached: tuple[int, pa.Table] | None = None

    def spans(self, first: int, last: int) -> list[DocumentSpan]:
        """Documents that lie in the ids `first` to `last` (exclusive), with bounds counted from `first`."""
        starts, ends = self._bounds
        rows = range(int(np.searchsorted(ends, first, "right")), int(np.searchsorted(starts, last, "left")))
        return [self._span(row, int(starts[row]), int(ends[row]), first, last) for row in rows]

    def _span(self, row: int, start: int, end: int, first: int, last: int) -> DocumentSpan:
        document = self._row(row)
        return DocumentSpan(
            origin=document["origin"],
            source=document["source"],
            start=max(start, first) - first,
            end=min(end, last) - first,
            part=self._path.stem,
            part_start=start,
            part_end=end,
            cluster=document.get("cluster"),
            epoch=document.get("epoch", 0),
            attributes={name: value for name, value in document.items() if name not in _NAMED},
        )

    @cached_property
    def _file(self) -> pq.ParquetFile:
        import pyarrow.parquet as pq

        if not self._path.exists():
            raise DataError(f"{self._path}: missing; without it the documents of this part are not known")
        return pq.ParquetFile(self._path)

    @cached_property
    def _bounds(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        table = self._file.read(columns=["start", "end"])
        starts, ends = table.column("start").to_numpy(), table.column("end").to_numpy()
        last = int(ends[-1]) if len(ends) else 0
        if last != self._num_tokens:
            raise MisalignedError(
                f"{self._path}: its documents end at token {last}, but the part has {self._num_tokens}; "
                "the two files are not of the same run. Make the tokens again"
            )
        return starts, ends

    @cached_property
    def _group_starts(self) -> NDArray[np.int64]:
        metadata = self._file.metadata
        sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    def _row(self, row: int) -> dict[str, Any]:
        group = int(np.searchsorted(self._group_starts, row, side="right")) - 1
        if self._cached is None or self._cached[0] != group:
            self._cached = group, self._file.read_row_group(group)
        found: dict[str, Any] = self._cached[1].slice(row - int(self._group_starts[group]), 1).to_pylist()[0]
        return found
