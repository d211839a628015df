"""Writing a part: the ids that trainers read, and beside them what each document was.

`part-00000.npy` holds raw little-endian ids without a header, as OLMo-core reads them in spite of the name;
`part-00000.csv.gz` is Dolma's `start,end,id,src,loc` (ids' positions, end exclusive, EOS included; src is the
origin without its row; loc the 1-based line); `part-00000.parquet` has a row a document. EOS is appended here,
as a number, and nowhere else: a document is what lies between two of them, so an EOS within a text is an error.
A document without ids is not written, but counted. The same documents give the same bytes.
Cost: ~100 million ids a CPU-second, hashing included; memory of one batch.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline.errors import DataError
from dolma_pipeline.io import paths
from dolma_pipeline.io.gzip_writer import GzipWriter
from dolma_pipeline.io.tables import ParquetWriter
from dolma_pipeline.storage.committed import Output

_ROW_GROUP = 65_536
_NOT_KEPT = ("key", "tokens", "id", "loc")  # of a run's columns: id and loc stand in the csv


@dataclass(frozen=True, slots=True)
class PartFile:
    """A file of a part: its name, size and sha256 (hex)."""

    name: str
    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> PartFile:
        """What a finished file is; reads it whole."""
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return cls(path.name, path.stat().st_size, digest)


@dataclass(frozen=True, slots=True)
class PartInfo:
    """What a part holds. num_tokens and tokens_by_source count EOS; num_empty documents were left out.

    unk_by_source: tokens that stand for unknown text; empty where the tokenizer has none.
    """

    name: str
    num_tokens: int
    num_documents: int
    num_empty: int
    tokens_by_source: Mapping[str, int]
    documents_by_source: Mapping[str, int]
    unk_by_source: Mapping[str, int]
    files: tuple[PartFile, ...]


def write_part(
    stem: str | Path,
    batches: Iterable[pa.Table],
    *,
    dtype: np.dtype[Any],
    eos: int,
    special_ids: Sequence[int] = (),
    unk_id: int | None = None,
) -> PartInfo:
    """Write documents, in the order given, to `stem` + .npy, .csv.gz and .parquet.

    Each file appears under its name when it is whole; the .npy last.

    Args:
        stem: a local path without an ending, such as `train/part-00000`; its folder is made.
        batches: tables in the order of their keys: origin, source, id, loc, epoch, tokens, maybe cluster;
            other columns go to the .parquet as they are, `key` goes nowhere.
        dtype: uint8, uint16 or uint32.
        eos: id that ends each document.
        special_ids: other ids that no text may hold.
        unk_id: stands for text that the tokenizer does not know; counted, and no error though it be in `special_ids`.

    Raises:
        DataError: a text holds EOS or a special id (names its origin), or tokens are of another type.
        pyarrow.ArrowInvalid: the tables have different columns.
    """
    stem = Path(stem)
    targets = [stem.with_name(stem.name + ending) for ending in (".parquet", ".csv.gz", ".npy")]
    with _written(targets) as files:
        part = write_part_files(files, batches, dtype=dtype, eos=eos, special_ids=special_ids, unk_id=unk_id)
    return replace(part, name=stem.name, files=tuple(map(PartFile.of, sorted(targets))))


def write_part_files(
    files: Sequence[Output],
    batches: Iterable[pa.Table],
    *,
    dtype: np.dtype[Any],
    eos: int,
    special_ids: Sequence[int] = (),
    unk_id: int | None = None,
) -> PartInfo:
    """The same into open files: of rows (Parquet), of the csv (gzip), of the ids; whoever opened them commits them."""
    rows_file, csv_file, ids_file = files
    kind = np.dtype(dtype).newbyteorder("<")
    forbidden = sorted({eos, *(id_ for id_ in special_ids if id_ != unk_id)})
    state = _Counts()
    with _Rows(rows_file) as rows, GzipWriter(csv_file) as packed:
        for batch in batches:
            ids, offsets = _ids(batch, kind)
            _check_bodies(batch, ids, offsets, forbidden)
            kept = np.flatnonzero(np.diff(offsets))
            state.num_empty += len(batch) - len(kept)
            ends = offsets[1:][kept]
            ids_file.write(np.insert(ids, ends, kind.type(eos)).astype(kind, copy=False).data)
            ends = ends + np.arange(1, len(kept) + 1) + state.num_tokens
            starts = np.concatenate([[state.num_tokens], ends[:-1]])[: len(kept)]
            documents = batch if len(kept) == len(batch) else batch.take(pa.array(kept))
            rows.write(documents, starts, ends)
            text = io.StringIO(newline="")
            csv.writer(text, lineterminator="\n").writerows(_csv_rows(documents, starts, ends))
            packed.write(text.getvalue().encode())
            state.add(documents.column("source").to_pylist(), starts, ends)
            if unk_id is not None:
                state.add_unknown(batch.column("source").to_pylist(), offsets, np.flatnonzero(ids == unk_id))
    return PartInfo(
        name="",
        num_tokens=state.num_tokens,
        num_documents=sum(state.documents.values()),
        num_empty=state.num_empty,
        tokens_by_source=dict(sorted(state.tokens.items())),
        documents_by_source=dict(sorted(state.documents.items())),
        unk_by_source=dict(sorted(state.unknown.items())),
        files=(),
    )


def dataset_digest(files: Iterable[PartFile], ending: str = ".npy") -> str:
    """`sha256:…` over names and contents of the ids among a folder's files: what a model sees of them.

    Args:
        ending: of the files of ids.
    """
    ids = sorted((file.name, file.bytes, file.sha256) for file in files if file.name.endswith(ending))
    content = "".join(f"{name} {size} {sha256}\n" for name, size, sha256 in ids)
    return "sha256:" + hashlib.sha256(content.encode()).hexdigest()


class _Counts:
    """What was written so far."""

    def __init__(self) -> None:
        self.num_tokens = 0
        self.num_empty = 0
        self.tokens: Counter[str] = Counter()
        self.documents: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()

    def add(self, sources: Sequence[str], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        """Count these documents."""
        self.documents.update(sources)
        for source, length in zip(sources, (ends - starts).tolist(), strict=True):
            self.tokens[source] += length
        if len(ends):
            self.num_tokens = int(ends[-1])

    def add_unknown(self, sources: Sequence[str], offsets: NDArray[np.int64], places: NDArray[np.intp]) -> None:
        """Count the ids at these places of the documents' ids; a source without any has a zero."""
        rows = np.searchsorted(offsets, places, side="right") - 1
        for source, count in zip(sources, np.bincount(rows, minlength=len(sources)).tolist(), strict=True):
            self.unknown[source] += count


class _Rows:
    """The .parquet, in row groups of one size, so that its bytes do not depend on the batches."""

    def __init__(self, file: Output) -> None:
        self._file = file
        self._writer: ParquetWriter | None = None  # opened late: its schema is the first batch's
        self._waiting: list[pa.Table] = []

    def __enter__(self) -> _Rows:
        return self

    def __exit__(self, kind: type[BaseException] | None, *raised: object) -> None:
        if kind is None and not self._waiting:
            columns = {"start": pa.uint64(), "end": pa.uint64(), "origin": pa.string(), "source": pa.string()}
            self._waiting.append(pa.schema(columns).empty_table())
        if kind is None:
            self._flush(whole_groups_only=False)
        if self._writer is not None:
            self._writer.close()

    def write(self, documents: pa.Table, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        """Append one row a document."""
        first = [name for name in ("origin", "source", "cluster", "epoch") if name in documents.column_names]
        others = [name for name in documents.column_names if name not in (*first, *_NOT_KEPT)]
        table = documents.select([*first, *others])
        table = table.add_column(0, "end", pa.array(ends, pa.uint64()))
        self._waiting.append(table.add_column(0, "start", pa.array(starts, pa.uint64())))
        if sum(map(len, self._waiting)) >= _ROW_GROUP:
            self._flush(whole_groups_only=True)

    def _flush(self, *, whole_groups_only: bool) -> None:
        table = pa.concat_tables(self._waiting).combine_chunks()
        if self._writer is None:
            self._writer = ParquetWriter(self._file, table.schema, compression="zstd")
        until = len(table) // _ROW_GROUP * _ROW_GROUP if whole_groups_only else len(table)
        if until or not whole_groups_only:
            self._writer.write_table(table.slice(0, until), row_group_size=_ROW_GROUP)
        self._waiting = [table.slice(until)]


@contextmanager
def _written(targets: Sequence[Path]) -> Iterator[list[BinaryIO]]:
    """Files to write that appear under their names, in order, if nothing was raised."""
    with ExitStack() as stack:  # what is entered last is committed first
        yield [stack.enter_context(paths.committing(target)) for target in reversed(targets)][::-1]


def _ids(batch: pa.Table, dtype: np.dtype[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The batch's ids end to end, and the offsets of its documents, from 0."""
    column = batch.column("tokens").combine_chunks()
    lists = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    if lists.type.value_type != pa.from_numpy_dtype(dtype.newbyteorder("=")):
        raise DataError(f"tokens of type {lists.type.value_type}, but the part is to hold {dtype.name}")
    offsets = lists.offsets.to_numpy().astype(np.int64)
    return lists.flatten().to_numpy(), offsets - offsets[0]


def _check_bodies(batch: pa.Table, ids: NDArray[Any], offsets: NDArray[np.int64], forbidden: Sequence[int]) -> None:
    """DataError where a text holds a forbidden id."""
    for token in forbidden:
        places = np.flatnonzero(ids == token)
        if len(places):
            row = int(np.searchsorted(offsets, places[0], side="right")) - 1
            origin = batch.column("origin")[row].as_py()
            raise DataError(
                f"{origin}: token {int(places[0] - offsets[row])} of its text is the special id {token}; "
                "special tokens must not come out of texts. The tokenizer and its special tokens do not fit"
            )


def _csv_rows(documents: pa.Table, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> Iterable[tuple[Any, ...]]:
    """Dolma's columns. One line a document whatever its id holds, for OLMo-core splits the file at line ends."""
    sources = [_one_line(origin.rpartition("#")[0]) for origin in documents.column("origin").to_pylist()]
    ids = [_one_line(id_ or "") for id_ in documents.column("id").to_pylist()]
    locs = documents.column("loc").to_pylist()
    return zip(starts.tolist(), ends.tolist(), ids, sources, locs, strict=True)


def _one_line(text: str) -> str:
    """Line ends written as \\n and \\r."""
    return text.replace("\n", "\\n").replace("\r", "\\r") if "\n" in text or "\r" in text else text
