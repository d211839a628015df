"""What is rewritten means the same: the same rules over the text and lists, and over the numbers that are kept."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import SPANS_TYPE, Batch, Document
from dolma_pipeline.sql import Order, Rules, rule_schema, rule_table

PII = pa.struct([("email", SPANS_TYPE), ("phone", SPANS_TYPE), ("share", pa.float64())])
GOPHER = pa.struct([("word_count", pa.int64())])
SCHEMA = rule_schema({"pii_v1": PII, "gopher_v1": GOPHER})
COUNTS = {("pii_v1", "email"): "pii_v1.email#len", ("pii_v1", "phone"): "pii_v1.phone#len"}
SCORES = {("pii_v1", "email"): "pii_v1.email#score"}

Reference = tuple[str, str | None]


def stored(text: str) -> Rules:
    return Rules({"rule": text}, SCHEMA, counts=COUNTS, scores=SCORES)


@pytest.mark.parametrize(
    ("text", "references"),
    [
        ("length(text) > 5", [("chars", None)]),
        ("LEN(Text) BETWEEN 1 AND 2 -- not many", [("chars", None)]),
        ("char_length(text) + character_length(\"text\") > 3", [("chars", None)]),
        ("strlen(text) > 5", [("bytes", None)]),
        ("octet_length(encode(text)) > length(text)", [("bytes", None), ("chars", None)]),
        ("length(text) IS NOT NULL", [("chars", None)]),
        ("CASE WHEN length(text) > 9 THEN source = 'a' ELSE strlen(text) > 1 END",
         [("bytes", None), ("chars", None), ("source", None)]),
        ("len(pii_v1.email) + length(PII_V1['phone']) <= 5", [("pii_v1.email#len", None), ("pii_v1.phone#len", None)]),
        ("array_length((pii_v1).email) = 0", [("pii_v1.email#len", None)]),
        ("score(pii_v1.email) > 0.5 AND pii_v1.share < 1", [("pii_v1", "share"), ("pii_v1.email#score", None)]),
        ("gopher_v1.word_count > 5 AND pii_v1 IS NOT NULL", [("gopher_v1", "word_count"), ("pii_v1", None)]),
    ],
)  # fmt: skip
def test_what_is_kept_is_read_instead(text: str, references: list[Reference]) -> None:
    rules = stored(text)
    assert rules.references("rule") == rules.references() == references
    assert not rules.reads_text("rule")
    assert not rules.needs_lists("rule")
    assert rules.where == {"rule": text}


@pytest.mark.parametrize(
    ("text", "references"),
    [
        ("length(lower(text)) > 5", [("text", None)]),
        ("length_grapheme(text) > 5", [("text", None)]),  # not code points
        ("bit_length(text) > 5", [("text", None)]),
        ("length(text) > 5 AND text LIKE '%a%'", [("chars", None), ("text", None)]),
        ("length(extra) > 2", [("extra", None)]),
        ("length(text[1:5]) = 5", [("text", None)]),
    ],
)
def test_what_needs_the_text_says_so(text: str, references: list[Reference]) -> None:
    rules = stored(text)
    assert rules.references() == references
    assert rules.reads_text()


@pytest.mark.parametrize(
    ("text", "lists"),
    [
        ("len([s for s in pii_v1.email if s.score > 0.5]) = 0", {("pii_v1", "email")}),
        ("len(pii_v1.phone) = 0 AND pii_v1.phone = []", {("pii_v1", "phone")}),
        ("score(pii_v1.phone) > 0.5", {("pii_v1", "phone")}),  # no column has it
        ("pii_v1.email[1].score > 0.5", {("pii_v1", "email")}),
        ("len(list_filter(pii_v1.phone, lambda text: length(text.score::VARCHAR) > 1)) = 0", {("pii_v1", "phone")}),
        ("pii_v1.email IS NULL", {("pii_v1", "email")}),
        ("to_json(pii_v1)::VARCHAR <> ''", {("pii_v1", "email"), ("pii_v1", "phone")}),
    ],
)
def test_what_needs_the_lists_says_so(text: str, lists: set[tuple[str, str]]) -> None:
    assert stored(text).needs_lists() == lists
    assert not stored(text).reads_text()


def test_without_kept_counts_a_length_needs_its_list() -> None:
    rules = Rules({"pii": "len(pii_v1.email) <= 5", "chars": "length(text) > 1"}, SCHEMA)
    assert rules.needs_lists() == {("pii_v1", "email")}
    assert rules.needs_lists("chars") == frozenset()


def test_where_there_are_no_such_columns_nothing_is_rewritten() -> None:
    rules = Rules({"long": "length(text) > 1"}, pa.schema([("text", pa.string())]))
    assert rules.columns == {"text"}
    other = pa.schema([("text", pa.string()), ("chars", pa.string())])  # of another meaning
    assert Rules({"long": "length(text) > 1"}, other).columns == {"text"}
    lists = pa.schema([("text", pa.list_(pa.string())), ("chars", pa.int64())])
    assert Rules({"long": "length(text) > 1"}, lists).columns == {"text"}


def test_values_are_those_that_the_rules_saw() -> None:
    rules = stored("length(text) > 5 AND len(pii_v1.email) = 0 AND score(pii_v1.email) < 1")
    table = pa.table({"chars": [3], "pii_v1.email#len": [2], "pii_v1.email#score": pa.array([0.5], pa.float32())})
    assert rules.values(table, [0]) == [{"chars": 3, "pii_v1.email": 2, "score(pii_v1.email)": 0.5}]
    plain = Rules(rules.where, SCHEMA)
    pii = pa.array([{"email": [(0, 1, 0.5), (1, 2, 0.1)], "phone": [], "share": 0.0}], PII)
    assert plain.values(pa.table({"chars": [3], "pii_v1": pii}), [0]) == rules.values(table, [0])


def test_orders_are_rewritten_too() -> None:
    order = Order(["len(pii_v1.email)", "length(text) DESC"], SCHEMA, counts=COUNTS)
    assert order.columns == {"chars", "pii_v1.email#len"}
    assert order.references() == [("chars", None), ("pii_v1.email#len", None)]
    assert order.needs_lists() == frozenset()
    assert Order("len(pii_v1.email)", SCHEMA).needs_lists() == {("pii_v1", "email")}


HARD = ["", "e\u0301", "👨‍👩‍👧", "🇩🇪", "a\0b", "\r\n", "日本", "\u200d", "\ufeff", "é" * 300]
TEXT_RULES = {
    "length": "length(text) >= 3",
    "len": "len(text) = 2 OR len(text) = 5",
    "char": "char_length(text) % 2 = 0",
    "character": "character_length(text) < 4",
    "strlen": "strlen(text) > 4",
    "octets": "octet_length(encode(text)) = strlen(text) AND strlen(text) > length(text)",
}
LIST_RULES = {
    "count": "len(pii_v1.email) + length(pii_v1.phone) <= 2",
    "items": "array_length(pii_v1.email) = 1",
    "score": "score(pii_v1.email) >= 0.9",
    "null": "pii_v1 IS NOT NULL AND len(pii_v1.email) IS NOT NULL",
}


@pytest.fixture(scope="module")
def plain_text() -> Rules:
    names = [name for name in SCHEMA.names if name not in ("chars", "bytes")]
    rules = Rules(TEXT_RULES, pa.schema([SCHEMA.field(name) for name in names]))
    assert rules.columns == {"text"}
    return rules


@pytest.fixture(scope="module")
def counted_text() -> Rules:
    rules = Rules(TEXT_RULES, SCHEMA)
    assert rules.columns == {"chars", "bytes"}
    return rules


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=8) | st.sampled_from(HARD), min_size=1, max_size=8))
def test_chars_and_bytes_are_what_duckdb_counts(plain_text: Rules, counted_text: Rules, texts: list[str]) -> None:
    table = pa.Table.from_batches([Batch.of([Document(text) for text in texts]).table])
    expected = plain_text.evaluate(table)
    found = counted_text.evaluate(rule_table(table, "web", counted_text.columns))
    assert (found.passed.tolist(), found.null.tolist()) == (expected.passed.tolist(), expected.null.tolist())


def test_a_text_that_is_null_has_no_length(plain_text: Rules, counted_text: Rules) -> None:
    table = pa.table({"text": pa.array([None, "ab"], pa.string()), "source": pa.array(["a", "a"])})
    expected = plain_text.evaluate(table)
    found = counted_text.evaluate(rule_table(table, "web", counted_text.columns))
    assert expected.null[:, 0].all()
    assert (found.passed.tolist(), found.null.tolist()) == (expected.passed.tolist(), expected.null.tolist())


SPANS = st.lists(st.tuples(st.just(0), st.just(1), st.sampled_from([0.0, 0.5, 0.9, 1.0])), max_size=3)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.none() | st.fixed_dictionaries({"email": SPANS, "phone": SPANS, "share": st.just(0.5)}), max_size=8))
def test_counts_and_scores_are_what_duckdb_finds_in_the_lists(rows: list[dict[str, Any] | None]) -> None:
    plain = Rules(LIST_RULES, SCHEMA)
    expected = plain.evaluate(pa.table({"pii_v1": pa.array(rows, PII)}))
    kept = Rules(LIST_RULES, SCHEMA, counts=COUNTS, scores=SCORES)
    assert kept.needs_lists() == frozenset()
    emails = [None if row is None else row["email"] for row in rows]
    table = pa.table(
        {
            "pii_v1": pa.array([None if row is None else {"share": row["share"]} for row in rows], pa.struct([PII[2]])),
            "pii_v1.email#len": pa.array([None if one is None else len(one) for one in emails], pa.int64()),
            "pii_v1.phone#len": pa.array([None if row is None else len(row["phone"]) for row in rows], pa.int64()),
            "pii_v1.email#score": pa.array(
                [None if one is None else one[0][2] if one else 0.0 for one in emails], pa.float32()
            ),
        }
    )
    found = kept.evaluate(table)
    assert (found.passed.tolist(), found.null.tolist()) == (expected.passed.tolist(), expected.null.tolist())
