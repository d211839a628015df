"""Names of attributes: Dolma's, and those of Parquet columns."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolma_pipeline.errors import DataError
from dolma_pipeline.io.attribute_names import keys_of, leaves, split_name

PATH = Path("x/a.parquet")
N = pa.struct([("n", pa.int64())])


@given(st.text("ab_", min_size=1, max_size=8))
def test_a_name_is_found_again_by_its_column_and_field(key: str) -> None:
    column, field = split_name(key)
    assert column
    assert field
    assert key in keys_of(column, field)
    assert all(split_name(one) == (column, field) for one in keys_of(column, field))


def test_names_are_cut_at_the_first_two_underscores() -> None:
    assert split_name("exp__tagger__type") == ("exp", "tagger__type")
    assert split_name("bff_duplicate") == ("bff_duplicate", "bff_duplicate")
    assert split_name("__label__en") == ("__label__en", "__label__en")
    assert split_name("exp__") == ("exp__", "exp__")
    assert keys_of("exp", "a__b") == ["exp__a__b"]
    assert keys_of("bff", "bff") == ["bff", "bff__bff"]


def test_structs_and_plain_columns_are_attributes_but_those_of_documents_are_none() -> None:
    schema = pa.schema(
        [
            *((name, pa.string()) for name in ("id", "text", "source", "added", "created")),
            ("metadata", pa.struct([("url", pa.string())])),
            ("__index_level_0__", pa.int64()),
            ("gopher", N),
            ("gopher__share", pa.float64()),
            ("quality", pa.float32()),
            ("attributes", pa.struct([("exp__lang__en", pa.list_(pa.list_(pa.float64())))])),
        ]
    )
    found = {column: {f: leaf.path for f, leaf in fields.items()} for column, fields in leaves(schema, PATH).items()}
    assert found == {
        "gopher": {"n": "gopher.n", "share": "gopher__share"},
        "quality": {"quality": "quality"},
        "exp": {"lang__en": "attributes.exp__lang__en"},
    }
    assert leaves(schema, PATH)["exp"]["lang__en"].is_number_lists
    assert not leaves(pa.schema([("m", pa.list_(pa.list_(pa.float64())))]), PATH)["m"]["m"].is_number_lists


def test_two_columns_of_one_meaning_and_none_at_all_are_errors() -> None:
    with pytest.raises(DataError) as error:
        leaves(pa.schema([("gopher", N), ("gopher__n", pa.int64())]), PATH)
    assert str(error.value) == (
        "x/a.parquet: two columns mean the field 'n' of attribute 'gopher': gopher.n and gopher__n. Rename one of them."
    )
    with pytest.raises(DataError) as error:
        leaves(pa.schema([("id", pa.string()), ("text", pa.string())]), PATH)
    assert str(error.value) == (
        "x/a.parquet: no attributes among the columns id, text. Each attribute is a struct column, or a column named "
        "exp__field."
    )
