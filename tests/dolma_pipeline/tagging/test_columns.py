from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import SPAN_TYPE, SPANS_TYPE, Batch, Span
from dolma_pipeline.errors import TaggerError
from dolma_pipeline.tagging import Columns

TEXTS = ["Zwölf 😀", "", "abc"]
ALL = {"flag": bool, "count": int, "share": float, "label": str, "spans": list[Span]}


def made(kind: Any, column: Any, texts: list[str] = TEXTS) -> list[Any]:
    """Values of the one field `x` after the checks."""
    found = Columns("t_v1", {"x": kind}).from_columns({"x": column}, Batch.of(texts))
    assert found.null_count == 0
    return [row["x"] for row in found.to_pylist()]


def refused(kind: Any, column: Any, texts: list[str] = TEXTS) -> str:
    with pytest.raises(TaggerError) as caught:
        made(kind, column, texts)
    assert str(caught.value).startswith("tagger 't_v1': field 'x' ")
    return str(caught.value).removeprefix("tagger 't_v1': field 'x' ")


def span_list(*rows: list[tuple[int, int, float]], score: str = "float32") -> pa.Array:
    type_ = pa.struct([("start", pa.int64()), ("end", pa.int64()), ("score", pa.type_for_alias(score))])
    return pa.array([[{"start": s, "end": e, "score": f} for s, e, f in row] for row in rows], pa.list_(type_))


def test_type_is_arrow_of_the_declared_fields() -> None:
    types = [pa.bool_(), pa.int64(), pa.float64(), pa.string(), SPANS_TYPE]
    assert Columns("t_v1", ALL).type == pa.struct(list(zip(ALL, types, strict=True)))
    assert SPANS_TYPE.value_type == SPAN_TYPE


@pytest.mark.parametrize(
    ("kind", "column", "expected"),
    [
        (bool, np.array([True, False, True]), [True, False, True]),
        (bool, [np.True_, False, True], [True, False, True]),
        (int, np.array([1, 2, 3], np.uint8), [1, 2, 3]),
        (int, [1, np.int16(2), 3], [1, 2, 3]),
        (int, pa.array([1, 2, 3], pa.int32()), [1, 2, 3]),
        (int, pa.chunked_array([[1], [2, 3]]), [1, 2, 3]),
        (float, np.array([0.5, 1, 2], np.float32), [0.5, 1.0, 2.0]),
        (float, np.array([1, 2, 3]), [1.0, 2.0, 3.0]),
        (float, [1, 0.5, np.float64(2)], [1.0, 0.5, 2.0]),
        (str, ["a", "ß", ""], ["a", "ß", ""]),
        (str, pa.array(["a", "b", "c"], pa.large_string()), ["a", "b", "c"]),
        (str, np.array(["a", "b", "c"]), ["a", "b", "c"]),
        (str, np.array(["a", "b", "c"], object), ["a", "b", "c"]),
    ],
)
def test_columns_of_many_makes_become_the_declared_type(kind: Any, column: Any, expected: list[Any]) -> None:
    found = made(kind, column)
    assert found == expected
    assert [type(one) for one in found] == [kind] * 3


def test_spans_come_as_lists_of_tuples_or_as_arrow() -> None:
    expected = [[{"start": 0, "end": 7, "score": 0.5}], [], [{"start": 1, "end": 3, "score": 1.0}]]
    assert made(list[Span], [[Span(0, 7, 0.5)], [], [(1, 3)]]) == expected
    assert made(list[Span], span_list([(0, 7, 0.5)], [], [(1, 3, 1.0)], score="float64")) == expected
    assert made(list[Span], span_list([(0, 7, 0.5)], [], [(1, 3, 1.0)]).cast(SPANS_TYPE)) == expected
    assert made(list[Span], pa.array([[], [], []])) == [[], [], []]


def test_a_span_may_end_with_its_text_and_no_later_even_in_a_slice() -> None:
    batch = Batch(Batch.of(["much longer than the others", "é", "ab"]).table.slice(1))
    columns = Columns("t_v1", {"x": list[Span]})
    assert columns.from_columns({"x": span_list([(0, 1, 1.0)], [(0, 2, 1.0)])}, batch)[0].as_py()["x"][0]["end"] == 1
    with pytest.raises(TaggerError, match=r"Span\(0, 2\) in row 0, a text of 1 code points"):
        columns.from_columns({"x": span_list([(0, 2, 1.0)], [])}, batch)


@pytest.mark.parametrize(
    ("kind", "column", "words"),
    [
        (float, np.array([0.5, math.nan]), "is nan in document web/a#1001; a value"),
        (list[Span], span_list([], [(0, 3, 1.0)]), "Span(0, 3) in document web/a#1001, a text of 2 code points"),
        (list[Span], span_list([], [(0, 1, math.inf)]), "with score inf in document web/a#1001; a score is finite"),
    ],
)
def test_documents_of_a_shard_are_named_by_their_row_in_it(kind: Any, column: Any, words: str) -> None:
    batch = Batch(Batch.of(["abc", "de"]).table, shard="web/a", first_row=1000)
    with pytest.raises(TaggerError) as error:
        Columns("t_v1", {"x": kind}).from_columns({"x": column}, batch)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("kind", "column", "words"),
    [
        (int, np.array([0.5, 1, 2]), "is declared int, but got a column of double"),
        (int, [1, 2.0, 3], "is declared int, but a document got float 2.0"),
        (int, [1, True, 3], "is declared int, but a document got bool True"),
        (int, np.array([True, False, True]), "is declared int, but got a column of bool"),
        (int, [1, None, 3], "is declared int, but a document got NoneType None"),
        (int, pa.array([1, None, 3]), "has 1 null values; too short = 0, none = an empty list"),
        (int, [2**63, 1, 2], "does not fit its column (int64)"),
        (int, np.array([2**63, 1, 2], np.uint64), "does not fit its column (int64)"),
        (int, [1, 2], "has 2 values for 3 documents"),
        (int, np.zeros((3, 2)), "has 2 dimensions (3, 2); a column has one"),
        (int, 7, "is int 7; a column is an Arrow array, a numpy array or a list"),
        (bool, [0, 1, 0], "is declared bool, but a document got int 0"),
        (float, np.array([1, math.nan, 2]), "is nan in row 1; a value is always a number (too short = 0.0)"),
        (float, np.array([1, 2, math.inf]), "is inf in row 2"),
        (float, [0.0, math.nan, 1.0], "is nan; a value is always a number"),
        (float, ["1", 2, 3], "is declared float, but a document got str '1'"),
        (str, [b"a", "b", "c"], "is declared str, but a document got bytes b'a'"),
        (str, ["\ud800", "b", "c"], "does not fit its column (string)"),
        (str, np.array([1, 2, 3]), "is declared str, but got a column of int64"),
        (list[Span], [[Span(0, 1)], [Span(0, 1)], []], "Span(0, 1) in row 1, a text of 0 code points: 0 <= start"),
        (list[Span], [[Span(-1, 1)], [], []], "holds Span(-1, 1): 0 <= start <= end <= length must hold"),
        (list[Span], [[Span(3, 2)], [], []], "holds Span(3, 2): 0 <= start"),
        (list[Span], [[Span(0, 8)], [], []], "Span(0, 8) in row 0, a text of 7 code points"),
        (list[Span], [[(0.0, 1.0)], [], []], "start and end are whole numbers"),
        (list[Span], [[(0,)], [], []], "which is not a Span(start, end, score)"),
        (list[Span], [[(0, 1, math.nan)], [], []], "a score is a finite number"),
        (list[Span], [[(0, 1, 1e39)], [], []], "a score is a finite number"),
        (list[Span], [None, [], []], "is declared list[Span], but a document got NoneType None"),
        (list[Span], span_list([(0, 1, math.nan)], [], []), "holds a span with score nan in row 0; a score is finite"),
        (list[Span], span_list([(-1, 1, 1.0)], [], []), "Span(-1, 1) in row 0"),
        (list[Span], span_list([], [], [(2, 1, 1.0)]), "Span(2, 1) in row 2, a text of 3 code points"),
        (list[Span], pa.array([[None], [], []], SPANS_TYPE), "holds a null among its spans"),
        (list[Span], pa.array([None, [], []], SPANS_TYPE), "has 1 null values"),
        (list[Span], pa.array([[1], [], []]), "is declared list[Span], but got a column of list<item: int64>"),
    ],
)
def test_wrong_columns_are_refused_in_words(kind: Any, column: Any, words: str) -> None:
    assert words in refused(kind, column)


def test_other_fields_than_declared_are_refused() -> None:
    columns, batch = Columns("t_v1", {"a": int, "b": int}), Batch.of(["x"])
    with pytest.raises(
        TaggerError, match=r"^tagger 't_v1' left out b; its fields are a, b, and all are returned, always"
    ):
        columns.from_columns({"a": [1]}, batch)
    with pytest.raises(TaggerError, match=r"left out a and returned c, undeclared; its fields are a, b"):
        columns.from_columns({"b": [1], "c": [1]}, batch)
    with pytest.raises(TaggerError, match=r"^tagger 't_v1' returned list \[1, 2\]; it returns field -> value"):
        columns.row([1, 2], num_chars=1)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "fields is dict {}; it is field -> type, e.g. {'share': float}"),
        (None, "fields is NoneType None"),
        (["share"], "fields is list ['share']"),
        ({"share%": float}, "a field cannot be named 'share%': a name is letters, digits and '_', a letter first"),
        ({"share": float, "Share": float}, "SQL cannot tell the fields 'share' and 'Share' apart"),
        ({"2gram": float}, "a field cannot be named '2gram'"),
        ({"a": dict}, "field 'a' has type dict; there are bool, int, float, str and list[Span]"),
        ({"a": list}, "field 'a' has type list; there are"),
        ({"a": "float"}, "field 'a' has type 'float'; there are"),
    ],
)
def test_fields_that_are_no_fields_are_refused(fields: Any, words: str) -> None:
    with pytest.raises(TaggerError) as caught:
        Columns("t_v1", fields)
    assert words in str(caught.value)


def test_row_and_blank_row_make_a_column_with_null_structs() -> None:
    columns = Columns("t_v1", ALL)
    good = columns.row({"flag": True, "count": 1, "share": 1, "label": "x", "spans": [(0, 1)]}, num_chars=1)
    found = columns.from_rows([good, columns.blank_row()], failed=[1])
    assert found.type == columns.type
    assert found.to_pylist() == [good | {"spans": [{"start": 0, "end": 1, "score": 1.0}]}, None]
    assert columns.from_rows([]).type == columns.type


def test_a_documents_span_is_held_against_its_own_text() -> None:
    with pytest.raises(TaggerError, match=r"holds Span\(0, 3\) in a text of 2 code points"):
        Columns("t_v1", {"x": list[Span]}).row({"x": [Span(0, 3)]}, num_chars=2)


def test_a_message_quotes_at_most_sixty_characters_of_a_value() -> None:
    words = refused(int, ["secret " * 50, 1, 2])
    assert len(words) < 120
    assert words.endswith("…")


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.text(max_size=5), st.lists(st.tuples(st.integers(-1, 6), st.integers(-1, 6)), max_size=3)),
        max_size=6,
    )
)
def test_both_ways_in_accept_the_same_spans(rows: list[tuple[str, list[tuple[int, int]]]]) -> None:
    """Row by row in Python, and a whole Arrow column at once, are oracles of each other."""
    columns, batch = Columns("t_v1", {"x": list[Span]}), Batch.of([text for text, _ in rows])
    right = all(0 <= start <= end <= len(text) for text, spans in rows for start, end in spans)
    arrow = span_list(*[[(start, end, 1.0) for start, end in spans] for _, spans in rows])
    if right:
        singly = columns.from_rows([columns.row({"x": spans}, num_chars=len(text)) for text, spans in rows])
        assert columns.from_columns({"x": arrow}, batch).equals(singly)
    else:
        with pytest.raises(TaggerError, match="0 <= start <= end <= length"):
            columns.from_columns({"x": arrow}, batch)
        with pytest.raises(TaggerError, match="0 <= start <= end <= length"):
            [columns.row({"x": spans}, num_chars=len(text)) for text, spans in rows]
