from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.errors import ConfigError, DataError
from dolma_pipeline.sql import Order

QUALITY = pa.struct([("score", pa.float64()), ("labels", pa.list_(pa.string()))])


@pytest.fixture
def table() -> pa.Table:
    quality = pa.array([{"score": 0.5}, {"score": 0.9}, None, {"score": 0.9}], QUALITY)
    columns = {"text": ["aaa", "b", "dddd", "cc"], "chars": [3, 1, 4, 2], "name": ["aaa", "b", "dddd", "cc"]}
    return pa.table({**columns, "quality_v1": quality, "id": ["4", "x", "2", "1"]})


def rows(table: pa.Table, text: str, *ties: str) -> list[int]:
    order = Order(text, table.schema)
    values = order.values(table)
    for name in ties:
        values = values.append_column(name, table.column(name))
    return order.order(values, ties).tolist()  # type: ignore[no-any-return]


def test_terms_become_columns(table: pa.Table) -> None:
    order = Order("length(text) DESC, quality_v1.score", table.schema)
    values = order.values(table)
    assert values.to_pydict() == {"o0": [3, 1, 4, 2], "o1": [0.5, 0.9, None, 0.9]}
    assert values.schema == order.schema
    assert order.columns == {"chars", "quality_v1"}
    (batch,) = table.to_batches()
    assert order.values(batch.slice(1, 2)).to_pydict() == {"o0": [1, 4], "o1": [0.9, None]}
    assert order.values(table.slice(0, 0)).schema == order.schema


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("length(text) DESC", [2, 0, 3, 1]),
        ("length(text)", [1, 3, 0, 2]),
        ("quality_v1.score DESC, length(text) DESC", [3, 1, 0, 2]),  # NULL last
        ("quality_v1.score ASC, length(text)", [0, 1, 3, 2]),
        ("quality_v1.score NULLS FIRST, name", [2, 0, 1, 3]),
        ("quality_v1.score DESC NULLS FIRST, name DESC", [2, 3, 1, 0]),
        ("name = 'b' DESC, name", [1, 0, 3, 2]),
        ("round(quality_v1.score)", [0, 1, 3, 2]),
    ],
)
def test_orders_by_hand(table: pa.Table, text: str, expected: list[int]) -> None:
    assert rows(table, text) == expected


def test_ties_go_by_the_columns_named_then_by_place(table: pa.Table) -> None:
    assert rows(table, "quality_v1.score DESC", "id") == [3, 1, 0, 2]
    assert rows(table, "quality_v1.score DESC") == [1, 3, 0, 2]
    odd = table.append_column("my order", pa.array([0, 2, 0, 1]))
    assert rows(odd, "quality_v1.score DESC", "my order", "id") == [3, 1, 0, 2]


def test_values_of_many_shards_are_sorted_together(table: pa.Table) -> None:
    order = Order("length(text) DESC", table.schema)
    values = pa.concat_tables([order.values(table.slice(2)), order.values(table.slice(0, 2))])
    assert order.order(values).tolist() == [0, 2, 1, 3]
    assert order.order(values.slice(0, 0)).tolist() == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "prefer: empty; write an SQL expression"),
        ("lenght(text)", "prefer: no SQL function named 'lenght'. Did you mean 'length'"),
        ("qualty_v1.score", "prefer: no attribute or column named 'qualty_v1'. Did you mean 'quality_v1'?"),
        ("quality_v1.scroe", "prefer: no field of 'quality_v1' named 'scroe'. Did you mean 'score'?"),
        ("random()", "prefer: random() does not always give the same"),
        ("1", "prefer: `1` is the same for all rows, and orders nothing"),
        ("ALL", "prefer: '*' or COLUMNS() cannot stand in a rule"),
        ("quality_v1.labels", "prefer: `quality_v1.labels` is list<"),
        ("quality_v1", "only numbers, strings and dates are sorted"),
        ("text LIMIT 1", "prefer: `text LIMIT 1` is more than an order; write e.g. `chars DESC`"),
        ("text; DROP TABLE x", "`text; DROP TABLE x` is more than an expression; "),
        ("text DOWN DOWN", "prefer: `text DOWN DOWN` is not SQL: "),
        ("(SELECT 1)", "prefer: a subquery cannot stand in a rule"),
        ("abs(name)", "prefer: `abs(name)`: Binder Error"),
        (
            "lower(text)",
            'prefer: `lower("text")` reads text, and an order reads no text. Use chars (code points), bytes',
        ),
        ("length(text), text LIKE 'a%'", "reads text, and an order reads no text"),
    ],
)
def test_what_is_no_order_is_refused_in_words(table: pa.Table, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Order(text, table.schema)
    assert words in str(caught.value)


def test_several_orders_are_one_after_the_other(table: pa.Table) -> None:
    order = Order(["quality_v1.score DESC", "chars, id DESC"], table.schema)
    values = order.values(table)
    assert values.column_names == order.schema.names == ["o0", "o1", "o2"]
    assert order.order(values).tolist() == [1, 3, 0, 2]
    with pytest.raises(ConfigError, match=r"^prefer\.1: no attribute or column named 'char'\. Did you mean 'chars'\?"):
        Order(["id", "char DESC"], table.schema)


def test_without_an_order_ties_decide(table: pa.Table) -> None:
    order = Order([], table.schema)
    values = order.values(table)
    assert (order.columns, order.schema, values.num_rows) == (frozenset(), pa.schema([]), 4)
    assert order.order(values.append_column("id", table.column("id")), ["id"]).tolist() == [3, 2, 0, 1]
    assert order.order(values).tolist() == [0, 1, 2, 3]
    nothing = table.slice(0, 0)
    assert order.order(order.values(nothing).append_column("id", nothing.column("id")), ["id"]).tolist() == []


def test_what_else_reads_a_text_is_refused(table: pa.Table) -> None:
    schema = table.schema.append(pa.field("extra", pa.string()))
    with pytest.raises(ConfigError) as caught:
        Order("id, extra->>'$.x' DESC", schema, place="my.yaml:3: dedupe.prefer")
    assert str(caught.value) == (
        "my.yaml:3: dedupe.prefer: `(extra ->> '$.x')` reads extra, and an order reads no text. Use chars (code "
        "points), bytes (of UTF-8), metadata->>'$.key' or an attribute; a tagger of yours can make one of the text."
    )


def test_a_value_that_cannot_be_taken_is_an_error(table: pa.Table) -> None:
    order = Order("id::INT", table.schema, place="dedupe.prefer")
    with pytest.raises(DataError, match=r"^dedupe\.prefer: Conversion Error: Could not convert string 'x' to INT32"):
        order.values(table)


SCHEMA = pa.schema([("n", pa.int64()), ("s", pa.string()), ("t", pa.int64())])


@pytest.fixture(scope="module")
def prefer() -> Order:
    return Order("n DESC, s", SCHEMA)


@settings(max_examples=100, deadline=None)
@given(
    found=st.lists(
        st.tuples(st.none() | st.integers(-2, 2), st.text("abÄ😀", max_size=2), st.integers(0, 3)), max_size=15
    )
)
def test_orders_agree_with_python(prefer: Order, found: list[tuple[int | None, str, int]]) -> None:
    table = pa.Table.from_pylist([dict(zip("nst", row, strict=True)) for row in found], SCHEMA)
    expected = sorted(
        range(len(found)),
        key=lambda i: (found[i][0] is None, -(found[i][0] or 0), found[i][1].encode(), found[i][2], i),
    )
    values = prefer.values(table).append_column("t", table.column("t"))
    assert prefer.order(values, ["t"]).tolist() == expected
