"""The data model: a document is a row of an Arrow batch, a `Document` is that row for people.

A `Batch` is about 1,000 documents (at most ~16 MB of text) and everything that is derived from them once:
word, line and paragraph tables for all taggers. Tables hold byte positions into the text buffer; what
leaves a tagger counts code points (`text[start:end]`), and `Batch.spans` makes the one from the other.
Cost: the tables are made on first use, at 200 to 350 MB of text per second, ~29 bytes a word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dolma_pipeline.kernels.tables import Bitmaps, TextBuffers, Tokens, read_only

IntArray = NDArray[np.integer[Any]]
FloatArray = NDArray[np.floating[Any]]

COLUMNS = ("id", "text", "source", "added", "created", "metadata", "extra")
"""Columns of a batch, all strings; `metadata` and `extra` (other top-level keys) are JSON text."""

SCHEMA = pa.schema([pa.field(name, pa.string()) for name in COLUMNS])

SPAN_TYPE = pa.struct([pa.field("start", pa.int32()), pa.field("end", pa.int32()), pa.field("score", pa.float32())])
SPANS_TYPE = pa.list_(SPAN_TYPE)
"""Arrow type of a span list; offsets are code points, end exclusive."""


def is_spans(type_: pa.DataType) -> bool:
    """Whether a type is that of span lists: `SPANS_TYPE`, or the same with more fields in each span."""
    if not pa.types.is_list(type_) or not pa.types.is_struct(type_.value_type):
        return False
    return bool(list(type_.value_type)[:3] == list(SPAN_TYPE))


MAX_BATCH_ROWS = 1000
MAX_BATCH_BYTES = 16_000_000


class Span(NamedTuple):
    """A stretch of a document's text in code points: `text[start:end]`, with a score."""

    start: int
    end: int
    score: float = 1.0


@dataclass(frozen=True, slots=True)
class Document:
    """One row, for people; `metadata` is decoded JSON, mostly an object. Batches are for machines."""

    text: str
    id: str = ""
    source: str = ""
    added: str = ""
    created: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


Value = bool | int | float | str | Sequence[Span]
Attributes = Mapping[str, Value]
"""Field -> value, of one document."""
Fields = Mapping[str, Any]
"""Field -> bool, int, float, str or list[Span]: what a tagger declares."""


def text_buffers(column: pa.Array) -> TextBuffers:
    """The buffers of a `string` array, without a copy; nulls read as empty. Respects slices."""
    _, offsets, data = column.buffers()
    if offsets is None or len(column) == 0:
        return TextBuffers(read_only(np.zeros(len(column) + 1, np.int32)), read_only(np.zeros(0, np.uint8)))
    starts = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
    text = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
    return TextBuffers(read_only(starts), read_only(text))


class Batch:
    """Documents of one shard in order, and what is derived from their text, computed once on first use.

    Args:
        table: columns `COLUMNS`, all strings.
        shard: name of the shard (`source/path`); with the row it makes an origin.
        first_row: row of the first document in its shard.
        locs: 1-based line (Parquet: row + 1) of each document in its file, int64[n].
    """

    def __init__(
        self, table: pa.RecordBatch, *, shard: str = "", first_row: int = 0, locs: IntArray | None = None
    ) -> None:
        self.table = table
        self.shard = shard
        self.first_row = first_row
        self.locs = np.arange(first_row + 1, first_row + 1 + len(self), dtype=np.int64) if locs is None else locs

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @classmethod
    def of(cls, documents: Sequence[Document | str]) -> Batch:
        """A batch of these documents (a plain string is a text); for tests and small work."""
        rows = [d if isinstance(d, Document) else Document(d) for d in documents]
        columns: dict[str, list[str]] = {
            name: [getattr(d, name) for d in rows] for name in ("id", "text", "source", "added", "created")
        }
        columns["metadata"] = [orjson.dumps(dict(d.metadata)).decode() for d in rows]
        columns["extra"] = ["{}"] * len(rows)
        return cls(pa.RecordBatch.from_pydict(columns, schema=SCHEMA))

    @cached_property
    def text(self) -> TextBuffers:
        """Offsets and bytes of the texts."""
        return text_buffers(self.table.column("text"))

    @cached_property
    def strings(self) -> list[str]:
        """The texts as Python strings."""
        return [t or "" for t in self.table.column("text").to_pylist()]

    @cached_property
    def chars(self) -> NDArray[np.int64]:
        """Code points of each text, int64[n]: from the line table if it is there, else Arrow counts (5 GB/s)."""
        if "lines" in self.__dict__:
            newlines = np.diff(self.lines.rows) - 1
            return read_only(np.add.reduceat(self.lines.chars, self.lines.rows[:-1], dtype=np.int64) + newlines)
        counts = pc.fill_null(pc.utf8_length(self.table.column("text")), 0)
        return read_only(counts.to_numpy(zero_copy_only=False).astype(np.int64))

    @cached_property
    def num_lines(self) -> NDArray[np.int64]:
        """Lines (`text.split("\\n")`) of each text, int64[n]: from the line table if it is there."""
        if "lines" in self.__dict__:
            return read_only(np.diff(self.lines.rows))
        offsets, data = self.text
        newlines = np.flatnonzero(data[: offsets[-1]] == ord("\n"))
        return read_only(np.diff(np.searchsorted(newlines, offsets)).astype(np.int64) + 1)

    @cached_property
    def bitmaps(self) -> Bitmaps:
        """A bit for each byte of the texts that is white space, a letter, a mark…; see `kernels.bitmaps`."""
        from dolma_pipeline.kernels.bitmaps import find_bitmaps

        return find_bitmaps(self.text)

    @cached_property
    def words(self) -> Tokens:
        """What `text.split()` gives; flags: see `kernels.words`."""
        from dolma_pipeline.kernels.words import split_words

        return split_words(self.text, self.bitmaps)

    @cached_property
    def lines(self) -> Tokens:
        """What `text.split("\\n")` gives; flags: see `kernels.lines`."""
        from dolma_pipeline.kernels.lines import split_lines

        return split_lines(self.text, self.bitmaps)

    @cached_property
    def paragraphs(self) -> Tokens:
        """What `text.split("\\n\\n")` gives, stripped, without the blank ones; see `kernels.lines.split_paragraphs`."""
        from dolma_pipeline.kernels.lines import split_paragraphs

        return split_paragraphs(self.text)

    @cached_property
    def kinds(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Characters of each text by kind, int64[n, kinds], and in mojibake, int64[n]; see `kernels.characters`."""
        from dolma_pipeline.kernels.characters import count_kinds

        return count_kinds(self.text)

    def documents(self) -> Iterator[Document]:
        """The rows as `Document`s, in order."""
        names = ("id", "source", "added", "created", "metadata")
        columns = [self.table.column(name).to_pylist() for name in names]
        for text, id_, source, added, created, metadata in zip(self.strings, *columns, strict=True):
            decoded = orjson.loads(metadata) if metadata else {}
            yield Document(text, id_ or "", source or "", added or "", created or "", decoded)

    def origins(self) -> list[str]:
        """`source/path#row` of each document: the name that outlives the stage."""
        return [f"{self.shard}#{row}" for row in range(self.first_row, self.first_row + len(self))]

    def spans(self, rows: IntArray, starts: IntArray, ends: IntArray, scores: FloatArray) -> pa.ListArray:
        """Span lists (`SPANS_TYPE`, one a document) from byte positions.

        Args:
            rows: index in the batch of each span's document, ascending, int[k].
            starts: first byte of each span in `text.data`, int[k].
            ends: byte after each span in `text.data`, int[k].
            scores: float[k].
        """
        from dolma_pipeline.kernels.spans import span_lists

        return span_lists(self.text, rows, starts, ends, scores)
