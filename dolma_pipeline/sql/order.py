"""`Order`: who comes first, by SQL such as `chars DESC, quality_v1.score DESC`.

In two steps, so that columns are read shard by shard, and the sort sees numbers only: `values` computes the terms of
some rows, `order` sorts rows by them. NULL comes last, ascending or descending, unless `NULLS FIRST` is given.
An order reads no text: `length(text)` is `chars`, and what else would need a reading is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline.errors import ConfigError, DataError
from dolma_pipeline.sql.columns import BYTES, CHARS, reading_fields
from dolma_pipeline.sql.engine import MAX_MEMORY_BYTES, engine, first_paragraph
from dolma_pipeline.sql.expressions import PREFIX, Expression, check, quoted, statement, written
from dolma_pipeline.sql.rewrite import Field, Stored, rewritten


class Term(NamedTuple):
    """One term of an order: its SQL, and `ASC` or `DESC` with the place of NULLs."""

    text: str
    direction: str


class Order:
    """An order of rows.

    Args:
        texts: what would stand behind ORDER BY; or several of it, of which a later one decides where the earlier
            ones do not. None at all: `ties` alone decide.
        schema: the columns that there are (`sql.columns.rule_schema`).
        place: what messages start with; of several texts each with its number, as in `prefer.0`.
        places: of several texts, what messages on each start with instead: `my.yaml:9: dedupe.prefer.0`.
        counts, scores: columns that are kept instead of lists, as in `Rules`.
        max_memory_bytes: of DuckDB in this process.

    Attributes:
        columns: names of the columns that it reads, after rewriting.
        schema: of `values`: `o0`, `o1`, … one a term.

    Raises:
        ConfigError: anything but terms over these columns that can be sorted, or a term that reads the text.
    """

    def __init__(
        self,
        texts: str | Sequence[str],
        schema: pa.Schema,
        *,
        place: str = "prefer",
        places: Sequence[str] = (),
        counts: Mapping[Field, str] | None = None,
        scores: Mapping[Field, str] | None = None,
        max_memory_bytes: int = MAX_MEMORY_BYTES,
    ) -> None:
        self._max_memory_bytes = max_memory_bytes
        self._place = place
        stored = Stored(counts or {}, scores or {})
        self._terms: list[Term] = []
        fields: list[pa.Field] = []
        self._expressions: list[Expression] = []
        for i, text in enumerate([texts] if isinstance(texts, str) else texts):
            own_place = place if isinstance(texts, str) else places[i] if places else f"{place}.{i}"
            terms, expressions = _terms(own_place, text, schema, stored)
            self._expressions += expressions
            for term, type_ in zip(terms, self._types(own_place, text, terms, schema, stored), strict=True):
                fields.append(pa.field(f"o{len(fields)}", type_))
                self._terms.append(term)
        self.columns = frozenset(column for column, _ in self.references())
        self.schema: pa.Schema = pa.schema(fields)

    def references(self) -> list[tuple[str, str | None]]:
        """What the terms read after rewriting: (column, field or None), sorted."""
        used = {reference for expression in self._expressions for reference in expression.references}
        return sorted(used, key=lambda reference: (reference[0], reference[1] or ""))

    def needs_lists(self) -> frozenset[Field]:
        """Lists (attribute, field) of which the terms need the items: no column holds what they ask."""
        return frozenset(field for expression in self._expressions for field in expression.lists)

    def _types(
        self, place: str, text: str, terms: Sequence[Term], schema: pa.Schema, stored: Stored
    ) -> list[pa.DataType]:
        duck = engine(self._max_memory_bytes)
        try:
            types = duck.select(_select(terms), pa.schema([*schema, *stored.fields]).empty_table()).schema.types
        except duck.Error as error:
            raise ConfigError(f"{place}: `{text}`: {first_paragraph(error)}") from error
        for term, type_ in zip(terms, types, strict=True):
            if pa.types.is_nested(type_):
                raise ConfigError(f"{place}: `{term.text}` is {type_}; only numbers, strings and dates are sorted")
        return list(types)

    def values(self, table: pa.Table | pa.RecordBatch) -> pa.Table:
        """The terms of each row: columns `o0`, `o1`, … in the order of the rows.

        Raises:
            DataError: a value that a term cannot take.
        """
        if isinstance(table, pa.RecordBatch):
            table = pa.Table.from_batches([table])
        if not self._terms:
            return table.select([])  # no columns, but as many rows
        duck = engine(self._max_memory_bytes)
        try:
            return duck.select(_select(self._terms), table.select(sorted(self.columns)))
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
        keys.append("_row")
        rows = values.append_column("_row", pa.array(np.arange(values.num_rows, dtype=np.int64)))
        places: Any = engine(self._max_memory_bytes).select("_row", rows, then=f"ORDER BY {', '.join(keys)}")
        return np.asarray(places.column("_row").to_numpy(), np.int64)


def _terms(place: str, text: str, schema: pa.Schema, stored: Stored) -> tuple[list[Term], list[Expression]]:
    """The terms of one ORDER BY, rewritten."""
    node = statement(place, f"SELECT 1 FROM d ORDER BY {text}", text)
    modifiers = node.pop("modifiers")
    plain = statement(place, PREFIX + "true", "true")
    if any(node[key] != plain[key] for key in node if key != "where_clause") or node["where_clause"] is not None:
        raise ConfigError(f"{place}: `{text}` is more than an order; write e.g. `chars DESC`")
    if [one["type"] for one in modifiers] != ["ORDER_MODIFIER"]:
        raise ConfigError(f"{place}: `{text}` is more than an order; write e.g. `chars DESC`")
    terms: list[Term] = []
    expressions: list[Expression] = []
    for one in modifiers[0]["orders"]:
        term = written(place, one["expression"]) if one["expression"]["class"] != "STAR" else "*"
        expression = check(place, term, one["expression"], schema)
        if not expression.references:
            raise ConfigError(f"{place}: `{term}` is the same for all rows, and orders nothing")
        other = rewritten(one["expression"], schema, stored)
        if other != one["expression"]:
            expression = check(place, written(place, other), other, pa.schema([*schema, *stored.fields]))
        reading = sorted({column for column, _ in expression.references} & {*reading_fields.names})
        if reading:
            raise ConfigError(
                f"{place}: `{term}` reads {reading[0]}, and an order reads no text. Use {CHARS} (code points), {BYTES} "
                "(of UTF-8), metadata->>'$.key' or an attribute; a tagger of yours can make one of the text."
            )
        expressions.append(expression)
        down = "DESC" if one["type"] == "DESCENDING" else "ASC"
        nulls = "FIRST" if one["null_order"] == "NULLS FIRST" else "LAST"
        terms.append(Term(expression.text, f"{down} NULLS {nulls}"))
    return terms, expressions


def _select(terms: Sequence[Term]) -> str:
    return ", ".join(f"({term.text}) AS o{i}" for i, term in enumerate(terms))
