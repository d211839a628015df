"""The columns that a rule or an order can name: one list for every place where SQL is asked.

All but the text stand in a run's index, so that rules and orders over them read no text:

    id, document_source, added, created   the document's own keys
    source                                the recipe's name of the source
    metadata                              JSON text: `metadata->>'$.stars'`
    chars, bytes                          of the text as it was read: code points, bytes of UTF-8

`text` and `extra` can be named in a rule too, but that needs a reading. Each attribute is a struct column of its name.
Cost: `rule_table` counts the characters of a batch at some GB a second, and only where they are asked for.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from dolma_pipeline.errors import ConfigError

TEXT, EXTRA, CHARS, BYTES = "text", "extra", "chars", "bytes"

index_fields: pa.Schema = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in ("id", "source", "document_source", "added", "created", "metadata")),
        pa.field(CHARS, pa.int64()),
        pa.field(BYTES, pa.int64()),
    ]
)
"""What is known of each document without its text."""

reading_fields: pa.Schema = pa.schema([pa.field(TEXT, pa.string()), pa.field(EXTRA, pa.string())])
"""What only a reading of the documents gives."""

RESERVED: tuple[str, ...] = (*index_fields.names, *reading_fields.names)
"""Names that no attribute can have."""


def rule_schema(attributes: Mapping[str, pa.DataType]) -> pa.Schema:
    """All that a rule can name: `index_fields`, `reading_fields`, then the attributes in the order given.

    Args:
        attributes: label -> struct type.

    Raises:
        ConfigError: an attribute has the name of a document's column (in any case: SQL does not tell it apart).
    """
    for label in attributes:
        if label.lower() in RESERVED:
            raise ConfigError(
                f"the attribute '{label}' has the name of a document's column, so no rule could name it. "
                f"Give it another name; taken are {', '.join(RESERVED)}."
            )
    return pa.schema([*index_fields, *reading_fields, *(pa.field(name, type_) for name, type_ in attributes.items())])


def rule_table(documents: pa.Table, source: str | None, columns: Collection[str] | None = None) -> pa.Table:
    """Read documents as rules see them.

    Args:
        documents: columns of `documents.SCHEMA`, and any others (attributes), which are kept.
        source: the recipe's name of the source; None: there is no recipe, and `source` is the documents' own.
        columns: which columns to make (some rules' `columns`); default all.

    Returns:
        The columns of `documents` with `source` as the recipe's; before them `document_source`, `chars`, `bytes`.
    """
    wanted = {*index_fields.names, *documents.column_names} if columns is None else set(columns)
    made: dict[str, pa.Array | pa.ChunkedArray] = {}
    if "document_source" in wanted:
        made["document_source"] = documents.column("source")
    if CHARS in wanted:
        made[CHARS] = pc.utf8_length(documents.column(TEXT)).cast(pa.int64())
    if BYTES in wanted:
        made[BYTES] = pc.binary_length(documents.column(TEXT)).cast(pa.int64())
    for name in documents.column_names:
        if name not in wanted:
            continue
        named = name == "source" and source is not None
        made[name] = pa.repeat(pa.scalar(source, pa.string()), documents.num_rows) if named else documents.column(name)
    # A table without columns still has rows: rules of constants are asked of them.
    return pa.table(made) if made else documents.select([])
