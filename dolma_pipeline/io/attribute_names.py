"""What the attributes of a file are called: `exp__tagger__type` is the field `tagger__type` of the column `exp`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from dolma_pipeline.documents import COLUMNS, SPANS_TYPE
from dolma_pipeline.errors import DataError
from dolma_pipeline.io.attribute_types import is_number_lists

DOLMA = "attributes"
"""The struct column that Dolma's lines become where a tool makes Parquet of them: its fields are named as theirs."""
_INDEX = re.compile(r"__index_level_\d+__")
"""A column that pandas adds for its row labels."""


class Leaf(NamedTuple):
    """Where in a Parquet file a field stands: in a struct column (`inner`), or as a column of its own."""

    column: str
    inner: str | None
    type: pa.DataType

    @property
    def is_number_lists(self) -> bool:
        """Whether it is a list of spans as Dolma's lines have them, `[[start, end, score], …]`."""
        return self.column == DOLMA and is_number_lists(self.type)

    @property
    def path(self) -> str:
        """As Parquet names it."""
        return self.column if self.inner is None else f"{self.column}.{self.inner}"


def split_name(key: str) -> tuple[str, str]:
    """Column and field of a name of Dolma's; one without `__` (its deduper's) is both."""
    column, _, field = key.partition("__")
    return (column, field) if column and field else (key, key)


def keys_of(column: str, field: str) -> list[str]:
    """The names that mean this field."""
    keys = {f"{column}__{field}", *([column] if column == field else [])}
    return sorted(key for key in keys if split_name(key) == (column, field))


def dolma_schema(names: Mapping[str, set[str]]) -> pa.Schema:
    """Struct columns of span lists for `exp` -> fields."""
    return pa.schema(
        [
            pa.field(column, pa.struct([pa.field(f, SPANS_TYPE) for f in sorted(fields)]))
            for column, fields in sorted(names.items())
        ]
    )


def leaves(schema: pa.Schema, path: Path) -> dict[str, dict[str, Leaf]]:
    """The attributes of a Parquet file: column -> field -> where it stands.

    A struct column has its fields; any other column, and each field of a struct `attributes`, is named as in Dolma's
    files. Columns of documents (`id`, `text`,
    `source`, …) and the index of pandas are not.

    Raises:
        DataError: two columns that mean the same field, or no attributes at all.
    """
    by_column: dict[str, dict[str, Leaf]] = {}
    for one in schema:
        if one.name in COLUMNS or _INDEX.fullmatch(one.name):
            continue
        if pa.types.is_struct(one.type) and one.name == DOLMA:
            named = [(*split_name(inner.name), Leaf(one.name, inner.name, inner.type)) for inner in one.type]
        elif pa.types.is_struct(one.type):
            named = [(one.name, inner.name, Leaf(one.name, inner.name, inner.type)) for inner in one.type]
        else:
            named = [(*split_name(one.name), Leaf(one.name, None, one.type))]
        for column, field, leaf in named:
            fields = by_column.setdefault(column, {})
            if field in fields:
                raise DataError(
                    f"{path}: two columns mean the field '{field}' of attribute '{column}': {fields[field].path} and "
                    f"{leaf.path}. Rename one of them."
                )
            fields[field] = leaf
    if not by_column:
        raise DataError(
            f"{path}: no attributes among the columns {', '.join(schema.names) or '(none)'}. Each attribute is a "
            "struct column, or a column named exp__field."
        )
    return by_column
