from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import SCHEMA, Batch, Document
from dolma_pipeline.errors import ConfigError
from dolma_pipeline.sql import index_fields, rule_schema, rule_table
from dolma_pipeline.sql.columns import RESERVED

LENGTH = pa.struct([("words", pa.int64())])


def documents(*texts: str) -> pa.Table:
    rows = [Document(text, id=str(i), source="theirs", metadata={"n": i}) for i, text in enumerate(texts)]
    return pa.Table.from_batches([Batch.of(rows).table])


def test_columns_and_their_types() -> None:
    schema = rule_schema({"length_v1": LENGTH})
    assert schema.names == [
        "id", "source", "document_source", "added", "created", "metadata", "chars", "bytes",
        "text", "extra", "length_v1",
    ]  # fmt: skip
    assert {str(index_fields.field(name).type) for name in ("chars", "bytes")} == {"int64"}
    assert {str(one.type) for one in index_fields if one.name not in ("chars", "bytes")} == {"string"}
    assert {*SCHEMA.names} < {*RESERVED}


@pytest.mark.parametrize("label", ["bytes", "Chars", "document_source", "text"])
def test_no_attribute_has_the_name_of_a_column(label: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rule_schema({"length_v1": LENGTH, label: LENGTH})
    assert str(caught.value) == (
        f"the attribute '{label}' has the name of a document's column, so no rule could name it. Give it another name; "
        "taken are id, source, document_source, added, created, metadata, chars, bytes, text, extra."
    )


def test_source_is_the_recipes_and_the_documents_own_is_kept() -> None:
    table = rule_table(documents("é", ""), "web")
    assert table.column("source").to_pylist() == ["web", "web"]
    assert table.column("document_source").to_pylist() == ["theirs", "theirs"]
    assert {*table.column_names} == {*rule_schema({}).names}
    assert table.select(rule_schema({}).names).schema == rule_schema({})


def test_without_a_recipe_source_is_the_documents_own() -> None:
    assert rule_table(documents("a"), None, {"source"}).column("source").to_pylist() == ["theirs"]


def test_only_what_is_asked_for_is_made_and_attributes_are_kept() -> None:
    table = documents("a", "bc").append_column("length_v1", pa.array([{"words": 1}] * 2, LENGTH))
    assert rule_table(table, "web", {"chars", "length_v1"}).column_names == ["chars", "length_v1"]
    assert rule_table(table, "web", ()).num_rows == 2
    assert "length_v1" in rule_table(table, "web").column_names


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(max_size=12), max_size=5))
def test_chars_are_code_points_and_bytes_are_utf8(texts: list[str]) -> None:
    table = rule_table(documents(*texts), "web", {"chars", "bytes"})
    assert table.column("chars").to_pylist() == [len(text) for text in texts]
    assert table.column("bytes").to_pylist() == [len(text.encode()) for text in texts]
