"""`Order`: who comes first, by SQL such as `length(text) DESC, quality_v1.score DESC`.

In two steps, so that the texts are read once, shard by shard, and the sort sees numbers only: `values` computes the
terms of some rows, `order` sorts rows by them. NULL comes last, ascending or descending, unless `NULLS FIRST` is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline.errors import ConfigError, DataError
from dolma_pipeline.sql.engine import MAX_MEMORY_BYTES, engine, first_paragraph
from dolma_pipeline.sql.expressions import PREFIX, check, quoted, statement, written


class Term(NamedTuple):
    """One term of an order: its SQL, and `ASC` or `DESC` with the place of NULLs."""

    text: str
    direction: str


class Order:
    """An order of rows.

    Args:
        text: what would stand behind ORDER BY.
        schema: the columns that there are.
        place: what messages start with.
        max_memory_bytes: of DuckDB in this process.

    Attributes:
        columns: names of the columns that it reads.
        schema: of `values`: `o0`, `o1`, … one a term.

    Raises:
        ConfigError: anything but terms over these columns that can be sorted.
    """

    def __init__(
        self, text: str, schema: pa.Schema, *, place: str = "prefer", max_memory_bytes: int = MAX_MEMORY_BYTES
    ) -> None:
        self._max_memory_bytes = max_memory_bytes
        duck = engine(max_memory_bytes)
        node = statement(place, f"SELECT 1 FROM d ORDER BY {text}", text)
        modifiers = node.pop("modifiers")
        plain = statement(place, PREFIX + "true", "true")
        if any(node[key] != plain[key] for key in node if key != "where_clause") or node["where_clause"] is not None:
            raise ConfigError(f"{place}: `{text}` is more than an order; write e.g. `length(text) DESC`")
        if [one["type"] for one in modifiers] != ["ORDER_MODIFIER"]:
            raise ConfigError(f"{place}: `{text}` is more than an order; write e.g. `length(text) DESC`")
        self._terms: list[Term] = []
        columns: set[str] = set()
        for one in modifiers[0]["orders"]:
            term = written(place, one["expression"]) if one["expression"]["class"] != "STAR" else "*"
            expression = check(place, term, one["expression"], schema)
            if not expression.references:
                raise ConfigError(f"{place}: `{term}` is the same for all rows, and orders nothing")
            columns |= {column for column, _ in expression.references}
            down = "DESC" if one["type"] == "DESCENDING" else "ASC"
            nulls = "FIRST" if one["null_order"] == "NULLS FIRST" else "LAST"
            self._terms.append(Term(term, f"{down} NULLS {nulls}"))
        self.columns = frozenset(columns)
        try:
            self.schema: pa.Schema = duck.select(self._select(), schema.empty_table()).schema
        except duck.Error as error:
            raise ConfigError(f"{place}: `{text}`: {first_paragraph(error)}") from error
        for done, field in zip(self._terms, self.schema, strict=True):
            if pa.types.is_nested(field.type):
                raise ConfigError(f"{place}: `{done.text}` is {field.type}; only numbers, strings and dates are sorted")
        self._place = place

    def values(self, table: pa.Table | pa.RecordBatch) -> pa.Table:
        """The terms of each row: columns `o0`, `o1`, … in the order of the rows.

        Raises:
            DataError: a value that a term cannot take.
        """
        if isinstance(table, pa.RecordBatch):
            table = pa.Table.from_batches([table])
        duck = engine(self._max_memory_bytes)
        try:
            return duck.select(self._select(), table.select(sorted(self.columns)))
        except duck.Error as error:
            raise DataError(f"{self._place}: {first_paragraph(error)}") from error

    def order(self, values: pa.Table, ties: Sequence[str] = ()) -> NDArray[np.int64]:
        """Row numbers of `values`, first row first, int64[n].

        Args:
            values: what `values` gave, maybe of many tables, and the columns of `ties`.
            ties: columns that decide between equal rows, ascending; after them the earlier row comes first.
        """
        keys = [f"o{i} {term.direction}" for i, term in enumerate(self._terms)]
        keys += [f"{quoted(name)} ASC NULLS LAST" for name in ties]
        rows = values.append_column("_row", pa.array(np.arange(values.num_rows, dtype=np.int64)))
        found: Any = engine(self._max_memory_bytes).select("_row", rows, then=f"ORDER BY {', '.join(keys)}, _row")
        return np.asarray(found.column("_row").to_numpy(), np.int64)

    def _select(self) -> str:
        return ", ".join(f"({term.text}) AS o{i}" for i, term in enumerate(self._terms))
