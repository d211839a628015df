"""Keys by SQL: what they give, and what cannot be one."""

from __future__ import annotations

import pyarrow as pa
import pytest

from dolma_pipeline.errors import ConfigError, DataError
from dolma_pipeline.sql.columns import rule_schema
from dolma_pipeline.sql.key import Key, reads_text

URL = pa.struct([("host", pa.string()), ("depth", pa.int64()), ("parts", pa.list_(pa.string()))])
SCHEMA = rule_schema({"url_v1": URL})


def table() -> pa.Table:
    urls = [{"host": "h", "depth": 1}, {"host": "h", "depth": 2}, None, {"host": None, "depth": 0}]
    rows = {
        "id": ["A", "a", None, ""],
        "metadata": ['{"url": "u", "n": 3}', '{"url": null}', None, '{"url": ""}'],
        "chars": [3, 3, 0, 7],
        "url_v1": pa.array(urls, URL),
    }  # fmt: skip
    return pa.table(rows)


@pytest.mark.parametrize(
    ("text", "expected", "columns"),
    [
        ("id", ["A", "a", None, ""], {"id"}),
        ("lower(id)", ["a", "a", None, ""], {"id"}),
        ("metadata->>'$.url'", ["u", None, None, ""], {"metadata"}),
        ("(metadata->>'$.n')::INT", ["3", None, None, None], {"metadata"}),
        ("length(text)", ["3", "3", "0", "7"], {"chars"}),
        ("chars // 2", ["1", "1", "0", "3"], {"chars"}),
        ("url_v1.host || url_v1.depth", ["h1", "h2", None, None], {"url_v1"}),
        ("id -- the id", ["A", "a", None, ""], {"id"}),
    ],
)
def test_values(text: str, expected: list[str | None], columns: set[str]) -> None:
    key = Key(text, SCHEMA)
    assert key.values(table()).to_pylist() == expected
    assert key.columns == columns
    assert not key.reads_text
    assert key.values(table().slice(0, 0)).to_pylist() == []


def test_what_reads_the_text() -> None:
    for text, expected in (
        ("lower(text)", True), ("TEXT", True), ("extra->>'$.x'", True), ("id || left(text, 10)", True),
        ("length(text)", False), ("id", False), ("metadata->>'$.text'", False), ("'text'", False),
        ("strlen(text)::VARCHAR || id", False),
    ):  # fmt: skip
        assert reads_text(text) == expected, text
        if text != "'text'":
            assert Key(text, SCHEMA).reads_text == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (" ", "key: empty; write an SQL expression"),
        ("lower(", r"key: `lower\(` is not SQL"),
        ("url", "no attribute or column named 'url'.* is written `metadata->>'[$].url'`"),
        ("3", "key: `3` is the same for all documents"),
        ("id = 'a'", "key: `id = 'a'` is BOOLEAN: all documents but two"),
        ("url_v1", "key: `url_v1` is STRUCT.*; a key is one value"),
        ("url_v1.parts", r"key: `url_v1.parts` is VARCHAR\[\]; a key is one value"),
        ("url_v1.hst", "no field of 'url_v1' named 'hst'. Did you mean 'host'"),
        ("random()", "does not always give the same"),
        ("max(id)", "works on many rows"),
        ("id, chars", "is more than an expression|is not SQL"),
        ("id + chars", r"key: `id \+ chars`: "),
    ],
)
def test_what_cannot_be_a_key(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Key(text, SCHEMA)


def test_a_value_that_it_cannot_take_is_an_error() -> None:
    with pytest.raises(DataError, match=r"^r.yaml:3: key: `id::INT`: .*TRY_CAST gives NULL instead"):
        Key("id::INT", SCHEMA, place="r.yaml:3: key").values(table())
