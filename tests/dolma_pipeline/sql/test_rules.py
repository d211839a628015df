from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import SPANS_TYPE, Batch
from dolma_pipeline.errors import ConfigError, DataError
from dolma_pipeline.sql import Rules, Verdict, num_words, split_where, unpack
from dolma_pipeline.sql.engine import Engine

GOPHER = pa.struct([("word_count", pa.int64()), ("symbol_ratio", pa.float64())])
PII = pa.struct([("email", SPANS_TYPE)])


@pytest.fixture
def table() -> pa.Table:
    gopher = pa.StructArray.from_arrays(
        [pa.array([100, 5, 0, 70]), pa.array([0.05, 0.5, 0.0, 0.1])],
        fields=list(GOPHER),
        mask=pa.array([False, False, True, False]),
    )
    pii = pa.array(
        [{"email": [(0, 3, 0.5)]}, {"email": []}, {"email": []}, {"email": [(0, 1, 1.0), (2, 3, 0.25)]}], PII
    )
    return pa.table(
        {
            "text": ["ab c", "", "xyz", "é😀"],
            "metadata": ['{"stars": 5}', "{}", '{"stars": "many"}', '{"stars": 1}'],
            "gopher_v1": gopher,
            "pii_v1": pii,
        }
    )


WHERE = {
    "words": "gopher_v1.word_count BETWEEN 50 AND 100000",
    "pii": "len(pii_v1.email) <= 1 -- at most one",
    "both": "gopher_v1.symbol_ratio < 0.2 AND length(text) > 0",
    "all": "true",
}


def test_a_rule_passes_where_it_is_true_and_null_is_told_apart(table: pa.Table) -> None:
    verdict = Rules(WHERE, table.schema).evaluate(table)
    assert verdict.passed.tolist() == [
        [True, False, False, True],
        [True, True, True, False],
        [True, False, False, True],
        [True, True, True, True],
    ]
    assert verdict.null.tolist() == [[False, False, True, False], [False] * 4, [False, False, True, False], [False] * 4]
    assert verdict.passed.dtype == verdict.null.dtype == bool


def test_batches_and_slices_give_the_same(table: pa.Table) -> None:
    rules = Rules(WHERE, table.schema)
    whole = rules.evaluate(table)
    (batch,) = table.to_batches()
    for got in (rules.evaluate(batch), rules.evaluate(pa.concat_tables([table.slice(0, 1), table.slice(1)]))):
        assert np.array_equal(got.passed, whole.passed)
        assert np.array_equal(got.null, whole.null)
    for part in (table.slice(2, 1), batch.slice(2, 1)):
        got = rules.evaluate(part)
        assert (got.passed.tolist(), got.null.tolist()) == (whole.passed[:, 2:3].tolist(), whole.null[:, 2:3].tolist())


def test_no_rows_and_no_rules(table: pa.Table) -> None:
    assert Rules(WHERE, table.schema).evaluate(table.slice(0, 0)).passed.shape == (4, 0)
    nothing = Rules({}, table.schema)
    assert nothing.evaluate(table).passed.shape == (0, 4)
    assert (nothing.names, nothing.columns, nothing.values(table, [1])) == ((), frozenset(), [{}])
    constant = Rules({"all": "1 = 1"}, table.schema)
    assert constant.evaluate(table).passed.tolist() == [[True] * 4]
    assert constant.values(table, [0, 1]) == [{}, {}]


def test_what_rules_read(table: pa.Table) -> None:
    rules = Rules(WHERE, table.schema)
    assert rules.names == ("words", "pii", "both", "all")
    assert rules.columns == {"gopher_v1", "pii_v1", "text"}
    assert rules.references() == [
        ("gopher_v1", "symbol_ratio"),
        ("gopher_v1", "word_count"),
        ("pii_v1", "email"),
        ("text", None),
    ]
    assert rules.references("pii") == [("pii_v1", "email")]
    assert rules.evaluate(table.select(["pii_v1", "text", "gopher_v1"])).passed.shape == (4, 4)


def test_values_that_rules_saw(table: pa.Table) -> None:
    rules = Rules(WHERE | {"stars": "(metadata->>'$.stars') = '5'"}, table.schema)
    assert rules.values(table, [3, 2]) == [
        {
            "gopher_v1.symbol_ratio": 0.1,
            "gopher_v1.word_count": 70,
            "metadata->>'$.stars'": "1",
            "pii_v1.email": 2,
            "text": 2,
        },
        {
            "gopher_v1.symbol_ratio": None,
            "gopher_v1.word_count": None,
            "metadata->>'$.stars'": "many",
            "pii_v1.email": 0,
            "text": 3,
        },
    ]
    assert rules.values(table, np.array([], int)) == []


def test_a_string_is_split_at_its_top_level_ands(table: pa.Table) -> None:
    where = (
        "gopher_v1.word_count BETWEEN 50 AND 100 AND (length(text) > 0 AND (pii_v1 IS NULL OR 1 = 1 AND text = 'AND'))"
    )
    parts = split_where(where)
    assert list(parts) == [
        "gopher_v1.word_count BETWEEN 50 AND 100",
        'length("text") > 0',
        "(pii_v1 IS NULL) OR ((1 = 1) AND (\"text\" = 'AND'))",
    ]
    rules = Rules(where, table.schema)
    assert rules.names == tuple(parts)
    whole = Rules({"one": where}, table.schema).evaluate(table)
    assert rules.evaluate(table).passed.all(axis=0).tolist() == whole.passed[0].tolist()
    assert split_where("text = 'a' AND text = 'a'") == {"\"text\" = 'a'": "(\"text\" = 'a')"}
    assert split_where("true /* AND */ -- AND false") == {"true": "true"}


def test_a_mapping_is_not_split() -> None:
    assert split_where({"a": "x AND y"}) == {"a": "x AND y"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("length(text)", "where.rule: `length(text)` is BIGINT, not BOOLEAN"),
        ("NULL", "where.rule: `NULL` is NULL, not BOOLEAN"),
        ("metadata->>'$.stars'", "is VARCHAR, not BOOLEAN. `->>` binds weaker than `=` or `>`: put parenth"),
        ("gopher_v1 > 1", "where.rule: `gopher_v1 > 1`: gopher_v1 has fields: use one, such as gopher_v1.word_count"),
        ("pii_v1.email > 5", "where.rule: `pii_v1.email > 5`: pii_v1.email is a list of spans: use len(pii_v1.email)"),
        ("pii_v1.email = 'a'", "`pii_v1.email = 'a'`: pii_v1.email is a list of spans: use len(pii_v1.email)"),
        ("foo(gopher_v1.word_count)", "where.rule: no SQL function named 'foo'. Did you mean 'floor'?"),
        ("qqqqqq(gopher_v1.word_count)", "where.rule: no SQL function named 'qqqqqq', and none has a name like it."),
        ("gopher_v1.foo(1)", "where.rule: no SQL function named 'foo'"),
        ("gopher_v1.word_count >>= 10", "where.rule: unknown operator '>>='. To compare, there are: =, <>, <,"),
        ("true; drop table x", "where.rule: `true; drop table x` is more than an expression; a rule is one expression"),
        ("gopher_v1.word_count >= 'abc'", "Conversion Error: Could not convert string 'abc' to INT64"),
        ("gopher_v1.symbol_ratio BETWEEN 0 AND 'b'", "Could not convert string 'b' to DOUBLE"),
        ("score(pii_v1.email) > 'high'", "Could not convert string 'high' to FLOAT"),
        ("gopher_v1.word_count IN (1, 'x')", "Could not convert string 'x' to INT64"),
        ("gopher_v1.word_count + 'x' > 2", "Could not convert string 'x'"),
        ("CAST('x' AS INT) > 2", "Could not convert string 'x' to INT32"),
        ("gopher_v1.word_count.x > 1", "where.rule: `gopher_v1.word_count.x > 1`: "),
        ("true WINDOW w AS ()", "where.rule: `true WINDOW w AS ()`: Parser Error: syntax error"),
        ("len(list_filter(pii_v1.email, x -> x.score > 0.5)) = 0", "`x -> ...` is no longer SQL; write `lambda x: "),
        ("gohper_v1.word_count > 1", "where.rule: no attribute or column named 'gohper_v1'. Did you mean 'gopher_v1'?"),
    ],
)  # fmt: skip
def test_rules_are_bound_before_work_starts(table: pa.Table, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Rules({"fine": "true", "rule": text}, table.schema)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "CAST(metadata->>'x' AS INT) > 3",
        "metadata::INT > 1 OR metadata = ''",
        "COALESCE(metadata->>'x', 'none')::INT > 1",
        "greatest(metadata->>'x', 'none')::INT > 1",
        "gopher_v1.word_count > '5'",
        "text = 'abc'",
        "text::DATE > '2020-01-31' OR text = '0'",
        "(text || 'abc')::INT > 1",
        "CASE WHEN text = 'number' THEN text::INT > 1 ELSE text <> 'abc' END",
        "TRY_CAST('abc' AS INT) IS NULL",
    ],
)
def test_what_fails_for_some_values_only_is_no_error_of_the_rule(table: pa.Table, text: str) -> None:
    assert Rules({"rule": text}, table.schema).names == ("rule",)


def test_messages_start_with_the_places_that_are_given(table: pa.Table) -> None:
    places = {"stars": "my.yaml:16: mix.where.stars"}
    with pytest.raises(ConfigError, match=r"^my\.yaml:16: mix\.where\.stars: no attribute or column named 'a'"):
        Rules({"stars": "a > 1"}, table.schema, places=places)
    rules = Rules({"stars": "(metadata->>'$.stars')::INT >= 5"}, table.schema, places=places)
    with pytest.raises(DataError, match=r"^my\.yaml:16: mix\.where\.stars: `"):
        rules.evaluate(table)
    with pytest.raises(ConfigError, match=r"^my\.yaml:15: mix\.where: `a >` is not SQL"):
        split_where("a >", place="my.yaml:15: mix.where")


def test_a_string_that_is_wrong_says_where() -> None:
    with pytest.raises(ConfigError, match=r"^where: no attribute or column named 'b'\. There are: a\."):
        Rules("a > 1 AND b > 1", pa.schema([("a", pa.int64())]))


def test_a_value_that_cannot_be_cast_names_its_rule(table: pa.Table) -> None:
    rules = Rules({"fine": "true", "stars": "(metadata->>'$.stars')::INT >= 5"}, table.schema)
    with pytest.raises(DataError) as caught:
        rules.evaluate(table)
    assert str(caught.value) == (
        "where.stars: `(metadata->>'$.stars')::INT >= 5`: Conversion Error: Could not convert string 'many' to INT32 "
        "(TRY_CAST gives NULL instead)"
    )
    careful = Rules({"stars": "TRY_CAST(metadata->>'$.stars' AS INT) >= 5"}, table.schema).evaluate(table)
    assert (careful.passed.tolist(), careful.null.tolist()) == (
        [[True, False, False, False]],
        [[False, True, True, False]],
    )


def test_a_column_that_is_gone_is_an_error(table: pa.Table) -> None:
    rules = Rules(WHERE, table.schema)
    with pytest.raises(DataError, match=r"^rules read gopher_v1, pii_v1, which is not among the columns: \['text'\]$"):
        rules.evaluate(table.select(["text"]))


def test_rules_read_a_batch_of_documents() -> None:
    batch = Batch.of(["short", "a longer text"])
    rules = Rules({"long": "length(text) > 8", "id": "id = ''"}, batch.table.schema)
    assert rules.evaluate(batch.table).passed.tolist() == [[False, True], [True, True]]


def test_columns_named_like_words_of_sql_are_quoted(table: pa.Table) -> None:
    odd = pa.table({"order": [1, 2], "group": pa.array([{"end": 1}, {"end": 2}])})
    rules = Rules({"a": '"order" > 1', "b": '"group"."end" > 1'}, odd.schema)
    assert rules.evaluate(odd).passed.tolist() == [[False, True], [False, True]]
    assert rules.values(odd, [1]) == [{"group.end": 2, "order": 2}]


def twin(row: dict[str, Any]) -> list[bool | None]:
    """The rules of the next test in Python, with SQL's three truth values."""
    count, ratio = row["count"], row["ratio"]
    above = None if count is None else count > 2
    below = None if ratio is None else ratio < 0.5
    either = True if True in (above, below) else None if None in (above, below) else False
    share = None if count is None or ratio is None or count == 0 else ratio / count > 0.1
    return [above, below, either, share]


COUNTED = pa.schema([("t", pa.struct([("count", pa.int64()), ("ratio", pa.float64())]))])


@pytest.fixture(scope="module")
def counted() -> Rules:
    where = {
        "a": "t.count > 2",
        "b": "t.ratio < 0.5",
        "c": "t.count > 2 OR t.ratio < 0.5",
        "d": "t.ratio / t.count > 0.1",
    }
    return Rules(where, COUNTED)


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(
        st.none()
        | st.fixed_dictionaries({"count": st.none() | st.integers(0, 5), "ratio": st.none() | st.floats(0, 1)}),
        max_size=20,
    )
)
def test_rules_agree_with_python(counted: Rules, rows: list[dict[str, Any] | None]) -> None:
    verdict: Verdict = counted.evaluate(pa.table({"t": pa.array(rows, COUNTED.field("t").type)}))
    expected = [twin(row or {"count": None, "ratio": None}) for row in rows]
    assert verdict.passed.T.tolist() == [[one is True for one in row] for row in expected]
    assert verdict.null.T.tolist() == [[one is None for one in row] for row in expected]


@pytest.mark.parametrize(
    ("text", "passed"),
    [
        ("(metadata->'stars')::VARCHAR = '5'", [True, False, False, False]),
        ("(metadata->'$.stars') IS NOT NULL", [True, False, True, True]),
        ("(metadata->'stars'->>'$') = 'many'", [False, False, True, False]),
        ("json_type(metadata->'stars') = 'VARCHAR'", [False, False, True, False]),
        ("len(list_filter([metadata], lambda m: (m->>'stars') = '5')) = 1", [True, False, False, False]),
    ],
)
def test_an_arrow_reads_json(table: pa.Table, text: str, passed: list[bool]) -> None:
    """DuckDB parses `a -> b` as a lambda whose parameter is `a`; it is a column all the same."""
    rules = Rules({"rule": text}, table.schema)
    assert rules.columns == {"metadata"}
    assert rules.evaluate(table).passed.tolist() == [passed]


def test_bits_are_what_is_not_true_and_what_is_null(table: pa.Table) -> None:
    bits = Rules(WHERE, table.schema).bits(table)
    assert bits.failed.tolist() == [[0b0000], [0b0101], [0b0101], [0b0010]]
    assert bits.null.tolist() == [[0], [0], [0b0101], [0]]
    assert bits.failed.dtype == bits.null.dtype == np.uint64
    (batch,) = table.to_batches()
    assert Rules(WHERE, table.schema).bits(batch.slice(1, 2)).failed.tolist() == [[0b0101], [0b0101]]
    assert Rules(WHERE, table.schema).bits(table.slice(0, 0)).failed.shape == (0, 1)
    assert Rules({}, table.schema).bits(table).failed.tolist() == [[0]] * 4
    with pytest.raises(DataError, match=r"^where\.stars: `\(metadata"):
        Rules({"stars": "(metadata->>'$.stars')::INT >= 5"}, table.schema).bits(table)


ROWS = st.lists(
    st.none() | st.fixed_dictionaries({"count": st.none() | st.integers(0, 5), "ratio": st.none() | st.floats(0, 1)}),
    max_size=12,
)


@pytest.fixture(scope="module")
def many() -> dict[int, Rules]:
    shapes = [
        "t.count > {}",
        "t.ratio < {} / 130",
        "t.count IS NULL OR t.count <> {} % 7",
        "t.ratio / t.count > {}",
    ]
    texts = [shapes[i % len(shapes)].format(i) for i in range(130)]
    sizes = (1, 4, 63, 64, 65, 130)
    return {size: Rules({f"r{i}": text for i, text in enumerate(texts[:size])}, COUNTED) for size in sizes}


@settings(max_examples=60, deadline=None)
@given(size=st.sampled_from([1, 4, 63, 64, 65, 130]), rows=ROWS)
def test_bits_say_what_evaluate_says(many: dict[int, Rules], size: int, rows: list[dict[str, Any] | None]) -> None:
    table = pa.table({"t": pa.array(rows, COUNTED.field("t").type)})
    verdict, bits = many[size].evaluate(table), many[size].bits(table)
    assert bits.failed.shape == bits.null.shape == (len(rows), num_words(size))
    assert np.array_equal(unpack(bits.failed, size), ~verdict.passed)
    assert np.array_equal(unpack(bits.null, size), verdict.null)


def test_all_rules_are_bound_by_one_question(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    types = Engine.types

    def noted(self: Engine, expressions: str, rows: pa.Table, **options: bool) -> list[str]:
        asked.append(expressions)
        return types(self, expressions, rows, **options)

    monkeypatch.setattr(Engine, "types", noted)
    Rules({f"r{i}": f"t.count > {i}" for i in range(40)}, COUNTED)
    assert len(asked) == 1
    with pytest.raises(ConfigError, match=r"^where\.b: `t\.count \+ 1` is BIGINT, not BOOLEAN$"):
        Rules({"a": "t.count > 1", "b": "t.count + 1", "c": "t.ratio > 1"}, COUNTED)
    with pytest.raises(ConfigError, match=r"^where\.b: `abs\(t\) > 1`: Binder Error: No function matches"):
        Rules({"a": "t.count > 1", "b": "abs(t) > 1", "c": "t.ratio > 1"}, COUNTED)
