"""A batch keeps its documents, derives each table once, and counts code points true in slices."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolma_pipeline.documents import COLUMNS, SCHEMA, SPANS_TYPE, Batch, Document, Span, text_buffers

DOCUMENTS = [
    Document("one", id="1", source="web", added="2024", created="2023", metadata={"url": "u", "n": [1, None]}),
    Document("zwei ü", id="2"),
    Document("", id="3"),
    Document("中文 😀", id="4", metadata={"lang": "zh"}),
]


def test_documents_come_back_as_they_went_in() -> None:
    assert list(Batch.of(DOCUMENTS).documents()) == DOCUMENTS
    assert list(Batch.of(["just a text"]).documents()) == [Document("just a text")]
    assert list(Batch.of([]).documents()) == []


def test_a_batch_has_the_schema() -> None:
    batch = Batch.of(DOCUMENTS)
    assert batch.table.schema == SCHEMA
    assert tuple(batch.table.schema.names) == COLUMNS
    assert len(batch) == 4


def test_nulls_read_as_empty() -> None:
    table = pa.RecordBatch.from_pydict(
        {name: [None, "é"] for name in COLUMNS if name != "metadata"} | {"metadata": [None, "{}"]}
    )
    batch = Batch(table.select(list(COLUMNS)).cast(SCHEMA))
    assert batch.strings == ["", "é"]
    assert next(batch.documents()) == Document("")
    assert batch.words.rows.tolist() == [0, 0, 1]
    assert batch.lines.rows.tolist() == [0, 1, 2]


@pytest.mark.parametrize(("first", "count"), [(0, 4), (1, 3), (1, 2), (3, 1), (2, 0)])
def test_buffers_of_a_slice_are_those_of_its_rows(first: int, count: int) -> None:
    column = Batch.of(DOCUMENTS).table.slice(first, count).column("text")
    text = text_buffers(column)
    assert len(text.offsets) == count + 1
    texts = [text.data[a:b].tobytes().decode() for a, b in zip(text.offsets[:-1], text.offsets[1:], strict=True)]
    assert texts == [document.text for document in DOCUMENTS[first : first + count]]
    assert column.buffers()[2].size == len("".join(d.text for d in DOCUMENTS).encode()) or count == 0  # no copy


def test_tables_are_made_once_and_fit_each_other() -> None:
    batch = Batch.of(["a b\n\nc", "d"])
    for name in ("text", "chars", "words", "lines", "paragraphs", "strings"):
        assert getattr(batch, name) is getattr(batch, name)
    assert (batch.words.rows.tolist(), batch.lines.rows.tolist(), batch.paragraphs.rows.tolist()) == (
        [0, 3, 4],
        [0, 3, 4],
        [0, 2, 3],
    )


@given(st.lists(st.text(max_size=30) | st.none(), max_size=8), st.integers(0, 3), st.booleans())
def test_code_points_of_each_text_are_the_same_with_and_without_a_line_table(
    texts: list[str | None], first: int, lines_are_there: bool
) -> None:
    table = pa.RecordBatch.from_pydict({name: texts if name == "text" else [""] * len(texts) for name in COLUMNS})
    batch = Batch(table.cast(SCHEMA).slice(first))
    if lines_are_there:
        assert len(batch.lines.rows) == len(batch) + 1
    assert batch.chars.dtype == np.int64
    assert batch.chars.tolist() == [len(text or "") for text in texts[first:]]
    assert not batch.chars.flags.writeable
    assert batch.num_lines.tolist() == [len((text or "").split("\n")) for text in texts[first:]]
    assert batch.num_lines.dtype == np.int64
    assert not batch.num_lines.flags.writeable


def test_spans_count_code_points_of_each_document_in_a_slice_too() -> None:
    batch = Batch(Batch.of(DOCUMENTS).table.slice(1))
    rows = np.repeat(np.arange(len(batch)), np.diff(batch.words.rows))
    spans = batch.spans(rows, batch.words.starts, batch.words.ends, np.full(len(rows), 0.5))
    assert spans.type == SPANS_TYPE
    cut = [
        [text[s["start"] : s["end"]] for s in found]
        for text, found in zip(batch.strings, spans.to_pylist(), strict=True)
    ]
    assert cut == [["zwei", "ü"], [], ["中文", "😀"]]


def test_a_span_is_a_tuple_with_a_score() -> None:
    assert Span(1, 2) == (1, 2, 1.0)
    fields = {"start": pa.int32(), "end": pa.int32(), "score": pa.float32()}
    assert SPANS_TYPE.equals(pa.list_(pa.struct(fields)))


def test_origins_and_lines_of_the_file() -> None:
    table = Batch.of(DOCUMENTS).table
    batch = Batch(table, shard="web/part-0001", first_row=1000)
    assert batch.origins()[:2] == ["web/part-0001#1000", "web/part-0001#1001"]
    assert batch.locs.tolist() == [1001, 1002, 1003, 1004]
    assert Batch(table, locs=np.array([1, 3, 4, 9])).locs.tolist() == [1, 3, 4, 9]


def test_importing_the_data_model_loads_neither_beam_nor_torch_nor_numba() -> None:
    heavy = {"numba", "torch", "apache_beam"}
    code = f"import sys, dolma_pipeline.documents as d; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
