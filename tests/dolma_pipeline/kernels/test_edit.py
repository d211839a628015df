"""Replacing and removing spans against a plain Python twin on strings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import SPANS_TYPE
from dolma_pipeline.errors import DataError, MisalignedError
from dolma_pipeline.kernels import edit
from dolma_pipeline.kernels.edit import Edits, edit_texts, warm

Spans = list[tuple[int, int]]


def edit_slowly(text: str, parts: Sequence[tuple[Spans, str | None]]) -> str:
    """One document: marks each character with the united span it belongs to, then writes them out."""
    spans = [(s, s - e, number, e) for number, (found, _) in enumerate(parts) for s, e in found if e > s]
    united: list[list[int]] = []
    for start, _, number, end in sorted(spans):
        if united and start < united[-1][1]:
            united[-1][1] = max(united[-1][1], end)
        else:
            united.append([start, end, number])
    for start, end, number in reversed(united):
        text = text[:start] + (parts[number][1] or "") + text[end:]
    return text


def span_array(lists: Sequence[Spans | None]) -> pa.ListArray:
    return pa.array(
        [None if x is None else [{"start": s, "end": e, "score": 1.0} for s, e in x] for x in lists], SPANS_TYPE
    )


def run(
    texts: list[str | None], *parts: tuple[Sequence[Spans | None], str | None]
) -> tuple[list[str | None], list[bool]]:
    edits = Edits.of(len(texts), [(span_array(x), None if r is None else r.encode()) for x, r in parts])
    out, edited = edit_texts(pa.array(texts, pa.string()), edits)
    out.validate(full=True)
    return out.to_pylist(), edited.tolist()


TEXT = st.text(max_size=30) | st.text("aé漢🙂\u0301", min_size=60, max_size=400)


@st.composite
def documents(draw: st.DrawFn) -> tuple[list[str], list[tuple[list[Spans], str | None]]]:
    texts = draw(st.lists(TEXT, min_size=1, max_size=5))
    parts = []
    for _ in range(draw(st.integers(0, 3))):
        lists = []
        for text in texts:
            place = st.integers(0, len(text))
            pairs = draw(st.lists(st.tuples(place, place), max_size=5))
            lists.append([(min(pair), max(pair)) for pair in pairs])
        parts.append((lists, draw(st.none() | st.text(max_size=6))))
    return texts, parts


@settings(max_examples=200, deadline=None)
@given(documents())
def test_equals_the_plain_twin(case: tuple[list[str], list[tuple[list[Spans], str | None]]]) -> None:
    texts, parts = case
    out, edited = run(texts, *parts)
    assert out == [edit_slowly(text, [(x[i], r) for x, r in parts]) for i, text in enumerate(texts)]
    assert edited == [any(e > s for x, _ in parts for s, e in x[i]) for i in range(len(texts))]


@settings(max_examples=100, deadline=None)
@given(documents(), st.data())
def test_slices_of_texts_and_spans(
    case: tuple[list[str], list[tuple[list[Spans], str | None]]], data: st.DataObject
) -> None:
    texts, parts = case
    first = data.draw(st.integers(0, len(texts)))
    count = data.draw(st.integers(0, len(texts) - first))
    column = pa.array(texts, pa.string()).slice(first, count)
    edits = Edits.of(count, [(span_array(x).slice(first, count), None if r is None else r.encode()) for x, r in parts])
    out, _ = edit_texts(column, edits)
    want = [edit_slowly(text, [(x[i], r) for x, r in parts]) for i, text in enumerate(texts)]
    assert out.to_pylist() == want[first : first + count]


def test_a_mask_counts_characters_not_bytes() -> None:
    out, _ = run(["mail 漢字🙂 a@b.de, é"], ([[(9, 15)]], " |||EMAIL_ADDRESS||| "))
    assert out == ["mail 漢字🙂  |||EMAIL_ADDRESS||| , é"]


def test_overlapping_spans_are_united_and_the_earliest_names_the_replacement() -> None:
    out, _ = run(["0123456789"], ([[(4, 8)]], "B"), ([[(2, 5)]], "A"))
    assert out == ["01A89"]


def test_of_spans_that_start_together_the_longest_names_it_then_the_first_in_the_recipe() -> None:
    assert run(["0123456789"], ([[(2, 4)]], "short"), ([[(2, 6)]], "long"))[0] == ["01long6789"]
    assert run(["0123456789"], ([[(2, 4)]], "first"), ([[(2, 4)]], "second"))[0] == ["01first456789"]


def test_a_chain_of_overlaps_is_one_edit() -> None:
    assert run(["0123456789"], ([[(0, 3), (2, 5), (4, 7)]], "X"))[0] == ["X789"]


def test_touching_spans_are_edited_one_by_one() -> None:
    assert run(["0123456789"], ([[(2, 4), (4, 6)]], "X"))[0] == ["01XX6789"]


def test_a_replaced_and_a_removed_span_that_overlap() -> None:
    assert run(["0123456789"], ([[(3, 5)]], "X"), ([[(2, 6)]], None))[0] == ["016789"]
    assert run(["0123456789"], ([[(2, 5)]], "X"), ([[(3, 6)]], None))[0] == ["01X6789"]


def test_empty_spans_and_null_lists_edit_nothing() -> None:
    texts = ["abc", "def"]
    column = pa.array(texts, pa.string())
    out, edited = edit_texts(column, Edits.of(2, [(span_array([[(1, 1)], None]), b"X")]))
    assert out is column
    assert edited.tolist() == [False, False]


def test_a_null_list_hides_what_lies_under_it() -> None:
    spans = span_array([[(0, 1)], [(0, 2)], [(1, 2)]])
    hidden = pa.ListArray.from_arrays(spans.offsets, spans.values, mask=pa.array([False, True, False]))
    out, edited = edit_texts(pa.array(["abc", "def", "ghi"]), Edits.of(3, [(hidden, b"X")]))
    assert out.to_pylist() == ["Xbc", "def", "gXi"]
    assert edited.tolist() == [True, False, True]


def test_without_any_part_the_column_passes() -> None:
    column = pa.array(["abc", None])
    assert edit_texts(column, Edits.of(2, []))[0] is column
    empty = pa.array([], pa.string())
    assert edit_texts(empty, Edits.of(0, [(pa.array([], SPANS_TYPE), b"X")]))[0] is empty


def test_null_texts_stay_null() -> None:
    column = pa.array(["skip", None, "abc", None], pa.string()).slice(1)
    out, edited = edit_texts(column, Edits.of(3, [(span_array([[], [(1, 3)], None]), b"X")]))
    out.validate(full=True)
    assert out.to_pylist() == [None, "aX", None]
    assert edited.tolist() == [False, True, False]


def test_other_integers_and_more_fields_are_spans_too() -> None:
    kind = pa.list_(pa.struct([("label", pa.string()), ("end", pa.int64()), ("start", pa.uint8())]))
    spans = pa.array([[{"start": 1, "end": 2, "label": "x"}]], kind)
    assert edit_texts(pa.array(["abc"]), Edits.of(1, [(spans, b"")]))[0].to_pylist() == ["ac"]


@pytest.mark.parametrize("end", [4, 99])
def test_a_span_beyond_its_text_names_the_text(end: int) -> None:
    edits = Edits.of(2, [(span_array([[], [(3, end)]]), b"X")])
    with pytest.raises(
        MisalignedError, match=rf"^text 1 of the batch: a span ends at {end}, but it has 3 characters; "
    ):
        edit_texts(pa.array(["long enough", "é漢🙂"]), edits)


@pytest.mark.parametrize("span", [(-1, 2), (3, 2)])
def test_a_span_turned_round_names_its_place(span: tuple[int, int]) -> None:
    with pytest.raises(DataError, match=rf"^edit 0: text 1 of the batch has a span {span[0]}:{span[1]}\.$"):
        Edits.of(2, [(span_array([[], [span]]), b"X")])


def test_wrong_lengths_and_types_are_told() -> None:
    with pytest.raises(MisalignedError, match="edit 1: 1 span lists for 2 texts"):
        Edits.of(2, [(span_array([[], []]), None), (span_array([[]]), None)])
    with pytest.raises(DataError, match="edit 0: wanted lists of spans"):
        Edits.of(1, [(pa.array([[1]]), None)])
    with pytest.raises(DataError, match="edit 0: spans need a field 'end'"):
        Edits.of(1, [(pa.array([[{"start": 1}]]), None)])
    with pytest.raises(DataError, match="edit 0: 'end' of a span must be a whole number, found double"):
        Edits.of(1, [(pa.array([[{"start": 1, "end": 2.0}]]), None)])
    with pytest.raises(DataError, match="edit 0: 'start' of a span must be a whole number"):
        Edits.of(1, [(pa.array([[None]], SPANS_TYPE), None)])
    with pytest.raises(MisalignedError, match="edits of 1 texts, but the column has 2"):
        edit_texts(pa.array(["a", "b"]), Edits.of(1, [(span_array([[(0, 1)]]), None)]))
    with pytest.raises(DataError, match="must be a string column, found large_string"):
        edit_texts(pa.array(["a"], pa.large_string()), Edits.of(1, []))


def test_more_than_a_column_holds_is_told() -> None:
    edits = Edits.of(3000, [(span_array([[(0, 1)]] * 3000), bytes(1_000_000))])
    with pytest.raises(DataError, match=r"3000000000 bytes of edited text do not fit"):
        edit_texts(pa.array(["a"] * 3000), edits)


def test_warm_compiles_what_editing_uses() -> None:
    warm()
    before = len(edit._unite.signatures), len(edit._splice.signatures)
    table = pa.ipc.open_stream(ipc_bytes(pa.record_batch({"text": ["abc"]}))).read_all()  # read-only buffers
    run(["abc", "def"], ([[(0, 1)], []], None))
    edit_texts(table["text"].chunk(0), Edits.of(1, [(span_array([[(0, 1)]]), b"X")]))
    assert before == (len(edit._unite.signatures), len(edit._splice.signatures)) == (1, 1)


def ipc_bytes(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def test_the_rows_of_edits_are_bounds() -> None:
    edits = Edits.of(4, [(span_array([[], [(2, 3), (0, 1)], None, [(0, 2)]]), b"X")])
    np.testing.assert_array_equal(edits.rows, [0, 0, 2, 2, 3])
    np.testing.assert_array_equal(edits.starts, [0, 2, 0])


def test_known_masks_of_real_text(data: Path) -> None:
    """24 documents with e-mail addresses, phone numbers and IPs at known places, and their masked text."""
    lines = (data / "pii/dolma_policy.jsonl").read_bytes().splitlines()
    documents = [d for d in map(orjson.loads, lines) if d["expected_action"] == "mask"]
    parts = []
    for kind in ("IP_ADDRESS", "EMAIL_ADDRESS", "PHONE_NUMBER"):
        lists = [[(s["start"], s["end"]) for s in d["spans"] if s["type"] == kind] for d in documents]
        parts.append((lists, f"|||{kind}|||"))
    out, edited = run([d["text"] for d in documents], *parts)
    assert len(documents) == 24
    assert out == [d["expected_text"] for d in documents]
    assert all(edited)


def test_offsets_are_code_points_in_mixed_scripts(data: Path) -> None:
    line = orjson.loads((data / "hostile/offset_units.jsonl").read_bytes().splitlines()[0])
    start, end = line["expect"]["char_span"]
    out, _ = run([line["text"]], ([[(start, end)]], "MASK"))
    assert out == [line["text"].replace("a@example.com", "MASK")]
