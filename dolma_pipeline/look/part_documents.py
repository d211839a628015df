"""The documents of a token part: where each ends, and what is known of it, from the tables beside the ids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dolma_pipeline.errors import MisalignedError, UsageError
from dolma_pipeline.look.parts import PartAt, TokenParts

_CSV = ("start", "end", "id", "src", "loc")
_OWN = ("start", "end", "origin", "source", "cluster", "epoch")


class PartDocuments:
    """The documents of one part, in order.

    Beside the ids may lie a .parquet, as a run writes it, and a .csv.gz as Dolma does; where neither does, documents
    end with EOS, and nothing more is known of them.

    Args:
        parts: of which it is one. part: the part. ids: its own.

    Attributes:
        ends: of each document, in ids, int64[n].

    Raises:
        MisalignedError: a table that does not fit the ids, or the other table.
        UsageError: no table, and nobody said what ends a document.
    """

    def __init__(self, parts: TokenParts, part: PartAt, ids: NDArray[Any]) -> None:
        self._folder, self._stem = parts.folder, part.stem
        self._place = f"{parts.folder.url}/{part.stem}"
        self._has_rows = parts.folder.stat(f"{part.stem}.parquet") is not None
        self._csv = _read_csv(parts, part)
        if self._has_rows:
            with self._folder.random(f"{part.stem}.parquet") as file:
                bounds = pq.ParquetFile(file).read(columns=["start", "end"], use_threads=False)
            self.ends = _ends(bounds, len(ids), f"{self._place}.parquet")
        elif self._csv is not None:
            self.ends = _ends(self._csv, len(ids), f"{self._place}.csv.gz")
        elif parts.eos is None:
            raise UsageError(
                f"{self._place}: neither a .parquet nor a .csv.gz lies beside these ids, so nothing says where a "
                "document ends: give --eos TOKEN."
            )
        else:
            self.ends = _ended(ids, parts.eos)
        if self._has_rows and self._csv is not None and not np.array_equal(_column(self._csv, "end"), self.ends):
            raise MisalignedError(
                f"{self._place}.csv.gz: its documents are not those of the .parquet beside it. Make the parts again."
            )

    def lines(self) -> Iterator[bytes]:
        """What is known of each document, as JSON and a newline."""
        if self._has_rows:
            with self._folder.random(f"{self._stem}.parquet") as file:
                at = 0
                for batch in pq.ParquetFile(file).iter_batches(use_threads=False):
                    rows = batch.to_pylist()
                    known = self._csv.slice(at, len(rows)).to_pylist() if self._csv is not None else [{}] * len(rows)
                    at += len(rows)
                    for row, csv in zip(rows, known, strict=True):
                        yield _line(_of_row(row) | {name: csv[name] for name in ("id", "loc") if name in csv})
        elif self._csv is not None:
            for csv in self._csv.to_pylist():
                yield _line({"source": csv["src"], "id": csv["id"], "loc": csv["loc"]})
        else:
            for _ in range(len(self.ends)):
                yield _line({})


def _of_row(row: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: row[name] for name in _OWN[2:] if row.get(name) is not None}
    attributes = {name: value for name, value in row.items() if name not in _OWN}
    return found | ({"attributes": attributes} if attributes else {})


def _line(known: Mapping[str, Any]) -> bytes:
    return orjson.dumps(known, option=orjson.OPT_APPEND_NEWLINE, default=str)


def _read_csv(parts: TokenParts, part: PartAt) -> pa.Table | None:
    """Dolma's table: start, end, id, src, loc, without a head line."""
    import pyarrow.csv as pc

    name = f"{part.stem}.csv.gz"
    if parts.folder.stat(name) is None:
        return None
    types = {"start": pa.int64(), "end": pa.int64(), "id": pa.string(), "src": pa.string(), "loc": pa.int64()}
    with parts.folder.random(name) as file:
        try:
            return pc.read_csv(
                pa.CompressedInputStream(file, "gzip"),
                pc.ReadOptions(use_threads=False, column_names=list(_CSV)),
                pc.ParseOptions(newlines_in_values=True),
                pc.ConvertOptions(column_types=types, strings_can_be_null=False),
            )
        except pa.ArrowInvalid as error:
            if "Empty CSV" in str(error):
                return pa.schema(list(types.items())).empty_table()
            raise MisalignedError(f"{parts.folder.url}/{name}: not start,end,id,src,loc: {error}") from error


def _column(table: pa.Table, name: str) -> NDArray[np.int64]:
    found: NDArray[np.int64] = table.column(name).to_numpy().astype(np.int64)
    return found


def _ends(table: pa.Table, num_ids: int, name: str) -> NDArray[np.int64]:
    """Ends of documents that lie one behind the other, from the first id to the last."""
    starts, ends = _column(table, "start"), _column(table, "end")
    last = int(ends[-1]) if len(ends) else 0
    if last != num_ids or not np.array_equal(starts, np.concatenate([np.zeros(1, np.int64), ends])[: len(ends)]):
        raise MisalignedError(
            f"{name}: its documents do not lie one behind the other from id 0 to {num_ids} (the last ends at {last}). "
            "The files are not of one part; make them again."
        )
    return ends


def _ended(ids: NDArray[Any], eos: int) -> NDArray[np.int64]:
    """Ends of documents that end with EOS; what stands behind the last one is a document, too."""
    ends = np.flatnonzero(ids == eos).astype(np.int64) + 1
    if len(ids) and (len(ends) == 0 or ends[-1] != len(ids)):
        ends = np.append(ends, len(ids))
    return ends
