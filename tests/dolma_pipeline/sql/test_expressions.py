from __future__ import annotations

import pyarrow as pa
import pytest

from dolma_pipeline.documents import SPANS_TYPE
from dolma_pipeline.errors import ConfigError
from dolma_pipeline.sql.expressions import Expression, check, column_names, parse, written

GOPHER = pa.struct([("word_count", pa.int64()), ("symbol_ratio", pa.float64())])
PII = pa.struct([("email", SPANS_TYPE), ("phone", SPANS_TYPE), ("end", pa.bool_())])
SCHEMA = pa.schema(
    [("text", pa.string()), ("source", pa.string()), ("metadata", pa.string()), ("gopher_v1", GOPHER), ("pii_v1", PII)]
)


def checked(text: str) -> Expression:
    return check("where.rule", text, parse("where.rule", text), SCHEMA)


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        checked(text)
    assert str(caught.value).startswith("where.rule: ")
    return str(caught.value).removeprefix("where.rule: ")


@pytest.mark.parametrize(
    ("text", "references"),
    [
        ("gopher_v1.word_count BETWEEN 50 AND 100000", [("gopher_v1", "word_count")]),
        ("GOPHER_V1.Word_Count > 1", [("gopher_v1", "word_count")]),
        ("gopher_v1['word_count'] > 1", [("gopher_v1", "word_count")]),
        ("gopher_v1 IS NOT NULL", [("gopher_v1", None)]),
        ("len(pii_v1.email) + len(pii_v1.phone) <= 5", [("pii_v1", "email"), ("pii_v1", "phone")]),
        ("len([s for s in pii_v1.email if s.score > gopher_v1.symbol_ratio]) = 0 AND \"pii_v1\".\"end\"",
         [("gopher_v1", "symbol_ratio"), ("pii_v1", "email"), ("pii_v1", "end")]),
        ("len(list_filter(pii_v1.email, lambda text, i: text.score > i)) = 0", [("pii_v1", "email")]),
        ("list_transform(pii_v1.email, lambda x: x.start)[1] > length(text)", [("pii_v1", "email"), ("text", None)]),
        ("(metadata->>'$.stars')::INT >= 5", [("metadata", None)]),
        ("pii_v1.email[1].score > 0.5", [("pii_v1", "email")]),
        ("source IN ('web', 'code') OR text ILIKE '%lorem ipsum%' OR regexp_matches(text, 'a|b')",
         [("source", None), ("text", None)]),
        ("CASE WHEN source = 'web' THEN gopher_v1.word_count > 50 ELSE TRUE END",
         [("gopher_v1", "word_count"), ("source", None)]),
        ("pii_v1.end", [("pii_v1", "end")]),  # DuckDB 2.0 reads it as a name
        ("score(pii_v1.email) > 0 AND coalesce(list_max([1, 2]), 0) > 1 AND try_cast(source AS INT) > 1",
         [("pii_v1", "email"), ("source", None)]),
        ("true -- nothing; at AND all", []),
    ],
)  # fmt: skip
def test_references_are_what_an_expression_reads(text: str, references: list[tuple[str, str | None]]) -> None:
    assert checked(text).references == tuple(references)
    assert {name.lower() for name in column_names(text)} == {column for column, _ in references}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gohper_v1.word_count > 1", "no attribute or column named 'gohper_v1'. Did you mean 'gopher_v1'?"),
        ("gopher_v1.wordcount > 1", "no field of 'gopher_v1' named 'wordcount'. Did you mean 'word_count'?"),
        ("gopher_v1['wordcount'] > 1", "no field of 'gopher_v1' named 'wordcount'. Did you mean 'word_count'?"),
        ("xyz > 1", "no attribute or column named 'xyz'. There are: gopher_v1, metadata, pii_v1, source, text."),
        ("text.length > 1", "`text.length`: column 'text' is string and has no fields"),
        ("text.length() > 1", "write length(text, ...), not text.length(...)"),
        ("len(list_filter(pii_v1.email, lambda s: t.score > 1)) = 0", "no attribute or column named 't'"),
        ("lenght(text) > 1", "no SQL function named 'lenght'. Did you mean 'length'"),
        ("random() > 0.5", "random() does not always give the same for the same document; a rule must"),
        ("now() > '2020-01-01'", "now() does not always give the same"),
        ("today() > '2020-01-01'", "today() does not always give the same"),
        ("uuid() = source", "uuid() does not always give the same"),
        ("getvariable('x') = 1", "getvariable() does not always give the same"),
        ("current_date > '2020-01-01'", "no attribute or column named 'current_date'"),
        ("ago(INTERVAL 1 day) > '2020-01-01'", "ago() depends on the day or the session; a rule must not"),
        ("pg_sleep(1) IS NULL", "pg_sleep() does not always give the same"),
        ("assert_true(true) IS NULL", "assert_true() does not always give the same"),
        ("max(gopher_v1.word_count) > 1", "max() works on many rows; a rule sees one. Of a list: list_max(...)"),
        ("count(*) > 1", "count_star() works on many rows"),
        ("row_number() OVER () < 10", "a window function cannot stand in a rule"),
        ("source IN (SELECT 'web')", "a subquery cannot stand in a rule, which sees one row's columns and nothing"),
        ("EXISTS (FROM read_csv('x'))", "a subquery cannot stand in a rule"),
        ("read_csv('x')", "read_csv() makes a table; a rule sees one row's columns and nothing else"),
        ("unnest([true, false])", "unnest() makes a table"),
        ("get_block_size('x') = 1", "get_block_size() looks into tables"),
        ("*", "'*' or COLUMNS() cannot stand in a rule"),
        ("COLUMNS('a') > 1", "'*' or COLUMNS() cannot stand in a rule"),
        ("source = ?", "a parameter ('?' or '$') cannot stand in a rule"),
        ("#1 = 'a'", "'#' and a number cannot stand in a rule"),
        ("grouping(source) = 1", "GROUPING_FUNCTION cannot stand in a rule"),
        ("true GROUP BY source", "is more than an expression (group_expressions, group_sets); a rule is one"),
        ("true ORDER BY source", "is more than an expression (modifiers)"),
        ("true LIMIT 5", "is more than an expression (modifiers)"),
        ("true USING SAMPLE 5", "is more than an expression (sample)"),
        ("true UNION SELECT 1", "is more than an expression; a rule is one expression"),
        ("true; SELECT 1", "is more than an expression; a rule is one expression"),
        ("true; DROP TABLE d", "`true; DROP TABLE d` is more than an expression; a rule is one expression"),
        ("source = 'a') OR (true", "is not SQL: syntax error at or near \")\""),
        ("source = = 'a'", "is not SQL: "),
        ("source ==== 'a'", "unknown operator '===='. To compare, there are: =, <>, <, <=, "),
        ("  ", "empty; write an SQL expression, e.g. `length(text) > 100`"),
    ],
)  # fmt: skip
def test_anything_else_is_refused_in_words(text: str, words: str) -> None:
    assert words in refused(text)


def test_every_refused_function_is_one_that_duckdb_has() -> None:
    """The list of functions is DuckDB's own: what it calls consistent may stand, by kind."""
    from dolma_pipeline.sql.engine import engine

    functions = engine().functions
    assert functions["length"].kinds == {"scalar"}
    assert functions["length"].stabilities == {"CONSISTENT"}
    assert functions["random"].stabilities == {"VOLATILE"}
    assert "aggregate" in functions["sum"].kinds
    assert functions["read_csv"].kinds == {"table"}
    assert functions["score"].kinds == {"macro"}
    assert functions["score"].macros[0].startswith("CASE")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("gopher_v1.word_count > 5", {"gopher_v1.word_count": '"gopher_v1"."word_count"'}),
        ("len(pii_v1.email) = 0", {"pii_v1.email": 'len("pii_v1"."email")'}),
        ("gopher_v1 IS NULL", {"gopher_v1": '"gopher_v1" IS NOT NULL'}),
        ("text LIKE '%a%' AND source = 'b'", {"source": 'left("source", 100)', "text": 'length("text")'}),
        ("(metadata->>'$.a''b') = 'x'", {"metadata->>'$.a''b'": "left(TRY(\"metadata\"->>'$.a''b'), 100)"}),
    ],
)
def test_values_are_short_and_never_the_text(text: str, values: dict[str, str]) -> None:
    assert checked(text).values == values


@pytest.mark.parametrize(
    "text",
    [
        "gopher_v1.word_count BETWEEN 50 AND 100000",
        "source NOT IN ('a', 'it''s')",
        "\"pii_v1\".\"end\" IS NOT TRUE",
        "len([s.score for s in pii_v1.email if s.score > 0.5]) = 0",
        "list_filter(pii_v1.email, lambda x, i: x.score > i) = []",
        "text ILIKE 'a%' AND NOT (source SIMILAR TO 'b')",
        "(metadata->>'$.stars')::INT >= -5.5e-3",
        "try_cast(source AS DECIMAL(10, 2)) > 1 OR source IS NOT DISTINCT FROM 'x'",
        "text[1:3] = 'abc' OR text COLLATE nocase = 'x' OR trim(both ' ' FROM text) = ''",
        "CASE source WHEN 'a' THEN 1 ELSE 2 END = 1",
        "DATE '2020-01-01' + INTERVAL 3 days > '2020-01-02'::TIMESTAMP",
        "{'a': source}.a = 'x' AND MAP {'k': 1}['k'] = 1",
        "source || 'x' = 'yx' AND 7 // 2 = 3 AND 2 ** 3 = 8 AND ~1 = -2",
    ],
)  # fmt: skip
def test_what_is_written_out_reads_back_the_same(text: str) -> None:
    node = parse("where", text)
    again = written("where", node)
    assert written("where", parse("where", again)) == again
    assert column_names(again) == column_names(text)


def test_names_of_columns_need_no_schema() -> None:
    assert column_names("exact.keep AND minhash.keep AND length(text) > 1") == {"exact", "minhash", "text"}
    with pytest.raises(ConfigError, match=r"^where: `exact\.keep AND` is not SQL"):
        column_names("exact.keep AND")
