"""`Key`: what must be equal in documents that are copies, by SQL such as `metadata->>'$.url'` or `lower(id)`.

An expression over the columns of one row, as a rule is; its value is compared as DuckDB writes it as text. NULL and
the empty text are no key, nor are JSON's. Cost: one query a call, ~2 ms, and ~1 us a document where JSON is read.
"""

from __future__ import annotations

import functools

import pyarrow as pa

from dolma_pipeline.errors import ConfigError, DataError
from dolma_pipeline.sql.columns import EXTRA, RESERVED, TEXT, reading_fields, rule_schema
from dolma_pipeline.sql.engine import MAX_MEMORY_BYTES, engine, first_paragraph
from dolma_pipeline.sql.expressions import check, parse, written
from dolma_pipeline.sql.rewrite import Stored, rewritten
from dolma_pipeline.sql.tree import uses


@functools.lru_cache(maxsize=256)
def reads_text(text: str, *, place: str = "key") -> bool:
    """Whether an expression needs a reading of the documents: `lower(text)` does, `length(text)` does not.

    Needs no schema: no attribute has the name of a document's column.

    Raises:
        ConfigError: not an expression.
    """
    other = rewritten(parse(place, text), rule_schema({}), Stored())
    return any(use.path[0].lower() in (TEXT, EXTRA) for use in uses(other))


class Key:
    """A key, bound to the columns that there are.

    Args:
        text: its SQL.
        schema: the columns (`sql.columns.rule_schema`).
        place: what messages start with.
        max_memory_bytes: of DuckDB in this process.

    Attributes:
        columns: names of the columns that it reads, after rewriting (`length(text)` reads `chars`).
        reads_text: whether `text` or `extra` is among them. type: DuckDB's of its values.

    Raises:
        ConfigError: anything but an expression over these columns that has one plain value a row.
    """

    def __init__(
        self, text: str, schema: pa.Schema, *, place: str = "key", max_memory_bytes: int = MAX_MEMORY_BYTES
    ) -> None:
        self.text, self._place, self._max_memory_bytes = text, place, max_memory_bytes
        tree = parse(place, text)
        try:
            expression = check(place, text, tree, schema)
        except ConfigError as error:
            raise _advised(error, text, schema) from error
        if not expression.references:
            raise ConfigError(f"{place}: `{text}` is the same for all documents: all but one would be copies")
        other = rewritten(tree, schema, Stored())
        if other != tree:
            expression = check(place, written(place, other), other, schema)
        self.references = expression.references
        self.columns = frozenset(column for column, _ in expression.references)
        self.reads_text = bool(self.columns & {*reading_fields.names})
        self.type = self._type(expression.text, schema)
        value = f"CAST(({expression.text}\n) AS VARCHAR)"
        if self.type == "JSON":  # `->` where `->>` was meant: nothing, as JSON writes it, is no key either
            value = f"nullif(nullif({value}, 'null'), '\"\"')"
        self._sql = f"{value} AS k"

    def _type(self, sql: str, schema: pa.Schema) -> str:
        duck = engine(self._max_memory_bytes)
        rows = schema.empty_table().select(sorted(self.columns))
        try:
            (type_,) = duck.types(f"({sql}\n)", rows)
            found = duck.select(f"({sql}\n) AS k", rows).schema.types[0]
        except duck.Error as error:
            raise ConfigError(f"{self._place}: `{self.text}`: {first_paragraph(error)}") from error
        if pa.types.is_nested(found):
            raise ConfigError(
                f"{self._place}: `{self.text}` is {type_}; a key is one value. Of several: `a || ' ' || b`."
            )
        if pa.types.is_boolean(found):
            raise ConfigError(
                f"{self._place}: `{self.text}` is BOOLEAN: all documents but two would be copies. A key says what must "
                "be equal; which documents pass is said by rules (`mix.where`)."
            )
        return type_

    def values(self, table: pa.Table) -> pa.StringArray:
        """The key of each row; NULL or empty where it has none.

        Args:
            table: with at least `columns`.

        Raises:
            DataError: a value that the expression cannot take.
        """
        duck = engine(self._max_memory_bytes)
        try:
            found = duck.select(self._sql, table.select(sorted(self.columns))).column("k").combine_chunks()
        except duck.Error as error:
            hint = " (TRY_CAST gives NULL instead)" if "onver" in str(error) else ""
            raise DataError(f"{self._place}: `{self.text}`: {first_paragraph(error)}{hint}") from error
        found = pa.concat_arrays(found.chunks) if isinstance(found, pa.ChunkedArray) else found
        return found.cast(pa.string())


def _advised(error: ConfigError, text: str, schema: pa.Schema) -> ConfigError:
    """The error, with how a key of the metadata is written where the name is of no column."""
    names = [use.path[0] for use in uses(parse("key", text)) if use.path[0].lower() not in _lower(schema)]
    if not names:
        return error
    return ConfigError(f"{error} A key of a document's metadata is written `metadata->>'$.{names[0]}'`.")


def _lower(schema: pa.Schema) -> set[str]:
    return {name.lower() for name in (*schema.names, *RESERVED)}
